"""An answer on its way into a file, or to the end of one.

Bytes go into a part while the next ones arrive (`aiocircle.download.outflow`). A file that ends within its first batch
is handed over as a whole (`aiocircle.download.small`). A large one may come by several connections
(`aiocircle.download.ranges`).

A part that can be continued is kept, whatever ended the attempt but a verdict on its bytes
(`aiocircle.download.resume`).
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio

from aiocircle.bulk.inflow import Inflow
from aiocircle.download.body import Body
from aiocircle.download.items import Item
from aiocircle.download.outflow import Outflow
from aiocircle.download.parts import Part, new_part
from aiocircle.download.paths import SafePath
from aiocircle.download.ranges import WORTH_RANGES, Ranges
from aiocircle.download.records import Source, Stored
from aiocircle.download.resume import PARTIAL, Action, announced_sha256, is_plain, judge, validator_of
from aiocircle.download.small import Whole
from aiocircle.endings import ended
from aiocircle.errors import APIError, IntegrityError, InterruptedBodyError, TransportError
from aiocircle.events import EventHandler, TransferProgress, TransferStarted
from aiocircle.transport import Answer

if TYPE_CHECKING:
    from aiocircle.download.transfer import Transfer

WORTH_AN_INFLOW = 256 * 1024  # bytes still to come
WORTH_KEEPING = 64 * 1024  # bytes that came; fewer are sooner fetched again than written and read


class Arrival:
    """One attempt: an answer on its way into a file, or to the end of one."""

    def __init__(self, transfer: "Transfer", answer: Answer, item: Item, began: float, kept: Part | None) -> None:
        self._transfer = transfer
        self._answer = answer
        self._item = item
        self._target: SafePath = item.placed.path
        self._artifact: Source = item.artifact
        self._began = began
        self._kept = kept
        self._validator: str | None = None
        self._emit: EventHandler = transfer.session.emit
        self._watched = transfer.session.watched
        self._out = Outflow(transfer.store, transfer.threads, self._target, self._tell)
        self._inflow: Inflow | None = None
        self._lent: memoryview | None = None
        self._at = 0  # where in the file the answer's body begins

    async def receive(self) -> None:
        """Take in what the answer has of the file, which is complete then, or handed over."""
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
            if self._out.part is None:
                await asyncio.sleep(0)  # what came behind the last byte is seen in the next turn of the loop
                self._check_end()
                self._hand_over_whole()
                return
            # A file that gets its name shall also be counted; where that takes long, a cancellation need not wait.
            with anyio.CancelScope(shield=not self._transfer.store.is_remote):
                await self._complete(self._out.part)
        except BaseException as error:
            try:
                if isinstance(error, TransportError):
                    await self._save_what_came()
            finally:
                keep = isinstance(error, TransportError | APIError) or not isinstance(error, Exception)
                await self._out.drop(keep=keep)
            raise

    async def _save_what_came(self) -> None:
        """Write what came of a body that was cut, if the next attempt can go on behind it.

        Without that, a line that cuts every connection before a batch is full would never bring a large file.
        """
        kept = self._out.part.kept if self._out.part else new_part(self._artifact.identity, self._validator, None).kept
        missing = self._at + (self._answer.size or 0) - self._out.size - self._out.gathered_size
        if kept is not None and missing > 0 and self._out.gathered_size >= WORTH_KEEPING:
            await self._hand_over()

    async def _take_all(self) -> None:
        answer = self._answer
        body = self._body(answer.headers)
        self._validator = validator_of(answer.headers) if is_plain(answer.headers) else None
        if self._watched(TransferStarted):
            self._emit(TransferStarted(target=self._item.target, size=answer.size if body.is_plain else None))
        await self._take(body)

    async def _take_rest(self, *, complete: bool) -> None:
        """Go on behind what was kept."""
        answer, part = self._answer, self._kept
        assert part is not None
        if self._watched(TransferStarted):
            size = part.size if complete else part.size + (answer.size or 0)
            self._emit(TransferStarted(target=self._item.target, size=size))
        await self._out.resume(part)
        self._at = part.size
        if not complete:
            # Of the digests only this one is about the bytes that come.
            headers = {"Content-Digest": answer.headers.get("Content-Digest", "")}
            await self._take(self._body(headers))
            await self._out.hand_over()
        await self._out.written()
        announced = announced_sha256(answer.headers)
        if announced is not None and announced != part.digest.digest():
            part.kept = None
            raise InterruptedBodyError("what was kept and what was missing are not the file that the host announces")

    def _body(self, headers: Mapping[str, str]) -> Body:
        answer, longest = self._answer, self._transfer.longest
        return Body(headers, size=answer.size, name=self._target.name, longest=longest)

    async def _take(self, body: Body) -> None:
        """Take in the body. What is left of it in the end is gathered, and without a part it is all of it."""
        answer = self._answer
        by_buffers = body.is_plain and answer.size is not None and answer.size >= WORTH_AN_INFLOW
        if by_buffers and await self._take_in(body, answer.size or 0):
            body.end()
            return
        while not answer.is_over and (chunk := await answer.chunk()):
            if body.is_plain:
                body.count(chunk)
                self._out.gather(chunk)
                await self._hand_over_batch()
                continue
            for piece in body.feed(chunk):
                self._out.gather(piece)
                await self._hand_over_batch()
        body.end()

    async def _take_in(self, body: Body, left: int) -> bool:
        """Take in the rest of a body buffer by buffer; what fits into one need not wait for a part to be opened.

        Returns:
            Whether that was possible.
        """
        async with self._transfer.intake:
            await self._transfer.small.room()
            return await self._take_buffers(body, left)

    async def _take_buffers(self, body: Body, left: int) -> bool:
        batch = self._transfer.batch
        first, inflow = self._answer.inflow(left, left if left <= 2 * batch else batch)
        if first:
            body.count(first)
            self._out.gather(first)
        if inflow is None:
            return False
        self._inflow = inflow
        ranges = self._ranges(left)
        if ranges is None:
            await self._take_views(body, inflow)
            return True
        async with ranges:
            await self._take_views(body, inflow, ranges)
            if ranges.is_cut:
                await self._take_ranges(body, ranges)
        return True

    async def _take_views(self, body: Body, inflow: Inflow, ranges: Ranges | None = None) -> None:
        while ranges is None or not ranges.is_cut:
            try:
                with self._answer.named():
                    view = await inflow.next()
            except TransportError:
                self._out.gather(inflow.unread())
                raise
            if view is None:
                return
            before, self._lent = self._lent, view
            if ranges is not None:
                view = ranges.head(view, is_held_up=self._out.lags)
            body.count(view)
            self._out.gather(view)
            if self._out.part is not None or not inflow.is_complete:
                await self._hand_over()
                if before is not None:
                    inflow.give_back(before)  # it is written, now that the next one is under way

    def _ranges(self, left: int) -> Ranges | None:
        """Return what brings the file by several connections, should that turn out to be faster, if it is allowed."""
        transfer, headers = self._transfer, self._answer.headers
        kept = None if self._out.part is None else self._out.part.kept
        validator = self._validator if kept is None else kept.validator
        by_ranges = self._answer.status == PARTIAL or headers.get("Accept-Ranges", "").strip().lower() == "bytes"
        if left < WORTH_RANGES or transfer.reserve is None or validator is None or not by_ranges:
            return None
        if not transfer.store.takes_ranges:
            return None
        return Ranges(
            reserve=transfer.reserve,
            session=transfer.session.unrepeated(),
            url=self._item.url,
            validator=validator,
            size=self._out.size + left,
            at=self._out.size + self._out.gathered_size,
            hop=transfer.hop,
            aside=transfer.store.aside,
            told=self._tell,
            refused=transfer.refused,
        )

    async def _take_ranges(self, body: Body, ranges: Ranges) -> None:
        """Take in what other connections bring; the one of this answer is of no use any more."""
        await self._hand_over()
        self._answer.close()
        self._inflow = self._lent = None
        self._out.tells = False

        async def take(chunk: bytes) -> None:
            body.count(chunk)
            self._out.gather(chunk)
            await self._hand_over_batch()

        await ranges.rest(take)

    async def _hand_over_batch(self) -> None:
        if self._out.gathered_size >= self._transfer.batch:
            await self._hand_over()

    async def _hand_over(self) -> None:
        if self._out.part is None:
            await self._out.begin(new_part(self._artifact.identity, self._validator, self._answer.size))
        await self._out.hand_over()

    def _tell(self, received: int) -> None:
        if received and self._watched(TransferProgress):
            self._emit(TransferProgress(target=self._item.target, received=received))

    def _give_back(self) -> None:
        if self._inflow is not None and self._lent is not None:
            self._out.gathered = []
            self._inflow.give_back(self._lent)

    def _check_end(self) -> None:
        """Check, once the loop has turned since the last byte, that nothing has come behind it."""
        if self._answer.is_overrun:
            raise InterruptedBodyError("the host sent more bytes than it had announced")

    def _hand_over_whole(self) -> None:
        size = self._out.gathered_size
        whole = Whole(
            self._item,
            self._out.gathered,
            size,
            told_validator(self._answer),
            self._began,
            self._transfer.session.clock.wall(),
            None if self._inflow is None else self._give_back,
        )
        self._transfer.small.add(whole)
        self._tell(size)

    async def _complete(self, part: Part) -> None:
        transfer = self._transfer
        await self._out.hand_over()
        await self._out.written()
        self._give_back()
        self._check_end()
        loop = asyncio.get_running_loop()
        size = self._out.size
        commit = loop.run_in_executor(transfer.threads, transfer.commit, part, self._target, size, self._stored)
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError:
            part.abandoned = True
            await ended(commit)
            raise
        transfer.ended(self._item, size)

    def _stored(self, size: int, sha256: str) -> Stored:
        """Return what is recorded of the file, which is complete now."""
        return Stored(
            source=self._artifact,
            target=self._item.target,
            size=size,
            validator=told_validator(self._answer),
            sha256=sha256,
            began=self._began,
            ended=self._transfer.session.clock.wall(),
        )


def told_validator(answer: Answer) -> str | None:
    """Return what the host gave to tell this object from others, weak or strong."""
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified")
