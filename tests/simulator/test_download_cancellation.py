"""A download that is cancelled by the program it is part of, at any moment."""

import asyncio
import gc
import random
import signal
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from cancelling import (
    by_cancelling_every_task,
    by_failing_neighbour,
    by_scope,
    by_task,
    by_task_again_and_again,
    by_timeout,
    open_files,
    several_jobs,
)
from downloads import SLUG, tree
from killed_downloads import KIB, client_of, download, mixed, parts_of, until, wanted

from aiocircle import Client, DownloadOptions, Report
from aiocircle.events import Event
from aiocircle.testing import Simulator
from aiocircle.testing.pytest_plugin import CircleciFactory

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "cancelled",
    [by_task, by_task_again_and_again, by_scope, by_timeout, by_failing_neighbour, by_cancelling_every_task],
)
async def test_a_cancellation_at_any_moment_leaves_no_half_file_no_part_no_task_and_no_descriptor(
    tmp_path: Path, circleci_factory: CircleciFactory, cancelled: Callable[..., Awaitable[bool]]
) -> None:
    world, content = several_jobs()
    sim = circleci_factory(world, page_size=1)
    met = 0

    async def download(client: Client, out: Path) -> Report:
        return await client.download(SLUG, latest=True, to=out, options=DownloadOptions(buffer=64 * KIB))

    async with client_of(sim) as client:
        await download(client, tmp_path / "warm")
        tasks = asyncio.all_tasks()
        for at in [*range(1, 30), *sorted(random.sample(range(30, 900), 20))]:
            out = tmp_path / str(at)
            met += await cancelled(lambda out=out: download(client, out), at)
            # A task of the run may have its last turn still before it, but not more.
            await asyncio.sleep(0)
            left = {task for task in asyncio.all_tasks() - tasks if not task.done()}
            assert not left, (at, left)
            assert tree(out).items() <= content.items() if out.exists() else True, at
            assert all("-" in name for name in parts_of(out)), at
            assert open_files(out) == [], at
            if at % 10 == 0:
                report = await download(client, out)
                assert report.ok
                assert tree(out) == content
        gc.collect()  # whatever was forgotten complains now, and complaints are errors
    assert met > 25, "most of the moments should have been before the end"


async def test_listings_that_are_under_way_end_with_the_run(tmp_path: Path, circleci_factory: CircleciFactory) -> None:
    world, content = several_jobs()
    sim = circleci_factory(world)
    silent = sim.faults.add("silence", match="/artifacts")
    async with client_of(sim) as client:
        tasks = asyncio.all_tasks()
        async with anyio.create_task_group() as group:
            group.start_soon(client.download(SLUG, latest=True, to=tmp_path).run)
            await until(lambda: silent.struck >= 2)
            group.cancel_scope.cancel()
        assert [task for task in asyncio.all_tasks() - tasks if not task.done()] == []
        sim.faults.clear()
        assert (await client.download(SLUG, latest=True, to=tmp_path)).ok
    assert tree(tmp_path) == content


async def test_a_download_that_was_cancelled_can_be_followed_by_another_one_of_the_same_client(tmp_path: Path) -> None:
    world = mixed(30)
    async with Simulator(world) as sim, client_of(sim) as client:
        stalled = sim.faults.add("stall", match="/d1/")
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(download, client, tmp_path)
                await until(lambda: stalled.struck > 2)
                scope.cancel()
        sim.faults.clear()
        assert all("-" in name for name in parts_of(tmp_path)), "only what can be continued is kept"
        assert (await download(client, tmp_path)).ok
    assert tree(tmp_path) == wanted(world)
    assert parts_of(tmp_path) == []


async def test_an_error_of_the_callers_own_callback_ends_the_run_as_cleanly(tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise LookupError("the caller's own")

    world = mixed(30)
    async with Simulator(world) as sim, client_of(sim) as client:
        tasks = asyncio.all_tasks()
        with pytest.raises(BaseException) as caught:
            await client.download(SLUG, job=1, to=tmp_path, on_outcome=fail)
        await asyncio.sleep(0)
        assert "the caller's own" in repr(caught.value)
        ours = [task for task in asyncio.all_tasks() - tasks if "aiocircle/download" in repr(task)]
        assert ours == []
        assert parts_of(tmp_path) == []
        assert open_files(tmp_path) == []
        assert tree(tmp_path).items() <= wanted(world).items()


async def test_no_signal_handler_is_installed_and_no_thread_stays(tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
    before = [signal.getsignal(number) for number in numbers]
    during: list[list[Any]] = []
    threads: list[int] = []

    def look(_: Event) -> None:
        during.append([signal.getsignal(number) for number in numbers])
        threads.append(len(_threads()))

    async with Simulator(mixed(30)) as sim, client_of(sim, on_event=look) as client:
        await download(client, tmp_path)
        await until(lambda: not _threads())
    assert all(handlers == before for handlers in during)
    assert max(threads) <= 4


def _threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("aiocircle_")]
