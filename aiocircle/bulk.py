"""Requests for files on aiohttp's connections, without the request and response objects of its client session.

Those cost as much as everything else about a small file together. Connecting (names, TLS, its timeout), parsing
and the bounds on what is received ahead are aiohttp's own; here is only what lies between: one GET without a body, one
answer, and the connection kept for the next one. What fails is raised as aiohttp raises it.
"""

import asyncio
import re
import time
from collections.abc import Mapping

import aiohttp
from attrs import define, field
from multidict import CIMultiDictProxy
from yarl import URL

KEPT_SECONDS = 15.0  # aiohttp's own figure: a connection that was idle for longer may be dead without a sign
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SWITCHING, _OK = 101, 200


@define(eq=False)
class Reply:
    """An answer whose head has arrived, on the connection it came by."""

    status: int
    headers: CIMultiDictProxy[str]
    content: aiohttp.StreamReader
    _connections: "Connections"
    _connection: aiohttp.connector.Connection
    _origin: str
    _held: bool = True

    @property
    def content_length(self) -> int | None:
        """``Content-Length`` in bytes."""
        announced = self.headers.get("Content-Length")
        return None if announced is None else int(announced)  # checked by the parser

    def release(self) -> None:
        """Keep the connection for the next request."""
        if self._held:
            self._held = False
            self._connections.keep(self._origin, self._connection)

    def close(self) -> None:
        """Close the connection."""
        if self._held:
            self._held = False
            self._connection.close()


@define(eq=False)
class Connections:
    """Connections of a session for requests of this kind, kept open between them."""

    session: aiohttp.ClientSession
    read_buffer: int
    _idle: dict[str, list[tuple[aiohttp.connector.Connection, float]]] = field(factory=dict)

    async def get(
        self, url: URL, headers: Mapping[str, str], limits: aiohttp.ClientTimeout
    ) -> Reply:
        """Send a GET and return its answer's head; ``release`` or ``close`` it."""
        origin = f"{url.scheme}://{url.raw_authority}"
        connection = self._kept(origin) or await self._connect(url, limits)
        try:
            protocol = connection.protocol
            transport = None if protocol is None else protocol.transport  # a protocol is false while empty
            if protocol is None or transport is None or transport.is_closing():
                raise aiohttp.ClientConnectionResetError("closed before the request")
            transport.write(_head(url, headers))
            protocol.start_timeout()
            while True:
                message, content = await protocol.read()
                if message.code >= _OK or message.code == _SWITCHING:
                    return Reply(message.code, message.headers, content, self, connection, origin)
        except BaseException:
            connection.close()
            raise

    def keep(self, origin: str, connection: aiohttp.connector.Connection) -> None:
        """Take back a connection whose answer has been read to its end."""
        protocol = connection.protocol
        if protocol is None or protocol.should_close or not protocol.is_connected():
            connection.close()
        else:
            self._idle.setdefault(origin, []).append((connection, time.monotonic()))

    def close(self) -> None:
        """Close all connections that are not in use."""
        for idle in self._idle.values():
            for connection, _ in idle:
                connection.close()
        self._idle.clear()

    def _kept(self, origin: str) -> aiohttp.connector.Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection, since = idle.pop()
            protocol = connection.protocol
            # Bytes that came while nothing was asked for make it unfit, as in aiohttp's own pool.
            fit = protocol is not None and protocol.is_connected() and not protocol.should_close
            if fit and time.monotonic() - since < KEPT_SECONDS:
                return connection
            connection.close()
        return None

    async def _connect(self, url: URL, limits: aiohttp.ClientTimeout) -> aiohttp.connector.Connection:
        connector = self.session.connector
        assert connector is not None
        request = aiohttp.ClientRequest("GET", url, loop=asyncio.get_running_loop(), session=self.session)
        try:
            connection = await connector.connect(request, [], limits)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error
        assert connection.protocol is not None
        connection.protocol.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=limits.sock_read,
            read_bufsize=self.read_buffer,
        )
        return connection


def _head(url: URL, headers: Mapping[str, str]) -> bytes:
    lines = [f"GET {url.raw_path_qs} HTTP/1.1", f"Host: {url.host_port_subcomponent}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any(map(_CONTROL.search, lines)):
        raise ValueError("a header holds a control character")
    return "\r\n".join([*lines, "", ""]).encode()
