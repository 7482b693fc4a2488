"""The one place that touches aiohttp's client: send one request, get one answer.

No redirect is followed here, nothing is repeated, nothing waits for a budget; that is the session's work. What leaves
this module as an exception is ours (`aiocircle.failures`).
"""

import asyncio
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError
from yarl import URL

from aiocircle.bulk.connections import Connections
from aiocircle.bulk.inflow import Inflow, cut
from aiocircle.bulk.line import DripError, Reply, was_cut
from aiocircle.errors import TransportError, closed_in_use
from aiocircle.failures import named_failure
from aiocircle.nearby import Reach
from aiocircle.proxies import Proxies
from aiocircle.ratelimit.facts import RateFacts
from aiocircle.resolver import Resolver
from aiocircle.timeouts import Timeouts

READ_BUFFER = 256 * 1024  # bytes a connection may receive ahead of its reader
DRAIN_LIMIT = 16 * 1024  # bytes worth reading to keep a connection
DRAIN_SECONDS = 1.0  # worth waiting for them; a new connection costs less than that


class Answer:
    """An HTTP answer whose head has arrived.

    Attributes:
        status: HTTP status.
        headers: Header fields, looked up without regard to case.
        size: ``Content-Length`` in bytes, or ``None`` when the host gave none.
        redirected: It came from another address than the one first asked for.
        home: It came from the API's own origin, to which another address redirected.
        tries: Failed tries and refusals before it.
        rate: What its headers say about the rate limit, once they have been read.
    """

    __slots__ = (
        *("_bulk", "_came", "_host", "_response", "_timeouts", "_waited"),
        *("headers", "home", "rate", "redirected", "size", "status", "tries"),
    )

    def __init__(self, response: aiohttp.ClientResponse | Reply, host: str, timeouts: Timeouts, *, bulk: bool) -> None:
        self._response = response
        self._bulk = bulk
        self._host = host
        self._timeouts = timeouts
        self._waited = self._came = 0.0
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.size = response.content_length
        self.redirected = self.home = False
        self.tries = 0
        self.rate: RateFacts | None = None

    def header_fields(self) -> Iterable[tuple[str, str]]:
        """Return every header field, repeated ones repeatedly."""
        return self._response.headers.items()

    @property
    def is_over(self) -> bool:
        """Whether the whole body has been read."""
        response = self._response
        return response.is_over if isinstance(response, Reply) else response.content.at_eof() and not self._is_cut

    def whole(self) -> list[bytes] | None:
        """Return the body, its bytes being as they were on the wire, if all of it is there already, else ``None``."""
        return self._response.whole() if isinstance(self._response, Reply) else None

    def inflow(self, left: int, capacity: int) -> tuple[bytes, Inflow | None]:
        """Return what has arrived of the body's other ``left`` bytes, and a faster way to the rest of them, if any."""
        return self._response.inflow(left, capacity) if isinstance(self._response, Reply) else (b"", None)

    @property
    def is_overrun(self) -> bool:
        """Whether more bytes than announced have come by now, where that can be seen."""
        return isinstance(self._response, Reply) and self._response.is_overrun

    @contextmanager
    def named(self) -> Iterator[None]:
        """Name what goes wrong while an inflow is read."""
        try:
            yield
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            failure = named_failure(error, self._host, self._timeouts)
        else:
            return
        raise failure

    async def chunk(self) -> bytes:
        """Return the body's next bytes as they arrived, in no particular size; empty at its end.

        Raises:
            InterruptedBodyError: It ended before its announced end.
            DeadlineError: Nothing, or too little, arrived for ``Timeouts.stall`` seconds.
        """
        try:
            response = self._response
            return await (response.chunk() if isinstance(response, Reply) else self._paced(response.content))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            failure = named_failure(error, self._host, self._timeouts)
        raise failure  # outside of the handler, so that no context keeps aiohttp's error, and its headers, alive

    async def _paced(self, content: aiohttp.StreamReader) -> bytes:
        """Return the next bytes where nobody else watches how fast they come: in a session of the caller's."""
        began = asyncio.get_running_loop().time()
        chunk = await content.readany()
        if not chunk and self._is_cut:
            raise cut()
        self._waited += asyncio.get_running_loop().time() - began
        self._came += len(chunk)
        if self._came >= self._timeouts.min_rate * self._timeouts.stall:
            self._waited = self._came = 0.0
        elif chunk and self._waited > self._timeouts.stall:
            raise DripError("too little came")
        return chunk

    @property
    def _is_cut(self) -> bool:
        """Whether the connection that was the file's end has been broken; whether JSON is whole, it tells itself."""
        return self._bulk and isinstance(self._response, _Response) and self._response.is_cut

    async def read(self, limit: int) -> bytes:
        """Return the whole body; one longer than ``limit`` bytes is cut somewhere behind that.

        Raises:
            InterruptedBodyError: It ended before its announced end.
            DeadlineError: Nothing, or too little, arrived for ``Timeouts.stall`` seconds, or not all of it within
                ``Timeouts.total``.
        """
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._timeouts.total):
                while size <= limit and (chunk := await self.chunk()):
                    parts.append(chunk)
                    size += len(chunk)
        except TimeoutError as error:
            failure = named_failure(error, self._host, self._timeouts)
        else:
            return b"".join(parts)
        raise failure

    async def drain(self) -> None:
        """Let go of the connection, but read on for a moment first if that keeps it."""
        try:
            if self.size is not None and self.size <= DRAIN_LIMIT and not self.is_over:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await self.read(DRAIN_LIMIT)
        except (TimeoutError, TransportError):
            pass  # it is about to be closed
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection: to the pool if the body is at its end, else closed. Waits for nothing."""
        if self.is_over:
            self._response.release()
        else:
            self._response.close()


class Transport:
    """An aiohttp session, ours or the caller's.

    Args:
        session: The caller's, which is used as it is and never closed; ``None`` for one of our own.
        proxies: Those that a session of our own goes through; whoever asks an http address through one shows it the
            token by design.
        reach: Which addresses near this machine names may lead to; ``None`` for all of them. The connector of a
            caller's session, and a proxy, resolve names by rules of their own.
        ssl_context: Judges the certificates of hosts, in a session of our own; by default, the system's authorities do.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        proxies: Proxies | None = None,
        reach: Reach | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._owned = session is None
        self._proxies = proxies if proxies is not None and self._owned else Proxies()
        self._resolver = None if reach is None or not self._owned else Resolver(reach, self._proxies.places)
        self._session = session or aiohttp.ClientSession(
            # How many connections there are is decided by those who ask for them, not by the pool.
            connector=aiohttp.TCPConnector(
                limit=0, ttl_dns_cache=300, resolver=self._resolver, ssl=ssl_context or True
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BUFFER,
            middlewares=(_send_once,),
            response_class=_Response,
        )
        # A session of the caller's may do more with a request than send it.
        self._files = Connections(self._session, READ_BUFFER) if self._owned else None
        self._limits: dict[tuple[Timeouts, bool], aiohttp.ClientTimeout] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._files is not None:
            self._files.close()
        if self._owned:
            await self._session.close()
        if self._resolver is not None:
            await self._resolver.close()

    async def open(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeouts: Timeouts,
        bulk: bool,
    ) -> Answer:
        """Send a request and return its answer's head; the caller must ``drain`` or ``close`` the answer.

        Args:
            method: HTTP method.
            url: Sent byte for byte.
            headers: All of them, credentials included.
            body: Bytes to send, if any.
            timeouts: ``total`` holds unless ``bulk``.
            bulk: The answer is a file: no total time limit, and bytes as they are on the wire.

        Raises:
            TransportError: No answer came.
            UnsafeAddressError: aiohttp cannot send to this address.
            ConfigurationError: The client, or the session that it was given, is closed.
        """
        if self._session.closed:
            raise closed_in_use()
        limits = self._limits.get((timeouts, bulk)) or self._limits_of(timeouts, bulk=bulk)
        proxy = self._proxies.on_the_way_to(url)
        response: aiohttp.ClientResponse | Reply
        try:
            if bulk and self._files is not None and proxy is None and method == "GET" and body is None:
                response = await self._files.get(url, headers, limits, timeouts.min_rate)
                return Answer(response, url.host or "", timeouts, bulk=bulk)
            response = await self._session.request(
                method,
                url,
                # In a tunnel only the proxy's own request shows who asks; without one, the request itself does.
                headers=headers if proxy is None or url.scheme == "https" else {**headers, **proxy.credentials},
                data=body,
                allow_redirects=False,
                timeout=limits,
                auto_decompress=not bulk,
                proxy=None if proxy is None else proxy.address,
                proxy_headers=None if proxy is None else proxy.credentials,
            )
        except _SentOnceError as error:
            failure = named_failure(error.reason, url.host or "", timeouts)
        except (TimeoutError, aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            failure = named_failure(error, url.host or "", timeouts)
        else:
            return Answer(response, url.host or "", timeouts, bulk=bulk)
        if proxy is not None and failure.hint is None and isinstance(failure, TransportError):
            failure.hint = f"the way there leads through the proxy {proxy.address}, which the environment names"
        raise failure

    def _limits_of(self, timeouts: Timeouts, *, bulk: bool) -> aiohttp.ClientTimeout:
        limits = self._limits[timeouts, bulk] = aiohttp.ClientTimeout(
            total=None if bulk else timeouts.total,
            # In the caller's session it would count the wait for one of its connections, too.
            connect=timeouts.connect if self._owned else None,
            sock_connect=timeouts.connect,
            sock_read=timeouts.stall,
        )
        return limits


class _Response(aiohttp.ClientResponse):
    """An answer that knows by which connection it came when it has let go of that one, too."""

    _handler: ResponseHandler | None = None
    _tls: ssl.SSLObject | None = None

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Receive the head."""
        self._handler = connection.protocol
        if connection.transport is not None:
            self._tls = connection.transport.get_extra_info("ssl_object")
        return await super().start(connection)

    @property
    def is_cut(self) -> bool:
        """Whether the body, whose end was to be that of the connection, has come to another one."""
        if self._handler is None or not self.content.at_eof():
            return False
        is_bounded = "Content-Length" in self.headers or "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        return not is_bounded and self.content is not aiohttp.EMPTY_PAYLOAD and was_cut(self._handler, self._tls)


class _SentOnceError(Exception):
    """A failure that aiohttp must not recognise."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating what failed: it would at once, once each, and unseen by limiter and policy."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        failure = _SentOnceError(error)
    raise failure
