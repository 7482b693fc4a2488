"""The ways in which a program cancels what it has begun, at a given turn of the event loop; and what stays open."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
from downloads import SLUG

from aiocircle.testing import FakeArtifact, World

Cancel = Callable[[], object]


class Ticks:
    """Counts the turns of the event loop and calls back at one of them, or at each from then on."""

    def __init__(self, at: int, call: Cancel, *, repeat: bool = False) -> None:
        self.count = 0
        self._at = at
        self._call = call
        self._repeat = repeat
        self._running = True
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        self.count += 1
        if self.count == self._at or (self._repeat and self.count > self._at):
            self._call()
        if self._running:
            self._loop.call_soon(self._tick)

    def stop(self) -> None:
        self._running = False


async def by_task(work: Callable[[], Awaitable[object]], at: int, *, repeat: bool = False) -> bool:
    task = asyncio.ensure_future(work())
    ticks = Ticks(at, task.cancel, repeat=repeat)
    try:
        await task
    except asyncio.CancelledError:
        return True
    finally:
        ticks.stop()
    return False


async def by_task_again_and_again(work: Callable[[], Awaitable[object]], at: int) -> bool:
    return await by_task(work, at, repeat=True)


async def by_scope(work: Callable[[], Awaitable[object]], at: int) -> bool:
    with anyio.CancelScope() as scope:
        ticks = Ticks(at, scope.cancel)
        try:
            await work()
        finally:
            ticks.stop()
    return scope.cancelled_caught


async def by_timeout(work: Callable[[], Awaitable[object]], at: int) -> bool:
    try:
        async with asyncio.timeout(None) as limit:
            ticks = Ticks(at, lambda: limit.reschedule(asyncio.get_running_loop().time()))
            try:
                await work()
            finally:
                ticks.stop()
    except TimeoutError:
        return True
    return False


async def by_failing_neighbour(work: Callable[[], Awaitable[object]], at: int) -> bool:
    failed = asyncio.Event()

    async def fail() -> None:
        await failed.wait()
        raise LookupError

    ticks = Ticks(at, failed.set)
    try:
        async with asyncio.TaskGroup() as group:
            neighbour = group.create_task(fail())
            await group.create_task(work())  # type: ignore[arg-type]
            neighbour.cancel()
    except BaseExceptionGroup as errors:
        return errors.subgroup(LookupError) is not None
    finally:
        ticks.stop()
    return False


async def by_cancelling_every_task(work: Callable[[], Awaitable[object]], at: int) -> bool:
    others = asyncio.all_tasks()

    def cancel() -> None:
        for task in asyncio.all_tasks() - others:
            task.cancel()

    task = asyncio.ensure_future(work())
    ticks = Ticks(at, cancel)
    try:
        await task
    except asyncio.CancelledError:
        return True
    except BaseException as error:  # noqa: BLE001 -- whatever it is, nothing half may remain
        return error is not None
    finally:
        ticks.stop()
    return False


def several_jobs() -> tuple[World, dict[str, bytes]]:
    """Jobs whose listings are under way at the same time, and what their files hold."""
    world = World(pipelines=0)
    content: dict[str, bytes] = {}
    first = None
    for number in range(1, 6):
        stored = [FakeArtifact(f"d{n}/{n}", size=(n % 2) * 200_000 + n) for n in range(2)]
        first = world.add_job(SLUG, number, stored, beside=first)
        content |= {f"{number}/0/{one.path}": world.artifact_bytes(SLUG, number, one.path) for one in stored}
    return world, content


def open_files(below: Path) -> list[str]:
    found = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the directory's own handle
            found.append(str(one.readlink()))
    return [name for name in found if name.startswith(str(below))]
