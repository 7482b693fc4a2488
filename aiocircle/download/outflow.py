"""A file on its way into a part, batch by batch.

Bytes are kept as they arrive until a batch is full, and handed to a thread while the next ones arrive: one write under
way for each file, so at most two batches of a file are in memory.

A write in a thread cannot be stopped. Cancellation therefore waits for it before the part is closed.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import anyio
from aiofiles.os import wrap

from aiocircle.download.parts import Part
from aiocircle.download.paths import SafePath
from aiocircle.download.stores import Store
from aiocircle.endings import ended, finish, in_thread

T = TypeVar("T")


class Outflow:
    """The bytes of one file, gathered and written.

    Attributes:
        part: Where they go; ``None`` as long as there is no need for one.
        gathered: Those that have not been handed over.
        gathered_size: How many these are.
        size: Bytes that the part has, or is going to have when what was handed over is written.
        tells: Whether ``told`` is called; if not, whoever receives tells.

    Args:
        store: Where the part is.
        threads: Where writing happens.
        target: The name that the file is going to have.
        told: Called with the number of bytes that were handed over, negative if they are dropped.
    """

    def __init__(
        self, store: Store, threads: ThreadPoolExecutor, target: SafePath, told: Callable[[int], None]
    ) -> None:
        self.part: Part | None = None
        self.gathered: list[bytes | memoryview] = []
        self.gathered_size = 0
        self.size = 0
        self.tells = True
        self._store = store
        self._threads = threads
        self._target = target
        self._told = told
        self._write: asyncio.Future[None] | None = None

    @property
    def lags(self) -> bool:
        """Whether what was handed over last is not written yet."""
        return self._write is not None and not self._write.done()

    def gather(self, piece: bytes | memoryview) -> None:
        """Take bytes."""
        self.gathered.append(piece)
        self.gathered_size += len(piece)

    async def begin(self, part: Part) -> None:
        """Open a new part."""
        self.part = part
        await in_thread(self._threads, self._store.begin, part)

    async def resume(self, part: Part) -> None:
        """Open a part that was kept, to go on behind its end."""
        self.part = part
        await in_thread(self._threads, self._store.resume, part)
        self.size = part.size
        self._told(part.size)

    async def hand_over(self) -> None:
        """Let a thread write what is gathered, once the batch before it is written."""
        await self.written()
        if not self.gathered:
            return
        append = wrap(self._store.append)
        self._write = asyncio.ensure_future(append(self.part, self._target, self.gathered, executor=self._threads))
        self.size += self.gathered_size
        if self.tells:
            self._told(self.gathered_size)
        self.gathered, self.gathered_size = [], 0

    async def written(self) -> None:
        """Wait until everything that was handed over is written."""
        if self._write is not None:
            write, self._write = self._write, None
            await finish(write)

    async def drop(self, *, keep: bool) -> None:
        """Leave nothing open, and no part but one to be continued, also under cancellation.

        Args:
            keep: Nothing speaks against the bytes that arrived.
        """
        with anyio.CancelScope(shield=True):
            try:
                if self._write is not None:
                    await ended(self._write)
            finally:
                if self.part is not None:
                    leave = self._store.keep if keep and self.part.kept is not None else self._store.discard
                    await in_thread(self._threads, leave, self.part)
        self._told(-self.size if self.tells else -self.size - self.gathered_size)
