"""Events, outcomes and report tell the same, and a run leaves nothing behind."""

import asyncio
import gc
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from downloads import KIB, MIB, SLUG, client_of, opened, world_of

from aiocircle import DownloadOptions, ItemOutcome
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
from aiocircle.testing import FakeArtifact, Simulator

pytestmark = pytest.mark.anyio


def descriptors() -> int:
    gc.collect()  # what other tests left is closed now, and not while a test counts
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
        options = DownloadOptions(concurrency=4)
        await client.download(SLUG, job=1, to=tmp_path / "warm", options=options)
        tasks, before = _tasks(), descriptors()
        for number in range(3):
            await client.download(SLUG, job=1, to=tmp_path / str(number), options=options)
        assert _tasks() <= tasks
        # Connections stay open for the next request, of client and simulator alike; files and directories do not.
        assert [name for name in _open_files() if str(tmp_path) in name] == []
        assert descriptors() <= before + 8
        await _until(lambda: not _threads())


def _tasks() -> int:
    """Count all tasks but those in which the simulator serves its connections, of which there may be some more."""
    return sum("RequestHandler" not in repr(task.get_coro()) for task in asyncio.all_tasks())


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
