"""The contestants. Each gives a job up after ``TRIES`` tries."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from aiocircle.errors import WaitTooLongError
from aiocircle.ratelimit.limiter import Permit, RateLimiter, Route
from benchmarks.limits.trial import TRIES, Answer, Contestant, Job, LostError, World

__all__ = ["CONTESTANTS", "AioCircle"]

REFUSED = frozenset({429, 503})
ORIGIN = "https://server.test"
_KEEPS_ITS_PLACE = "again" in inspect.signature(RateLimiter.acquire).parameters


class AioCircle:
    """The limiter of this project, told nothing; a refused request asks again with its old permit."""

    def __init__(self, world: World) -> None:
        """Begin with an empty limiter."""
        self.limiter = RateLimiter(clock=world.clock, random=world.random.random, on_event=lambda _: None)

    async def fetch(self, job: Job) -> None:
        """Send a job until it is accepted, or give up."""
        permit: Permit | None = None
        for _ in range(TRIES):
            again: dict[str, Any] = {"again": permit} if permit is not None and _KEEPS_ITS_PLACE else {}
            try:
                permit = await self.limiter.acquire(Route(ORIGIN, job.route), max_wait=100_000, **again)
            except WaitTooLongError:
                return
            try:
                answer = await job.send()
            except LostError:
                self.limiter.lost(permit)
                permit = None
                continue
            self.limiter.answered(permit, answer.status, answer.headers)
            if answer.status not in REFUSED:
                return


class Naive:
    """No limiter: everything at once, and exponential backoff with full jitter after a refusal."""

    def __init__(self, world: World) -> None:
        """Begin."""
        self._random = world.random

    async def fetch(self, job: Job) -> None:
        """Send a job until it is accepted, or give up."""
        for attempt in range(TRIES):
            if await _accepted(job):
                return
            await asyncio.sleep(self._random.uniform(0, min(60.0, 0.5 * 2**attempt)))


CONTESTANTS: Mapping[str, Callable[[World], Contestant]] = {"aiocircle": AioCircle, "naive": Naive}


async def _accepted(job: Job) -> bool:
    try:
        answer: Answer = await job.send()
    except LostError:
        return False
    return answer.status not in REFUSED
