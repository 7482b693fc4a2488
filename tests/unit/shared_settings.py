"""Processes around one store, as tests of shared budgets have them."""

import asyncio
import heapq
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import define, field
from fake_clock import FakeClock, settle
from redis_server import REDIS_SERVER, RedisServer, needs_redis, redis_server

from aiocircle.events import Event
from aiocircle.ratelimit.limiter import Permit, RateLimiter, Route
from aiocircle.ratelimit.record import VERSION, Record, load
from aiocircle.ratelimit.redis_store import RedisStore
from aiocircle.ratelimit.shared import SharedLane
from aiocircle.ratelimit.sqlite_store import SQLiteStore
from aiocircle.ratelimit.store import MemoryStore, Store

ORIGIN = "http://127.0.0.1:1"
LIMIT = 8

Make = Callable[[Callable[[], float]], Store]


@define(eq=False)
class Asked:
    """One request of the model: who asks, and what the host made of it."""

    process: int
    task: "asyncio.Task[Permit]"
    headers: list[tuple[str, str]] = field(factory=list)


@define(eq=False)
class Setting:
    """Processes around one store, their clock, and the host: it counts what it is sent in windows of a second."""

    make: Make
    identity: str = field(factory=lambda: uuid4().hex)
    clock: FakeClock = field(factory=FakeClock)
    limiters: dict[int, RateLimiter] = field(factory=dict)
    asked: dict[int, Asked] = field(factory=dict)
    sent: dict[int, Asked] = field(factory=dict)
    order: list[int] = field(factory=list)
    used: dict[int, int] = field(factory=dict)
    refused: int = 0
    events: list[Event] = field(factory=list)
    numbers: Iterator[int] = field(factory=count)
    _ids: Iterator[int] = field(factory=count)

    async def start(self) -> int:
        """Start a process."""
        store = self.make(self.clock.monotonic)
        limiter = RateLimiter(
            clock=self.clock, random=lambda: 0.5, on_event=self.events.append, store=store, identity=self.identity
        )
        await limiter.open()
        number = next(self._ids)
        self.limiters[number] = limiter
        return number

    async def ask(self, process: int, group: str = "") -> None:
        task = asyncio.create_task(self.limiters[process].acquire(Route(ORIGIN, group), max_wait=1e9))
        self.asked[next(self.numbers)] = Asked(process, task)
        await self.quiet()

    async def answer(self, number: int) -> None:
        asked = self.sent.pop(number)
        self.limiters[asked.process].answered(asked.task.result(), 200, asked.headers)
        await self.quiet()

    async def lose(self, number: int) -> None:
        asked = self.sent.pop(number)
        self.limiters[asked.process].lost(asked.task.result())
        await self.quiet()

    async def withdraw(self, number: int) -> None:
        task = self.asked.pop(number).task
        task.cancel()
        await asyncio.wait([task])
        await self.quiet()

    async def kill(self, process: int) -> None:
        """End a process without a word to the others, as kill -9 does."""
        limiter = self.limiters.pop(process)
        limiter.close()
        assert limiter._store is not None
        await limiter._store.close()
        for requests in (self.asked, self.sent):
            for number in [number for number, asked in requests.items() if asked.process == process]:
                requests.pop(number).task.cancel()
        await self.quiet()

    async def advance(self, seconds: float) -> None:
        """Let time pass; nobody acts before the one whose turn came earlier is done."""
        until = self.clock.now + seconds
        due = self.clock._due
        while due and due[0][0] <= until:
            at, _, timer = heapq.heappop(due)
            self.clock.now = max(self.clock.now, at)
            if timer.callback is not None:
                timer.callback()
                await self.quiet()
        self.clock.now = until

    async def quiet(self) -> None:
        """Return when nobody has anything more to do at this moment."""
        calm = 0
        while calm < 2:  # once more, for those whom the last step woke
            await settle()
            pumps = [lane._pump for lane in self.lanes() if lane._pump is not None]
            calm = 0 if pumps else calm + 1
            if pumps:
                await asyncio.wait(pumps)
        for number in [number for number, asked in self.asked.items() if asked.task.done()]:
            self.order.append(number)
            self.sent[number] = self.asked.pop(number)
            self._count(self.sent[number])

    def lanes(self) -> list[SharedLane]:
        found = [lane for limiter in self.limiters.values() for lane in limiter._lanes.values()]
        return [lane for lane in found if isinstance(lane, SharedLane)]

    def _count(self, asked: Asked) -> None:
        window = int(self.clock.now)
        used = self.used[window] = self.used.get(window, 0) + 1
        self.refused += used > LIMIT
        asked.headers = [("X-RateLimit-Limit-Second", str(LIMIT)), ("RateLimit-Reset", "1")]
        asked.headers += [("X-RateLimit-Remaining-Second", str(max(0, LIMIT - used)))]
        asked.headers += [("RateLimit-Limit", str(LIMIT)), ("RateLimit-Remaining", str(max(0, LIMIT - used)))]

    async def record(self) -> Record:
        store = next(iter(self.limiters.values()))._store
        assert store is not None
        kept = await store.read(f"aiocircle:{VERSION}:{self.identity}:{ORIGIN}")
        return load(kept.text, self.clock.now)

    async def end(self) -> None:
        for asked in self.asked.values():
            asked.task.cancel()
        await settle()
        for limiter in self.limiters.values():
            await limiter.aclose()


def makes(redis: RedisServer | None) -> dict[str, Callable[[Path], Make]]:
    def memory(_: Path) -> Make:
        stores: list[MemoryStore] = []

        def make(now: Callable[[], float]) -> Store:
            if not stores:
                stores.append(MemoryStore(now))
            return stores[0]

        return make

    def sqlite(folder: Path) -> Make:
        return lambda now: SQLiteStore(folder / "limits.db", now)

    found = {"memory": memory, "sqlite": sqlite}
    if redis is not None:
        found["redis"] = lambda _: lambda now: RedisStore(redis.url, now, common=now)
    return found


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer | None]:
    if not REDIS_SERVER:
        yield None
        return
    with redis_server() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=needs_redis)])
def make(request: pytest.FixtureRequest, redis: RedisServer | None, tmp_path: Path) -> Make:
    return makes(redis)[request.param](tmp_path)
