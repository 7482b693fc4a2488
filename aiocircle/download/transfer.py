"""One artifact to one file.

Bytes are kept as they arrive until a batch is full, and handed to a thread while the next ones arrive: one write under
way for each file, so at most two batches of a file are in memory. A file that ends within its first batch is opened,
written, checked off and named in one hop to a thread, since a hop costs as much as the write.

A write in a thread cannot be stopped. Cancellation therefore waits for it before the part is closed. A part that can be
continued is kept, whatever ended the attempt but a verdict on its bytes (`aiocircle.download.resume`).
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import aiofiles
import anyio
from aiofiles.threadpool.binary import AsyncBufferedIOBase
from attrs import evolve, frozen

from aiocircle.download.body import Body
from aiocircle.download.filters import ANY_SIZE, SizeRange
from aiocircle.download.ledger import Ledger
from aiocircle.download.parts import Part, new_part
from aiocircle.download.paths import SafePath
from aiocircle.download.records import Source, Stored
from aiocircle.download.resume import Action, announced_sha256, is_plain, judge, validator_of
from aiocircle.download.stores import LocalStore, explained
from aiocircle.errors import IntegrityError, InterruptedBodyError, TransportError
from aiocircle.events import EventHandler, TransferProgress, TransferStarted
from aiocircle.session import Session
from aiocircle.transport import Answer

T = TypeVar("T")


@frozen
class Transfer:
    """Fetches artifacts into a store.

    Args:
        session: Sends the requests and repeats them.
        store: Where the files go.
        ledger: Where complete files are recorded.
        threads: Where blocking calls run.
        batch: Bytes gathered before they are written.
        sizes: Which sizes are wanted.
    """

    session: Session
    store: LocalStore
    ledger: Ledger
    threads: ThreadPoolExecutor
    batch: int
    sizes: SizeRange = ANY_SIZE

    async def run(self, url: str, target: SafePath, artifact: Source) -> int:
        """Fetch one artifact and return its size in bytes.

        Args:
            url: Its address as listed.
            target: Its final name.
            artifact: What it is, for the ledger.

        Raises:
            UnwantedSize: It is smaller or larger than wanted.
            AioCircleError: It could not be had or stored. Nothing stands under its final name that did not before.
        """
        began = self.session.clock.wall()
        kept: Part | None = None

        async def conditions() -> Mapping[str, str]:
            nonlocal kept
            kept = await self.hop(self.store.kept.find, artifact.identity) if self.store.kept else None
            return {} if kept is None or kept.kept is None else kept.kept.conditions()

        async def consume(answer: Answer) -> int:
            self.sizes.check_head(answer)
            return await _Arrival(self, answer, target, artifact, began, kept).receive()

        return await self.session.fetch(url, consume, conditions)

    async def present(self, target: SafePath, artifact: Source) -> int | None:
        """Return an artifact's size in bytes if it stands complete under its final name, else ``None``."""
        if self.ledger.is_empty:
            return None
        return None if self.ledger.was_empty else await self.hop(self._present, target, artifact.identity)

    async def hop(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a blocking function in one of the threads."""
        return await in_thread(self.threads, function, *arguments)

    def write(self, target: SafePath, chunks: list[bytes], stored: Stored) -> None:
        """Store a whole file and record it; blocks."""
        digest = hashlib.sha256(usedforsecurity=False)
        for chunk in chunks:
            digest.update(chunk)
        with self.ledger.naming(self._ended(stored, digest.hexdigest())) as naming:
            self.store.write(target, chunks, naming.announce)

    def commit(self, part: Part, target: SafePath, stored: Stored) -> None:
        """Give a complete part its name and record it; blocks."""
        with self.ledger.naming(self._ended(stored, part.digest.digest().hex())) as naming:
            self.store.commit(part, target, stored.size, naming.announce)

    def _ended(self, stored: Stored, sha256: str) -> Stored:
        return evolve(stored, sha256=sha256, ended=self.session.clock.wall())

    def _present(self, target: SafePath, artifact: str) -> int | None:
        recorded = self.ledger.size_of(target, artifact)
        return recorded if recorded is not None and recorded == self.store.size_of(target) else None


class _Arrival:
    """One attempt: an answer on its way into a file, or to the end of one."""

    def __init__(
        self, transfer: Transfer, answer: Answer, target: SafePath, artifact: Source, began: float, kept: Part | None
    ) -> None:
        self._transfer = transfer
        self._answer = answer
        self._target = target
        self._artifact = artifact
        self._began = began
        self._kept = kept
        self._validator: str | None = None
        self._emit: EventHandler = transfer.session.emit
        self._gathered: list[bytes] = []
        self._gathered_size = 0
        self._handed_over = 0
        self._part: Part | None = None
        self._file: AsyncBufferedIOBase | None = None
        self._write: asyncio.Task[None] | None = None

    async def receive(self) -> int:
        """Take in what the answer has of the file and return the file's size in bytes."""
        answer = self._answer
        verdict = judge(self._kept.kept if self._kept else None, answer.status, answer.headers, answer.size)
        if verdict.action is Action.FAIL:
            raise IntegrityError(verdict.reason)
        if self._kept and verdict.action in {Action.START, Action.AGAIN}:
            await self._transfer.hop(self._transfer.store.kept.drop, self._artifact.identity)
        if verdict.action is Action.AGAIN:
            raise InterruptedBodyError(verdict.reason)
        try:
            if verdict.action is Action.START:
                await self._take_all()
            else:
                await self._take_rest(complete=verdict.action is Action.COMPLETE)
            size = 0
            with anyio.CancelScope(shield=True):  # a file that gets its name shall also be counted
                size = await self._complete()
        except BaseException as error:
            await self._drop(keep=isinstance(error, TransportError) or not isinstance(error, Exception))
            raise
        return size

    async def _take_all(self) -> None:
        answer = self._answer
        body = Body(answer.headers, size=answer.size, name=self._target.name)
        self._validator = validator_of(answer.headers) if is_plain(answer.headers) else None
        self._emit(TransferStarted(target=str(self._target), size=answer.size if body.is_plain else None))
        await self._take(body)

    async def _take_rest(self, *, complete: bool) -> None:
        """Go on behind what was kept."""
        answer, part = self._answer, self._kept
        assert part is not None
        self._part = part
        await self._open(self._transfer.store.resume)
        self._handed_over = part.size
        size = part.size if complete else part.size + (answer.size or 0)
        self._emit(TransferStarted(target=str(self._target), size=size))
        self._emit(TransferProgress(target=str(self._target), received=part.size))
        if not complete:
            # Of the digests only this one is about the bytes that come.
            headers = {"Content-Digest": answer.headers.get("Content-Digest", "")}
            await self._take(Body(headers, size=answer.size, name=self._target.name))
            await self._hand_over()
        await self._written()
        announced = announced_sha256(answer.headers)
        if announced is not None and announced != part.digest.digest():
            part.kept = None
            raise InterruptedBodyError("what was kept and what was missing are not the file that the host announces")

    async def _take(self, body: Body) -> None:
        while chunk := await self._answer.chunk():
            for piece in body.feed(chunk):
                await self._gather(piece)
        body.end()

    async def _open(self, how: Callable[[Part], None]) -> None:
        assert self._part is not None
        await self._transfer.hop(how, self._part)
        self._file = await aiofiles.open(self._part.descriptor, "wb", closefd=False, executor=self._transfer.threads)

    async def _gather(self, piece: bytes) -> None:
        self._gathered.append(piece)
        self._gathered_size += len(piece)
        if self._gathered_size >= self._transfer.batch:
            await self._hand_over()

    async def _hand_over(self) -> None:
        """Let a thread write what is gathered, once the batch before it is written."""
        if self._part is None:
            self._part = new_part(self._artifact.identity, self._validator, self._answer.size)
            await self._open(self._transfer.store.begin)
        assert self._file is not None
        await self._written()
        self._write = asyncio.ensure_future(self._append(self._gathered))
        self._handed_over += self._gathered_size
        self._emit(TransferProgress(target=str(self._target), received=self._gathered_size))
        self._gathered, self._gathered_size = [], 0

    async def _append(self, chunks: list[bytes]) -> None:
        assert self._file is not None
        assert self._part is not None
        await self._file.writelines(chunks)
        await self._transfer.hop(self._part.take, chunks)

    async def _written(self) -> None:
        if self._write is not None:
            write, self._write = self._write, None
            with explained(str(self._target)):
                await finish(write)

    async def _complete(self) -> int:
        transfer = self._transfer
        if self._part is None or self._file is None:
            size = self._gathered_size
            await transfer.hop(transfer.write, self._target, self._gathered, self._stored(size))
            self._emit(TransferProgress(target=str(self._target), received=size))
            return size
        await self._hand_over()
        await self._written()
        with explained(str(self._target)):
            await finish(self._file.close())
        await transfer.hop(transfer.commit, self._part, self._target, self._stored(self._handed_over))
        return self._handed_over

    def _stored(self, size: int) -> Stored:
        headers = self._answer.headers
        return Stored(
            source=self._artifact,
            target=str(self._target),
            size=size,
            validator=headers.get("ETag") or headers.get("Last-Modified"),
            began=self._began,
        )

    async def _drop(self, *, keep: bool) -> None:
        """Leave nothing open, and no part but one to be continued, whatever ended the attempt; also under cancellation.

        Args:
            keep: Nothing speaks against the bytes that arrived.
        """
        with anyio.CancelScope(shield=True):
            if self._write is not None:
                await _ended(self._write)
            if self._file is not None:
                # Not left to the collector: what is buffered would go to whoever has the descriptor's number by then.
                with suppress(OSError):
                    await finish(self._file.close())
            if self._part is not None:
                store = self._transfer.store
                keep = keep and self._part.kept is not None
                await self._transfer.hop(store.keep if keep else store.discard, self._part)
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
