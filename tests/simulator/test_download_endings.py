"""What ends a run before its end, and what does not."""

import time
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from downloads import SLUG, assert_no_parts, expected, tree
from faulty_downloads import MIB, both, client_of, download, world_of
from refusing_machine import tiny_disk

from aiocircle import Client, ItemOutcome, Timeouts
from aiocircle.errors import (
    AioCircleError,
    AuthenticationError,
    StoreError,
    TransportError,
    UnsafePathError,
)
from aiocircle.events import Event, TransferProgress
from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.testing.records import Job

pytestmark = pytest.mark.anyio


def assert_all_that_is_there_is_right(world: World, out: Path, *, begun: bool = False) -> int:
    """Check every file, and with ``begun`` that what is kept to be continued is the beginning of one."""
    found = tree(out)
    for name, content in found.items():
        node, _, path = name.partition("/")
        assert content == world.artifact_bytes(SLUG, 1, path, int(node)), name
    if begun:
        whole = expected(world, 1)
        for part in (out / ".aiocircle" / "parts").iterdir():
            beginning = part.read_bytes()
            assert any(content.startswith(beginning) for content in whole.values()), part.name
    else:
        assert_no_parts(out)
    return len(found)


async def test_a_token_that_is_revoked_in_mid_run_stops_it_and_the_report_says_so(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=1000) for n in range(300)])
    async with Simulator(world) as sim, client_of(sim) as client:
        revoked = sim.faults.add("token-revoked", after=100, place="artifact")
        report = await download(client, tmp_path, concurrency=8)
        assert revoked.struck <= 8, "nobody goes on asking with a token that is no longer good"
    assert isinstance(report.stopped_by, AuthenticationError)
    assert not report.ok
    assert 85 <= report.files <= 100
    assert 1 <= report.failed <= 8
    assert assert_all_that_is_there_is_right(world, tmp_path) == report.files
    with pytest.raises(AuthenticationError):
        report.raise_for_failures()


async def test_a_token_that_is_revoked_before_the_next_page_stops_the_run_too(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=1000) for n in range(100)])
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add("token-revoked", after=2, place="api")
        report = await download(client, tmp_path)
    assert isinstance(report.stopped_by, AuthenticationError)
    assert report.files <= 40
    assert_all_that_is_there_is_right(world, tmp_path)


async def test_a_wrong_token_is_an_error_and_no_report(tmp_path: Path) -> None:
    async with Simulator(world_of()) as sim, Client("wrong-token", host=sim.url) as client:
        with pytest.raises(AuthenticationError, match="401") as caught:
            await download(client, tmp_path)
    assert "wrong-token" not in repr(caught.value)


async def test_a_listing_that_breaks_after_some_pages_is_a_failure_and_what_it_named_is_fetched(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=100) for n in range(100)])
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add("500", after=2)
        report = await download(client, tmp_path)
    assert (report.files, report.failed, report.stopped_by) == (40, 1, None)
    assert report.failures[0].path == "artifacts of job 1"
    assert report.failures[0].code == "server"
    assert_all_that_is_there_is_right(world, tmp_path)


@pytest.mark.parametrize("fault", ["500", "bad-request", "forbidden-403", "json-shape", "drop"])
async def test_workflows_whose_jobs_cannot_be_listed_are_failures_among_others(tmp_path: Path, fault: str) -> None:
    world = world_of(FakeArtifact("x", size=10))
    job = world.job(SLUG, 1)
    assert job is not None
    broken = more_workflows(world, job)
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add(fault, match="|".join(broken), place="api")
        report = await client.download(SLUG, pipeline=1, to=tmp_path)
    assert (report.files, report.failed, report.stopped_by) == (1, 2, None)
    assert [one.path for one in report.failures] == ["jobs of workflow broken 0", "jobs of workflow broken 1"]


async def test_workflows_and_jobs_that_the_host_forgot_are_skipped_with_that_reason(tmp_path: Path) -> None:
    world = world_of(FakeArtifact("x", size=10))
    job = world.job(SLUG, 1)
    assert job is not None
    world.add_job(SLUG, 2, [FakeArtifact("y", size=10)], beside=job)
    broken = more_workflows(world, job)
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add("expired-404", match="|".join([*broken, "/2/artifacts"]), place="api")
        report = await client.download(SLUG, pipeline=1, to=tmp_path)
    assert (report.files, report.failed, report.ok) == (1, 0, True)
    assert report.skipped_why == {"expired: the host does not know it any more": 3}


def more_workflows(world: World, job: Job) -> list[str]:
    """Give a job's pipeline two more workflows and return their ids."""
    found = world.workflow_of(job)
    assert found is not None
    pipeline, first = found
    more = [
        attrs.evolve(first, id=f"0e1c59b2-8a4d-4a9e-9d3c-2f6f3f9d1a1{n}", name=f"broken {n}", jobs=()) for n in range(2)
    ]
    world._placed[SLUG][pipeline.number] = attrs.evolve(pipeline, workflows=(first, *more))
    return [str(one.id) for one in more]


@pytest.mark.parametrize("size", [20_000, 300_000])
async def test_a_full_disk_stops_the_run_and_the_next_one_goes_on_from_there(tmp_path: Path, size: int) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=size) for n in range(6_000_000 // size)])
    with tiny_disk(tmp_path / "disk", "4m") as disk:
        (disk / "ballast").write_bytes(bytes(2 * MIB))
        async with Simulator(world) as sim, client_of(sim) as client:
            report = await download(client, disk / "out", concurrency=4)
            assert sim.stats.fetches.total() < len(world.job(SLUG, 1).artifacts)  # type: ignore[union-attr]
            assert isinstance(report.stopped_by, StoreError)
            assert "no space left on device" in str(report.stopped_by) or "full" in str(report.stopped_by)
            assert report.files
            # Who is cancelled because another one met the end of the disk keeps what he has.
            assert assert_all_that_is_there_is_right(world, disk / "out", begun=True) == report.files
            (disk / "ballast").unlink()
            second = await download(client, disk / "out", concurrency=4)
            assert second.files
            assert assert_all_that_is_there_is_right(world, disk / "out", begun=True) > report.files


@pytest.mark.parametrize("how", ["refused", "silent"])
async def test_a_host_that_goes_away_in_mid_run_ends_it_in_bounded_time(tmp_path: Path, how: str) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=1000) for n in range(2000)])
    stored: list[ItemOutcome] = []
    async with Simulator(world, page_size=1000) as sim:
        settings: dict[str, Any] = {"timeouts": Timeouts(stall=0.1 if how == "silent" else 5, connect=0.5)}
        async with client_of(sim, **settings) as client, anyio.create_task_group() as group:
            gone = anyio.Event()

            def note(outcome: ItemOutcome) -> None:
                if outcome.status == "stored":
                    stored.append(outcome)
                if len(stored) == 50:
                    gone.set()

            async def go_away() -> None:
                await gone.wait()
                if how == "refused":
                    await sim.close()
                else:
                    sim.faults.add("silence", place="artifact")

            group.start_soon(go_away)
            began = time.monotonic()
            report = await client.download(SLUG, job=1, to=tmp_path, on_outcome=note)
    assert time.monotonic() - began < 15
    assert isinstance(report.stopped_by, TransportError)
    assert report.files >= 50
    assert report.failed < 300, "not every item has to find out for itself"
    assert assert_all_that_is_there_is_right(world, tmp_path) == report.files


async def test_a_few_broken_items_do_not_count_as_a_host_that_is_gone(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{'bad' if n % 2 else 'good'}/{n}", size=100) for n in range(200)])
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add("cut-body", match="/bad/")
        report = await download(client, tmp_path, concurrency=4)
    assert (report.files, report.failed, report.stopped_by) == (100, 100, None)


async def test_progress_of_broken_attempts_is_taken_back(tmp_path: Path) -> None:
    events: list[Event] = []
    async with Simulator(both()) as sim, client_of(sim, on_event=events.append) as client:
        sim.faults.add("cut-body", match="/bad/large")
        report = await download(client, tmp_path)
    progress = [event for event in events if isinstance(event, TransferProgress)]
    assert sum(event.received for event in progress) == report.size
    assert sum(event.received for event in progress if event.target.endswith("large.bin")) == 0
    assert min(event.received for event in progress) < 0


async def test_a_ledger_that_is_damaged_is_an_error_in_words(tmp_path: Path) -> None:
    async with Simulator(both()) as sim, client_of(sim) as client:
        await download(client, tmp_path)
        (tmp_path / ".aiocircle/ledger.sqlite").write_bytes(b"no database " * 1000)
        with pytest.raises(StoreError, match=r"ledger\.sqlite") as caught:
            await download(client, tmp_path)
    assert "remove the file" in (caught.value.hint or "")


async def test_an_output_that_cannot_be_one_is_an_error_in_words_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"keep")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.aiocircle").symlink_to(tmp_path)
    async with Simulator(both()) as sim, client_of(sim) as client:
        for out, kind in [("file", StoreError), ("file/below", StoreError), ("out", UnsafePathError)]:
            with pytest.raises(kind) as caught:
                await download(client, tmp_path / out)
            assert isinstance(caught.value, AioCircleError)
            assert caught.value.hint
        assert sim.stats.total == 0
    assert (tmp_path / "file").read_bytes() == b"keep"
