"""What the simulator cannot be: a host that answers with whatever bytes a test wants, and a clock that runs faster."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple, Self

from attrs import define, field

from aiocircle import Client
from aiocircle.clock import Timer
from aiocircle.events import Event
from aiocircle.ratelimit.limiter import RateLimiter
from aiocircle.retry import RetryPolicy
from aiocircle.session import Session

TOKEN = "ccipat_GEHEIM_3f786850e387550fdab836ed7e6dc881de23001b"
QUICK = RetryPolicy(base=0.001, cap=0.001)


class Asked(NamedTuple):
    """A request as it arrived; the names of ``headers`` are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Hang:
    """In place of bytes: nothing more comes, and the connection stays open."""


class Close:
    """In place of bytes: the connection ends here."""


Part = bytes | Hang | Close
Answering = Callable[[Asked], bytes | Iterable[Part]]


def reply(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """Return a sound answer; an underscore in a header's name stands for a hyphen."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {text}" for name, text in headers.items())]
    if "Content_Length" not in headers and "Transfer_Encoding" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class RawHost:
    """Listens on a free port of 127.0.0.1 and answers every request with what ``answer`` returns."""

    def __init__(self, answer: Answering, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self._answer = answer
        self._context = context
        self._closing = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._context, limit=1 << 20)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{'http' if self._context is None else 'https'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side has left, or the test is over
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
        asked = Asked(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))
        self.asked.append(asked)
        answer = self._answer(asked)
        for part in (answer,) if isinstance(answer, bytes) else answer:
            if isinstance(part, Close):
                return False
            if isinstance(part, Hang):
                await self._closing.wait()
                return False
            writer.write(part)
            await writer.drain()
        return True


class Talker:
    """A port that says one thing to whoever connects, or nothing, and then stays silent."""

    def __init__(self, greeting: bytes = b"") -> None:
        self._greeting = greeting
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._greet, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def _greet(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        writer.write(self._greeting)

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()


@define
class FastClock:
    """Implements ``aiocircle.clock.Clock``; everything takes a fraction of its time."""

    factor: float
    _began: float = field(factory=time.monotonic)
    _wall: float = field(factory=time.time)

    def monotonic(self) -> float:
        return self._began + (time.monotonic() - self._began) * self.factor

    def wall(self) -> float:
        return self._wall + self.monotonic() - self._began

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.factor)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(max(0.0, seconds) / self.factor, callback)


@define
class Opened:
    """A client, its session, and what it told."""

    client: Client
    session: Session
    events: list[Event]

    @property
    def limiter(self) -> RateLimiter:
        return self.client.limiter

    async def get(self, path: str = "/me") -> object:
        return (await self.session.ask(self.session.request("get thing", "GET", path, group=path))).value

    async def post(self, path: str = "/x", body: object = None) -> object:
        request = self.session.request("post thing", "POST", path, group=path, body=body)
        return (await self.session.ask(request)).value

    async def bytes_of(self, url: str) -> bytes:
        return await self.session.fetch(url, lambda answer: answer.read(1 << 30))

    def is_idle(self) -> bool:
        return all(not lane.in_flight and not lane.waiting for lane in self.limiter.snapshot())


@contextlib.asynccontextmanager
async def opened(url: str, token: str | None = TOKEN, **options: object) -> AsyncIterator[Opened]:
    """Open a client of a host, with retries that lose no time."""
    events: list[Event] = []
    settings = {"retry": QUICK, "clock": FastClock(100), "on_event": events.append, **options}
    async with Client(token, host=url, **settings) as client:  # type: ignore[arg-type]
        yield Opened(client, client._opened, events)
