"""One request and its answer, between the server that receives the one and the faults that spoil the other."""

import gzip
import json
import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl

import attrs
from aiohttp import web

from aiocircle.testing.content import Content, chunks

Place = Literal["api", "artifact", "storage"]
"""Where a request arrives: a JSON endpoint, a file's listed address, or the signed address it redirects to."""

_ONE_WRITE = 256 * 1024
_WORTH_PACKING = 256


class Delivery(Protocol):
    """A way to send an answer that no honest server has; it writes to the connection itself."""

    async def __call__(self, exchange: "Exchange", answer: "Answer", /) -> None:
        """Send ``answer`` and close the connection, or fall silent."""
        ...


@attrs.frozen
class Slice:
    """The bytes of ``content`` from ``start`` up to ``stop``."""

    content: Content
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self) -> bytes:
        """Return the bytes, all at once."""
        return self.content.read(self.start, self.stop)


@attrs.frozen
class Answer:
    """What is to be sent. ``deliver`` replaces the honest way of sending it."""

    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes | Slice = b""
    deliver: Delivery | None = None

    def with_headers(self, **headers: str) -> "Answer":
        """Return this answer with more headers; an underscore in a name stands for a hyphen."""
        added = {name.replace("_", "-"): value for name, value in headers.items()}
        return attrs.evolve(self, headers={**self.headers, **added})

    def payload(self) -> bytes:
        """Return the whole body as bytes."""
        return self.body.read() if isinstance(self.body, Slice) else self.body


class Proceed(Protocol):
    """Answers truthfully."""

    def __call__(self, *, first_page: bool = False) -> Answer:
        """Return the true answer; with ``first_page`` as if the request had carried no page token."""
        ...


class Hold(Protocol):
    """Waits, for a fault that keeps the client waiting."""

    async def __call__(self, seconds: float | None = None) -> bool:
        """Wait so long, or for ever; return at once, and True, when the simulator closes."""
        ...


@attrs.define
class Exchange:
    """A request being answered.

    Attributes:
        request: What aiohttp received.
        place: Where it arrived.
        path: The raw path, as sent, without the query.
        query_string: The raw query.
        origins: The simulator's addresses by name.
        now: Seconds since the epoch.
        hold: Waits.
        proceed: Gives the true answer, under the variations below.
        body: What the request carries.
        settings: The figures of the fault in charge.
        fetched_before: Whether this object was asked for already.
        generation: Which object stands at the address.
        ignore_range: Answer as if no part had been asked for.
        ignore_if_range: Answer as if the part had been asked for unconditionally.
        handed_over: Bytes of the body that have been handed over so far.
        rate: Bytes of a large body that are sent in a second; 0 for no limit.
        signature_ttl: How long the signed address is good, in seconds; None for the simulator's own rule.
    """

    request: web.BaseRequest
    place: Place
    path: str
    query_string: str
    origins: Mapping[str, str]
    now: float
    hold: Hold
    proceed: Proceed = attrs.field(init=False)
    body: bytes = b""
    settings: Mapping[str, float] = attrs.field(factory=dict)
    fetched_before: bool = False
    generation: int = 0
    ignore_range: bool = False
    ignore_if_range: bool = False
    handed_over: int = 0
    rate: float = 0.0
    signature_ttl: float | None = None

    @property
    def query(self) -> dict[str, str]:
        """Return the query's parameters, decoded."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    @property
    def has_range(self) -> bool:
        """Return whether a part of the object is asked for."""
        return "Range" in self.request.headers


class AlreadySent(web.StreamResponse):
    """Tells aiohttp that nothing is left to send on a connection that a fault has written to."""

    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: D102 - aiohttp's
        del request

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:  # noqa: D102 - aiohttp's
        del data


def json_answer(value: Any, status: int = 200) -> Answer:
    """Return compact JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(status, {"Content-Type": "application/json"}, body)


def message_answer(status: int, message: str) -> Answer:
    """Return an error as the v2 API writes it."""
    return json_answer({"message": message}, status)


def packed(exchange: Exchange, answer: Answer) -> Answer:
    """Return the answer compressed with gzip if the request asks for it and it is worth it."""
    if (
        isinstance(answer.body, Slice)
        or len(answer.body) < _WORTH_PACKING
        or "gzip" not in exchange.request.headers.get("Accept-Encoding", "")
        or "Content-Encoding" in answer.headers
    ):
        return answer
    body = gzip.compress(answer.body, compresslevel=1, mtime=0)
    return attrs.evolve(answer, body=body, headers={**answer.headers, "Content-Encoding": "gzip"})


async def send(exchange: Exchange, answer: Answer) -> tuple[web.StreamResponse, int]:
    """Send ``answer`` and return aiohttp's response with the number of body bytes that were handed over."""
    if answer.deliver is not None:
        await answer.deliver(exchange, answer)
        return AlreadySent(), 0
    headers = {"Content-Type": "application/octet-stream", **answer.headers}
    size = len(answer.body)
    if exchange.request.method == "HEAD":
        response = web.StreamResponse(status=answer.status, headers={**headers, "Content-Length": str(size)})
        await response.prepare(exchange.request)
        return response, 0
    if not isinstance(answer.body, Slice) or size <= _ONE_WRITE:
        exchange.handed_over += size
        return web.Response(status=answer.status, headers=headers, body=answer.payload()), size
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = size
    await response.prepare(exchange.request)
    free_at = time.monotonic()
    for chunk in chunks(answer.body.content, answer.body.start, answer.body.stop):
        await response.write(chunk)
        exchange.handed_over += len(chunk)
        if exchange.rate:
            free_at += len(chunk) / exchange.rate
            if await exchange.hold(max(0.0, free_at - time.monotonic())):
                break
    return response, size
