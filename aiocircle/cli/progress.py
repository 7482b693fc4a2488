"""How far a download is: counters fed by events, and two ways to show them.

Events come for every file, so their handler counts and does nothing else. What is shown is made from the counters a few
times a second (on a terminal, with rich) or every few seconds (elsewhere, as plain lines).
"""

import asyncio
import math
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, Self

from attrs import define, field

from aiocircle.cli.narrator import spent
from aiocircle.cli.output import Output, binary
from aiocircle.events import (
    Event,
    ItemPlanned,
    LimitWaited,
    LimitWaiting,
    ListingEnded,
    TransferEnded,
    TransferProgress,
    TransferStarted,
)

REFRESH = 1 / 8  # seconds
LINE_EVERY = 3.0  # seconds, where there is no terminal
LINE_WIDTH = 80  # columns
WINDOW = 3.0  # seconds over which rates are taken
SHOWN_TRANSFERS = 4
LARGE = 4 * 1024 * 1024  # bytes of which a transfer is worth a bar


@define(eq=False)
class Running:
    """A transfer under way; ``size`` is ``None`` where the host did not say."""

    target: str
    size: int | None
    received: int = 0


@define(eq=False)
class Progress:
    """Counters of a run. Give it to a client as ``on_event``, or call it from there."""

    began: float = field(factory=time.monotonic)
    fetches: bool = True  # or it only finds out what there is
    found: int = 0
    listed: bool = False
    done: int = 0
    failed: int = 0
    size: int = 0
    running: dict[str, Running] = field(factory=dict)
    waits: dict[str, LimitWaiting] = field(factory=dict)
    _samples: deque[tuple[float, int, int]] = field(factory=deque)
    _handlers: dict[type, Callable[[Any], None]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._handlers = {
            TransferStarted: self._started,
            TransferProgress: self._progressed,
            TransferEnded: self._ended,
            ItemPlanned: self._planned,
            ListingEnded: self._all_listed,
            LimitWaiting: self._waits,
            LimitWaited: self._waited,
        }

    @property
    def kinds(self) -> frozenset[type]:
        """The events that are counted."""
        return frozenset(self._handlers)

    def __call__(self, event: Event) -> None:
        """Count an event."""
        handler = self._handlers.get(type(event))
        if handler:
            handler(event)

    def rates(self, now: float) -> tuple[float, float]:
        """Return files and bytes per second over the last few seconds; call it regularly."""
        samples = self._samples
        if not samples:
            samples.append((self.began, 0, 0))
        samples.append((now, self.done, self.size))
        while len(samples) > 2 and samples[1][0] <= now - WINDOW:  # noqa: PLR2004 -- one before the window, one in it
            samples.popleft()
        since, done, size = samples[0]
        seconds = max(now - since, 0.001)
        return (self.done - done) / seconds, max(0, self.size - size) / seconds

    def figures(self, now: float) -> list[str]:
        """Return what has been done and how fast, what matters most first; call it regularly."""
        files, size = self.rates(now)
        speed = [binary(self.size), f"{files:,.0f} files/s", f"{binary(size)}/s"]
        return [self.counts(), *(speed if self.fetches else ())]

    def largest(self) -> list[Running]:
        """Return the few largest transfers under way, the largest first."""
        large = [one for one in self.running.values() if max(one.size or 0, one.received) >= LARGE]
        return sorted(large, key=lambda one: (-(one.size or one.received), one.target))[:SHOWN_TRANSFERS]

    def waiting(self, now: float) -> str | None:
        """Return what is being waited for, in words."""
        if not self.waits:
            return None
        return in_words(max(self.waits.values(), key=lambda event: event.until), now)

    def counts(self) -> str:
        """Return how many files of how many are done."""
        if not self.found:
            return "0 files"
        found = f"{self.found:,}{'' if self.listed else '+'} files"
        return f"{self.done:,} of {found}" if self.fetches else f"{found} found"

    def _started(self, event: TransferStarted) -> None:
        self.running[event.target] = Running(event.target, event.size)

    def _progressed(self, event: TransferProgress) -> None:
        self.size += event.received
        if event.target in self.running:
            self.running[event.target].received += event.received

    def _ended(self, event: TransferEnded) -> None:
        ran = self.running.pop(event.target, None)
        if event.status == "stored":
            self.size += event.size - (ran.received if ran else 0)
        if event.status == "failed":
            self.failed += 1
        if event.target and event.status != "duplicate":
            self.done += 1

    def _planned(self, event: ItemPlanned) -> None:
        self.found = event.total

    def _all_listed(self, event: ListingEnded) -> None:
        self.found, self.listed = event.total, True

    def _waits(self, event: LimitWaiting) -> None:
        self.waits[event.bucket] = event

    def _waited(self, event: LimitWaited) -> None:
        self.waits.pop(event.bucket, None)


def in_words(wait: LimitWaiting, now: float) -> str:
    """Return what is being waited for, in words."""
    left = max(1, math.ceil(wait.until - now))
    if wait.reason == "pause":
        return f"paused by the host, {left:,} s left"
    budget = spent(wait)
    return f"{budget}, resets in {left:,} s" if budget else f"waiting for the rate limit, {left:,} s left"


class Drawn(Protocol):
    """Something that is drawn on a terminal while a block lasts."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""

    def refresh(self, now: float) -> None:
        """Draw what is to be seen now."""


@asynccontextmanager
async def shown(progress: Progress, output: Output, *, live: bool) -> AsyncIterator[None]:
    """Show a download's progress on stderr while the block lasts.

    Args:
        progress: Its counters.
        output: Where plain lines go; a quiet one shows nothing.
        live: Draw on a terminal.
    """

    def draw() -> Drawn:
        from aiocircle.cli.display import Drawing  # noqa: PLC0415 -- rich is for terminals

        return Drawing(progress)

    async with told(lambda now: line(progress, now), output, draw if live else None):
        yield


@asynccontextmanager
async def told(tell: Callable[[float], str], output: Output, draw: Callable[[], Drawn] | None) -> AsyncIterator[None]:
    """Say every few seconds how far something is, while the block lasts, or draw it.

    Args:
        tell: Returns it as a line.
        output: Where lines go; a quiet one shows nothing.
        draw: Draws it on a terminal instead.
    """
    if output.quiet:
        yield
        return
    task = asyncio.create_task(_tell(tell, output) if draw is None else _draw(draw))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def line(progress: Progress, now: float) -> str:
    """Return the state of a run as a plain line; what matters least is left out where it would be too long."""
    parts = progress.figures(now)
    told = [f"{progress.failed:,} failed"] if progress.failed else []
    if wait := progress.waiting(now):
        told.append(wait)
    while len(parts) > 1 and len(", ".join([*parts, *told])) > LINE_WIDTH:
        parts.pop()
    return ", ".join([*parts, *told])


def can_be_drawn(verbose: int) -> bool:
    """Tell whether stderr is a terminal that can be drawn on, and that nothing else is written to."""
    usable = sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}
    return usable and sys.stderr.encoding.lower().replace("-", "") == "utf8" and not verbose


async def _tell(tell: Callable[[float], str], output: Output) -> None:
    while True:
        await asyncio.sleep(LINE_EVERY)
        output.note(tell(time.monotonic()))


async def _draw(draw: Callable[[], Drawn]) -> None:
    with draw() as drawing:
        while True:
            drawing.refresh(time.monotonic())
            await asyncio.sleep(REFRESH)
