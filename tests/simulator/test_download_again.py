"""What is there and complete is fetched only once; what was damaged is mended."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest
from downloads import MIB, SLUG, expected, opened, surroundings, tree, world_of

from aiocircle import Client, DownloadOptions, Report
from aiocircle.download.missing import missing_in
from aiocircle.errors import ConfigurationError
from aiocircle.testing import FakeArtifact, World

pytestmark = pytest.mark.anyio


async def test_a_second_run_fetches_nothing_and_says_that_all_is_there(tmp_path: Path) -> None:
    world = World.demo(files=200, large=1, large_size=2 * MIB, pipelines=0)
    number = (world.demo_job.number or 0) if world.demo_job else 0
    async with opened(world) as (sim, client):
        first = await client.download(SLUG, job=number, to=tmp_path)
        before = surroundings(tmp_path, tmp_path / ".aiocircle")
        sim.stats.reset()
        second = await client.download(SLUG, job=number, to=tmp_path)
        assert sim.stats.requests["output"] == sim.stats.requests["storage"] == 0
    assert (second.files, second.present, second.ok) == (0, first.files, True)
    assert surroundings(tmp_path, tmp_path / ".aiocircle") == before


async def test_a_file_that_was_cut_removed_or_replaced_by_a_link_is_mended_and_no_other_is_fetched(
    tmp_path: Path,
) -> None:
    world = world_of(*[FakeArtifact(f"d/{n}", size=1000 + n) for n in range(20)])
    async with opened(world) as (sim, client):
        await client.download(SLUG, job=1, to=tmp_path)
        with (tmp_path / "0/d/3").open("rb+") as file:
            file.truncate(500)
        (tmp_path / "0/d/4").unlink()
        (tmp_path / "0/d/5").rename(tmp_path / "elsewhere")
        (tmp_path / "0/d/5").symlink_to(tmp_path / "elsewhere")
        with (tmp_path / "0/d/6").open("ab") as file:
            file.write(b"more")
        sim.stats.reset()
        report = await client.download(SLUG, job=1, to=tmp_path)
        assert {path for _, _, path in sim.stats.fetches} == {"d/3", "d/4", "d/5", "d/6"}
    assert (report.files, report.present) == (4, 16)
    (tmp_path / "elsewhere").unlink()
    assert tree(tmp_path) == expected(world, 1)
    assert not (tmp_path / "0/d/5").is_symlink()


async def test_another_layout_brings_the_files_to_other_names_and_takes_none_for_them(tmp_path: Path) -> None:
    world = world_of(FakeArtifact("a", 0, size=10), FakeArtifact("a", 1, size=10), FakeArtifact("1/a", 0, size=10))
    async with opened(world) as (_, client):
        await client.download(SLUG, job=1, to=tmp_path)
        first = tree(tmp_path)
        report = await client.download(SLUG, job=1, to=tmp_path, options=DownloadOptions(layout="{path}"))
    assert report.files == 3, "1/a was another artifact's name before"
    found = tree(tmp_path)
    assert found["a"] == first["0/a"]
    assert found["1/a"] == world.artifact_bytes(SLUG, 1, "1/a") != first["1/a"]


async def test_another_job_at_the_same_names_is_fetched_although_sizes_are_the_same(tmp_path: Path) -> None:
    world = world_of(FakeArtifact("a", size=10))
    world.add_job(SLUG, 2, [FakeArtifact("a", size=10)])
    async with opened(world) as (_, client):
        await client.download(SLUG, job=1, to=tmp_path)
        report = await client.download(SLUG, job=2, to=tmp_path)
    assert report.files == 1
    assert tree(tmp_path) == expected(world, 2)


async def test_an_output_of_another_host_is_left_alone(tmp_path: Path) -> None:
    ours, theirs = (world_of(FakeArtifact("report.xml", body=bytes([n]) * 100)) for n in range(2))
    async with opened(ours) as (_, client):
        assert (await client.download(SLUG, job=1, to=tmp_path)).ok
    before = surroundings(tmp_path, but=tmp_path / ".aiocircle")
    async with opened(theirs) as (sim, client):
        with pytest.raises(ConfigurationError, match=f"files of http.*, and this download is of {sim.url}$"):
            await client.download(SLUG, job=1, to=tmp_path)
    assert tree(tmp_path) == expected(ours, 1)
    assert surroundings(tmp_path, but=tmp_path / ".aiocircle") == before


async def test_who_asked_another_host_by_mistake_may_go_on_in_the_same_output(tmp_path: Path) -> None:
    world = world_of(FakeArtifact("report.xml", size=1000))
    async with opened(world) as (sim, client):
        sim.faults.add("cut-body", place="storage")
        assert (await client.download(SLUG, job=1, to=tmp_path)).failed == 1
    async with opened(world) as (_, client):
        assert (await client.download(SLUG, job=1, to=tmp_path)).files == 1
    assert not (await anyio.to_thread.run_sync(missing_in, tmp_path)).failures


async def test_two_outputs_at_once_with_one_client(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=5000) for n in range(60)])
    world.add_job(SLUG, 2, [FakeArtifact(f"{n}", size=6000) for n in range(60)])
    async with opened(world) as (_, client):
        one, two = await asyncio.gather(
            client.download(SLUG, job=1, to=tmp_path / "1"), client.download(SLUG, job=2, to=tmp_path / "2")
        )
    assert one.files == two.files == 60
    assert tree(tmp_path / "1") == expected(world, 1)
    assert tree(tmp_path / "2") == expected(world, 2)


async def missing_of(client: Client, out: Path) -> Report:
    missing = await anyio.to_thread.run_sync(missing_in, out)
    return await client.prepare_failed(missing, out).run()


def two_jobs() -> World:
    world = world_of(FakeArtifact("a.txt", size=10), FakeArtifact("b.bin", size=20))
    first = world.job(SLUG, 1)
    world.add_job(SLUG, 2, [FakeArtifact("c.txt", size=30)], beside=first)
    return world


@pytest.mark.parametrize("fails_again", [False, True])
async def test_a_run_that_wants_less_of_a_listing_that_failed_takes_nothing_off_the_next_retry(
    tmp_path: Path, fails_again: bool
) -> None:
    world = two_jobs()
    async with opened(world) as (sim, client):
        sim.faults.add("500", match=r"/1/artifacts$", place="api")
        assert (await client.download(SLUG, all=True, to=tmp_path)).failed == 1
        if not fails_again:
            sim.faults.clear()
        await client.download(SLUG, all=True, to=tmp_path, options=DownloadOptions(include=["*.txt"]))
        sim.faults.clear()
        report = await missing_of(client, tmp_path)
        assert report.ok
        assert tree(tmp_path) == expected(world, 1, "{job}/{node}/{path}") | expected(world, 2, "{job}/{node}/{path}")
        assert not (await anyio.to_thread.run_sync(missing_in, tmp_path)).failures


@pytest.mark.parametrize("selection", [{"job": 1}, {"all": True}])
async def test_one_job_of_a_workflow_that_could_not_be_listed_tells_nothing_of_its_others(
    tmp_path: Path, selection: dict[str, Any]
) -> None:
    world = two_jobs()
    options = DownloadOptions(layout="{workflow_name}/{job_number}/{path}")
    async with opened(world) as (sim, client):
        sim.faults.add("500", match="/workflow/[^/]*/job$", place="api")
        assert (await client.download(SLUG, all=True, to=tmp_path, options=options)).failed == 1
        sim.faults.clear()
        assert (await client.download(SLUG, to=tmp_path, options=options, **selection)).ok
        left = (await anyio.to_thread.run_sync(missing_in, tmp_path)).failures
        assert len(left) == ("job" in selection), "who asks for all of it knows that nothing is missing"
        assert (await missing_of(client, tmp_path)).ok
        layout = "build-and-test/{job}/{path}"
        assert tree(tmp_path) == expected(world, 1, layout) | expected(world, 2, layout)
        assert not (await anyio.to_thread.run_sync(missing_in, tmp_path)).failures


def listed_twice(query: str = "") -> World:
    """A job whose listing has one path twice, by two addresses."""
    world = World(pipelines=0)
    stored = world.add_job(SLUG, 2, [FakeArtifact("p", body=b"first"), FakeArtifact("q", body=b"second")])
    address = f"{{artifact}}/output/job/{stored.id}/artifacts/0/"
    world.add_job(SLUG, 1, [FakeArtifact("x", url=f"{address}{name}{query}") for name in ("p", "q")])
    return world


@pytest.mark.parametrize("failing", ["/p$", "/q$", "/[pq]$"])
async def test_a_retry_of_one_of_two_addresses_of_a_path_fetches_from_that_one(tmp_path: Path, failing: str) -> None:
    async with opened(listed_twice()) as (sim, client):
        assert (await client.download(SLUG, job=1, to=tmp_path / "at once")).files == 2
        wanted = tree(tmp_path / "at once")
        sim.faults.add("forbidden-403", match=failing, place="artifact")
        assert not (await client.download(SLUG, job=1, to=tmp_path / "twice")).ok
        sim.faults.clear()
        assert (await missing_of(client, tmp_path / "twice")).ok
        assert tree(tmp_path / "twice") == wanted


async def test_no_name_follows_from_the_query_of_an_address(tmp_path: Path) -> None:
    """A plan keeps no query, and one that signs is another one each time."""
    async with opened(listed_twice("?signature=1")) as (_, client):
        await client.download(SLUG, job=1, to=tmp_path)
        report = await client.download(await client.artifacts.plan(SLUG, job=1), to=tmp_path)
    assert (report.files, report.present) == (0, 2)
    assert sorted(tree(tmp_path).values()) == [b"first", b"second"]
