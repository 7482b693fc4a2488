"""The head of an answer that holds no surprise, parsed. Pure.

Most answers to requests for files look alike: a status, some fields, a ``Content-Length``. Such a head is read here
with one pattern; whatever does not fit it is not refused, but left to aiohttp's parser, which knows the rest of HTTP:
other versions, lines that are folded or end oddly, transfer codings, answers without a body, upgrades, lengths that
contradict each other. So this module must be strict, and need not be complete.
"""

import re

from attrs import define
from multidict import CIMultiDict, CIMultiDictProxy

LONGEST = 8190  # bytes; aiohttp takes no longer line
_FIRST = rb"HTTP/1\.1 ([2-5]\d\d)(?: [ !-~\x80-\xff]*)?\r\n"
_FIELD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[ \t!-~\x80-\xff]*+(?<![ \t])\r\n"
_HEAD = re.compile(_FIRST + rb"((?:" + _FIELD + rb")*+)\r\n")
_NAME_AND_VALUE = re.compile(r"([^:]+):[ \t]*([^\r]*)\r\n")
_BEGINNING = b"HTTP/1.1 "
_BARE = re.compile(rb"(?<!\r)\n")
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_BODILESS = frozenset({204, 205, 304})


@define(eq=False)
class Head:
    """What an answer begins with.

    Attributes:
        status: HTTP status.
        headers: Its fields.
        length: Bytes of its body.
        end: Where the body begins in the bytes that were given.
        keeps: The connection can be used again.
    """

    status: int
    headers: CIMultiDictProxy[str]
    length: int
    end: int
    keeps: bool


def may_be_usual(data: bytes) -> bool:
    """Tell whether ``data``, which has no empty line yet, may be how a usual head begins.

    What cannot be one is not waited for: lines that end oddly have an end that only the parser knows.
    """
    return _BEGINNING.startswith(data[: len(_BEGINNING)]) and not _BARE.search(data)


def read_head(data: bytes | bytearray | memoryview, end: int) -> Head | None:
    """Return the head that ``data[:end]`` is, an empty line at its end, or ``None`` if it is not a usual one."""
    found = _HEAD.match(data, 0, end)
    if found is None or found.end() != end or end > LONGEST:
        return None
    text = found[2].decode("utf-8", "surrogateescape")
    headers = CIMultiDictProxy(CIMultiDict(_NAME_AND_VALUE.findall(text)))
    status = int(found[1])
    lengths = headers.getall("Content-Length", ())
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]) or status in _BODILESS:
        return None
    if "Transfer-Encoding" in headers or "Content-Encoding" in headers or "Upgrade" in headers or "Trailer" in headers:
        return None
    connection = headers.get("Connection", "keep-alive").lower()
    if connection not in {"keep-alive", "close"}:
        return None
    return Head(status, headers, int(lengths[0]), end, connection == "keep-alive")
