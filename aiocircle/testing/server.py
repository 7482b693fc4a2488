"""The simulator: a world served over HTTP on free ports of this machine."""

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self

from aiohttp import web

from aiocircle.testing.answers import Answers
from aiocircle.testing.faults import FaultBox, parse_fault
from aiocircle.testing.kong import KongLimits
from aiocircle.testing.pages import PageTokens
from aiocircle.testing.routes import Api
from aiocircle.testing.service import Service
from aiocircle.testing.stats import LoggedRequest, Stats
from aiocircle.testing.storage import Signer, new_secret
from aiocircle.testing.usage import UsageExports
from aiocircle.testing.world import World

DEFAULT_TOKEN = "ccipat_simulator"  # noqa: S105 - it opens nothing but the simulator
"""The token a simulator accepts unless told otherwise."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_SHUTDOWN_SECONDS = 0.2
_MAX_LINE = 65_536


class _Server(web.Server):
    """aiohttp's server, and a grip on its connections: those with unsent bytes would outlive it."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(
            handler, handler_cancellation=True, access_log=None, max_line_size=_MAX_LINE, max_field_size=_MAX_LINE
        )
        self._transports: dict[object, asyncio.Transport] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self._transports[handler] = transport
        super().connection_made(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._transports.pop(handler, None)
        super().connection_lost(handler, exc)

    async def stop(self) -> None:
        """Close every connection, with or without its unsent bytes."""
        await self.shutdown(_SHUTDOWN_SECONDS)
        for transport in list(self._transports.values()):
            transport.abort()


class Simulator:
    """A CircleCI on 127.0.0.1: ``async with Simulator(World.demo()) as sim: ...``.

    Two origins are served, as in fact: the API with the files' listed addresses, and the storage that those redirect
    to.

    Args:
        world: What is served; by default a `World` of seed 0.
        token: The token that is accepted.
        other_tokens: More of them, each with rate limits of its own.
        limits: Rate limits; none by default.
        faults: Faults to switch on at once, as ``NAME[:times][+after][@place]``; more through `faults`.
        page_size: Items on a page.
        latency: Seconds before every answer begins.
        rate: Bytes a second of a large body that each connection carries; 0 for as many as it can.
        artifact_origin: Serve the listed addresses from an origin of their own, which needs the token like the API.
        signature_ttl: Seconds that a signed storage address is good for.
        port: The API's port; 0 for a free one.
        storage_port: The storage's port; 0 for a free one.
        ssl_context: Serve https instead of http, except for the foreign origin.
        log_size: How many requests `requests` remembers.
        clock: Returns seconds since the epoch; the limits have a clock of their own.
        speed: How much faster than the clock time passes in the world: what was triggered runs and ends so much sooner.

    Attributes:
        url: The API's origin, such as ``http://127.0.0.1:40123``; the API is under ``/api/v2``.
        storage_url: The storage's origin.
        artifact_url: The origin of the listed addresses.
        foreign_url: An origin that nobody should be sent to; always http.
        stats: Counters.
        requests: The last requests, oldest first.
        faults: The faults that are switched on.
        usage: Exports of usage data, and what is to become of them.
    """

    def __init__(
        self,
        world: World | None = None,
        *,
        token: str = DEFAULT_TOKEN,
        other_tokens: Iterable[str] = (),
        limits: KongLimits | None = None,
        faults: Iterable[str] = (),
        page_size: int = 20,
        latency: float = 0.0,
        rate: float = 0.0,
        artifact_origin: bool = False,
        signature_ttl: float = 300.0,
        port: int = 0,
        storage_port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        log_size: int = 1000,
        clock: Callable[[], float] = time.time,
        speed: float = 1.0,
    ) -> None:
        self.world = World() if world is None else world
        self.world.course.start(clock, speed)
        self.token = token
        self.stats = Stats()
        self.requests: deque[LoggedRequest] = deque(maxlen=log_size)
        self.faults = FaultBox()
        for text in faults:
            parse_fault(text, self.faults)
        self.url = self.storage_url = self.artifact_url = self.foreign_url = ""
        secret = new_secret()
        self._origins: dict[str, str] = {}
        self._own_artifact_origin = artifact_origin
        self._ports = {"api": port, "storage": storage_port}
        self._ssl = ssl_context
        self._open: list[tuple[asyncio.Server, _Server]] = []
        signer = Signer(secret)
        self.usage = UsageExports(
            self.world, clock, lambda path, ttl: self._origins["storage"] + signer.sign_path(path, ttl, clock())
        )
        self._service = Service(
            world=self.world,
            api=Api(self.world, Answers(self.world, self._origins), PageTokens(secret), page_size, self.usage),
            signer=signer,
            usage=self.usage,
            origins=self._origins,
            tokens=(token, *other_tokens),
            limits=limits,
            faults=self.faults,
            stats=self.stats,
            log=self.requests,
            latency=latency,
            rate=rate,
            signature_ttl=signature_ttl,
            artifacts_here=not artifact_origin,
            clock=clock,
        )

    async def __aenter__(self) -> Self:
        """Listen, and know the addresses."""
        handlers: dict[str, Handler] = {
            "api": self._service.serve_api,
            "storage": self._service.serve_storage,
            "foreign": self._service.serve_foreign,
        }
        if self._own_artifact_origin:
            handlers["artifact"] = self._service.serve_artifact
        try:
            for name, handler in handlers.items():
                self._origins[name] = await self._listen(handler, self._ports.get(name, 0), secure=name != "foreign")
        except BaseException:
            await self.close()
            raise
        self._origins.setdefault("artifact", self._origins["api"])
        self._origins["web"] = self._origins["api"]
        self.url, self.storage_url = self._origins["api"], self._origins["storage"]
        self.artifact_url, self.foreign_url = self._origins["artifact"], self._origins["foreign"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; see `close`."""
        await self.close()

    async def close(self) -> None:
        """Stop at once: no request is waited for longer than a fraction of a second, not even a stalled one."""
        self._service.closing.set()
        for listener, _ in self._open:
            listener.close()
        await asyncio.gather(*(server.stop() for _, server in self._open))
        # An aborted connection is closed in the loop's next round.
        await asyncio.sleep(0)
        for listener, _ in self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(listener.wait_closed(), _SHUTDOWN_SECONDS)
        self._open.clear()

    async def _listen(self, handler: Handler, port: int, *, secure: bool) -> str:
        server = _Server(handler)
        context = self._ssl if secure else None
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port, ssl=context, backlog=1024)
        self._open.append((listener, server))
        scheme = "http" if context is None else "https"
        return f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
