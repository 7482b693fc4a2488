"""How many large bodies are received at a time.

Where a link has latency, or each connection its own limit, many at once are faster. Where the processor is the limit,
each more only means more memory that is touched in turn, and that no cache holds. So a few are received, and more of
them as long as the processor is idle. The others wait behind their heads; their hosts notice nothing but a reader that
takes its time. A host that drips does not hold the others up: while it does the processor is idle.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from aiocircle.download.crowd import BUSY, MOST

FEW = 8
LOOK_SECONDS = 0.05  # between two looks at the processor


class Intake:
    """Slots for bodies, used as an asynchronous context manager by each of them.

    Args:
        load: Returns the share of one processor that this process used of late.
    """

    def __init__(self, load: Callable[[], float]) -> None:
        self._load = load
        self._size = FEW
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        if self._taken < self._size:
            self._taken += 1
            return
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if self._timer is None:
            self._timer = loop.call_later(LOOK_SECONDS, self._look, loop)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                await self.__aexit__()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._taken -= 1
        self._admit()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._load() < BUSY:
            self._size = min(MOST, 2 * self._size)
        else:
            self._size = max(FEW, self._size - 1)
        self._admit()
        self._timer = loop.call_later(LOOK_SECONDS, self._look, loop) if self._waiting else None

    def _admit(self) -> None:
        while self._waiting and self._taken < self._size:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
