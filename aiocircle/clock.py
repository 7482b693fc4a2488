"""Time as a value that is handed in, so that waiting can be tested without waiting."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that was asked for and can still be taken back."""

    def cancel(self) -> None:
        """Take the call back; nothing happens if it was made already."""
        ...


class Clock(Protocol):
    """Where time comes from. All values are seconds."""

    def monotonic(self) -> float:
        """Return seconds that only grow, from an arbitrary start."""
        ...

    def wall(self) -> float:
        """Return seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` from the running event loop after so many seconds."""
        ...


class SystemClock:
    """The machine's clocks and the running event loop's timers."""

    def monotonic(self) -> float:
        """Return ``time.monotonic()``."""
        return time.monotonic()

    def wall(self) -> float:
        """Return ``time.time()``."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep in the running event loop."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Schedule in the running event loop."""
        return asyncio.get_running_loop().call_later(max(0.0, seconds), callback)
