"""A plan in a file is carried out later, elsewhere or in parts, and comes to what the selection comes to."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiocircle import Client, Download, DownloadOptions, Plan, RetryPolicy, Shard
from aiocircle.errors import ConfigurationError, DownloadError, NotFoundError, StoreError
from aiocircle.testing import FakeArtifact, KongLimits, Simulator, World

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"


@asynccontextmanager
async def opened(world: World, **settings: Any) -> AsyncIterator[tuple[Simulator, Client]]:
    settings = {"limits": KongLimits({"second": 5000}), **settings}  # what no header tells is felt for, slowly
    async with Simulator(world, **settings) as sim, Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.01)) as it:
        yield sim, it


def tree(root: Path) -> dict[str, bytes]:
    found = {str(one.relative_to(root)): one.read_bytes() for one in root.rglob("*") if one.is_file()}
    return {name: content for name, content in found.items() if not name.startswith(".aiocircle")}


async def test_a_plan_comes_to_what_its_selection_comes_to_and_lists_nothing(tmp_path: Path) -> None:
    file = tmp_path / "plan.jsonl"
    async with opened(World(pipelines=9, artifacts=6)) as (sim, client):
        await client.download(SLUG, all=True, to=tmp_path / "direct")
        plan = await client.artifacts.plan(SLUG, all=True)
        assert plan.report is not None
        assert plan.report.ok
        await plan.save(file)
        sim.stats.reset()
        report = await client.download(await Plan.read(file), tmp_path / "planned")
        assert report.ok
        assert report.files == plan.report.planned == len(tree(tmp_path / "direct"))
        assert 0 < report.jobs < plan.report.jobs  # those that stored something
        assert sim.stats.requests.keys() == {"output", "storage"}
        parts: dict[str, bytes] = {}
        for number in (1, 2):
            part = DownloadOptions(shard=Shard(number, 2))
            await client.download(plan, tmp_path / str(number), options=part)
            parts |= tree(tmp_path / str(number))
    assert tree(tmp_path / "direct") == tree(tmp_path / "planned") == parts
    assert [one.name for one in tmp_path.iterdir() if "part" in one.name] == []
    assert sim.token not in file.read_text()


async def test_names_of_a_named_job_and_of_layouts_are_the_same_from_a_plan(tmp_path: Path) -> None:
    world = World(pipelines=0)
    hostile = "lone \udc80 surrogate"
    world.add_job(SLUG, 5, [FakeArtifact("a/b", 1, size=3), FakeArtifact(hostile, size=4)], name="x y", branch="f/g")
    async with opened(world) as (_, client):
        plan = await client.artifacts.plan(SLUG, job=5)
        for number, layout in enumerate([None, "{branch}/{workflow_name}/{pipeline_number}/{job_name}/{path}"]):
            options = DownloadOptions(layout=layout)
            await client.download(SLUG, tmp_path / f"direct{number}", job=5, options=options)
            await client.download(plan, tmp_path / f"planned{number}", options=options)
            assert tree(tmp_path / f"direct{number}") == tree(tmp_path / f"planned{number}") != {}


async def test_globs_and_nodes_limit_a_plan_and_its_execution(tmp_path: Path) -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 5, [FakeArtifact(f"{name}", node, size=3) for name in ("a.x", "b.y") for node in (0, 1)])
    async with opened(world) as (_, client):
        plan = await client.artifacts.plan(SLUG, job=5, options=DownloadOptions(include=["*.x"]))
        await client.download(plan, tmp_path / "out", options=DownloadOptions(nodes=[1]))
        assert tree(tmp_path / "out").keys() == {"1/a.x"}
        for options in (DownloadOptions(shard=Shard(1, 2)), DownloadOptions(max_size=3)):
            with pytest.raises(ConfigurationError, match="a plan holds all"):
                await client.artifacts.plan(SLUG, job=5, options=options)


async def test_a_plan_that_cannot_be_saved_leaves_no_file_and_an_older_one_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "plan").write_text("old")
    async with opened(World(pipelines=2)) as (_, client):
        plan = await client.artifacts.plan(SLUG, all=True)
        for name in ("nowhere/plan", "full"):
            with pytest.raises(DownloadError):
                await plan.save(tmp_path / name)
        await plan.save(tmp_path / "gone")
        gone = await Plan.read(tmp_path / "gone")
        (tmp_path / "gone").unlink()
        with pytest.raises(StoreError):
            await gone.save(tmp_path / "plan")
        assert (tmp_path / "plan").read_text() == "old"
        await plan.save(tmp_path / "plan")
        await (await Plan.read(tmp_path / "plan")).save(tmp_path / "copy")
    assert (tmp_path / "plan").read_text() == (tmp_path / "copy").read_text() != "old"
    assert {one.name for one in tmp_path.iterdir()} == {"full", "plan", "copy"}


async def test_a_selection_that_is_not_there_is_no_plan() -> None:
    async with opened(World(pipelines=1)) as (_, client):
        with pytest.raises(NotFoundError):
            await client.artifacts.plan(SLUG, job=999_999)


async def test_what_could_not_be_listed_is_told_and_not_in_the_plan(tmp_path: Path) -> None:
    world = World(pipelines=0)
    job = world.add_job(SLUG, 5, [FakeArtifact("a", size=3)])
    world.add_job(SLUG, 6, [FakeArtifact("a", size=3)], beside=job)
    async with opened(world) as (sim, client):
        sim.faults.add("bad-request", match="/6/artifacts")
        plan = await client.artifacts.plan(SLUG, all=True)
    assert plan.report is not None
    assert (plan.report.planned, plan.report.failed, plan.report.ok) == (1, 1, False)


@pytest.mark.parametrize("cut", ["the end", "the header", "a line", "the job", "an id", "a number", "in the middle"])
async def test_a_plan_that_is_none_is_refused_in_words(tmp_path: Path, cut: str) -> None:
    file = tmp_path / "plan"
    world = World(pipelines=0)
    world.add_job(SLUG, 5, [FakeArtifact("a", size=3)])
    async with opened(world) as (_, client):
        await (await client.artifacts.plan(SLUG, job=5)).save(file)
        header, job, artifact, end = file.read_text().splitlines()
        lines = {
            "the end": [header, job, artifact],
            "the header": [job, artifact, end],
            "a line": [header, job, '{"type":"artifact","node_index":"x"}', end],
            "the job": [header, artifact, end],
            "an id": [header, json.dumps({**json.loads(job), "workflow_id": 5}), artifact, end],
            "a number": [header, job, json.dumps({**json.loads(artifact), "node_index": 10**19}), end],
            "in the middle": [header, job, artifact[:50]],
        }
        file.write_text("\n".join(lines[cut]))
        with pytest.raises(ConfigurationError, match="plan") as caught:
            await _carry_out(client, file, tmp_path / "out")
        assert str(file) in str(caught.value)
        assert caught.value.hint


async def test_a_plan_in_a_pipe_is_refused_since_it_is_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "plan")
    with anyio.fail_after(5), pytest.raises(ConfigurationError, match="read twice"):
        await Plan.read(tmp_path / "plan")


async def test_a_plan_of_another_host_or_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan"
    async with opened(World(pipelines=1)) as (_, client):
        plan = await client.artifacts.plan(SLUG, all=True)
        async with Client("t", host="https://ci.example.com") as other:
            with pytest.raises(ConfigurationError, match="talks to"):
                other.download(plan, tmp_path)
        await plan.save(file)
        file.write_text(json.dumps({**json.loads(file.read_text().splitlines()[0]), "version": 2}) + "\n")
        with pytest.raises(ConfigurationError, match="version 2"):
            await Plan.read(file)
        with pytest.raises(StoreError):
            await Plan.read(tmp_path / "nowhere")


async def test_a_run_is_entered_for_the_outcomes_of_its_items(tmp_path: Path) -> None:
    world = World(pipelines=6, artifacts=4)
    async with opened(world) as (_, client):
        async with client.download(SLUG, tmp_path, all=True) as run:
            outcomes = [outcome async for outcome in run]
        assert run.report.files == sum(one.status == "stored" for one in outcomes) > 0
        assert run.report.skipped == sum(one.status == "skipped" for one in outcomes)
        async with client.download(SLUG, tmp_path / "unread", all=True) as run:
            pass
        assert run.report.files == len(tree(tmp_path / "unread"))
        with pytest.raises(ZeroDivisionError):
            await _fail_at_first(client.download(SLUG, tmp_path / "left", all=True))
        with pytest.raises(NotFoundError):
            await _fail_at_first(client.download(SLUG, tmp_path / "none", job=999_999))


async def _fail_at_first(download: Download) -> None:
    async with download as run:
        async for _outcome in run:
            raise ZeroDivisionError


async def _carry_out(client: Client, file: Path, out: Path) -> None:
    report = await client.download(await Plan.read(file), out)
    report.raise_for_failures()


async def test_a_run_waits_for_who_reads_its_outcomes(tmp_path: Path) -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact(str(number), size=1) for number in range(3000)])
    options = DownloadOptions(concurrency=16, buffer=1024 * 1024)  # what is under way comes on top of what is unread
    async with (
        opened(world, page_size=500) as (_, client),
        client.download(SLUG, tmp_path, job=1, options=options) as run,
    ):
        read = 0
        async for _outcome in run:
            read += 1
            if read == 1:
                with anyio.move_on_after(30):
                    while run.report.files < 1000:
                        await anyio.sleep(0.05)
                await anyio.sleep(0.5)
                assert run.report.files < 1200
    assert read == 3000
