"""What tests of usage data share: a clock that jumps, and a simulator with what was asked and when."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from attrs import define, field
from raw_host import QUICK, TOKEN

from aiocircle import Client
from aiocircle.clock import Timer
from aiocircle.events import Event, RequestSent
from aiocircle.export.rows import UsageRow
from aiocircle.export.usage import (
    UsageJob,
    organization_of,
    usage_rows,
)
from aiocircle.slugs import ProjectSlug
from aiocircle.testing import Simulator, World

SLUG = "gh/acme/web"
BEGIN, END = datetime(2026, 9, 20, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)
SECRETS = ("X-Amz-Signature", "X-Amz-Credential", TOKEN)


@define
class JumpingClock:
    """Implements ``aiocircle.clock.Clock``; whoever sleeps wakes up at once, and that much later."""

    now: float = 1000.0
    slept: list[float] = field(factory=list)
    _begin: float = datetime(2026, 11, 23, tzinfo=UTC).timestamp() - 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self._begin

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.now += max(seconds, 0.0)
        return asyncio.get_running_loop().call_soon(callback)


@define
class Scene:
    """A simulator, a client of it, and what was asked when."""

    sim: Simulator
    client: Client
    clock: JumpingClock
    organization_id: str
    asked: list[tuple[float, RequestSent]]
    told: list[Event]
    jobs: list[UsageJob] = field(factory=list)

    def pages(self, begin: datetime = BEGIN, end: datetime = END, **options: Any) -> Any:
        async def on_job(job: UsageJob) -> None:
            self.jobs.append(job)

        return usage_rows(self.client._opened, self.organization_id, begin, end, on_job=on_job, **options)

    async def rows(self, begin: datetime = BEGIN, end: datetime = END, **options: Any) -> list[UsageRow]:
        async with contextlib.aclosing(self.pages(begin, end, **options)) as pages:
            return [row async for page in pages for row, _ in page.pairs]

    def expected(self, begin: datetime = BEGIN, end: datetime = END) -> list[dict[str, str]]:
        return self.sim.usage.rows([self.sim.world.projects[SLUG]], begin, end)

    def times(self, method: str) -> list[float]:
        return [at for at, sent in self.asked if sent.method == method and "usage_export_job" in sent.url]


@contextlib.asynccontextmanager
async def scene(world: World | None = None, **options: Any) -> AsyncIterator[Scene]:
    clock = JumpingClock()
    asked: list[tuple[float, RequestSent]] = []
    told: list[Event] = []

    def on_event(event: Event) -> None:
        told.append(event)
        if isinstance(event, RequestSent):
            asked.append((clock.now, event))

    async with (
        Simulator(world or World(pipelines=60), token=TOKEN, clock=clock.wall, **options) as sim,
        Client(TOKEN, host=sim.url, clock=clock, retry=QUICK, on_event=on_event) as client,
    ):
        organization_id = await organization_of(client._opened, ProjectSlug.parse(SLUG))
        yield Scene(sim, client, clock, organization_id, asked, told)
        assert sim.stats.leaks == 0


def by_id(rows: Iterable[UsageRow]) -> dict[str, UsageRow]:
    found = {row.id: row for row in rows}
    assert len(found) == sum(1 for _ in rows)
    return found
