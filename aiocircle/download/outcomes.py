"""What becomes of each item of a run that goes on, for who reads along."""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Self

from aiocircle.download.report import ItemOutcome
from aiocircle.endings import undone

UNREAD = 1000  # outcomes after which the run begins nothing new


class Outcomes:
    """The outcomes of a run in a task of its own, in the order in which they come.

    Args:
        run: Begins at once.
    """

    def __init__(self, run: Coroutine[Any, Any, object]) -> None:
        self._unread: deque[ItemOutcome] = deque()
        self._changed = asyncio.Event()
        self._ending = False
        self._task = asyncio.ensure_future(run)
        self._task.add_done_callback(lambda _: self._changed.set())

    def add(self, outcome: ItemOutcome) -> None:
        """Take in an outcome."""
        if not self._ending:
            self._unread.append(outcome)
            self._changed.set()

    async def caught_up(self) -> None:
        """Wait, in the run, until who reads is not far behind."""
        while len(self._unread) > UNREAD and not self._ending:
            await self._change()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemOutcome:
        """Return the next outcome; at the end, raise what ended the run early."""
        while not self._unread:
            if self._task.done():
                await self._task
                raise StopAsyncIteration
            await self._change()
        outcome = self._unread.popleft()
        if len(self._unread) == UNREAD:
            self._changed.set()
        return outcome

    async def end(self, *, cancel: bool) -> None:
        """Wait for the end of the run, whose further outcomes are dropped, or cancel it.

        Raises:
            AioCircleError: What ended the run early, unless it is cancelled.
        """
        self._ending = True
        self._unread.clear()
        self._changed.set()
        try:
            if not cancel:
                await asyncio.shield(self._task)
        finally:
            await undone(self._task)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
