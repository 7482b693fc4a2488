"""What the limiter itself costs: processor time per request, and how often it wakes while it waits."""

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from random import Random

from aiocircle.ratelimit.limiter import RateLimiter, Route
from benchmarks.limits.counters import FixedWindow, Steps
from benchmarks.limits.dialects import kong
from benchmarks.limits.virtual import VirtualClock, VirtualLoop, run

__all__ = ["print_costs"]

WAITING = 32
STARTING, REQUESTS = 5_000, 20_000
ROUTE = Route("https://server.test", "/project/{slug}/pipeline")


def print_costs(rounds: int = 7) -> None:
    """Measure and print both."""
    costs, bare = [], []
    for _ in range(rounds):
        costs.append(run(_microseconds))
        bare.append(run(_bare_microseconds))
    whole, loop = statistics.median(costs), statistics.median(bare)
    print(
        f"acquire and answered with {WAITING} requests waiting: {whole:.1f} us of processor time each "
        f"(median of {rounds}; {min(costs):.1f} to {max(costs):.1f}), of which the event loop's own {loop:.1f}: "
        f"{whole - loop:.1f} us"
    )
    windows = statistics.median(run(_limited_microseconds) for _ in range(rounds))
    alone = statistics.median(run(_unlimited_microseconds) for _ in range(rounds))
    print(
        f"the same where windows of a second hold them back, 200 requests each: {windows:.1f} us, of which without a "
        f"limiter {alone:.1f}: {windows - alone:.1f} us"
    )
    print(f"timers that woke it while it waited for a reset: {run(_wakes):.3f} a second")


async def _microseconds(loop: VirtualLoop) -> float:
    """Return the cost of a request where there is always room and answers come back at once, in the order sent.

    The event loop's own work of waking the waiting tasks is part of it; making the headers is not. Time is virtual, so
    that a slow start is not waited out, but the processor's is real. What comes before the start is over is left out.
    """
    start = 1_795_392_000.0
    limiter = RateLimiter(clock=VirtualClock(loop, start), random=Random(0).random, on_event=lambda _: None)
    counter = FixedWindow(Steps.constant(1_000_000), 3600.0)
    answers = []
    for _ in range(STARTING + REQUESTS):
        counter.charge(start)
        answers.append(kong([counter], start, False))
    answers.reverse()

    async def work(queue: Iterator[int]) -> None:
        for _ in queue:
            permit = await limiter.acquire(ROUTE, max_wait=7200)
            await asyncio.sleep(0)
            limiter.answered(permit, 200, answers.pop())

    spent = 0.0
    for requests in (STARTING, REQUESTS):
        queue = iter(range(requests))
        began = time.process_time()
        await asyncio.gather(*(work(queue) for _ in range(WAITING)))
        spent = time.process_time() - began
    limiter.close()
    return spent / REQUESTS * 1e6


async def _bare_microseconds(loop: VirtualLoop) -> float:
    """Return what the same line costs without any judgement: a future and a timer for each request, one at a time."""
    waiting: deque[asyncio.Future[None]] = deque()
    timer: asyncio.TimerHandle | None = None

    def ring() -> None:
        nonlocal timer
        waiting.popleft().set_result(None)
        timer = loop.call_later(1e-3, ring) if waiting else None

    async def work(queue: Iterator[int]) -> None:
        nonlocal timer
        for _ in queue:
            turn: asyncio.Future[None] = loop.create_future()
            waiting.append(turn)
            if timer is None:
                timer = loop.call_later(1e-3, ring)
            await turn
            await asyncio.sleep(0)

    queue = iter(range(REQUESTS))
    began = time.process_time()
    await asyncio.gather(*(work(queue) for _ in range(WAITING)))
    return (time.process_time() - began) / REQUESTS * 1e6


async def _limited_microseconds(loop: VirtualLoop) -> float:
    return await _in_windows(loop, limited=True)


async def _unlimited_microseconds(loop: VirtualLoop) -> float:
    return await _in_windows(loop, limited=False)


async def _in_windows(loop: VirtualLoop, *, limited: bool) -> float:
    """Return the cost of a request where 32 wait all the time beside those that a window of a second lets go.

    What the host and its headers cost is left out.
    """
    limit = 200
    clock = VirtualClock(loop, 1_795_392_000.0)
    limiter = RateLimiter(clock=clock, random=Random(0).random, on_event=lambda _: None)
    counter = FixedWindow(Steps.constant(limit), 1.0)
    host = 0.0

    async def work(queue: Iterator[int]) -> None:
        nonlocal host
        for _ in queue:
            permit = await limiter.acquire(ROUTE, max_wait=7200) if limited else None
            await asyncio.sleep(0.01)
            began = time.process_time()
            counter.charge(clock.wall())
            headers = kong([counter], clock.wall(), False)
            host += time.process_time() - began
            if permit is not None:
                limiter.answered(permit, 200, headers)

    queue = iter(range(REQUESTS))
    began = time.process_time()
    await asyncio.gather(*(work(queue) for _ in range(limit + WAITING)))
    spent = time.process_time() - began - host
    limiter.close()
    return spent / REQUESTS * 1e6


class _CountingClock(VirtualClock):
    """Counts the timers that went off."""

    wakes = 0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        def wake() -> None:
            self.wakes += 1
            callback()

        return super().call_later(seconds, wake)

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self.wakes += 1


async def _wakes(loop: VirtualLoop) -> float:
    """Return the timers per second from the exhaustion of an hour's window to shortly before its end."""
    clock = _CountingClock(loop, 1_795_392_000.0)
    limiter = RateLimiter(clock=clock, random=Random(0).random, on_event=lambda _: None)
    counter = FixedWindow(Steps.constant(20), 3600.0)

    async def work() -> None:
        permit = await limiter.acquire(ROUTE, max_wait=7200)
        counter.charge(clock.wall())
        await asyncio.sleep(0.01)
        limiter.answered(permit, 200, kong([counter], clock.wall(), False))

    tasks = [asyncio.ensure_future(work()) for _ in range(20 + WAITING)]
    await asyncio.sleep(600)
    before = clock.wakes
    await asyncio.sleep(2400)
    woken = clock.wakes - before
    for task in tasks:
        task.cancel()
    limiter.close()
    return woken / 2400
