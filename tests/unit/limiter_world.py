"""The limiter in virtual time, before a server whose policy is known."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from attrs import define, field
from fake_clock import FakeClock

from aiocircle.events import Event
from aiocircle.ratelimit.limiter import RateLimiter, Route
from aiocircle.testing.kong import KongLimits

API = Route("http://host:1", "/project/{slug}/pipeline")
ARTIFACTS = Route("http://host:1", metered=False)

Answer = tuple[int, Iterable[tuple[str, str]]]


@define
class World:
    """A limiter, its clock, and what it told."""

    clock: FakeClock = field(factory=FakeClock)
    events: list[Event] = field(factory=list)
    limiter: RateLimiter = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.limiter = RateLimiter(clock=self.clock, random=lambda: 0.5, on_event=self.events.append)

    def kong(self, limits: dict[str, int], **options: object) -> KongLimits:
        return KongLimits(limits, clock=self.clock.wall, **options)  # type: ignore[arg-type]

    async def run(
        self,
        server: Callable[[int], Answer],
        *,
        requests: int,
        workers: int,
        rtt: float,
        route: Route = API,
        patience: float = 100_000,
    ) -> tuple[Counter[int], float]:
        """Send so many requests, repeating refused ones; return statuses seen and seconds taken."""
        left = iter(range(requests))
        seen: Counter[int] = Counter()

        async def work() -> None:
            for number in left:
                status = 0
                while status != 200:
                    permit = await self.limiter.acquire(route, max_wait=patience)
                    await self.clock.sleep(rtt / 2)
                    status, headers = server(number)
                    await self.clock.sleep(rtt / 2)
                    self.limiter.answered(permit, status, headers)
                    seen[status] += 1

        began = self.clock.now
        ended = began
        tasks = [asyncio.ensure_future(work()) for _ in range(workers)]
        while not all(task.done() for task in tasks):
            assert self.clock.now < began + patience, "it hangs"
            await self.clock.step()
            ended = self.clock.now
        await asyncio.gather(*tasks)
        return seen, ended - began


def served_by(kong: KongLimits) -> Callable[[int], Answer]:
    def serve(_number: int) -> Answer:
        verdict = kong.charge("token")
        return (200 if verdict.admitted else 429), list(verdict.headers.items())

    return serve
