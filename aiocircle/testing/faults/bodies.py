"""Bodies that are cut, stalled, disguised, of another length than announced, or of another object."""

import gzip
from collections.abc import Callable, Mapping

import attrs
from aiohttp import web

from aiocircle.testing.content import chunks
from aiocircle.testing.exchange import Answer, Delivery, Exchange, Slice
from aiocircle.testing.faults.registry import fault
from aiocircle.testing.kong import http_date

_EXTRA = 7
_ZEROS = bytes(64 * 1024)
_HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
_HTML = b"<!DOCTYPE html><html><body><h1>Sign in to continue</h1></body></html>"


async def _begin(exchange: Exchange, answer: Answer, length: int | None) -> web.StreamResponse:
    """Send the head of an answer, announcing ``length`` bytes, or chunks if None."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    if length is None:
        response.enable_chunked_encoding()
    else:
        response.content_length = length
    await response.prepare(exchange.request)
    await response.write(b"")
    return response


async def _write(response: web.StreamResponse, answer: Answer, stop: int) -> None:
    """Send the body up to ``stop``."""
    if isinstance(answer.body, Slice):
        for chunk in chunks(answer.body.content, answer.body.start, answer.body.start + stop):
            await response.write(chunk)
    else:
        await response.write(answer.body[:stop])


def _hang_up(exchange: Exchange) -> None:
    """Close the connection once what was written is out."""
    if exchange.request.transport is not None:
        exchange.request.transport.close()


async def _send_half(exchange: Exchange, answer: Answer) -> None:
    response = await _begin(exchange, answer, len(answer.body))
    await _write(response, answer, len(answer.body) // 2)
    _hang_up(exchange)


async def _send_half_chunked(exchange: Exchange, answer: Answer) -> None:
    response = await _begin(exchange, answer, None)
    await _write(response, answer, len(answer.body) // 2)
    _hang_up(exchange)


async def _send_more_than_said(exchange: Exchange, answer: Answer) -> None:
    size = len(answer.body)
    response = await _begin(exchange, answer, max(0, size - _EXTRA))
    await _write(response, answer, size)
    # aiohttp clips at the announced length; the rest goes around it.
    if exchange.request.transport is not None:
        exchange.request.transport.write(answer.payload()[-_EXTRA:])
    _hang_up(exchange)


async def _send_less_than_said(exchange: Exchange, answer: Answer) -> None:
    response = await _begin(exchange, answer, len(answer.body) + _EXTRA)
    await _write(response, answer, len(answer.body))
    _hang_up(exchange)


async def _drip(exchange: Exchange, answer: Answer) -> None:
    rate = exchange.settings["rate"]
    step = max(1, int(rate / 10))
    body = answer.payload()
    response = await _begin(exchange, answer, len(body))
    begun = int(len(body) * exchange.settings["part"])
    await response.write(body[:begun])
    exchange.handed_over += begun
    for at in range(begun, len(body), step):
        await response.write(body[at : at + step])
        exchange.handed_over += step
        if await exchange.hold(step / rate):
            break
    _hang_up(exchange)


async def _send_for_ever(exchange: Exchange, answer: Answer) -> None:
    response = await _begin(exchange, answer, None)
    await _write(response, answer, len(answer.body))
    while not await exchange.hold(0.001):
        await response.write(_ZEROS)
        exchange.handed_over += len(_ZEROS)


async def _drip_for_ever(exchange: Exchange, answer: Answer) -> None:
    response = await _begin(exchange, answer, None)
    while not await exchange.hold(exchange.settings["seconds"]):
        await response.write(_ZEROS[:1])
        exchange.handed_over += 1


async def _drip_head(exchange: Exchange, answer: Answer) -> None:
    for byte in _head(answer, _length(answer)):
        if exchange.request.transport is None or await exchange.hold(exchange.settings["seconds"]):
            break
        exchange.request.transport.write(bytes((byte,)))
    _hang_up(exchange)


async def _hint_for_ever(exchange: Exchange, _answer: Answer) -> None:
    while not await exchange.hold(exchange.settings["seconds"]) and exchange.request.transport is not None:
        exchange.request.transport.write(_HINT)
    _hang_up(exchange)


async def _stall(exchange: Exchange, answer: Answer) -> None:
    response = await _begin(exchange, answer, len(answer.body))
    await _write(response, answer, int(len(answer.body) * exchange.settings["part"]))
    await exchange.hold()
    _hang_up(exchange)


def _raw(make_head: Callable[[Answer], bytes]) -> Delivery:
    """Return a delivery that writes ``make_head(answer)`` and the whole body as they are, and hangs up."""

    async def deliver(exchange: Exchange, answer: Answer, /) -> None:
        if exchange.request.transport is not None:
            exchange.request.transport.write(make_head(answer) + answer.payload())
        _hang_up(exchange)

    return deliver


def _head(answer: Answer, *lines: str, version: str = "1.1") -> bytes:
    fields = [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join([f"HTTP/{version} {answer.status} Answer", *fields, *lines, "", ""]).encode("latin-1")


def _length(answer: Answer) -> str:
    return f"Content-Length: {len(answer.body)}"


def _hinted_head(answer: Answer) -> bytes:
    return _HINT + _head(answer, _length(answer), "Connection: close")


def _delivered(name: str, description: str, deliver: Delivery, settings: Mapping[str, float] | None = None) -> None:
    """Register a fault that gives the true answer, delivered by ``deliver``."""

    @fault(name, description, "storage", settings)
    def _spoil(exchange: Exchange) -> Answer:
        return attrs.evolve(exchange.proceed(), deliver=deliver)


_delivered("cut-body", "half of the announced bytes, then the connection is closed", _send_half)
_delivered(
    "cut-chunked", "a chunked body without an end: half of it, then the connection is closed", _send_half_chunked
)
_delivered("short-length", "Content-Length says seven bytes less than are sent", _send_more_than_said)
_delivered("wrong-length", "Content-Length says seven bytes more than the object has", _send_less_than_said)
_delivered(
    "slow-drip",
    "the body, or what follows its first part, comes at so many bytes a second",
    _drip,
    {"rate": 64, "part": 0},
)
_delivered("endless", "after the object zeros for ever; no Content-Length", _send_for_ever)
_delivered("endless-drip", "a byte now and then, for ever; no Content-Length", _drip_for_ever, {"seconds": 1})
_delivered("endless-hints", "103 Early Hints now and then, for ever, and no answer", _hint_for_ever, {"seconds": 1})
_delivered("slow-head", "the head of the answer comes byte by byte, and no body", _drip_head, {"seconds": 1})
_delivered("stall", "silence after the headers", _stall, {"part": 0})
_delivered("stall-half", "silence after half of the body", _stall, {"part": 0.5})
_delivered("close-delimited", "no Content-Length: the end of the connection is the end of the body", _raw(_head))
_delivered(
    "http-1.0", "an HTTP/1.0 answer, ended by the end of the connection", _raw(lambda a: _head(a, version="1.0"))
)
_delivered("junk-length", "Content-Length is not a number", _raw(lambda a: _head(a, "Content-Length: many")))
_delivered(
    "double-length",
    "two Content-Lengths that differ",
    _raw(lambda a: _head(a, _length(a), f"Content-Length: {len(a.body) + 1}")),
)
_delivered("early-hints", "103 Early Hints before the answer", _raw(_hinted_head))
_delivered(
    "header-bomb", "ten thousand headers", _raw(lambda a: _head(a, *[f"X-Bomb-{i}: {'x' * 80}" for i in range(10_000)]))
)


@fault("encoding-forced", "Content-Encoding: gzip, although identity was asked for", "storage")
def _forced(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    # Level 0 is valid gzip and as fast as copying.
    body = gzip.compress(answer.payload(), compresslevel=0, mtime=0)
    return attrs.evolve(answer, body=body).with_headers(Content_Encoding="gzip")


@fault("html-200", "a sign-in page with status 200 in the file's place", "storage")
def _page(_exchange: Exchange) -> Answer:
    return Answer(200, {"Content-Type": "text/html; charset=utf-8"}, _HTML)


@fault("range-refused", "200 and the whole object in answer to a Range", "storage")
def _no_ranges(exchange: Exchange) -> Answer:
    exchange.ignore_range = True
    return exchange.proceed()


@fault("ranges-unannounced", "no Accept-Ranges, although ranges are served", "storage")
def _unannounced(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    return attrs.evolve(
        answer, headers={name: value for name, value in answer.headers.items() if name != "Accept-Ranges"}
    )


@fault("range-unsatisfiable", "416 in answer to any Range", "storage")
def _unsatisfiable(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    if not exchange.has_range:
        return answer
    return Answer(416, {"Content-Type": "application/xml", "Content-Range": "bytes */0"})


@fault("wrong-content-range", "206 whose Content-Range is not the part that was asked for", "storage")
def _wrong_range(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    if not isinstance(answer.body, Slice) or "Content-Range" not in answer.headers:
        return answer
    part, size = answer.body, answer.body.content.size
    return answer.with_headers(Content_Range=f"bytes {part.start + _EXTRA}-{part.stop - 1 + _EXTRA}/{size + _EXTRA}")


@fault("range-unasked", "206 with the first half of the object, although no part was asked for", "storage")
def _unasked(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    if not isinstance(answer.body, Slice) or answer.status != 200 or len(answer.body) < 2:  # noqa: PLR2004
        return answer
    content, half = answer.body.content, len(answer.body) // 2
    partial = attrs.evolve(answer, status=206, body=Slice(content, 0, half))
    return partial.with_headers(Content_Range=f"bytes 0-{half - 1}/{content.size}")


@fault("changed-object", "from its second request on an object is another one, with another ETag", "storage")
def _changed(exchange: Exchange) -> Answer:
    exchange.generation = int(exchange.fetched_before)
    return exchange.proceed()


@fault("changed-object-206", "the same, and If-Range is ignored: a part of the other object, as 206", "storage")
def _changed_part(exchange: Exchange) -> Answer:
    exchange.generation = int(exchange.fetched_before)
    exchange.ignore_if_range = True
    return exchange.proceed()


@fault("no-validator", "no ETag and no Last-Modified", "storage")
def _no_validator(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    kept = {name: value for name, value in answer.headers.items() if name not in {"ETag", "Last-Modified"}}
    return attrs.evolve(answer, headers=kept)


_CUT = {"cut": 0}  # 1: the first answer breaks off half-way


def _dated(exchange: Exchange, answer: Answer) -> Answer:
    deliver = _send_half if exchange.settings["cut"] and not exchange.fetched_before else None
    headers = {name: value for name, value in answer.headers.items() if name != "ETag"}
    return attrs.evolve(answer, headers=headers, deliver=deliver)


@fault("last-modified-only", "no ETag; Last-Modified, long past, is the one validator", "storage", _CUT)
def _last_modified_only(exchange: Exchange) -> Answer:
    return _dated(exchange, exchange.proceed())


@fault("last-modified-young", "no ETag, and a Last-Modified of this moment, which proves nothing", "storage", _CUT)
def _last_modified_young(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    if "ETag" not in answer.headers:
        return answer
    return _dated(exchange, answer).with_headers(Last_Modified=http_date(exchange.now))


@fault(
    "changed-object-modified", "from its second request on another object; only Last-Modified tells", "storage", _CUT
)
def _changed_date(exchange: Exchange) -> Answer:
    exchange.generation = int(exchange.fetched_before)
    return _dated(exchange, exchange.proceed())


@fault("changed-object-modified-206", "the same, and If-Range is ignored: a part of the other object", "storage", _CUT)
def _changed_date_part(exchange: Exchange) -> Answer:
    exchange.ignore_if_range = True
    return _changed_date(exchange)


@fault("weak-etag", "a weak ETag", "storage")
def _weak(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    return answer.with_headers(ETag=f"W/{answer.headers['ETag']}") if "ETag" in answer.headers else answer


@fault("wrong-digest", "Repr-Digest of other bytes", "storage")
def _wrong_digest(exchange: Exchange) -> Answer:
    return exchange.proceed().with_headers(Repr_Digest="sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")
