"""A clock that moves only when told, for what waits."""

import asyncio
import heapq
import itertools
from collections.abc import Callable


class FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Implements ``aiocircle.clock.Clock``; ``advance`` makes the calls that fall due, in their order."""

    def __init__(self, wall: float = 1_795_452_290.0) -> None:
        self.now = 1000.0
        self._wall_offset = wall - self.now
        self._due: list[tuple[float, int, FakeTimer]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self._wall_offset

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()
        self.call_later(seconds, lambda: None if done.done() else done.set_result(None))
        await done

    def call_later(self, seconds: float, callback: Callable[[], object]) -> FakeTimer:
        timer = FakeTimer(lambda: (callback(), None)[1])
        heapq.heappush(self._due, (self.now + seconds, next(self._order), timer))
        return timer

    @property
    def timers(self) -> int:
        """How many calls are due and not taken back."""
        return sum(timer.callback is not None for _, _, timer in self._due)

    async def step(self) -> None:
        """Go to the next call that is due, and make it."""
        await settle()
        await self.advance(self._due[0][0] - self.now if self._due else 1.0)

    async def advance(self, seconds: float) -> None:
        """Let time pass, with every call made at its time."""
        until = self.now + seconds
        await settle()
        while self._due and self._due[0][0] <= until:
            at, _, timer = heapq.heappop(self._due)
            self.now = max(self.now, at)
            if timer.callback:
                timer.callback()
            await settle()
        self.now = until
        await settle()


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(8):
        await asyncio.sleep(0)
