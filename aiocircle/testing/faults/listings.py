"""Listings that never end, end in a hole, or are not listings."""

import functools
import json
import zlib
from typing import Any

import attrs

from aiocircle.testing.exchange import Answer, Exchange, json_answer, message_answer
from aiocircle.testing.faults.registry import fault

_MIB = 1024 * 1024
_LOST = "bG9zdCtwYWdlLz8="
_NEXT = "next_page_token"


def _value(answer: Answer) -> Any:
    return json.loads(answer.payload())


def _rewritten(answer: Answer, **fields: Any) -> Answer:
    """Return the listing with other values in it, if it is one."""
    value = _value(answer)
    if not isinstance(value, dict) or "items" not in value:
        return answer
    return attrs.evolve(answer, body=json_answer(value | fields).payload())


def _token(exchange: Exchange) -> str | None:
    return exchange.query.get("page-token")


def _counted(exchange: Exchange, name: str) -> str:
    """Return a token that was not given out before in this listing: the asked one's successor."""
    _, _, number = (_token(exchange) or "").rpartition("+")
    return f"{name}/+{int(number) + 1 if number.isdecimal() else 1}"


@fault("page-token-repeated", "the second page names itself as the next one", "api", listings_only=True)
def _repeated(exchange: Exchange) -> Answer:
    answer = exchange.proceed(first_page=_token(exchange) == _LOST)
    return _rewritten(answer, **{_NEXT: _token(exchange) or _value(answer).get(_NEXT) or _LOST})


@fault("page-token-cycle", "the pages lead to each other: A, B, A, B ...", "api", listings_only=True)
def _cycle(exchange: Exchange) -> Answer:
    following = {"cycle+A": "cycle+B", "cycle+B": "cycle+A"}.get(_token(exchange) or "", "cycle+A")
    return _rewritten(exchange.proceed(first_page=True), **{_NEXT: following})


@fault("page-repeated", "the same items for ever, with new tokens", "api", listings_only=True)
def _page_repeated(exchange: Exchange) -> Answer:
    return _rewritten(exchange.proceed(first_page=True), **{_NEXT: _counted(exchange, "again")})


@fault("page-empty-forever", "empty pages for ever, with new tokens", "api", listings_only=True)
def _empty_forever(exchange: Exchange) -> Answer:
    return _rewritten(exchange.proceed(first_page=True), items=[], **{_NEXT: _counted(exchange, "empty")})


@fault("page-token-absent", "the last page has no next_page_token at all", "api", listings_only=True)
def _absent(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    value = _value(answer)
    if not isinstance(value, dict) or value.get(_NEXT, "") is not None:
        return answer
    del value[_NEXT]
    return attrs.evolve(answer, body=json_answer(value).payload())


@fault("page-token-empty", "the last page's next_page_token is an empty string", "api", listings_only=True)
def _empty(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    return answer if _value(answer).get(_NEXT) else _rewritten(answer, **{_NEXT: ""})


@fault("page-token-404", "the first page's token leads to a 404", "api", listings_only=True)
def _leads_nowhere(exchange: Exchange) -> Answer:
    if _token(exchange) == _LOST:
        return message_answer(404, "Not Found")
    return _rewritten(exchange.proceed(), **{_NEXT: _LOST})


@fault("items-null", "items is null", "api", listings_only=True)
def _items_null(exchange: Exchange) -> Answer:
    return _rewritten(exchange.proceed(), items=None)


@fault("items-duplicated", "every item of a page comes twice", "api", listings_only=True)
def _duplicated(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    items = _value(answer).get("items") or []
    return _rewritten(answer, items=[item for item in items for _ in range(2)])


@fault("unknown-fields", "every item has fields that nobody documented", "api", listings_only=True)
def _unknown_fields(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    items = _value(answer).get("items") or []
    return _rewritten(answer, items=[{**item, "new-field": {"deep": [1]}, "__class__": "x"} for item in items], extra=1)


@fault("json-cut", "half of the JSON, as a complete answer", "api")
def _cut(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    return attrs.evolve(answer, body=answer.payload()[: len(answer.body) // 2])


@fault("json-html-200", "an HTML page with status 200 where JSON is expected", "api")
def _html(_exchange: Exchange) -> Answer:
    return Answer(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html><body>Scheduled maintenance</body></html>")


@fault("json-shape", "JSON of another shape: an array of numbers", "api")
def _shape(_exchange: Exchange) -> Answer:
    return json_answer([1, 2, 3])


@fault("json-bomb", "a small gzip that unpacks to so many MiB of valid JSON", "api", {"mib": 256})
def _bomb(exchange: Exchange) -> Answer:
    body = _packed_bomb(int(exchange.settings["mib"]))
    return Answer(200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, body)


@fault("redirect-json", "a redirect of the API's answer to a foreign origin", "api")
def _redirected(exchange: Exchange) -> Answer:
    return Answer(302, {"Location": f"{exchange.origins['foreign']}/elsewhere", "Content-Type": "text/plain"})


@functools.lru_cache(maxsize=2)
def _packed_bomb(mib: int) -> bytes:
    """Return the gzip of a listing with ``mib`` MiB of blanks in it, made without holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    blanks = b" " * _MIB
    parts = [packer.compress(b'{"items":['), *(packer.compress(blanks) for _ in range(mib))]
    parts += [packer.compress(b'],"next_page_token":null}'), packer.flush()]
    return b"".join(parts)
