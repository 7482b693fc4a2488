"""Requests for files on aiohttp's connections, without its client's objects and, for usual answers, its parser.

Those cost more than everything else about a small file together. Connecting (names, TLS, its timeout) is aiohttp's own;
here is what lies between: one GET without a body, one answer, and the connection kept for the next one. What fails is
raised as aiohttp raises it.

All lines receive into one landing buffer, since each is done with it before the loop turns to the next. A usual head
(`aiocircle.heads`) is read there, and a body of moderate length is copied out of it once. The rest of a long body
comes by an `Inflow`. An answer with an unusual head is left to aiohttp's parser together with its connection, which
comes back when the answer is over.

A host that sends nothing is noticed by one timer for all connections, which looks for waits that last too long: a timer
for each wait would have to be set and cancelled several times a file. The same look notices a body that comes by drips:
too few bytes in a period in which each look found the reader waiting. A reader that is busy is not the host's fault,
nor is a buffer that fills slowly silence: what counts are bytes.
"""

import asyncio
import re
from collections import deque
from collections.abc import Mapping

import aiohttp
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDictProxy
from yarl import URL

from aiocircle.heads import LONGEST, Head, read_head

NEVER = float("inf")
WATCH_SECONDS = 1.0
SPARE_BUFFERS = 8
KEPT_SECONDS = 15.0  # aiohttp's own figure: a connection that was idle for longer may be dead without a sign
MODERATE = 256 * 1024  # bytes of a body that are handed over as a whole
PIECE = 64 * 1024  # bytes, where a long body is wanted piece by piece
_END_OF_HEAD = b"\r\n\r\n"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")
_SWITCHING, _OK, _PARTIAL = 101, 200, 206


class DripError(aiohttp.SocketTimeoutError):
    """Bytes come, but too few of them."""


class OverrunError(aiohttp.ClientPayloadError):
    """More came than was announced: where the body really ends is not known."""


class Reply:
    """An answer whose head has arrived, on the line it came by.

    Attributes:
        status: HTTP status.
        headers: Header fields.
        content_length: ``Content-Length`` in bytes.
    """

    __slots__ = ("_chunks", "_content", "_inflow", "_left", "_line", "content_length", "headers", "status")

    def __init__(
        self,
        line: "Line",
        status: int,
        headers: CIMultiDictProxy[str],
        length: int | None,
        chunks: list[bytes],
        left: int = 0,
        content: aiohttp.StreamReader | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.content_length = length
        self._line: Line | None = line
        self._chunks = chunks  # of the body, as they arrived
        self._left = left  # bytes of the body still to come
        self._inflow: Inflow | None = None  # by which they come
        self._content = content  # aiohttp's reader, where the answer was left to it

    @property
    def is_over(self) -> bool:
        """Whether the whole body has arrived and been read."""
        if self._content is not None:
            return self._content.at_eof()
        return not self._chunks and (not self._left if self._inflow is None else self._inflow.is_read)

    def whole(self) -> list[bytes] | None:
        """Return the body if all of it is there already and none of it has been read, else ``None``."""
        if self._left or self._content is not None or self._inflow is not None:
            return None
        chunks, self._chunks = self._chunks, []
        return chunks

    async def chunk(self) -> bytes:
        """Return the body's next bytes as they arrived; empty at its end."""
        if self._content is not None:
            return await self._chunk_of(self._content)
        if self._chunks:
            return self._chunks.pop(0)
        if self._inflow is None:
            _, self._inflow = self.inflow(self._left, PIECE)
        view = None if self._inflow is None else await self._inflow.next()
        if view is None or self._inflow is None:
            return b""
        piece = bytes(view)
        self._inflow.give_back(view)
        return piece

    async def _chunk_of(self, content: aiohttp.StreamReader) -> bytes:
        line = self._line
        if line is None or content.is_eof():
            return await content.readany()
        line.reader = content
        line.waits_since = line.connections.now()
        try:
            return await content.readany()
        finally:
            line.waits_since = NEVER

    def inflow(self, left: int, capacity: int) -> "tuple[bytes, Inflow | None]":
        """Let the body's other ``left`` bytes come by an ``Inflow``, its buffers of this capacity.

        Returns:
            Bytes that had come already, and the inflow; ``None`` if the body is not to be had in this way.
        """
        first = b"".join(self._chunks)
        line = self._line
        if line is None or not self._left or left != len(first) + self._left:
            return b"", None
        self._chunks = []
        self._inflow = Inflow(line.connections, line, self._left, capacity)
        return first, self._inflow

    @property
    def is_overrun(self) -> bool:
        """Whether more has come by now than was announced."""
        return self._line is not None and self._line.is_overrun

    def release(self) -> None:
        """Keep the connection for the next request."""
        line, self._line = self._line, None
        if line is not None:
            line.connections.keep(line)

    def close(self) -> None:
        """Close the connection."""
        line, self._line = self._line, None
        if line is not None:
            line.connections.drop(line)


class Line(asyncio.BufferedProtocol):
    """A connection, where it leads, and what arrives on it: heads, and bodies of moderate length.

    Attributes:
        connections: Whose it is.
        connection: aiohttp's.
        handler: aiohttp's protocol, which gets the answers that are not usual.
        transport: Where bytes are sent.
        origin: Where it leads.
        reader: Who reads the body now, if not this; is told of errors.
        is_lost: It has been closed.
        is_spoiled: It cannot be used again.
        is_overrun: Bytes have come behind the end of an answer.
        waits_since: The loop's time since when bytes are waited for.
        stall: Seconds for which they may be.
        floor: Bytes that come within so many seconds at least, once the first one has come.
        received: Bytes that have come by it, those that aiohttp's parser got left out.
        idle_since: The loop's time since when nothing is asked for.
    """

    def __init__(self, connections: "Connections", connection: aiohttp.connector.Connection, origin: str) -> None:
        handler = connection.protocol
        assert handler is not None
        assert handler.transport is not None
        self.connections = connections
        self.connection = connection
        self.handler: ResponseHandler = handler
        self.transport = handler.transport
        self.origin = origin
        self.reader: aiohttp.StreamReader | Inflow | None = None
        self.is_lost = False
        self.is_spoiled = self.is_overrun = False
        self.waits_since = NEVER
        self.stall = NEVER
        self.floor = 0.0
        self.received = 0
        self.idle_since = NEVER
        self._is_lent = False  # to aiohttp, for one answer
        self._waiter: asyncio.Future[Reply | None] | None = None
        self._beginning = b""  # of a head
        self._head: Head | None = None
        self._chunks: list[bytes] = []
        self._left = 0
        self._first = self._seen = self._had = 0  # bytes before the answer, at the last look, when the period began
        self._period = NEVER
        self.transport.set_protocol(self)

    async def ask(self, request: bytes, stall: float, floor: float) -> Reply:
        """Send a request and return its answer."""
        if self.is_lost or self.transport.is_closing():
            raise aiohttp.ClientConnectionResetError("closed before the request")
        self.reader, self.stall, self.floor, self.waits_since = None, stall, floor, self.connections.now()
        self._first = self._seen = self.received
        self._period = NEVER
        self._waiter = asyncio.get_running_loop().create_future()
        self.connections.post(self, request)
        reply = await self._waiter
        while reply is None:
            message, content = await self.handler.read()
            if message.code >= _OK or message.code == _SWITCHING:
                announced = message.headers.get("Content-Length")
                length = None if announced is None else int(announced)  # checked by the parser
                reply = Reply(self, message.code, message.headers, length, [], content=content)
        self.waits_since = NEVER
        return reply

    def take_back(self) -> bool:
        """Make it ready for the next request, and tell whether it is fit for one."""
        if self._is_lent:
            self._is_lent = False
            self.is_spoiled = self.is_spoiled or self.handler.should_close
            if not self.is_lost and self.handler.is_connected():
                self.transport.set_protocol(self)
        self.reader = None
        return not (self.is_lost or self.is_spoiled or self.transport.is_closing())

    def fault(self, now: float) -> Exception | None:
        """Return what the host is to blame for, if its reader has waited for too long by now."""
        if self.waits_since == NEVER:
            self._period = NEVER
            return None
        received = self.received + (0 if self.reader is None else self.reader.total_bytes)
        if received != self._seen:
            self._seen, self.waits_since = received, now
        if now - self.waits_since > self.stall:
            return aiohttp.SocketTimeoutError("nothing came")
        if self._period == NEVER or received == self._first or received - self._had >= self.floor:
            self._period, self._had = now, received
        return DripError("too little came") if now - self._period > self.stall else None

    def fail(self, error: Exception) -> None:
        """End what is waited for with an error."""
        self.waits_since = NEVER
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        if self._is_lent:
            self.handler.set_exception(error)
        if self.reader is not None:
            self.reader.set_exception(error)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- asyncio's name
        """Return where the next bytes go; asyncio asks."""
        return self.connections.landing

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of bytes that have been received; asyncio tells."""
        if self._waiter is None or self._waiter.done():
            self.is_spoiled = self.is_overrun = True  # bytes that nobody asked for
            self.transport.close()
            return
        self.received += nbytes
        landing = self.connections.landing
        if self._head is not None:
            self._take(landing[:nbytes])
            return
        data: bytes | bytearray = self.connections.landed
        size = nbytes
        if self._beginning:
            data = self._beginning + landing[:nbytes]
            size, self._beginning = len(data), b""
        end = data.find(_END_OF_HEAD, 0, size) + len(_END_OF_HEAD)
        if end >= len(_END_OF_HEAD):
            self._head = read_head(data, end)
        elif size <= LONGEST:
            self._beginning = bytes(data[:size])
            return
        if self._head is None:
            self._lend(bytes(data[:size]))
        else:
            self._begin_body(self._head, memoryview(data)[end:size])

    def _begin_body(self, head: Head, first: memoryview) -> None:
        self._left = head.length
        if head.length <= max(MODERATE, len(first)):
            self._take(first)
        elif head.status in {_OK, _PARTIAL}:
            self.transport.pause_reading()
            self._answer(head, [bytes(first)] if first else [], head.length - len(first))
        else:
            self.is_spoiled = True  # nobody wants that much of a refusal
            self._answer(head, [bytes(first)], 0)

    def _take(self, data: memoryview) -> None:
        head = self._head
        assert head is not None
        if len(data) > self._left:
            self.is_spoiled = self.is_overrun = True
            assert self._waiter is not None
            self._waiter.set_exception(OverrunError("more bytes than announced"))
            return
        if data:
            self._chunks.append(bytes(data))
            self._left -= len(data)
        if not self._left:
            chunks, self._chunks = self._chunks, []
            self._answer(head, chunks, 0)

    def _answer(self, head: Head, chunks: list[bytes], left: int) -> None:
        self._head = None
        self.is_spoiled = self.is_spoiled or not head.keeps
        assert self._waiter is not None
        self._waiter.set_result(Reply(self, head.status, head.headers, head.length, chunks, left))

    def _lend(self, data: bytes) -> None:
        self._is_lent = True
        self.connections.prepare(self.handler)
        self.transport.set_protocol(self.handler)
        self.handler.data_received(data)
        assert self._waiter is not None
        self._waiter.set_result(None)

    def eof_received(self) -> None:
        """Let the transport close; asyncio tells."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is still awaited; asyncio tells."""
        self.is_lost = True
        if self._waiter is not None and not self._waiter.done():
            if self._head is not None:
                self._waiter.set_exception(_cut())
            elif isinstance(exc, OSError):
                self._waiter.set_exception(aiohttp.ClientOSError(*exc.args))
            else:
                self._waiter.set_exception(aiohttp.ServerDisconnectedError())
        self.handler.connection_lost(exc)


class Inflow(asyncio.BufferedProtocol):
    """The rest of a body of known length, received into buffers that are written from as they are.

    At most two buffers are in use: while the reader has both, nothing is received.
    """

    total_bytes = 0  # aiohttp's readers count theirs; these are counted by the line

    def __init__(
        self,
        connections: "Connections",
        line: "Line",
        left: int,
        capacity: int,
    ) -> None:
        self._connections = connections
        self._line = line
        self._transport = line.transport
        self._left = left
        self._capacity = min(left, capacity)
        self._buffers = 1
        self._free: list[bytearray] = []
        self._lent: dict[int, bytearray] = {}
        self._buffer: bytearray | None = connections.buffer(self._capacity)
        self._at = 0
        self._filled: deque[memoryview] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        line.reader = self
        if line.is_lost:
            self._error = _cut()
        else:
            self._transport.set_protocol(self)
            self._transport.resume_reading()

    @property
    def is_complete(self) -> bool:
        """Whether everything has been received."""
        return not self._left

    @property
    def is_read(self) -> bool:
        """Whether everything has been received, and handed to the reader."""
        return not self._left and not self._filled

    async def next(self) -> memoryview | None:
        """Return a filled buffer, to be given back, or ``None`` at the end of the body."""
        while not self._filled:
            if not self._left:
                return None
            if self._error is not None:
                raise self._error
            self._line.waits_since = self._connections.now()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._line.waits_since = NEVER
        return self._filled.popleft()

    def give_back(self, view: memoryview) -> None:
        """Let a buffer be used again."""
        buffer = self._lent.pop(id(view), None)
        if buffer is None:
            return
        view.release()
        if not self._left:
            self._connections.spare(buffer)
        elif self._buffer is None:
            self._buffer, self._at = buffer, 0
            self._transport.resume_reading()
        else:
            self._free.append(buffer)

    def set_exception(self, error: BaseException) -> None:
        """End it with an error."""
        self._error = self._error or error
        self._wake()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- asyncio's name
        """Return where the next bytes go; asyncio asks."""
        assert self._buffer is not None
        return memoryview(self._buffer)[self._at : min(self._capacity, self._at + self._left)]

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of bytes that have been received; asyncio tells."""
        assert self._buffer is not None
        self._at += nbytes
        self._left -= nbytes
        self._line.received += nbytes
        if self._left and self._at < self._capacity:
            return
        view = memoryview(self._buffer)[: self._at]
        self._lent[id(view)] = self._buffer
        self._filled.append(view)
        self._buffer, self._at = None, 0
        if not self._left:
            self._line.reader = None
            self._transport.set_protocol(self._line)
        elif self._free:
            self._buffer = self._free.pop()
        elif self._buffers == 1:
            self._buffers, self._buffer = 2, self._connections.buffer(self._capacity)
        else:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """Let the transport close; asyncio tells."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is still awaited; asyncio tells."""
        self.set_exception(_cut())
        self._line.connection_lost(exc)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _cut() -> aiohttp.ClientPayloadError:
    return aiohttp.ClientPayloadError("Response payload is not completed")


class Connections:
    """Connections of a session for requests of this kind, kept open between them.

    Args:
        session: Whose connector makes them.
        read_buffer: Bytes that each may receive ahead of its reader.
    """

    def __init__(self, session: aiohttp.ClientSession, read_buffer: int) -> None:
        self.landed = bytearray(read_buffer)
        self.landing = memoryview(self.landed)
        self._session = session
        self._read_buffer = read_buffer
        self._idle: dict[str, list[Line]] = {}
        self._busy: set[Line] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._spare: list[bytearray] = []
        self._heads: dict[str, tuple[Mapping[str, str], bytes]] = {}
        self._outbox: list[tuple[asyncio.Transport, bytes]] = []
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time

    async def get(
        self, url: URL, headers: Mapping[str, str], limits: aiohttp.ClientTimeout, min_rate: float = 0.0
    ) -> Reply:
        """Send a GET and return its answer's head; ``release`` or ``close`` it. ``min_rate`` is in bytes a second."""
        origin = f"{url.scheme}://{url.raw_authority}"
        line = self._kept(origin) or await self._connect(url, origin, limits)
        self._busy.add(line)
        try:
            stall = limits.sock_read or NEVER
            if self._watch is None:
                self._watch_soon(stall)
            return await line.ask(self._request(origin, url, headers), stall, min_rate * (limits.sock_read or 0.0))
        except BaseException:
            self.drop(line)
            raise

    def post(self, line: Line, request: bytes) -> None:
        """Send a request together with those of the same moment.

        A host that has just gone to sleep for want of requests is woken by each of them, and that costs the sender more
        than to send it.
        """
        if not self._outbox:
            self._loop.call_soon(self._send)
        self._outbox.append((line.transport, request))

    def _send(self) -> None:
        outbox, self._outbox = self._outbox, []
        for transport, request in outbox:
            transport.write(request)

    def keep(self, line: Line) -> None:
        """Take back a connection whose answer has been read to its end."""
        if line.take_back():
            self._busy.discard(line)
            line.idle_since = self.now()
            self._idle.setdefault(line.origin, []).append(line)
        else:
            self.drop(line)

    def drop(self, line: Line) -> None:
        """Close a connection."""
        self._busy.discard(line)
        line.connection.close()

    def close(self) -> None:
        """Close all connections."""
        if self._watch is not None:
            self._watch.cancel()
        for line in [*self._busy, *(line for idle in self._idle.values() for line in idle)]:
            line.connection.close()
        self._idle.clear()
        self._busy.clear()

    def prepare(self, handler: ResponseHandler) -> None:
        """Let a connection expect an answer."""
        handler.set_response_params(read_until_eof=True, auto_decompress=False, read_bufsize=self._read_buffer)

    def buffer(self, size: int) -> bytearray:
        """Return a buffer of at least this size; memory that was used before is cheaper than new."""
        for place, buffer in enumerate(self._spare):
            if size <= len(buffer) <= 2 * size:
                return self._spare.pop(place)
        return bytearray(size)

    def spare(self, buffer: bytearray) -> None:
        """Take back a buffer."""
        if len(self._spare) < SPARE_BUFFERS:
            self._spare.append(buffer)

    def _kept(self, origin: str) -> Line | None:
        idle = self._idle.get(origin)
        while idle:
            line = idle.pop()
            if line.take_back() and self.now() - line.idle_since < KEPT_SECONDS:
                return line
            line.connection.close()
        return None

    def _watch_soon(self, stall: float) -> None:
        period = min(WATCH_SECONDS, stall / 8)
        self._watch = asyncio.get_running_loop().call_later(period, self._look)

    def _look(self) -> None:
        """Fail what has waited for too long, and look again later if there is anything to look at."""
        self._watch = None
        now = self.now()
        for line in self._busy:
            if (fault := line.fault(now)) is not None:
                line.fail(fault)
        if self._busy:
            self._watch_soon(min(line.stall for line in self._busy))

    async def _connect(self, url: URL, origin: str, limits: aiohttp.ClientTimeout) -> Line:
        connector = self._session.connector
        assert connector is not None
        request = aiohttp.ClientRequest("GET", url, loop=asyncio.get_running_loop(), session=self._session)
        try:
            connection = await connector.connect(request, [], limits)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error
        return Line(self, connection, origin)

    def _request(self, origin: str, url: URL, headers: Mapping[str, str]) -> bytes:
        known = self._heads.get(origin)
        if known is None or known[0] is not headers:
            lines = [f"Host: {url.host_port_subcomponent}", *(f"{name}: {value}" for name, value in headers.items())]
            if any(map(_CONTROL.search, lines)):
                raise ValueError("a header holds a control character")
            known = self._heads[origin] = headers, "\r\n".join([" HTTP/1.1", *lines, "", ""]).encode()
        target = url.raw_path_qs
        if _UNSENDABLE.search(target):
            raise ValueError("the address holds a control character")
        return b"GET " + target.encode() + known[1]
