"""A selection of many jobs is one bounded stream: filtered as early as can be told, used before it is all there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from aiocircle import Client, DownloadOptions, RetryPolicy, Selection
from aiocircle.crawl.fanout import ListingFailed, Skipped
from aiocircle.download.filters import Shard
from aiocircle.download.plan import JobListed, Listed, Planner
from aiocircle.errors import ConfigurationError, NotFoundError
from aiocircle.testing import FakeArtifact, KongLimits, Simulator, World

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
OTHER = "gh/acme/api"


@asynccontextmanager
async def opened(world: World, **settings: Any) -> AsyncIterator[tuple[Simulator, Client]]:
    settings = {"limits": KongLimits({"second": 5000}), **settings}  # what no header tells is felt for, slowly
    async with Simulator(world, **settings) as sim, Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.01)) as it:
        yield sim, it


def files(root: Path) -> set[str]:
    found = (str(one.relative_to(root)) for one in root.rglob("*") if one.is_file())
    return {name for name in found if not name.startswith(".aiocircle")}


def stored(world: World, *slugs: str, newest_only: bool = True) -> set[str]:
    """Return the default names of all artifacts of all pipelines, or of the newest workflow of each name."""
    names = set()
    for slug in slugs:
        for pipeline in world.pipelines(slug):
            workflows = pipeline.workflows[-1:] if newest_only else pipeline.workflows
            for job in (job for workflow in workflows for job in workflow.jobs if job.number and job.type == "build"):
                names |= {f"{job.number}/{one.node_index}/{one.path}" for one in job.artifacts}
    return names


async def test_all_pipelines_of_a_project_are_fetched_newest_workflow_of_each_name(tmp_path: Path) -> None:
    world = World(pipelines=30, artifacts=2)
    async with opened(world) as (sim, client):
        report = await client.download(SLUG, all=True, to=tmp_path)
    assert report.ok
    assert files(tmp_path) == stored(world, SLUG)
    assert report.skipped_why.keys() == {
        "an approval has no artifacts",
        "never ran (blocked)",
    }
    assert sim.stats.requests["pipeline.workflows"] == 30


async def test_all_reruns_are_every_workflow(tmp_path: Path) -> None:
    world = World(pipelines=12, artifacts=2)
    async with opened(world) as (_, client):
        await client.download(SLUG, all=True, all_reruns=True, to=tmp_path)
    assert files(tmp_path) == stored(world, SLUG, newest_only=False) > stored(world, SLUG)


async def test_several_projects_are_one_stream(tmp_path: Path) -> None:
    world = World(pipelines=3, artifacts=2, slugs=(SLUG, OTHER))
    async with opened(world) as (_, client):
        options = DownloadOptions(layout="{project}/{job_number}/{node_index}/{path}")
        report = await client.download([SLUG, OTHER, SLUG], all=True, to=tmp_path, options=options)
    wanted = {f"{slug}/{name}" for slug in (SLUG, OTHER) for name in stored(world, slug)}
    assert (files(tmp_path), report.failed) == (wanted, 0)


async def test_one_of_several_projects_that_is_not_there_has_failed_and_the_others_are_fetched(tmp_path: Path) -> None:
    async with opened(World(pipelines=2, artifacts=1)) as (_, client):
        report = await client.download(["gh/acme/gone", SLUG], all=True, to=tmp_path)
        assert report.files
        assert [(one.path, one.code) for one in report.failures] == [("pipelines of gh/acme/gone", "not_found")]
        with pytest.raises(NotFoundError):
            await client.download("gh/acme/gone", all=True, to=tmp_path)


async def test_a_branch_that_one_of_several_projects_does_not_have_is_skipped(tmp_path: Path) -> None:
    world = World(pipelines=0, slugs=(SLUG, OTHER))
    world.add_job(SLUG, 5, [FakeArtifact("a", size=3)], branch="release")
    world.add_job(OTHER, 5, [FakeArtifact("a", size=3)], branch="main")
    async with opened(world) as (_, client):
        report = await client.download([OTHER, SLUG], latest=True, branch="release", to=tmp_path)
        assert (report.files, report.ok) == (1, True)
        assert report.skipped_why == {"there is no pipeline on branch 'release'": 1}
        with pytest.raises(NotFoundError, match="on branch 'release' in gh/acme/api"):
            await client.download(OTHER, latest=True, branch="release", to=tmp_path)


async def test_nothing_is_asked_behind_the_pipelines_of_the_time_that_is_wanted(tmp_path: Path) -> None:
    world = World(pipelines=400, artifacts=1)
    pipelines = list(world.pipelines(SLUG))
    since, until = pipelines[25].created_at, pipelines[2].created_at
    async with opened(world, page_size=20) as (sim, client):
        report = await client.download(SLUG, since=since, until=until, to=tmp_path)
    assert report.ok
    assert sim.stats.requests["project.pipelines"] == 2
    assert sim.stats.requests["pipeline.workflows"] == 23
    numbers = {job.number for one in pipelines[3:26] for flow in one.workflows for job in flow.jobs}
    assert {int(name.split("/")[0]) for name in files(tmp_path)} <= numbers


async def test_a_pipeline_whose_date_is_wrong_hides_none_that_is_older(tmp_path: Path) -> None:
    world = World(pipelines=40, artifacts=1)
    pipelines = list(world.pipelines(SLUG))
    world._placed[SLUG][pipelines[3].number] = attrs.evolve(pipelines[3], created_at=datetime(1970, 1, 1, tzinfo=UTC))
    async with opened(world, page_size=10) as (sim, client):
        await client.download(SLUG, since=pipelines[25].created_at, to=tmp_path)
    assert sim.stats.requests["project.pipelines"] == 3
    assert sim.stats.requests["pipeline.workflows"] == 25


async def test_what_is_not_wanted_costs_no_request_at_the_level_below(tmp_path: Path) -> None:
    world = World(pipelines=20, artifacts=2)
    async with opened(world) as (sim, client):
        await client.download(SLUG, all=True, workflow_names=["deploy*"], to=tmp_path)
        assert sim.stats.requests["pipeline.workflows"] == 20
        assert sim.stats.requests["workflow.jobs"] == 0
        sim.stats.reset()
        await client.download(SLUG, all=True, job_names=["unit *"], to=tmp_path)
        asked = sim.stats.requests["project.job.artifacts"]
        assert 0 < asked <= sim.stats.requests["workflow.jobs"] < 20
        sim.stats.reset()
        await client.download(SLUG, all=True, job_names=["unit *"], statuses=["failed"], all_reruns=True, to=tmp_path)
        assert 0 < sim.stats.requests["project.job.artifacts"] < asked
        sim.stats.reset()
        await client.download(SLUG, all=True, branch="release/1.x", to=tmp_path / "branch")
        assert 0 < sim.stats.requests["pipeline.workflows"] < 10


async def test_nodes_and_sizes_choose_artifacts(tmp_path: Path) -> None:
    world = World(pipelines=0)
    sizes = [0, 99, 100, 101, 5000]
    world.add_job(SLUG, 1, [FakeArtifact(f"{size}.bin", node, size=size) for node in (0, 1, 2) for size in sizes])
    async with opened(world) as (sim, client):
        options = DownloadOptions(nodes=[0, 2], min_size=100, max_size=101)
        report = await client.download(SLUG, job=1, to=tmp_path, options=options)
        assert files(tmp_path) == {f"{node}/{size}.bin" for node in (0, 2) for size in (100, 101)}
        assert report.ok
        assert report.skipped_why == {"smaller than 100 bytes": 4, "larger than 101 bytes": 2}
        assert sim.stats.fetches.total() == 10
    with pytest.raises(ConfigurationError, match="no file has"):
        async with opened(world) as (_, client):
            await client.download(SLUG, job=1, to=tmp_path, options=DownloadOptions(min_size=2, max_size=1))


async def test_shards_are_disjoint_complete_stable_and_agree_on_names(tmp_path: Path) -> None:
    world = World(pipelines=6, artifacts=12)
    async with opened(world) as (_, client):
        layout = "{name}"  # where many want one name
        await client.download(SLUG, all=True, to=tmp_path / "all", options=DownloadOptions(layout=layout))
        parts = []
        for number in (1, 2, 3):
            out = tmp_path / str(number)
            await client.download(
                SLUG, all=True, to=out, options=DownloadOptions(shard=Shard(number, 3), layout=layout)
            )
            parts.append(files(out))
    whole = files(tmp_path / "all")
    assert set.union(*parts) == whole
    assert sum(map(len, parts)) == len(whole)
    assert min(map(len, parts)) > len(whole) / 6


async def test_downloads_begin_long_before_the_listing_ends(tmp_path: Path) -> None:
    world = World(pipelines=300, artifacts=1)
    listed_when_first_stored: list[int] = []
    async with opened(world, latency=0.002) as (sim, client):

        def on_outcome(outcome: Any) -> None:
            if outcome.status == "stored" and not listed_when_first_stored:
                listed_when_first_stored.append(sim.stats.requests["pipeline.workflows"])

        await client.download(SLUG, all=True, to=tmp_path, on_outcome=on_outcome)
        assert sim.stats.requests["pipeline.workflows"] == 300
    assert listed_when_first_stored[0] < 60


async def test_a_reader_that_stops_stops_the_listings() -> None:
    world = World(pipelines=500, artifacts=3)
    async with opened(world) as (sim, client):
        steps = Planner(client._opened, ()).steps(Selection(SLUG, all=True))
        async for step in steps:
            if isinstance(step, Listed):
                break
        asked = -1
        while asked < sim.stats.total:  # what was under way, or in line, comes to its end
            asked = sim.stats.total
            await anyio.sleep(0.5)
        assert asked < 80
        await steps.aclose()


async def test_the_stream_is_the_same_whatever_answers_first() -> None:
    world = World(pipelines=25, artifacts=3)

    async def steps(**settings: Any) -> list[str]:
        async with opened(world, **settings) as (_, client):
            planner = Planner(client._opened, ())
            return [_told(one) async for one in planner.steps(Selection(SLUG, all=True))]

    assert await steps() == await steps(latency=0.003)


def _told(step: Any) -> str:
    match step:
        case Listed(job=job, artifacts=artifacts):
            return f"{job.job_number} {[(artifact.node_index, artifact.path) for artifact in artifacts]}"
        case JobListed(job=job, count=count):
            return f"{job.job_number}: {count}"
        case Skipped(name=name, reason=reason):
            return f"{name}: {reason}"
        case ListingFailed(what=what):
            return what
    raise AssertionError(step)


async def test_since_may_be_an_age(tmp_path: Path) -> None:
    async with opened(World(pipelines=3, artifacts=1)) as (_, client):
        assert (await client.download(SLUG, since=timedelta(days=36500), to=tmp_path)).files


async def test_a_network_that_is_gone_ends_the_listing_too(tmp_path: Path) -> None:
    world = World(pipelines=300, artifacts=1)
    async with Simulator(world) as sim, Client(sim.token, host=sim.url, retry=RetryPolicy(attempts=1)) as client:
        sim.faults.add("drop", match="/workflow", place="api")
        report = await client.download(SLUG, all=True, to=tmp_path)
    assert report.stopped_by is not None
    assert report.failed == 50
