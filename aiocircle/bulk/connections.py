"""The connections of a session, kept open between requests, and the watch over all of them."""

import asyncio
import re
from collections.abc import Mapping

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from aiocircle.bulk.inflow import NEVER
from aiocircle.bulk.line import Line, Reply

WATCH_SECONDS = 1.0
SPARE_BUFFERS = 8
KEPT_SECONDS = 15.0  # aiohttp's own figure: a connection that was idle for longer may be dead without a sign
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")


class Connections:
    """Connections of a session for requests of this kind, kept open between them.

    Args:
        session: Whose connector makes them.
        read_buffer: Bytes that each may receive ahead of its reader.
        kept: Seconds for which one that is not used may be used again; it is closed within as many more.
    """

    def __init__(self, session: aiohttp.ClientSession, read_buffer: int, kept: float = KEPT_SECONDS) -> None:
        self.landed = bytearray(read_buffer)
        self.landing = memoryview(self.landed)
        self._session = session
        self._read_buffer = read_buffer
        self._kept_seconds = kept
        self._idle: dict[str, list[Line]] = {}
        self._busy: set[Line] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.TimerHandle | None = None
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
            self._post(line, self._request(origin, url, headers))  # no frame that waits has it: the token is in there
            return await line.answer(stall, min_rate * (limits.sock_read or 0.0))
        except BaseException:
            self.drop(line)
            raise

    def _post(self, line: Line, request: bytes) -> None:
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
            if self._sweeping is None:
                self._sweep_soon()
        else:
            self.drop(line)

    def drop(self, line: Line) -> None:
        """Close a connection, with what is under way on it."""
        self._busy.discard(line)
        line.end()

    def close(self) -> None:
        """Close all connections."""
        for timer in (self._watch, self._sweeping):
            if timer is not None:
                timer.cancel()
        for line in tuple(self._busy):
            self.drop(line)
        for line in (line for idle in self._idle.values() for line in idle):
            line.connection.close()
        self._idle.clear()

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
            if line.take_back() and self.now() - line.idle_since < self._kept_seconds:
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

    def _sweep_soon(self) -> None:
        self._sweeping = self._loop.call_later(self._kept_seconds, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long, and come again if something is left."""
        self._sweeping = None
        oldest = self.now() - self._kept_seconds
        for origin, idle in tuple(self._idle.items()):
            for line in idle:
                if line.idle_since <= oldest:
                    line.connection.close()
            self._idle[origin] = [line for line in idle if line.idle_since > oldest]
            if not self._idle[origin]:
                del self._idle[origin]
        if self._idle:
            self._sweep_soon()

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
