"""One artifact to one file.

Bytes are kept as they arrive until a batch is full, and handed to a thread while the next ones arrive: one write under
way for each file, so at most two batches of a file are in memory. A file that ends within its first batch is opened,
written, named and checked off in one hop to a thread together with others, since a hop costs more than the write.

A write in a thread cannot be stopped. Cancellation therefore waits for it before the part is removed.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import anyio
from aiofiles.os import wrap
from attrs import define, field

from aiocircle.bulk import Inflow
from aiocircle.download.body import Body
from aiocircle.download.ledger import Ledger
from aiocircle.download.paths import SafePath
from aiocircle.download.stores import LocalStore, Part
from aiocircle.errors import IntegrityError
from aiocircle.events import EventHandler, TransferProgress, TransferStarted
from aiocircle.session import Session
from aiocircle.transport import Answer

T = TypeVar("T")
OK = 200
MOST_HOPS = 4
WORTH_AN_INFLOW = 256 * 1024  # bytes still to come
SLOW_FILE = 0.001  # seconds for a file, from where on threads wait for the disk and not for each other


@define(eq=False)
class Transfer:
    """Fetches artifacts into a store.

    Args:
        session: Sends the requests and repeats them.
        store: Where the files go.
        ledger: Where complete files are recorded.
        threads: Where blocking calls run.
        batch: Bytes gathered before they are written.
        arrived: Told the seconds from each request to its first byte, and the size announced.
        refused: Told that a host pushed back.
    """

    session: Session
    store: LocalStore
    ledger: Ledger
    threads: ThreadPoolExecutor
    batch: int
    arrived: Callable[[float, int | None], None] = field(default=lambda _wait, _size: None, kw_only=True)
    refused: Callable[[], None] = field(default=lambda: None, kw_only=True)
    small: "SmallFiles" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.small = SmallFiles(self)

    async def run(self, url: str, target: SafePath, artifact: str) -> int:
        """Fetch one artifact and return its size in bytes.

        Args:
            url: Its address as listed.
            target: Its final name.
            artifact: What identifies it in the ledger.

        Raises:
            AioCircleError: It could not be had or stored. Nothing stands under its final name that did not before.
        """
        began = time.monotonic()

        async def consume(answer: Answer) -> int:
            if not answer.tries:
                self.arrived(time.monotonic() - began, answer.size)
            return await _Arrival(self, answer, target, artifact).receive()

        return await self.session.fetch(url, consume, self.refused)

    async def present(self, target: SafePath, artifact: str) -> int | None:
        """Return an artifact's size in bytes if it stands complete under its final name, else ``None``."""
        if self.ledger.is_empty:
            return None
        return None if self.ledger.was_empty else await self.hop(self._present, target, artifact)

    async def hop(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a blocking function in one of the threads."""
        return await in_thread(self.threads, function, *arguments)

    def write(self, target: SafePath, chunks: Sequence[bytes | memoryview], artifact: str) -> int:
        """Store a whole file and record it; blocks."""
        size = sum(map(len, chunks))
        self.store.write(target, chunks)
        self.ledger.add(target, artifact, size)
        return size

    def commit(self, part: Part, target: SafePath, artifact: str, size: int) -> None:
        """Give a complete part its name and record it; blocks."""
        self.store.commit(part, target, size)
        self.ledger.add(target, artifact, size)

    def _present(self, target: SafePath, artifact: str) -> int | None:
        recorded = self.ledger.size_of(target, artifact)
        return recorded if recorded is not None and recorded == self.store.size_of(target) else None


@define(eq=False)
class _Small:
    """A file on its way to a thread: all its bytes, and who waits for it."""

    target: SafePath
    chunks: Sequence[bytes | memoryview]
    artifact: str
    waiter: asyncio.Future[int]
    size: int = 0
    error: BaseException | None = None
    over: bool = False


class SmallFiles:
    """Hands whole files to threads: several in one hop, since a hop costs more than a file in the page cache.

    One hop is under way at a time, and files gather meanwhile. Where the disk is slow, so that waiting is what it
    costs, there are several.
    """

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._waiting: list[_Small] = []
        self._hops = 0
        self._most = 1

    async def write(self, target: SafePath, chunks: Sequence[bytes | memoryview], artifact: str) -> int:
        """Store and record a file, and return its size; what is begun is finished even when cancelled."""
        loop = asyncio.get_running_loop()
        file = _Small(target, chunks, artifact, loop.create_future())
        self._waiting.append(file)
        if self._hops < self._most:
            self._hop(loop)
        try:
            return await file.waiter
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                while not file.over:
                    file.waiter = loop.create_future()
                    with suppress(asyncio.CancelledError):
                        await file.waiter
            if file.error is None and anyio.current_effective_deadline() == -math.inf:
                return file.size  # the scope around will cancel again: a file that has its name shall be counted
            raise

    def _hop(self, loop: asyncio.AbstractEventLoop) -> None:
        share = -(-len(self._waiting) // (self._most - self._hops))
        batch, self._waiting = self._waiting[:share], self._waiting[share:]
        self._hops += 1
        hop = loop.run_in_executor(self._transfer.threads, self._write, batch)
        hop.add_done_callback(lambda _: self._landed(loop, batch, hop.result()))

    def _landed(self, loop: asyncio.AbstractEventLoop, batch: list[_Small], seconds: float) -> None:
        self._hops -= 1
        each = seconds / len(batch)
        if each > SLOW_FILE:
            self._most = min(MOST_HOPS, self._most + 1)
        elif each < SLOW_FILE / 2 and self._most > 1:
            self._most -= 1
        for file in batch:
            file.over = True
            if file.waiter.done():
                continue
            if file.error is None:
                file.waiter.set_result(file.size)
            else:
                file.waiter.set_exception(file.error)
        while self._waiting and self._hops < self._most:
            self._hop(loop)

    def _write(self, batch: list[_Small]) -> float:
        began = time.perf_counter()
        for file in batch:
            try:
                file.size = self._transfer.write(file.target, file.chunks, file.artifact)
            except BaseException as error:  # noqa: BLE001 -- whoever waits for the file gets it
                file.error = error
        return time.perf_counter() - began


class _Arrival:
    """One attempt: an answer on its way into a file."""

    def __init__(self, transfer: Transfer, answer: Answer, target: SafePath, artifact: str) -> None:
        self._transfer = transfer
        self._answer = answer
        self._target = target
        self._artifact = artifact
        self._emit: EventHandler = transfer.session.emit
        self._watched = transfer.session.watched
        self._gathered: list[bytes | memoryview] = []
        self._gathered_size = 0
        self._handed_over = 0
        self._part: Part | None = None
        self._inflow: Inflow | None = None
        self._lent: memoryview | None = None
        self._write: asyncio.Task[None] | None = None

    async def receive(self) -> int:
        """Take in the whole body and return the file's size in bytes."""
        answer = self._answer
        if answer.status != OK:
            raise IntegrityError(f"the host answered {answer.status} where a whole file was asked for")
        body = Body(answer.headers, size=answer.size, name=self._target.name)
        if self._watched(TransferStarted):
            self._emit(TransferStarted(target=str(self._target), size=answer.size if body.is_plain else None))
        try:
            while not answer.is_over and (chunk := await answer.chunk()):
                if body.is_plain:
                    body.count(chunk)
                    self._gathered.append(chunk)
                    self._gathered_size += len(chunk)
                else:
                    for piece in body.feed(chunk):
                        await self._gather(piece)
                if body.is_plain and answer.size is not None and answer.size - self._gathered_size >= WORTH_AN_INFLOW:
                    await self._take_in(body, answer.size - self._handed_over - self._gathered_size)
                elif self._gathered_size >= self._transfer.batch:
                    await self._hand_over()
            body.end()
            if self._part is None:
                answer.close()  # the next request need not wait for the disk to have its connection
                return await self._complete_small()
            size = 0
            with anyio.CancelScope(shield=True):  # a file that gets its name shall also be counted
                size = await self._complete(self._part)
        except BaseException:
            await self._drop()
            raise
        return size

    async def _take_in(self, body: Body, left: int) -> None:
        """Take in the rest of a body buffer by buffer; what fits into one need not wait for a part to be opened."""
        batch = self._transfer.batch
        first, inflow = self._answer.inflow(left, left if left <= 2 * batch else batch)
        if first:
            body.count(first)
            self._gathered.append(first)
            self._gathered_size += len(first)
        if inflow is None:
            return
        self._inflow = inflow
        while True:
            with self._answer.named():
                view = await inflow.next()
            if view is None:
                return
            body.count(view)
            self._gathered.append(view)
            self._gathered_size += len(view)
            before, self._lent = self._lent, view
            if self._part is not None or not inflow.is_complete:
                await self._hand_over()
                if before is not None:
                    inflow.give_back(before)  # it is written, now that the next one is under way

    async def _gather(self, piece: bytes) -> None:
        self._gathered.append(piece)
        self._gathered_size += len(piece)
        if self._gathered_size >= self._transfer.batch:
            await self._hand_over()

    async def _hand_over(self) -> None:
        """Let a thread write what is gathered, once the batch before it is written."""
        if self._part is None:
            self._part = Part()
            await self._transfer.hop(self._transfer.store.begin, self._part)
        await self._written()
        append = wrap(self._transfer.store.append)
        self._write = asyncio.ensure_future(
            append(self._part, self._target, self._gathered, executor=self._transfer.threads)
        )
        self._handed_over += self._gathered_size
        if self._watched(TransferProgress):
            self._emit(TransferProgress(target=str(self._target), received=self._gathered_size))
        self._gathered, self._gathered_size = [], 0

    async def _written(self) -> None:
        if self._write is not None:
            write, self._write = self._write, None
            await finish(write)

    def _give_back(self) -> None:
        if self._inflow is not None and self._lent is not None:
            self._gathered = []
            self._inflow.give_back(self._lent)

    async def _complete_small(self) -> int:
        size = await self._transfer.small.write(self._target, self._gathered, self._artifact)
        self._give_back()
        if self._watched(TransferProgress):
            self._emit(TransferProgress(target=str(self._target), received=size))
        return size

    async def _complete(self, part: Part) -> int:
        transfer = self._transfer
        if self._gathered:
            await self._hand_over()
        await self._written()
        self._give_back()
        await transfer.hop(transfer.commit, part, self._target, self._artifact, self._handed_over)
        return self._handed_over

    async def _drop(self) -> None:
        """Leave nothing behind, whatever ended the attempt; also under cancellation."""
        with anyio.CancelScope(shield=True):
            if self._write is not None:
                await _ended(self._write)
            if self._part is not None:
                await self._transfer.hop(self._transfer.store.discard, self._part)
        if self._handed_over:
            self._emit(TransferProgress(target=str(self._target), received=-self._handed_over))


async def in_thread(threads: ThreadPoolExecutor, function: Callable[..., T], *arguments: object) -> T:
    """Call a blocking function in a thread, and wait for its end even when cancelled."""
    return await finish(asyncio.get_running_loop().run_in_executor(threads, function, *arguments))


async def finish(work: Awaitable[T]) -> T:
    """Await work in a thread; when cancelled, wait for its end all the same, for it cannot be stopped."""
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await _ended(future)
        raise


async def _ended(future: asyncio.Future[T]) -> None:
    """Wait for the end of work in a thread, however often this task is cancelled meanwhile, and whatever it was."""
    with anyio.CancelScope(shield=True):
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
    if not future.cancelled():
        future.exception()
