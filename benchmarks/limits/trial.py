"""One contestant in one situation: the network between them, and what is written down."""

import asyncio
import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Protocol

from attrs import define, field, frozen

from benchmarks.limits.dialects import Headers
from benchmarks.limits.policies import Server
from benchmarks.limits.situations import Load, Situation
from benchmarks.limits.virtual import StalledError, VirtualClock, VirtualLoop, run

__all__ = ["Answer", "Contestant", "Job", "LostError", "Pause", "Trial", "Try", "World", "hold"]

LONGEST = 5 * 86_400.0  # virtual seconds
TRIES = 10


class LostError(Exception):
    """The connection broke; nobody knows whether the request was counted."""


@frozen
class Answer:
    """What comes back."""

    status: int
    headers: Headers


@define
class Try:
    """One request as it was sent. Times are seconds since the start."""

    bucket: str
    sent: float
    arrived: float = math.nan
    back: float = math.nan
    status: int = 0
    headers: Headers = field(factory=list)


@define
class Pause:
    """What a refusal asked for: no request before ``ends``.

    ``opens`` is when the policy accepts again, seen at the end of the pause: a limiter cannot be blamed for waiting
    until then.
    """

    bucket: str
    ends: float
    opens: float = math.nan


@define
class Job:
    """One request to be answered, however many tries it takes."""

    world: "World"
    route: str
    asked: float
    tries: list[Try] = field(factory=list)
    done: bool = False

    async def send(self) -> Answer:
        """Send it once.

        Raises:
            LostError: No answer will come.
        """
        return await self.world.exchange(self)


class Contestant(Protocol):
    """A way to obey limits."""

    async def fetch(self, job: Job) -> None:
        """Send a job until it is accepted, or give up."""
        ...


@define
class World:
    """The server, the way there and back, and the record of what happened."""

    situation: Situation
    server: Server
    loop: VirtualLoop
    clock: VirtualClock
    random: Random
    began: float = 0.0
    jobs: list[Job] = field(factory=list)
    tries: list[Try] = field(factory=list)
    pauses: list[Pause] = field(factory=list)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self.loop.time() - self.began

    async def exchange(self, job: Job) -> Answer:
        """Bring a request to the server and its answer back."""
        attempt = Try(self.server.routes[job.route], self.now)
        self.tries.append(attempt)
        job.tries.append(attempt)
        fate = self.random.random()
        await asyncio.sleep(self._leg())
        if fate < self.situation.loss / 2:
            await asyncio.sleep(self._leg())
            raise LostError
        attempt.arrived = self.now
        verdict = self.server.judge(self.clock.wall(), job.route)
        await asyncio.sleep(self._leg())
        if fate < self.situation.loss:
            raise LostError
        attempt.back, attempt.status, attempt.headers = self.now, verdict.status, verdict.headers
        job.done = job.done or verdict.accepted
        if not verdict.accepted:
            self._note_pause(attempt.bucket, job.route, verdict.headers)
        return Answer(verdict.status, verdict.headers)

    def _leg(self) -> float:
        return self.situation.rtt / 2 * self.random.uniform(*self.situation.jitter)

    def _note_pause(self, bucket: str, route: str, headers: Headers) -> None:
        seconds = next((float(value) for name, value in headers if name == "Retry-After"), None)
        if seconds is None:
            return
        pause = Pause(bucket, self.now + seconds)
        self.pauses.append(pause)

        def look() -> None:
            pause.opens = pause.ends + self.server.peek(self.clock.wall(), route) - self.clock.wall()

        self.loop.call_later(seconds, look)


@frozen
class Trial:
    """What happened."""

    situation: Situation
    seed: int
    jobs: list[Job]
    tries: list[Try]
    pauses: list[Pause]
    stalled: str


def hold(situation: Situation, seed: int, enter: Callable[[World], Contestant]) -> Trial:
    """Let a contestant do the work of a situation.

    Args:
        situation: Where.
        seed: Decides the start, the jitter, and what is left to chance.
        enter: Makes the contestant for a world.
    """
    worlds: list[World] = []

    async def main(loop: VirtualLoop) -> None:
        start = situation.start(seed)
        clock = VirtualClock(loop, start)
        world = World(situation, situation.server(seed), loop, clock, Random(f"network {seed}"), loop.time())
        worlds.append(world)
        loop.forbid_after(LONGEST)
        contestant = enter(world)
        async with asyncio.TaskGroup() as group:
            for load in situation.loads:
                queue = iter(range(load.requests))
                for _ in range(min(load.workers, load.requests)):
                    group.create_task(_work(world, contestant, load, queue))

    stalled = ""
    try:
        run(main)
    except StalledError as error:
        stalled = str(error)
    world = worlds[0]
    return Trial(situation, seed, world.jobs, world.tries, world.pauses, stalled)


async def _work(world: World, contestant: Contestant, load: Load, queue: Iterator[int]) -> None:
    for _ in queue:
        job = Job(world, load.route, world.now)
        world.jobs.append(job)
        await contestant.fetch(job)
