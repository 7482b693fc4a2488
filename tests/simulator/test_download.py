"""A download brings every byte of what was selected, nothing else, to names below the output, and only once."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiocircle import Client, DownloadOptions, ItemOutcome, Report, RetryPolicy
from aiocircle.errors import ConfigurationError, NotFoundError, PartialDownloadError
from aiocircle.events import (
    Event,
    ItemPlanned,
    ListingEnded,
    PageFetched,
    RequestSent,
    TransferEnded,
    TransferProgress,
    TransferStarted,
)
from aiocircle.testing import FakeArtifact, GeneratedArtifacts, Simulator, World

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
KIB, MIB = 1024, 1024 * 1024


def world_of(*artifacts: FakeArtifact, number: int = 1) -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, number, artifacts)
    return world


def client_of(sim: Simulator, **settings: Any) -> Client:
    return Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.01), **settings)


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below an output, the downloader's own ones left out."""
    return {
        str(found.relative_to(root)): found.read_bytes()
        for found in root.rglob("*")
        if found.is_file() and found.relative_to(root).parts[0] != ".aiocircle"
    }


def expected(world: World, number: int, layout: str = "{node}/{path}") -> dict[str, bytes]:
    job = world.job(SLUG, number)
    assert job is not None
    return {
        layout.format(job=number, node=a.node_index, path=a.path): world.artifact_bytes(
            SLUG, number, a.path, a.node_index
        )
        for a in job.artifacts
    }


def surroundings(root: Path, but: Path) -> dict[str, tuple[int, int]]:
    return {
        str(found.relative_to(root)): (found.lstat().st_size, found.lstat().st_mtime_ns)
        for found in root.rglob("*")
        if not found.is_relative_to(but) and found.is_file()
    }


def assert_no_parts(out: Path) -> None:
    assert list((out / ".aiocircle" / "parts").iterdir()) == []


@asynccontextmanager
async def opened(world: World, **settings: Any) -> AsyncIterator[tuple[Simulator, Client]]:
    async with Simulator(world, **settings) as sim, client_of(sim) as client:
        yield sim, client


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: the disk is not what is measured."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    directory = Path(f"/dev/shm/aiocircle-{os.getpid()}-{threading.get_ident()}")
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


# --- every byte ------------------------------------------------------------------------------------------------------


async def test_every_byte_of_a_job_with_parallel_nodes_and_the_same_paths_on_them(tmp_path: Path) -> None:
    world = World.demo(files=60, large=2, large_size=3 * MIB + 5, nodes=4, pipelines=0)
    assert world.demo_job is not None
    number = world.demo_job.number or 0
    wanted = expected(world, number)
    same = Counter(name.partition("/")[2] for name in wanted)
    assert max(same.values()) == 4, "the world should have the same path on all nodes"
    async with opened(world) as (sim, client):
        report = await client.download(SLUG, job=number, to=tmp_path)
        assert tree(tmp_path) == wanted
        assert report.ok
        assert (report.files, report.size) == (62, sum(map(len, wanted.values())))
        assert (report.failed, report.present, report.duplicates, report.jobs) == (0, 0, 0, 1)
        assert set(sim.stats.fetches.values()) == {1}
        assert sim.stats.leaks == 0
    assert_no_parts(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB, 300_001, 2 * MIB, 2 * MIB + 1])
async def test_files_of_every_size_around_the_limits_of_buffers_arrive_whole(tmp_path: Path, size: int) -> None:
    world = world_of(FakeArtifact("a", size=size), FakeArtifact("b", size=size))
    async with opened(world) as (_, client):
        options = DownloadOptions(buffer=64 * KIB)
        report = await client.download(SLUG, job=1, to=tmp_path, options=options)
    assert report.size == 2 * size
    assert tree(tmp_path) == expected(world, 1)


async def test_all_jobs_of_a_workflow_with_approvals_and_jobs_that_never_ran_passed_over(tmp_path: Path) -> None:
    world = World.demo(files=12, large=0, pipelines=0)
    job = world.demo_job
    assert job is not None
    found = world.workflow_of(job)
    assert found is not None
    async with opened(world) as (sim, client):
        report = await client.download(SLUG, workflow=found[1].id, to=tmp_path)
        wanted: dict[str, bytes] = {}
        for one in found[1].jobs:
            if one.number is not None and one.type == "build":
                wanted |= expected(world, one.number, "{job}/{node}/{path}")
        assert len(wanted) > 12
        assert tree(tmp_path) == wanted
        assert report.ok
        assert (report.jobs, report.skipped) == (3, 2)
        assert report.skipped_why == {"an approval has no artifacts": 1, "never ran (blocked)": 1}
        assert sim.stats.requests["project.job.artifacts"] == 3


async def test_a_pipeline_is_its_newest_workflow_of_each_name(tmp_path: Path) -> None:
    world = World(pipelines=8)
    pipeline = world.pipeline(SLUG, 4)
    assert pipeline is not None
    failed, rerun = pipeline.workflows
    assert failed.name == rerun.name
    async with opened(world) as (_, client):
        report = await client.download(SLUG, pipeline=4, to=tmp_path)
    wanted: dict[str, bytes] = {}
    for job in rerun.jobs:
        if job.number is not None and job.type == "build":
            wanted |= expected(world, job.number, "{job}/{node}/{path}")
    assert wanted
    assert tree(tmp_path) == wanted
    assert report.ok


@pytest.mark.parametrize("branch", [None, "main", "feature/größe"])
async def test_the_latest_pipeline_is_the_newest_one_of_the_branch(tmp_path: Path, branch: str | None) -> None:
    world = World(pipelines=0)
    for index, name in enumerate(["main", "feature/größe", "main", "other"]):
        world.add_job(SLUG, 100 + index, [FakeArtifact(f"{index}.txt", size=10)], branch=name)
    async with opened(world) as (_, client):
        await client.download(SLUG, latest=True, branch=branch, to=tmp_path)
    number = {None: 103, "main": 102, "feature/größe": 101}[branch]
    assert tree(tmp_path) == expected(world, number, "{job}/{node}/{path}")


async def test_a_branch_without_a_pipeline_and_a_job_that_is_not_there_are_errors_in_words(tmp_path: Path) -> None:
    async with opened(world_of()) as (_, client):
        with pytest.raises(NotFoundError, match="no pipeline on branch 'nowhere'"):
            await client.download(SLUG, latest=True, branch="nowhere", to=tmp_path / "a")
        with pytest.raises(NotFoundError, match="Job not found"):
            await client.download(SLUG, job=999, to=tmp_path / "b")
        with pytest.raises(ConfigurationError):
            await client.download(SLUG, to=tmp_path / "c")


async def test_a_layout_places_files_by_what_is_known_about_them(tmp_path: Path) -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 5, [FakeArtifact("x/y.txt", 2, size=9)], name="unit tests", branch="feature/x", workflow="ci")
    async with opened(world) as (_, client):
        layout = "{branch}/{workflow_name}/{job_name}-{node_index:03d}/{pipeline_number}/{name}"
        await client.download(SLUG, job=5, to=tmp_path, options=DownloadOptions(layout=layout))
    assert list(tree(tmp_path)) == ["feature%2Fx/ci/unit tests-002/1/y.txt"]


async def test_an_app_project_with_an_opaque_slug_is_downloaded_like_any_other(tmp_path: Path) -> None:
    world = World(pipelines=0)
    slug = list(world.projects)[1]
    world.add_job(slug, 3, [FakeArtifact("x", size=100)])
    async with opened(world) as (_, client):
        await client.download(slug, job=3, to=tmp_path)
    assert tree(tmp_path) == {"0/x": world.artifact_bytes(slug, 3, "x")}


async def test_a_job_without_artifacts_is_a_success_with_nothing_in_it(tmp_path: Path) -> None:
    async with opened(world_of()) as (_, client):
        report = await client.download(SLUG, job=1, to=tmp_path / "out")
    assert report.ok
    assert (report.files, report.jobs) == (0, 1)
    assert tree(tmp_path / "out") == {}


async def test_zero_byte_files_are_files(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}.empty") for n in range(30)])
    async with opened(world) as (sim, client):
        report = await client.download(SLUG, job=1, to=tmp_path)
        again = await client.download(SLUG, job=1, to=tmp_path)
        assert set(sim.stats.fetches.values()) == {1}
    assert tree(tmp_path) == {f"0/{n}.empty": b"" for n in range(30)}
    assert (report.files, report.size, again.present) == (30, 0, 30)


async def test_artifacts_on_an_origin_of_their_own_get_the_token_and_the_storage_never_does(tmp_path: Path) -> None:
    world = world_of(FakeArtifact("x", size=1000))
    async with Simulator(world, artifact_origin=True) as sim:
        async with client_of(sim, artifact_hosts=[sim.artifact_url.partition("//")[2]]) as client:
            assert (await client.download(SLUG, job=1, to=tmp_path / "a")).ok
        async with client_of(sim) as client:
            report = await client.download(SLUG, job=1, to=tmp_path / "b")
            assert [one.code for one in report.failures] == ["authentication"], "an unknown host must not see the token"
        assert sim.stats.leaks == 0
        assert all("Circle-Token" not in one.headers for one in sim.requests if one.origin == "storage")


# --- names -----------------------------------------------------------------------------------------------------------

REFUSED = [
    "..",
    "../escaped",
    "../../escaped",
    "a/../../escaped",
    "a/..",
    "..\\escaped",
    "a\\..\\..\\escaped",
    "",
    "/",
    "a/",
    "x/" * 201 + "deep",
    "/".join(["é" * 120] * 14),
]
MADE_SAFE = {
    "/etc/escaped": "etc/escaped",
    "//host/share/escaped": "host/share/escaped",
    "C:\\Windows\\escaped": "C%3A%5CWindows%5Cescaped",
    "\\\\host\\share": "%5C%5Chost%5Cshare",
    "C:escaped": "C%3Aescaped",
    "nul\0byte": "nul%00byte",
    "new\nline": "new%0Aline",
    "bell\x07\x1b[2J": "bell%07%1B[2J",
    "right\u202eleft": "right%E2%80%AEleft",
    "lone\ud800surrogate": "lone%ED%A0%80surrogate",
    "double//slash": "double/slash",
    "./here": "here",
    "a/./b": "a/b",
}
KEPT = [
    ".hidden",
    "..foo",
    "foo..",
    "a...b",
    "...",
    "-rf",
    "--help",
    "~",
    "~root/x",
    "a b/ c ",
    "trailing dot./x.",
    "100%",
    "%2e%2e/%2E%2E/x",
    "a#b?c&d=e+f",
    "a;b,c|d<e>f*g",
    "CON",
    "aux.c",
    "día/日本語/é/🎉",
    "e\u0301",
    "\u00e9",
    "Case",
    "case",
    "CASE",
    "lock",
    "ledger.sqlite",
    "parts/x",
    ".aiocircle/parts/x",
    "x.part",
    "$(touch escaped)",
    "`touch escaped`",
    "x" * 255,
    "/".join(["deep"] * 150),
]


@pytest.fixture
def odd_world() -> World:
    names = [*REFUSED, *MADE_SAFE, *KEPT, "n" * 300 + ".tar.gz"]
    return world_of(*[FakeArtifact(name, size=50 + index) for index, name in enumerate(names)])


async def test_hostile_names_are_refused_or_made_safe_and_harmless_ones_are_kept(
    tmp_path: Path, odd_world: World
) -> None:
    out = tmp_path / "a" / "b" / "out"
    out.mkdir(parents=True)
    (tmp_path / "a" / "escaped").write_bytes(b"precious")
    before = surroundings(tmp_path, out)
    async with opened(odd_world) as (sim, client):
        report = await client.download(SLUG, job=1, to=out)
        again = await client.download(SLUG, job=1, to=out)
        assert max(sim.stats.fetches.values()) == 1, "what lies there is not fetched again, whatever its name"
        refused = {sim.stats.fetches[1, 0, name] for name in REFUSED}
        assert refused == {0}, "a name that is refused is not worth a request"
    assert surroundings(tmp_path, out) == before
    found = tree(out)
    for name in KEPT:
        assert found.pop(f"0/{name}") == odd_world.artifact_bytes(SLUG, 1, name), name
    for name, safe in MADE_SAFE.items():
        assert found.pop(f"0/{safe}") == odd_world.artifact_bytes(SLUG, 1, name), name
    ((shortened, content),) = found.items()
    assert shortened.startswith("0/nnnn")
    assert shortened.endswith(".tar.gz")
    assert content == odd_world.artifact_bytes(SLUG, 1, "n" * 300 + ".tar.gz")
    assert sorted(str(one.path) for one in report.failures) == sorted(REFUSED)
    assert {one.code for one in report.failures} == {"unsafe_path"}
    assert {one.path for one in report.altered} == {*MADE_SAFE, "n" * 300 + ".tar.gz"}
    assert all(one.note for one in report.altered)
    assert again.present == report.files == len(KEPT) + len(MADE_SAFE) + 1
    with pytest.raises(PartialDownloadError, match=f"{len(REFUSED)} of"):
        report.raise_for_failures()
    assert_no_parts(out)


async def test_with_a_flat_layout_no_name_reaches_the_downloaders_own_files(tmp_path: Path) -> None:
    names = [".aiocircle/lock", ".aiocircle/ledger.sqlite", ".AioCircle/parts/x", ".aiocircle"]
    world = world_of(*[FakeArtifact(name, size=20) for name in names])
    async with opened(world) as (_, client):
        options = DownloadOptions(layout="{path}")
        report = await client.download(SLUG, job=1, to=tmp_path, options=options)
        assert report.ok
        assert report.files == len(names)
        assert {one.partition("/")[0].lower() for one in tree(tmp_path)} == {"%2eaiocircle", *_suffixed(report)}
        assert (await client.download(SLUG, job=1, to=tmp_path, options=options)).present == len(names)


def _suffixed(report: Report) -> set[str]:
    return {one.target.partition("/")[0].lower() for one in report.altered}


async def test_links_in_the_output_are_never_followed(tmp_path: Path) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    (outside / "d").mkdir(parents=True)
    (outside / "file").write_bytes(b"precious")
    (out / "0" / "deep").mkdir(parents=True)
    (out / "0" / "link").symlink_to(outside)
    (out / "0" / "deep" / "link").symlink_to(outside / "d")
    (out / "0" / "final").symlink_to(outside / "file")
    before = surroundings(tmp_path, out)
    names = ["link/x", "link/d/x", "deep/link/x", "final", "fine"]
    world = world_of(*[FakeArtifact(name, size=30) for name in names])
    async with opened(world) as (_, client):
        report = await client.download(SLUG, job=1, to=out)
    assert surroundings(tmp_path, out) == before
    assert sorted(str(one.path) for one in report.failures) == ["deep/link/x", "link/d/x", "link/x"]
    assert {one.code for one in report.failures} == {"unsafe_path"}
    assert not (out / "0" / "final").is_symlink()
    assert report.files == 2


async def test_the_same_artifact_listed_twice_is_fetched_once(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=100) for n in range(45)])
    async with opened(world) as (sim, client):
        sim.faults.add("items-duplicated")
        report = await client.download(SLUG, job=1, to=tmp_path)
        assert set(sim.stats.fetches.values()) == {1}
    assert report.ok
    assert tree(tmp_path) == expected(world, 1)


async def test_artifacts_that_want_one_name_get_different_ones_in_the_order_of_the_listing(tmp_path: Path) -> None:
    stored = [
        FakeArtifact("same", 0, size=10),
        FakeArtifact("same", 1, size=11),
        FakeArtifact("dir", 0, size=12),
        FakeArtifact("dir/file", 0, size=13),
        FakeArtifact("a%00", 0, size=14),
        FakeArtifact("a\0", 0, size=15),
    ]
    world = world_of(*stored)
    async with opened(world) as (sim, client):
        options = DownloadOptions(layout="{path}")
        report = await client.download(SLUG, job=1, to=tmp_path, options=options)
        first = tree(tmp_path)
        again = await client.download(SLUG, job=1, to=tmp_path, options=options)
        assert set(sim.stats.fetches.values()) == {1}
    assert report.ok
    assert sorted(map(len, first.values())) == [10, 11, 12, 13, 14, 15]
    assert (len(first["same"]), len(first["dir"]), len(first["a%00"])) == (10, 12, 14)
    assert sorted(first.values()) == sorted(world.artifact_bytes(SLUG, 1, one.path, one.node_index) for one in stored)
    assert len(report.altered) == 3
    assert again.present == 6
    assert tree(tmp_path) == first


# --- choosing --------------------------------------------------------------------------------------------------------


async def test_globs_choose_what_is_fetched_and_exclusion_wins(tmp_path: Path) -> None:
    names = ["a.txt", "b.log", "logs/c.log", "logs/d.txt", "deep/logs/e.log"]
    world = world_of(*[FakeArtifact(name, size=10) for name in names])
    async with opened(world) as (sim, client):
        options = DownloadOptions(include=["*.log", "a.txt"], exclude=["deep/**"])
        report = await client.download(SLUG, job=1, to=tmp_path, options=options)
        assert {path for _, _, path in sim.stats.fetches} == {"a.txt", "b.log", "logs/c.log"}
    assert set(tree(tmp_path)) == {"0/a.txt", "0/b.log", "0/logs/c.log"}
    assert (report.files, report.failed) == (3, 0)


async def test_a_dry_run_writes_nothing_fetches_nothing_and_says_what_would_be_fetched(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=10) for n in range(45)], FakeArtifact("../x"))
    outcomes: list[ItemOutcome] = []
    async with opened(world) as (sim, client):
        report = await client.download(
            SLUG, job=1, to=tmp_path / "out", options=DownloadOptions(dry_run=True), on_outcome=outcomes.append
        )
        assert sim.stats.requests["output"] == sim.stats.requests["storage"] == 0
    assert list(tmp_path.iterdir()) == []
    assert (report.planned, report.failed, report.files) == (45, 1, 0)
    assert [one.target for one in outcomes if one.status == "planned"] == [f"0/{n}" for n in range(45)]


async def test_a_dry_run_that_is_cut_short_says_so_in_its_report(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=10) for n in range(45)])
    async with opened(world) as (sim, client):
        sim.faults.add("token-revoked", after=1, place="api")
        report = await client.download(SLUG, job=1, to=tmp_path / "out", options=DownloadOptions(dry_run=True))
    assert report.planned == 20
    assert report.stopped_by is not None
    assert report.stopped_by.code == "authentication"
    assert not report.ok


# --- again -----------------------------------------------------------------------------------------------------------


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


# --- flow ------------------------------------------------------------------------------------------------------------


async def test_files_are_fetched_before_the_listing_has_ended_and_the_listing_waits_for_them(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=10) for n in range(600)])
    async with opened(world, log_size=3000) as (sim, client):
        report = await client.download(SLUG, job=1, to=tmp_path, options=DownloadOptions(concurrency=8))
        log = list(sim.requests)
    assert report.files == 600
    listed = begun = 0
    ahead = []
    for request in log:
        listed += 20 * ("/artifacts?" in request.path or request.path.endswith("1/artifacts"))
        begun += request.path.startswith("/output/")
        ahead.append(listed - begun)
    assert (listed, begun) == (600, 600)
    # Eight under way, and three pages: in use, there already, and asked for.
    assert max(ahead) <= 8 + 3 * 20


async def test_at_most_as_many_files_are_in_flight_as_allowed(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=100) for n in range(100)])
    async with opened(world, latency=0.005) as (sim, client):
        await client.download(SLUG, job=1, to=tmp_path, options=DownloadOptions(concurrency=5))
        assert sim.stats.max_in_flight <= 5 + 1, "five files, and the listing"


# --- embedding -------------------------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_events_outcomes_and_report_tell_the_same(tmp_path: Path) -> None:
    sizes = [0, 1, 1000, 64 * KIB, 200 * KIB, 3 * MIB]
    stored = [FakeArtifact(f"{n}", size=size) for n, size in enumerate(sizes)]
    world = world_of(*stored, FakeArtifact("../no", size=5), FakeArtifact("lost", size=5))
    events: list[Event] = []
    outcomes: list[ItemOutcome] = []
    async with Simulator(world) as sim, client_of(sim, on_event=events.append) as client:
        sim.faults.add("cut-body", times=2, match="/5")
        sim.faults.add("forbidden-403", match="/lost")
        options = DownloadOptions(buffer=64 * KIB)
        report = await client.download(SLUG, job=1, to=tmp_path, options=options, on_outcome=outcomes.append)
    received: defaultdict[str, int] = defaultdict(int)
    for event in events:
        if isinstance(event, TransferProgress):
            received[event.target] += event.received
    ended = [event for event in events if isinstance(event, TransferEnded)]
    assert {name: size for name, size in received.items() if size} == {f"0/{n}": s for n, s in enumerate(sizes) if s}
    assert sum(received.values()) == report.size == sum(sizes)
    assert [(one.target, one.status, one.size, one.reason) for one in outcomes] == [
        (one.target, one.status, one.size, one.reason) for one in ended
    ]
    assert Counter(one.status for one in outcomes) == {"stored": report.files, "failed": report.failed}
    assert [one for one in outcomes if one.status == "failed"] == list(report.failures)
    assert (report.files, report.failed) == (6, 2)
    assert [event.total for event in events if isinstance(event, ItemPlanned)] == list(range(1, 8))
    assert [event.total for event in events if isinstance(event, ListingEnded)] == [7]
    assert sum(event.items for event in events if isinstance(event, PageFetched)) == 8
    assert len([event for event in events if isinstance(event, TransferStarted) and event.target == "0/5"]) == 3
    assert report.requests == len([event for event in events if isinstance(event, RequestSent)])


async def test_a_report_may_be_asked_for_while_the_run_goes_on(tmp_path: Path) -> None:
    from aiocircle import Selection
    from aiocircle.slugs import ProjectSlug

    world = world_of(*[FakeArtifact(f"{n}", size=10) for n in range(30)])
    seen: list[int] = []
    async with opened(world) as (_, client):
        selection = Selection(ProjectSlug.parse(SLUG), job=1)
        download = client.download(selection, tmp_path, on_outcome=lambda _: seen.append(download.report.files))
        assert download.report.files == 0
        await download.run()
    assert seen == list(range(1, 31))


async def test_a_run_leaves_no_task_thread_or_descriptor_behind(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"d{n % 9}/{n}", size=n * 3000) for n in range(60)])
    async with opened(world) as (_, client):
        await client.download(SLUG, job=1, to=tmp_path / "warm")
        tasks, before = len(asyncio.all_tasks()), descriptors()
        for number in range(3):
            await client.download(SLUG, job=1, to=tmp_path / str(number))
        assert len(asyncio.all_tasks()) <= tasks
        # Connections stay open for the next request, of client and simulator alike; files and directories do not.
        assert [name for name in _open_files() if str(tmp_path) in name] == []
        assert descriptors() <= before + 8
        await _until(lambda: not _threads())


def _open_files() -> list[str]:
    found = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(one.readlink()))
        except FileNotFoundError:  # the directory's own handle
            continue
    return found


def _threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("aiocircle_")]


async def _until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.001)


# --- measured in a process of its own --------------------------------------------------------------------------------

MEASURED = """
import asyncio, json, sys
from aiocircle import Client, DownloadOptions

def memory(field):  # not what getrusage says, which counts the process that this one was started from
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

async def main(url, token, out, warm_job, job, options):
    async with Client(token, host=url) as client:
        await client.download("gh/acme/web", job=int(warm_job), to=out + "/warm")
        before = memory("VmRSS")
        options = DownloadOptions(**options)
        report = await client.download("gh/acme/web", job=int(job), to=out + "/out", options=options)
        report.raise_for_failures()
        peak = memory("VmHWM")
        told = {name: getattr(report, name) for name in ("files", "size", "planned")}
        print(json.dumps({"grown": peak - before, **told}))

asyncio.run(main(*sys.argv[1:6], json.loads(sys.argv[6])))
"""


async def measured(sim: Simulator, out: Path, job: int, **options: Any) -> dict[str, int]:
    command = [sys.executable, "-c", MEASURED, sim.url, sim.token, str(out), "1", str(job), json.dumps(options)]
    ran = await anyio.run_process(command, stderr=subprocess.PIPE, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    result: dict[str, int] = json.loads(ran.stdout)
    return result


async def test_a_file_of_512_mib_takes_less_than_60_mib_of_memory(roomy: Path) -> None:
    world = world_of(FakeArtifact("warm", size=100_000))
    world.add_job(SLUG, 2, [FakeArtifact("huge.bin", size=512 * MIB)])
    async with Simulator(world) as sim:
        result = await measured(sim, roomy, 2)
    assert result["size"] == 512 * MIB
    assert result["grown"] < 60 * MIB, result
    assert _same(roomy / "out/0/huge.bin", world, 2, "huge.bin")


def _same(file: Path, world: World, job: int, path: str) -> bool:
    content = world.artifact_content(SLUG, job, path)
    with file.open("rb") as found:
        return all(found.read(MIB) == content.read(at, at + MIB) for at in range(0, content.size, MIB))


async def test_a_listing_of_200_000_artifacts_takes_little_memory(tmp_path: Path) -> None:
    world = world_of(FakeArtifact("warm", size=100_000))
    world.add_job(SLUG, 2, GeneratedArtifacts("many", 200_000))
    async with Simulator(world, page_size=1000, log_size=0) as sim:
        result = await measured(sim, tmp_path, 2, dry_run=True)
    assert result["planned"] == 200_000
    # Two hundred bytes a name: the names, to know collisions, in a table that doubles in size, and nothing else.
    assert result["grown"] < 50 * MIB, result


async def test_ten_thousand_small_files_in_one_run(roomy: Path) -> None:
    world = world_of(FakeArtifact("warm", size=100_000))
    world.add_job(SLUG, 2, [FakeArtifact(f"d{n % 100}/{n}.txt", size=n % 200) for n in range(10_000)])
    async with Simulator(world, page_size=1000, log_size=0) as sim:
        result = await measured(sim, roomy, 2)
        assert sim.stats.fetches.total() == 10_001
    assert result["files"] == 10_000
    assert result["grown"] < 60 * MIB, result
    assert tree(roomy / "out") == expected(world, 2)
    assert_no_parts(roomy / "out")
