"""One connection, and the answers that arrive on it."""

import asyncio
import ssl
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDictProxy

from aiocircle.bulk.inflow import NEVER, Inflow, cut
from aiocircle.heads import LONGEST, Head, may_be_usual, read_head

if TYPE_CHECKING:
    from aiocircle.bulk.connections import Connections

PIECE = 64 * 1024  # bytes, where a long body is wanted piece by piece
_END_OF_HEAD = b"\r\n\r\n"
_INTERIM, _SWITCHING = range(100, 200), 101


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

    __slots__ = (
        *("_chunks", "_content", "_ends_with_line", "_inflow", "_left", "_line"),
        *("content_length", "headers", "status"),
    )

    def __init__(
        self,
        line: "Line",
        status: int,
        headers: CIMultiDictProxy[str],
        length: int | None,
        chunks: list[bytes],
        left: int = 0,
        content: aiohttp.StreamReader | None = None,
        ends_with_line: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers
        self.content_length = length
        self._line: Line | None = line
        self._chunks = chunks  # of the body, as they arrived
        self._left = left  # bytes of the body still to come
        self._inflow: Inflow | None = None  # by which they come
        self._content = content  # aiohttp's reader, where the answer was left to it
        self._ends_with_line = ends_with_line  # nothing else tells where the body does

    @property
    def is_over(self) -> bool:
        """Whether the whole body has arrived and been read."""
        if self._content is not None:
            return self._content.at_eof() and not self._is_cut
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
            chunk = await self._chunk_of(self._content)
            if not chunk and self._is_cut:
                raise cut()
            return chunk
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

    @property
    def _is_cut(self) -> bool:
        """Whether the connection that was the body's end has been broken: aiohttp takes any end for a good one."""
        return self._ends_with_line and self._line is not None and self._line.is_cut

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
        tls: The state of TLS, if that is spoken.
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
        self.tls: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")  # none tells once it is closed
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
        self._first = self._seen = self._had = 0  # bytes before the answer, at the last look, when the period began
        self._period = NEVER
        self.transport.set_protocol(self)

    async def answer(self, stall: float, floor: float) -> Reply:
        """Return the answer to the request that is being sent."""
        if self.is_lost or self.transport.is_closing():
            raise aiohttp.ClientConnectionResetError("closed before the request")
        self.reader, self.stall, self.floor, self.waits_since = None, stall, floor, self.connections.now()
        self._first = self._seen = self.received
        self._period = NEVER
        self._waiter = asyncio.get_running_loop().create_future()
        reply = await self._waiter
        while reply is None:
            message, content = await self.handler.read()
            if message.code not in _INTERIM or message.code == _SWITCHING:
                announced = message.headers.get("Content-Length")
                length = None if announced is None else int(announced)  # checked by the parser
                ends = length is None and not message.chunked and content is not aiohttp.EMPTY_PAYLOAD
                reply = Reply(self, message.code, message.headers, length, [], content=content, ends_with_line=ends)
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

    @property
    def is_cut(self) -> bool:
        """Whether its end, which aiohttp was told of, was none."""
        return was_cut(self.handler, self.tls)

    def end(self) -> None:
        """Close it at once: TLS that has heard the host's end waits with its own until all is read that came before."""
        self.transport.abort()
        self.connection.close()

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
        data: bytes | bytearray = self.connections.landed
        size = nbytes
        if self._beginning:
            data = self._beginning + landing[:nbytes]
            size, self._beginning = len(data), b""
        head = None
        end = data.find(_END_OF_HEAD, 0, size) + len(_END_OF_HEAD)
        if end >= len(_END_OF_HEAD):
            head = read_head(data, end)
        elif size <= LONGEST and may_be_usual(beginning := bytes(data[:size])):
            self._beginning = beginning
            return
        if head is None:
            self._lend(bytes(data[:size]))
        else:
            self._begin_body(head, memoryview(data)[end:size])

    def _begin_body(self, head: Head, first: memoryview) -> None:
        left = head.length - len(first)
        assert self._waiter is not None
        if left < 0:
            self.is_spoiled = self.is_overrun = True
            self._waiter.set_exception(OverrunError("more bytes than announced"))
            return
        if left:
            self.transport.pause_reading()  # until somebody wants the rest
        self.is_spoiled = self.is_spoiled or not head.keeps
        chunks = [bytes(first)] if first else []
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
            if isinstance(exc, OSError):
                self._waiter.set_exception(aiohttp.ClientOSError(*exc.args))
            else:
                self._waiter.set_exception(aiohttp.ServerDisconnectedError())
        self.handler.connection_lost(exc)


def was_cut(handler: ResponseHandler, tls: ssl.SSLObject | None) -> bool:
    """Tell whether a connection that is over ended by an error, or by TLS without the word that is its end."""
    if not isinstance(handler.exception(), aiohttp.ServerDisconnectedError):
        return True
    try:
        return tls is not None and bool(tls.read(1))
    except ssl.SSLError as error:
        return not isinstance(error, ssl.SSLZeroReturnError)
