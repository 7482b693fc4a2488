"""Requests for files on aiohttp's connections, without the request and response objects of its client session.

Those cost as much as everything else about a small file together. Connecting (names, TLS, its timeout), parsing
and the bounds on what is received ahead are aiohttp's own; here is only what lies between: one GET without a body, one
answer, and the connection kept for the next one. What fails is raised as aiohttp raises it.

A host that sends nothing is noticed by one timer for all connections, which looks for waits that last too long: a timer
for each wait would have to be set and cancelled several times a file. The same look notices a body that comes by drips,
from what has been counted anyway: too few bytes in a period in which each look found the reader waiting. A reader that
is busy is not the host's fault, and the period begins anew.
"""

import asyncio
import re
from collections import deque
from collections.abc import Mapping

import aiohttp
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDictProxy
from yarl import URL

NEVER = float("inf")
WATCH_SECONDS = 1.0
SPARE_BUFFERS = 8
KEPT_SECONDS = 15.0  # aiohttp's own figure: a connection that was idle for longer may be dead without a sign
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")
_SWITCHING, _OK = 101, 200


class DripError(aiohttp.SocketTimeoutError):
    """Bytes come, but too few of them."""


class Reply:
    """An answer whose head has arrived, on the connection it came by.

    Attributes:
        status: HTTP status.
        headers: Header fields.
        content: aiohttp's reader of the body.
    """

    __slots__ = ("_connections", "_held", "content", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: CIMultiDictProxy[str],
        content: aiohttp.StreamReader,
        held: "_Held",
        connections: "Connections",
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self._held: _Held | None = held
        self._connections = connections

    @property
    def content_length(self) -> int | None:
        """``Content-Length`` in bytes."""
        announced = self.headers.get("Content-Length")
        return None if announced is None else int(announced)  # checked by the parser

    async def chunk(self) -> bytes:
        """Return the body's next bytes as they arrived; empty at its end."""
        content, held = self.content, self._held
        if held is None or content.is_eof():
            return await content.readany()
        held.content = content
        held.waits_since = self._connections.now()
        try:
            return await content.readany()
        finally:
            held.waits_since = NEVER

    def inflow(self, left: int, capacity: int) -> "tuple[bytes, Inflow | None]":
        """Let the body's other ``left`` bytes come by an ``Inflow``, its buffers of this capacity.

        Returns:
            Bytes that had come already, and the inflow; ``None`` if the body is not to be had in this way.
        """
        content, held = self.content, self._held
        had = []
        while not content.is_eof() and (chunk := content.read_nowait(-1)):
            had.append(chunk)
        first = b"".join(had)
        handler = None if held is None else held.connection.protocol
        if held is None or handler is None or handler.transport is None or handler.transport.is_closing():
            return first, None
        if content.is_eof() or len(first) >= left or not handler.transport.is_reading():
            return first, None
        return first, Inflow(self._connections, held, handler, content, left - len(first), capacity)

    def release(self) -> None:
        """Keep the connection for the next request."""
        held, self._held = self._held, None
        if held is not None:
            self._connections.keep(held)

    def close(self) -> None:
        """Close the connection."""
        held, self._held = self._held, None
        if held is not None:
            self._connections.drop(held)


class _Held:
    """A connection, where it leads, and since when bytes are waited for, or since when it is idle.

    ``floor`` bytes of a body are the least that has to come within ``stall`` seconds. By the time ``since`` it was
    ``had``, and ``seen`` with the last look.
    """

    __slots__ = (
        *("connection", "content", "floor", "had", "idle_since", "origin"),
        *("seen", "since", "stall", "waits_since"),
    )

    def __init__(self, connection: aiohttp.connector.Connection, origin: str) -> None:
        self.connection = connection
        self.origin = origin
        self.content: aiohttp.StreamReader | Inflow | None = None
        self.waits_since = NEVER
        self.stall = NEVER
        self.idle_since = NEVER
        self.floor = 0.0
        self.since = NEVER
        self.had = self.seen = 0

    def fault(self, now: float) -> Exception | None:
        """Return what the host is to blame for, if its reader has waited for too long by now."""
        if self.waits_since == NEVER:
            self.since = NEVER
            return None
        received = 0 if self.content is None else self.content.total_bytes
        if received != self.seen:  # a reader may wait for more than what comes at once
            self.seen, self.waits_since = received, now
        if now - self.waits_since > self.stall:
            return aiohttp.SocketTimeoutError("nothing came")
        if self.since == NEVER or received - self.had >= self.floor:
            self.since, self.had = now, received
        return DripError("too little came") if now - self.since > self.stall else None


class Inflow(asyncio.BufferedProtocol):
    """The rest of a body of known length, received into buffers that are written from as they are.

    aiohttp would copy every byte twice more, into memory that is new each time. It gets the connection back at the end.
    At most two buffers are in use: while the reader has both, nothing is received.
    """

    def __init__(
        self,
        connections: "Connections",
        held: _Held,
        handler: ResponseHandler,
        content: aiohttp.StreamReader,
        left: int,
        capacity: int,
    ) -> None:
        assert handler.transport is not None
        self._connections = connections
        self._held = held
        self._handler = handler
        self._transport = handler.transport
        self._content = content
        self._left = left
        self._end = content.total_bytes + left
        self._capacity = min(left, capacity)
        self._buffers = 1
        self._free: list[bytearray] = []
        self._lent: dict[int, bytearray] = {}
        self._buffer: bytearray | None = connections.buffer(self._capacity)
        self._at = 0
        self._filled: deque[memoryview] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        held.content = self
        self._transport.set_protocol(self)

    @property
    def is_complete(self) -> bool:
        """Whether everything has been received."""
        return not self._left

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole body that have been received, as aiohttp's reader counts them."""
        return self._end - self._left

    async def next(self) -> memoryview | None:
        """Return a filled buffer, to be given back, or ``None`` at the end of the body."""
        while not self._filled:
            if not self._left:
                return None
            if self._error is not None:
                raise self._error
            self._held.waits_since = self._connections.now()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._held.waits_since = NEVER
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
        if self._left and self._at < self._capacity:
            return
        view = memoryview(self._buffer)[: self._at]
        self._lent[id(view)] = self._buffer
        self._filled.append(view)
        self._buffer, self._at = None, 0
        if not self._left:
            self._hand_back()
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
        self.set_exception(aiohttp.ClientPayloadError("Response payload is not completed"))
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        """Nothing is written meanwhile."""

    def resume_writing(self) -> None:
        """Nothing is written meanwhile."""

    def _hand_back(self) -> None:
        """Give the connection back to aiohttp, with a parser that is at the beginning of an answer."""
        self._held.content = None
        self._transport.set_protocol(self._handler)
        self._content.feed_eof()
        self._connections.prepare(self._handler)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connections:
    """Connections of a session for requests of this kind, kept open between them.

    Args:
        session: Whose connector makes them.
        read_buffer: Bytes that each may receive ahead of its reader.
    """

    def __init__(self, session: aiohttp.ClientSession, read_buffer: int) -> None:
        self._session = session
        self._read_buffer = read_buffer
        self._idle: dict[str, list[_Held]] = {}
        self._busy: set[_Held] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._spare: list[bytearray] = []
        self._heads: dict[str, tuple[Mapping[str, str], bytes]] = {}
        self.now = asyncio.get_running_loop().time

    async def get(
        self, url: URL, headers: Mapping[str, str], limits: aiohttp.ClientTimeout, min_rate: float = 0.0
    ) -> Reply:
        """Send a GET and return its answer's head; ``release`` or ``close`` it. ``min_rate`` is in bytes a second."""
        origin = f"{url.scheme}://{url.raw_authority}"
        held = self._kept(origin) or await self._connect(url, origin, limits)
        self._busy.add(held)
        try:
            protocol = held.connection.protocol
            transport = None if protocol is None else protocol.transport  # a protocol is false while it has no answer
            if protocol is None or transport is None or transport.is_closing():
                raise aiohttp.ClientConnectionResetError("closed before the request")  # noqa: TRY301 -- cleaned up below
            transport.write(self._head(origin, url, headers))
            held.content, held.waits_since, held.stall = None, self.now(), limits.sock_read or NEVER
            held.floor, held.since, held.seen = min_rate * (limits.sock_read or 0.0), NEVER, 0
            if self._watch is None:
                self._watch_soon(held.stall)
            while True:
                message, content = await protocol.read()
                if message.code >= _OK or message.code == _SWITCHING:
                    held.waits_since = held.since = NEVER
                    return Reply(message.code, message.headers, content, held, self)
        except BaseException:
            self.drop(held)
            raise

    def keep(self, held: _Held) -> None:
        """Take back a connection whose answer has been read to its end."""
        protocol = held.connection.protocol
        if protocol is None or protocol.should_close or not protocol.is_connected():
            self.drop(held)
        else:
            self._busy.discard(held)
            held.content = None
            held.idle_since = self.now()
            self._idle.setdefault(held.origin, []).append(held)

    def drop(self, held: _Held) -> None:
        """Close a connection."""
        self._busy.discard(held)
        held.connection.close()

    def close(self) -> None:
        """Close all connections."""
        if self._watch is not None:
            self._watch.cancel()
        for held in [*self._busy, *(held for idle in self._idle.values() for held in idle)]:
            held.connection.close()
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

    def _kept(self, origin: str) -> _Held | None:
        idle = self._idle.get(origin)
        while idle:
            held = idle.pop()
            protocol = held.connection.protocol
            # Bytes that came while nothing was asked for make it unfit, as in aiohttp's own pool.
            fit = protocol is not None and protocol.is_connected() and not protocol.should_close
            if fit and self.now() - held.idle_since < KEPT_SECONDS:
                return held
            held.connection.close()
        return None

    def _watch_soon(self, stall: float) -> None:
        period = min(WATCH_SECONDS, stall / 8)
        self._watch = asyncio.get_running_loop().call_later(period, self._look)

    def _look(self) -> None:
        """Fail what has waited for too long, and look again later if there is anything to look at."""
        self._watch = None
        now = self.now()
        for held in self._busy:
            if (error := held.fault(now)) is not None:
                held.waits_since = NEVER
                if (protocol := held.connection.protocol) is not None:
                    protocol.set_exception(error)
                if held.content is not None:
                    held.content.set_exception(error)
        if self._busy:
            self._watch_soon(min(held.stall for held in self._busy))

    async def _connect(self, url: URL, origin: str, limits: aiohttp.ClientTimeout) -> _Held:
        connector = self._session.connector
        assert connector is not None
        request = aiohttp.ClientRequest("GET", url, loop=asyncio.get_running_loop(), session=self._session)
        try:
            connection = await connector.connect(request, [], limits)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error
        assert connection.protocol is not None
        self.prepare(connection.protocol)
        return _Held(connection, origin)

    def _head(self, origin: str, url: URL, headers: Mapping[str, str]) -> bytes:
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
