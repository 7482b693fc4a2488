"""A download brings every byte of what was selected, and nothing else."""

from collections import Counter
from pathlib import Path

import pytest
from downloads import KIB, MIB, SLUG, assert_no_parts, client_of, expected, opened, tree, world_of

from aiocircle import DownloadOptions, ItemOutcome
from aiocircle.errors import ConfigurationError, NotFoundError
from aiocircle.testing import FakeArtifact, Simulator, World

pytestmark = pytest.mark.anyio


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
