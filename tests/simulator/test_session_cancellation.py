"""Cancellation at any await leaves no task, connection or place in line behind."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from exchanges import SLUG, artifact_in, listing, world
from raw_host import TOKEN, FastClock, Hang, Part, RawHost, opened, reply

from aiocircle.errors import (
    APIError,
)
from aiocircle.events import RequestSent
from aiocircle.testing import Simulator

pytestmark = pytest.mark.anyio


async def test_cancelling_a_body_that_does_not_come_waits_for_nothing() -> None:
    parts: list[Part] = [reply(200, b"{", Content_Length="100"), Hang()]
    async with RawHost(lambda _: parts) as host, opened(host.url) as seen:
        for number, work in enumerate((seen.get(), seen.bytes_of(f"{host.url}/file")), start=1):
            task = asyncio.ensure_future(work)
            while len([event for event in seen.events if isinstance(event, RequestSent)]) < number:
                await asyncio.sleep(0.001)
            task.cancel()

            done, _ = await asyncio.wait([task], timeout=0.5)

            assert done == {task}
            assert seen.is_idle()


@pytest.fixture
async def debugged() -> None:
    """aiohttp tells of connections that nobody closed only to a loop that is being debugged."""
    asyncio.get_running_loop().set_debug(True)


def tasks_of_ours() -> set[asyncio.Task[object]]:
    """Return all tasks but those in which the simulator accepts and serves connections."""
    serving = ("RequestHandler", "_accept_connection")
    return {task for task in asyncio.all_tasks() if not any(name in repr(task.get_coro()) for name in serving)}


@pytest.mark.parametrize("kind", ["json", "file", "listing", "retried", "refused"])
async def test_cancellation_at_any_moment_leaves_nothing_behind(kind: str, debugged: None) -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        address = await artifact_in(seen)
        sim.faults.add("500", match="/me$")
        sim.faults.add("429-retry-after-seconds", match="/project/gh/acme/web$")
        works: dict[str, Callable[[], Awaitable[object]]] = {
            "json": lambda: seen.client.jobs.get(SLUG, 7),
            "file": lambda: seen.bytes_of(address),
            "listing": lambda: listing(seen).collect(),
            "retried": seen.client.users.me,
            "refused": lambda: seen.client.projects.get(SLUG),
        }
        before = tasks_of_ours()
        cancelled = 0
        for steps in range(120):
            task = asyncio.ensure_future(works[kind]())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            cancelled += task.cancelled()
            assert task.cancelled() or isinstance(task.exception(), APIError | None)
            assert seen.is_idle(), f"after {steps} steps"
            assert tasks_of_ours() == before, f"after {steps} steps"
        assert cancelled > 5
    gc.collect()  # a connection that nobody closed would warn now, and warnings are errors


async def test_cancelled_while_waiting_for_the_limit_gives_the_place_back() -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url, clock=FastClock(1)) as seen:
        sim.faults.add("429-retry-after-seconds", times=1, seconds=60)
        tasks = [asyncio.ensure_future(seen.get()) for _ in range(5)]
        while not any(lane.waits_for == "pause" for lane in seen.limiter.snapshot()):
            await asyncio.sleep(0.001)

        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

        assert seen.is_idle()
