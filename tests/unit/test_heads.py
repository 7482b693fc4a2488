"""Usual heads are read as aiohttp reads them; every other one is left to it."""

import asyncio
from unittest.mock import Mock

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.heads import LONGEST, may_be_usual, read_head

USUAL = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n"
    b'ETag:"6567f-5"\r\nX-Empty:\r\nx-twice: a\r\nX-Twice: b\r\n\r\n'
)


def test_a_usual_head_is_read() -> None:
    head = read_head(USUAL + b"12345", len(USUAL))
    assert head is not None
    assert (head.status, head.length, head.end, head.keeps) == (200, 5, len(USUAL), True)
    assert head.headers["etag"] == '"6567f-5"'
    assert head.headers["x-empty"] == ""
    assert head.headers.getall("X-Twice") == ["a", "b"]


@pytest.mark.parametrize(
    ("status", "more", "keeps"),
    [
        (b"206 Partial Content", b"Content-Range: bytes 0-4/9\r\n", True),
        (b"302 Found", b"Location: /x\r\n", True),
        (b"429 Too Many Requests", b"Retry-After: 1\r\n", True),
        (b"503 ", b"", True),
        (b"200", b"", True),
        (b"200 OK", b"Connection: close\r\n", False),
        (b"200 OK", b"Connection: Keep-Alive\r\n", True),
    ],
)
def test_answers_of_other_statuses_are_usual_as_well(status: bytes, more: bytes, keeps: bool) -> None:
    data = b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n" + more + b"\r\n"
    head = read_head(data, len(data))
    assert head is not None
    assert (head.status, head.keeps) == (int(status[:3]), keeps)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/2 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"http/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xd9\xa5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 19 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX : a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: a \r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: " + b"x" * LONGEST + b"\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_what_is_not_usual_is_left_to_the_parser(head: bytes) -> None:
    assert read_head(head, len(head)) is None


def test_only_a_head_that_ends_where_it_is_said_to_end_is_read() -> None:
    for end in range(len(USUAL)):
        assert read_head(USUAL, end) is None, end


def test_whatever_a_usual_head_begins_with_may_become_one() -> None:
    assert all(may_be_usual(USUAL[:end]) for end in range(len(USUAL)))


@pytest.mark.parametrize(
    "data", [b"\n", b"X", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200 OK\r\nA: b\n\r"]
)
def test_what_cannot_become_a_usual_head_is_known_at_once(data: bytes) -> None:
    assert not may_be_usual(data)


NAME = st.text("abcXYZ-_.0123", min_size=1, max_size=8)
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12)
FIELDS = st.lists(st.tuples(NAME, VALUE), max_size=5)


@given(status=st.integers(200, 599), fields=FIELDS, reason=st.sampled_from(["", "OK", "Not Found"]))
def test_whatever_is_read_is_read_as_aiohttps_parser_reads_it(
    status: int, fields: list[tuple[str, str]], reason: str
) -> None:
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields), "Content-Length: 5"]
    data = "\r\n".join([*lines, "", ""]).encode()
    head = read_head(data, len(data))
    if head is None:
        return
    loop = Mock(spec=asyncio.AbstractEventLoop)
    try:
        messages, _, _ = HttpResponseParser(BaseProtocol(loop), loop, 2**16, read_until_eof=True).feed_data(data)
    except HttpProcessingError:  # it takes fewer characters than the standard allows
        return
    message = messages[0][0]
    assert (message.code, list(message.headers.items())) == (head.status, list(head.headers.items()))
    assert message.should_close is not head.keeps
