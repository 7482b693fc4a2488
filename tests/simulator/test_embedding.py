"""A download in a program that has other things to do: it takes nothing from it and leaves nothing behind.

Three things are counted before and after: tasks of the event loop, threads, and ``/proc/self/fd``.
"""

import asyncio
import gc
import signal
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from cancelling import (
    Ticks,
    by_scope,
    by_task,
    by_task_again_and_again,
    by_timeout,
    open_files,
    several_jobs,
)
from downloads import SLUG, client_of, tree

from aiocircle import Client, Download, ItemOutcome, Plan
from aiocircle.errors import AioCircleError, ConfigurationError
from aiocircle.testing import KongLimits, Simulator
from aiocircle.testing.pytest_plugin import CircleciFactory

pytestmark = pytest.mark.anyio

Way = Callable[[Callable[[], Awaitable[object]], int], Awaitable[bool]]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)


@pytest.fixture
def simulator(circleci_factory: CircleciFactory) -> Simulator:
    """In a thread of its own: every task of this loop is the service's or ours."""
    return circleci_factory(several_jobs()[0], limits=KongLimits({"second": 5000}))


@pytest.fixture
def content() -> dict[str, bytes]:
    return several_jobs()[1]


def threads() -> Counter[str]:
    """Return the threads by name; those of the loop's own pool (asyncio_0 ...) belong to the loop, which keeps them."""
    return Counter(one.name for one in threading.enumerate() if not one.name.startswith("asyncio_"))


def descriptors() -> int:
    gc.collect()  # what other tests left is closed now, and not while a test counts
    return len(list(Path("/proc/self/fd").iterdir()))


def tasks() -> set["asyncio.Task[Any]"]:
    return {one for one in asyncio.all_tasks() if not one.done()}


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.005)


@asynccontextmanager
async def service(simulator: Simulator) -> AsyncIterator[Client]:
    """A program that has run for a while opens a client, and is as it was when it has closed it."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with client_of(simulator) as client:  # what is loaded or begun once, at the first use
        await client.users.me()
    await asyncio.to_thread(gc.collect)
    before, its_threads, its_descriptors = tasks(), threads(), descriptors()
    async with client_of(simulator) as client:
        await client.users.me()
        opened = tasks()
        yield client
        await asyncio.sleep(0)  # a task of the run may have its last turn still before it, but not more
        assert tasks() == opened
    assert tasks() == before
    gc.collect()  # whatever was forgotten complains now, and complaints are errors
    # Threads end, and the simulator closes its side of connections, a moment later.
    await until(lambda: threads() <= its_threads)  # one that an earlier test left may end meanwhile
    await until(lambda: descriptors() <= its_descriptors)
    assert faults == []


def moments(count: int) -> list[int]:
    """Return turns of the loop to cancel at: all of the first, and then some up to where the end is likely to be."""
    return [*range(1, 12), *range(12, count, max(1, count // 30))]


async def planned(client: Client) -> Plan:
    return await client.artifacts.plan(SLUG, latest=True)


async def followed(client: Client, out: Path, seen: list[ItemOutcome] | None = None) -> Download:
    async with client.download(await planned(client), out) as run:
        async for item in run:
            if seen is not None:
                seen.append(item)
    return run


async def test_a_plan_is_made_carried_out_and_followed(
    simulator: Simulator, content: dict[str, bytes], tmp_path: Path
) -> None:
    seen: list[ItemOutcome] = []
    async with service(simulator) as client:
        run = await followed(client, tmp_path, seen)
    assert tree(tmp_path) == content
    assert run.report.files == len(content) == len(seen)
    assert {item.target: item.size for item in seen} == {name: len(data) for name, data in content.items()}


def state(module: ModuleType) -> dict[str, object]:
    """Return what a module's names stand for, and what its containers hold."""
    return {
        name: value.copy() if isinstance(value, dict | list | set) else id(value)
        for name, value in vars(module).items()
        if not isinstance(value, ModuleType) and name != "__builtins__"
    }


def states() -> dict[str, dict[str, object]]:
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "aiocircle"}
    return {name: state(module) for name, module in ours.items() if not name.startswith("aiocircle.testing")}


async def test_the_program_goes_on_and_neither_its_signals_nor_any_modules_state_are_touched(
    simulator: Simulator, tmp_path: Path
) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    async with client_of(simulator) as client:  # as ``service`` and the run below will, so that all is loaded
        await client.users.me()
        await followed(client, tmp_path / "warm")
    handlers, globals_before = [signal.getsignal(number) for number in SIGNALS], states()
    heart = asyncio.ensure_future(beat())
    async with service(simulator) as client:
        begun = beats
        async with client.download(await planned(client), tmp_path / "out") as run:
            async for _item in run:
                assert [signal.getsignal(number) for number in SIGNALS] == handlers
        assert beats - begun > 20
        assert signal.set_wakeup_fd(-1) == -1
    assert [signal.getsignal(number) for number in SIGNALS] == handlers
    assert states() == globals_before
    heart.cancel()


@pytest.mark.parametrize("cancelled", [by_task, by_task_again_and_again, by_scope, by_timeout])
async def test_a_cancellation_at_any_await_leaves_nothing_and_the_next_run_completes_it(
    simulator: Simulator, content: dict[str, bytes], tmp_path: Path, cancelled: Way
) -> None:
    async with service(simulator) as client:
        ticks = Ticks(0, lambda: None)
        await followed(client, tmp_path / "whole")
        ticks.stop()
        before, met, out = tasks(), 0, tmp_path
        for at in moments(ticks.count):
            out = tmp_path / str(at)
            met += await cancelled(lambda out=out: followed(client, out), at)  # type: ignore[misc]
            await asyncio.sleep(0)
            assert tasks() == before, at
            assert open_files(tmp_path) == [], at
            assert not out.exists() or tree(out).items() <= content.items(), at
        assert met > 15, "most of the moments should have been before the end"
        assert (await followed(client, out)).report.ok
        assert tree(out) == content


async def test_deadlines_end_a_run_that_would_not_end(simulator: Simulator, tmp_path: Path) -> None:
    async with service(simulator) as client:
        plan = await planned(client)
        simulator.faults.add("stall", match="/d1/")
        with anyio.move_on_after(0.3) as scope:
            async with client.download(plan, tmp_path / "scope") as run:
                async for _item in run:
                    pass
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), client.download(plan, tmp_path / "timeout"):
                pass
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.download(plan, tmp_path / "awaited").run(), 0.3)
        assert open_files(tmp_path) == []
    assert 0 < run.report.files < 10


async def stumbled(download: Download, after: int) -> None:
    async with download as run:
        async for _item in run:
            if (after := after - 1) < 0:
                raise LookupError("the consumer's own")


async def test_an_exception_in_the_consumers_block_cancels_the_run_and_is_what_is_raised(
    simulator: Simulator, content: dict[str, bytes], tmp_path: Path
) -> None:
    async with service(simulator) as client:
        plan = await planned(client)
        simulator.faults.add("stall", match="/d1/")
        for number in range(3):
            with pytest.raises(LookupError, match="the consumer's own"):
                await stumbled(client.download(plan, tmp_path / str(number)), number)
            assert open_files(tmp_path) == []
            assert tree(tmp_path / str(number)).items() <= content.items()


async def test_who_stops_reading_leaves_the_block_when_all_is_there(
    simulator: Simulator, content: dict[str, bytes], tmp_path: Path
) -> None:
    async with service(simulator) as client:
        async with client.download(await planned(client), tmp_path) as run:
            async for _item in run:
                break
        assert run.report.files == len(content)
    assert tree(tmp_path) == content


async def test_two_downloads_at_once_share_a_client_and_one_may_be_cancelled(
    simulator: Simulator, content: dict[str, bytes], tmp_path: Path
) -> None:
    async with service(simulator) as client:
        plan = await planned(client)
        reports = await asyncio.gather(*[client.download(plan, tmp_path / name).run() for name in ("a", "b")])
        assert [report.files for report in reports] == [len(content)] * 2
        for at in (20, 60, 120):
            other = asyncio.ensure_future(followed(client, tmp_path / f"whole{at}"))
            await by_task(lambda at=at: followed(client, tmp_path / f"cancelled{at}"), at)  # type: ignore[misc]
            assert (await other).report.files == len(content)
            assert tree(tmp_path / f"whole{at}") == content
    assert tree(tmp_path / "a") == tree(tmp_path / "b") == content


async def test_a_run_that_is_given_up_before_or_after_it_was_read_is_forgotten(
    simulator: Simulator, tmp_path: Path
) -> None:
    async with service(simulator) as client:
        plan = await planned(client)
        client.download(plan, tmp_path / "never begun")
        async with client.download(plan, tmp_path / "read late") as run:
            pass
        assert [item async for item in run] == []
        with pytest.raises(ConfigurationError, match="once"):
            await run
        with pytest.raises(ConfigurationError, match="not begun"):
            aiter(client.download(plan, tmp_path))
    assert not (tmp_path / "never begun").exists()


@pytest.mark.timeout(180)  # as many runs as one of them has turns of the loop
async def test_a_plan_is_cancelled_at_any_await(simulator: Simulator) -> None:
    async with service(simulator) as client:
        ticks = Ticks(0, lambda: None)
        await planned(client)
        ticks.stop()
        before = tasks()
        met = 0
        for at in range(1, ticks.count):
            met += await by_task(lambda: planned(client), at)
            assert tasks() == before, at
        assert met > 5


async def test_a_client_that_is_closed_under_a_run_ends_it(simulator: Simulator, tmp_path: Path) -> None:
    before = tasks()
    simulator.faults.add("stall", match="/d1/")
    async with client_of(simulator) as client:
        running = asyncio.ensure_future(followed(client, tmp_path))
        await until(lambda: len(tree(tmp_path)) > 1)
    with anyio.fail_after(10):
        with pytest.raises(AioCircleError):
            (await running).report.raise_for_failures()
    await until(lambda: tasks() == before)
    assert open_files(tmp_path) == []
