"""The contestants. Each gives a job up after ``TRIES`` tries."""

import asyncio
import importlib
import inspect
import random
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from aiocircle.errors import WaitTooLongError
from aiocircle.ratelimit.limiter import Permit, RateLimiter, Route
from benchmarks.limits.cache import python_packages
from benchmarks.limits.trial import TRIES, Answer, Contestant, Job, LostError, World

__all__ = ["CONTESTANTS", "AioCircle"]

PEERS = ("tenacity==9.2.1", "aiolimiter==1.3.0")
REFUSED = frozenset({429, 503})
ORIGIN = "https://server.test"
_KEEPS_ITS_PLACE = "again" in inspect.signature(RateLimiter.acquire).parameters


class AioCircle:
    """The limiter of this project, told nothing; a refused request asks again with its old permit.

    Not ``metered``, it takes the server for a host of files.
    """

    def __init__(self, world: World, *, metered: bool = True) -> None:
        """Begin with an empty limiter."""
        self.metered = metered
        self.limiter = RateLimiter(clock=world.clock, random=world.random.random, on_event=lambda _: None)

    async def fetch(self, job: Job) -> None:
        """Send a job until it is accepted, or give up."""
        permit: Permit | None = None
        for _ in range(TRIES):
            again: dict[str, Any] = {"again": permit} if permit is not None and _KEEPS_ITS_PLACE else {}
            try:
                permit = await self.limiter.acquire(Route(ORIGIN, job.route, self.metered), max_wait=100_000, **again)
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


class Tenacity:
    """tenacity around every request: what ``Retry-After`` asks for, otherwise exponential backoff with full jitter."""

    def __init__(self, world: World) -> None:
        """Import it."""
        tenacity = _peer("tenacity")
        random.seed(world.random.random())  # it draws from the module's generator
        otherwise = tenacity.wait_random_exponential(multiplier=0.5, max=60)

        def wait(state: Any) -> float:
            error = state.outcome.exception()
            asked = error.retry_after if isinstance(error, _RefusedError) else None
            return float(otherwise(state)) if asked is None else asked

        self._policy = {
            "stop": tenacity.stop_after_attempt(TRIES),
            "wait": wait,
            "retry": tenacity.retry_if_exception_type((_RefusedError, LostError)),
            "retry_error_callback": lambda _: None,
        }
        self._retrying = tenacity.AsyncRetrying

    async def fetch(self, job: Job) -> None:
        """Send a job until it is accepted, or give up."""
        await self._retrying(**self._policy)(_send_or_raise, job)


class AioLimiter:
    """aiolimiter's leaky buckets, told every true limit as it stands at the start; backoff as the naive one's."""

    def __init__(self, world: World) -> None:
        """Make the leaky buckets of every bucket of the server."""
        make, now = _peer("aiolimiter").AsyncLimiter, world.clock.wall()
        self._random = world.random
        self._routes = world.server.routes
        self._limits = {
            name: [make(counter.limit(now), counter.window) for counter in bucket.enforced()]
            for name, bucket in world.server.buckets.items()
        }

    async def fetch(self, job: Job) -> None:
        """Send a job until it is accepted, or give up."""
        for attempt in range(TRIES):
            for limit in self._limits[self._routes[job.route]]:
                await limit.acquire()
            if await _accepted(job):
                return
            await asyncio.sleep(self._random.uniform(0, min(60.0, 0.5 * 2**attempt)))


CONTESTANTS: Mapping[str, Callable[[World], Contestant]] = {
    "aiocircle": AioCircle,
    "naive": Naive,
    "tenacity": Tenacity,
    "aiolimiter": AioLimiter,
}


class _RefusedError(Exception):
    def __init__(self, retry_after: float | None) -> None:
        super().__init__()
        self.retry_after = retry_after


async def _send_or_raise(job: Job) -> None:
    answer = await job.send()
    if answer.status in REFUSED:
        raise _RefusedError(next((float(value) for name, value in answer.headers if name == "Retry-After"), None))


async def _accepted(job: Job) -> bool:
    try:
        answer: Answer = await job.send()
    except LostError:
        return False
    return answer.status not in REFUSED


@cache
def _peer(name: str) -> Any:
    path = str(python_packages(*PEERS))
    if path not in sys.path:
        sys.path.append(path)
    return importlib.import_module(name)
