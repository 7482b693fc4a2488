"""The rest of a long body, received into buffers that are written from as they are."""

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from aiocircle.bulk.connections import Connections
    from aiocircle.bulk.line import Line

NEVER = float("inf")


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
            self._error = cut()
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

    def unread(self) -> memoryview:
        """Return what has been received of a buffer that will never be full, since ``next`` has failed."""
        return memoryview(self._buffer or b"")[: self._at]

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
        """Take what has come by TLS before its end; asyncio tells, which reads one buffer more and drops the others."""
        tls: Any = self._line.tls  # whose types do not know that it reads into buffers
        with suppress(ssl.SSLError):  # nothing is left
            while tls is not None and self._left:
                if self._buffer is None:
                    self._buffer = self._connections.buffer(self._capacity)
                count = tls.read(self._left, self.get_buffer(-1))
                if not count:
                    return
                self.buffer_updated(count)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is still awaited; asyncio tells."""
        self.set_exception(cut())
        self._line.connection_lost(exc)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def cut() -> aiohttp.ClientPayloadError:
    """Return what a body that ended too early is."""
    return aiohttp.ClientPayloadError("Response payload is not completed")
