"""Virtual time: an event loop whose clock jumps to the next timer as soon as nothing is ready.

Everything that waits through ``asyncio`` runs in it unmodified: a day passes in the time that its callbacks need. A
turn of the loop takes a tenth of a microsecond, so that time never stands still: what is due "now" by a rounding error
would come again for ever.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["StalledError", "VirtualClock", "VirtualLoop", "run"]

_START = 1000.0
_TURN = 1e-7


class StalledError(Exception):
    """The simulation waits for nothing, or longer, or with more events, than it may."""


class _JumpingSelector(selectors.SelectSelector):
    """Selects nothing; instead of waiting it moves the loop's clock."""

    def __init__(self, max_turns: int) -> None:
        super().__init__()
        self.now = _START
        self.until = float("inf")
        self.turns = max_turns

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns -= 1
        if timeout is None:
            message = "nothing is due and nobody will wake it"
            raise StalledError(message)
        if self.turns < 0:
            message = "too many events"
            raise StalledError(message)
        self.now += max(0.0, timeout) + _TURN
        if self.now > self.until:
            message = "virtual time is up"
            raise StalledError(message)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time.

    Args:
        max_turns: How many turns of the loop may be taken before ``StalledError``.
    """

    def __init__(self, max_turns: int = 3_000_000) -> None:
        self._jumper = _JumpingSelector(max_turns)
        super().__init__(self._jumper)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._jumper.now

    def lift_limits(self) -> None:
        """Let it run on, to clear up."""
        self._jumper.until, self._jumper.turns = float("inf"), 1_000_000

    def forbid_after(self, seconds: float) -> None:
        """Raise ``StalledError`` out of the loop when so many seconds more have passed."""
        self._jumper.until = self._jumper.now + seconds


class VirtualClock:
    """Implements ``aiocircle.clock.Clock`` on a loop.

    Args:
        loop: Whose time.
        wall: Seconds since the epoch at which the loop stands now.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, wall: float) -> None:
        self._loop = loop
        self._offset = wall - loop.time()

    def monotonic(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def wall(self) -> float:
        """Return virtual seconds since the epoch."""
        return self._loop.time() + self._offset

    async def sleep(self, seconds: float) -> None:
        """Sleep in virtual time."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Schedule in virtual time."""
        return self._loop.call_later(max(0.0, seconds), callback)


T = TypeVar("T")


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function in a new virtual loop, which it is given."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        _cancel_all(loop)
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    loop.lift_limits()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
