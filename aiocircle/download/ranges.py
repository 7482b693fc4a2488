"""The later ranges of one large file, by connections of their own.

The first connection, the *head*, asks for everything, as it would alone. When it turns out that the connection is the
limit (`aiocircle.download.width`) and that connections are free, the file is cut: the head keeps a *segment* of a few
seconds, and each further connection gets the next one. Who is done with a segment gets another, so they are always the
next ones in the file, and not far ahead of what is complete from the beginning.

Before the head has brought its segment, it is known whether the others help. If they do not, it goes on to the end of
the file, and what they have brought is given up: to go on by one of theirs, which has hardly come up to speed, would
cost more than those bytes.

The part on the disk grows from its beginning only, as ever: how long it is tells how far it got, its digest is that of
its bytes in order, and a kill leaves what the next run continues. The bytes of a segment lie *aside* until their turn
comes, in a file without a name. No kill can leave it, nothing can take it for anything, and what is lost with it are a
few seconds. When the head has come to its end, its connection is closed, and bytes from aside follow those it brought,
while they are still coming.

Nobody depends on a segment. Its request is sent once and carries the validator of the object that the head began
with; only an answer that proves to be that very stretch of it counts (`aiocircle.download.resume`). Anything else, a
refusal, a cut, a disk that has no room, drops the segment and all behind it, and this file gets no more of them. If the
head is still under way, it goes on to the end of the file itself; if not, one request asks for the rest. Should that
fail as well, the attempt ends with a part that can be continued, and with the policy of any other request.
"""

import asyncio
import errno
import functools
import os
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Protocol, Self, TypeVar

import anyio
from attrs import define, field

from aiocircle.download.body import Body
from aiocircle.download.reserve import Reserve
from aiocircle.download.resume import Action, Kept, judge
from aiocircle.download.spool import write_chunks
from aiocircle.download.stores import explained
from aiocircle.endings import ended
from aiocircle.errors import AioCircleError, APIError, InterruptedBodyError, TransportError
from aiocircle.session import REFUSALS, Session
from aiocircle.transport import Answer

T = TypeVar("T")

WORTH_RANGES = 32 * 1024 * 1024  # bytes still to come
AHEAD = 512 * 1024 * 1024  # bytes of a file that lie aside or are on their way there, at most
SEGMENTS = 2  # for each connection that do; each has a descriptor
COPIED = 1024 * 1024  # bytes that are taken from aside at a time
TOO_MUCH, TOO_LITTLE = "the host sent more than it was asked for", "the host sent less than it was asked for"
ASIDE = "a range that waits for its turn"
PIECE = 256 * 1024  # bytes of a segment that are written at a time

Take = Callable[[bytes], Awaitable[None]]


class _Hop(Protocol):
    def __call__(self, function: Callable[..., T], *arguments: object) -> Awaitable[T]: ...


@define(eq=False)
class _Segment:
    """A stretch of the file that a connection of its own brings.

    Attributes:
        start: The place of its first byte in the file.
        stop: The place behind its last one.
        received: Bytes of it that have come and lie aside.
        ready: Bytes of those that may be taken.
        taken: Bytes of those that have been.
        descriptor: The file aside.
        flows: Its connection has brought something, of this segment or of one before.
        is_begun: The first of a connection: its task has had a turn.
        task: Who fetches it.
    """

    start: int
    stop: int
    received: int = 0
    ready: int = 0
    taken: int = 0
    descriptor: int = -1
    flows: bool = False
    is_begun: bool = False
    task: "asyncio.Task[None] | None" = None

    def write(self, piece: memoryview) -> None:
        """Put more bytes aside; blocks."""
        with explained(ASIDE):
            write_chunks(self.descriptor, (piece,))

    def read(self) -> bytes:
        """Return some of the bytes that may be taken; blocks."""
        with explained(ASIDE):
            data = os.pread(self.descriptor, min(COPIED, self.ready - self.taken), self.taken)
            if not data:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return data

    def close(self) -> None:
        """Let go of the file aside; blocks."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@define(eq=False)
class Ranges:
    """One large file on its way, by one connection or several; an asynchronous context manager.

    Attributes:
        reserve: Where further connections come from.
        session: Sends the requests, each once.
        url: The artifact's own address.
        validator: The strong validator of the object.
        size: Its length in bytes.
        at: Bytes that have come in turn.
        hop: Calls a blocking function in a thread.
        aside: Opens a file without a name.
        told: Called with the number of bytes that came other than by the head, negative if they are dropped.
        refused: Called when the host pushed back.
        flowing: Connections that have brought something.
        is_cut: The head has brought what it is to bring: ``rest`` has the rest.
    """

    reserve: Reserve
    session: Session
    url: str
    validator: str
    size: int
    at: int
    hop: _Hop
    aside: Callable[[], int]
    told: Callable[[int], None]
    refused: Callable[[], None]
    flowing: int = field(default=1, init=False)
    is_cut: bool = field(default=False, init=False)
    _limit: int = field(init=False)  # where the head ends
    _next: int = field(init=False)  # where begins what has not been asked for, once the head ends before the file
    _connections: int = field(default=1, init=False)
    _is_narrow: bool = field(default=False, init=False)  # for good
    _segments: deque[_Segment] = field(factory=deque, init=False)
    _dropped: list[_Segment] = field(factory=list, init=False)
    _tasks: set["asyncio.Task[None]"] = field(factory=set, init=False)
    _news: asyncio.Event = field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._limit = self._next = self.size

    async def __aenter__(self) -> Self:
        self.reserve.enter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._drop_from(0)
        with anyio.CancelScope(shield=True):
            try:
                if self._tasks:
                    await ended(asyncio.gather(*self._tasks, return_exceptions=True))
            finally:
                if self._dropped:
                    await self.hop(self._close_dropped)

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return self.size - self.at - sum(segment.received - segment.taken for segment in self._segments)

    def head(self, piece: memoryview, *, is_held_up: bool = False) -> memoryview:
        """Note bytes that the head brought, and return those of them that it was to bring."""
        piece = piece[: self._limit - self.at]
        self.at += len(piece)
        self.is_cut = self.at == self._limit < self.size
        self.reserve.arrived(len(piece), is_held_up=is_held_up)
        return piece

    def fill(self) -> None:
        """Have as many connections as are aimed at."""
        if self._aim == 1 and self._segments and self.at < self._limit:
            self._drop_from(0)  # they win nothing, and the head has come up to speed
        self._tell()
        while 1 < self._aim > self._connections and self.reserve.free > 0 and self._may_claim():
            segment = self._claim()
            segment.task = task = asyncio.get_running_loop().create_task(self._help(segment))
            self._tasks.add(task)
            task.add_done_callback(functools.partial(self._ended, segment))
            self._connected(1)

    async def rest(self, take: Take) -> None:
        """Give everything behind the head's end to ``take``, in turn.

        Raises:
            AioCircleError: It could not be had; what was taken is right.
        """
        self._head_ended()
        await self._take_asides(take)
        while self.at < self.size:
            await self._go_on(take)
            await self._take_asides(take)

    async def _take_asides(self, take: Take) -> None:
        while self._segments:
            segment = self._segments[0]
            if segment.taken < segment.ready:
                data = await self.hop(segment.read)
                if segment not in self._segments:
                    return  # dropped meanwhile, and its bytes with it
                segment.taken += len(data)
                self.at += len(data)
                await take(data)
            elif self.at < segment.stop:
                await self._news.wait()
            else:
                self._segments.popleft()
                self._tell()
                await self.hop(segment.close)

    async def _go_on(self, take: Take) -> None:
        """Ask for everything that is missing, by a new head."""
        self._limit, self.is_cut = self.size, False
        self._connected(1)
        self.flowing += 1
        self.fill()

        async def take_in(piece: memoryview, _is_sure: bool) -> bool:
            own = self.head(piece)
            self.told(len(own))
            await take(bytes(own))
            if len(own) < len(piece) and not self.is_cut:
                raise InterruptedBodyError(TOO_MUCH)
            return not self.is_cut

        try:
            await self._ask(Kept(have=self.at, validator=self.validator, size=self.size), take_in)
        finally:
            self._head_ended()
        if self.at < self._limit:
            raise InterruptedBodyError(TOO_LITTLE)

    def _head_ended(self) -> None:
        self.flowing -= 1
        self._connected(-1)
        self.fill()

    # --- the other connections ----------------------------------------------------------------------------------------

    @property
    def _aim(self) -> int:
        return 1 if self._is_narrow else self.reserve.width.size

    def _connected(self, change: int) -> None:
        lent = max(0, self._connections - 1)  # one is what every file has
        self._connections += change
        self.reserve.lent += max(0, self._connections - 1) - lent

    def _may_claim(self) -> bool:
        """Tell whether there is a segment to ask for; the first one cuts what the head brings."""
        if self._limit == self.size and not self._segments:
            limit = self.at + self.reserve.head(self.size - self.at)
            if limit < self.size:
                self._limit = self._next = limit
        return self._next < self.size

    def _claim(self) -> _Segment:
        start = self._next
        self._next = start + self.reserve.segment(self.size - start)
        segment = _Segment(start, self._next)
        self._segments.append(segment)
        return segment

    async def _help(self, segment: _Segment) -> None:
        """Fetch one segment after another, as long as another connection is wanted."""
        segment.is_begun = True
        try:
            while True:
                await self._fetch(segment)
                following = await self._following()
                if following is None:
                    return
                following.task, following.flows = segment.task, True
                segment = following
        except AioCircleError as error:
            self._fail(segment, error)
        finally:
            self._left(segment)

    def _left(self, segment: _Segment) -> None:
        if segment in self._segments and segment.received < segment.stop - segment.start:
            self._drop_from(self._segments.index(segment))  # cancelled by somebody else: nobody brings it
        self._connected(-1)
        self.flowing -= segment.flows
        self._tell()

    def _ended(self, segment: _Segment, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not segment.is_begun:  # a task that is cancelled before its first turn runs nothing of its own
            self._left(segment)

    async def _following(self) -> _Segment | None:
        while self._next < self.size and 1 < self._aim >= self._connections and self.reserve.free >= 0:
            if self._next - self.at < AHEAD and len(self._segments) < SEGMENTS * self._aim:
                return self._claim()
            await self._news.wait()
        return None

    async def _fetch(self, segment: _Segment) -> None:
        def open_aside() -> None:  # in the thread, since whoever is cancelled meanwhile gets no result
            segment.descriptor = self.aside()

        def begun() -> None:
            self.flowing += not segment.flows
            segment.flows = True

        async def put_aside(piece: memoryview, is_sure: bool) -> bool:
            if segment.received + len(piece) > segment.stop - segment.start:
                raise InterruptedBodyError(TOO_MUCH)
            self.reserve.arrived(len(piece))
            await self.hop(segment.write, piece)
            segment.received += len(piece)
            self.told(len(piece))
            if is_sure:
                self._ready(segment)
            return True

        await self.hop(open_aside)
        wanted = Kept(have=segment.start, validator=self.validator, size=self.size, stop=segment.stop)
        await self._ask(wanted, put_aside, begun)
        if segment.received != segment.stop - segment.start:
            raise InterruptedBodyError(TOO_LITTLE)
        self._ready(segment)

    def _ready(self, segment: _Segment) -> None:
        segment.ready = segment.received
        self._tell()

    async def _ask(
        self,
        wanted: Kept,
        take_in: Callable[[memoryview, bool], Awaitable[bool]],
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask for a range and give its bytes to ``take_in``, and whether it is sure already that they are right.

        It need not wait for more when ``take_in`` says so. ``begun`` is called when they begin to come.
        """

        async def conditions() -> Mapping[str, str]:
            return wanted.conditions()

        async def consume(answer: Answer) -> None:
            verdict = judge(wanted, answer.status, answer.headers, answer.size)
            if verdict.action is not Action.APPEND:
                raise InterruptedBodyError(verdict.reason or "the host sent another object in place of a range")
            begun()
            digest = answer.headers.get("Content-Digest", "")  # of all digests only this one is about a range
            body = Body({"Content-Digest": digest}, size=answer.size, name="")
            async with aclosing(_pieces(answer)) as pieces:
                async for piece in pieces:
                    body.count(piece)
                    if not await take_in(piece, not digest):
                        return
            body.end()

        await self.session.fetch(self.url, consume, conditions)

    def _fail(self, segment: _Segment, error: Exception) -> None:
        """Do without a segment, and all behind it."""
        if segment not in self._segments:
            return
        self.reserve.mishaps += 1
        if isinstance(error, TransportError) or (isinstance(error, APIError) and error.status in REFUSALS):
            self.refused()
        self._drop_from(self._segments.index(segment))

    def _drop_from(self, first: int) -> None:
        self._is_narrow = True
        self.reserve.leave(self)
        while len(self._segments) > first:
            segment = self._segments.pop()
            self._dropped.append(segment)
            self.told(segment.taken - segment.received)
            if segment.task is not None and segment.task is not asyncio.current_task():
                segment.task.cancel()
        if not self._segments:
            self._limit = self.size
        self._tell()

    def _close_dropped(self) -> None:  # at the end, when no thread writes there any more
        while self._dropped:
            self._dropped.pop().close()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


async def _pieces(answer: Answer) -> AsyncGenerator[memoryview, None]:
    """Yield a body's bytes; each piece is good until the next one is asked for."""
    first, inflow = answer.inflow(answer.size or 0, PIECE)
    if first:
        yield memoryview(first)
    while inflow is not None:
        with answer.named():
            view = await inflow.next()
        if view is None:
            return
        yield view
        inflow.give_back(view)
    while not answer.is_over and (chunk := await answer.chunk()):
        yield memoryview(chunk)
