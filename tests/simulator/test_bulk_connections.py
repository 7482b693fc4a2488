"""The connections by which files come: what arrives is understood or refused at once, and none is hoarded."""

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest
from raw_host import Close, Part, RawHost, opened, reply
from yarl import URL

from aiocircle.bulk.connections import Connections
from aiocircle.errors import APIError, TransportError
from aiocircle.transport import READ_BUFFER

pytestmark = pytest.mark.anyio


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


PROMPT = 5.0  # seconds; who waits for more waits for Timeouts.stall, which is a minute

UNUSUAL: dict[str, list[Part]] = {
    "bare line feeds": [b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"],
    "bare line feeds and then the end": [b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", Close()],
    "a bare line feed at the end": [b"HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\nhello"],
    "bare line feeds, one by one": [b"HTTP/1.1 200 OK", b"\n", b"Content-Length: 5", b"\n", b"\n", b"hello"],
    "an empty line first": [b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
    "hints first": [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
    "another version": [b"HTTP/1.0 200 OK\r\n", b"Content-Length: 5\r\n\r\nhello"],
}


@pytest.mark.parametrize("parts", UNUSUAL.values(), ids=UNUSUAL.keys())
async def test_an_unusual_head_is_read_as_soon_as_it_is_there(parts: list[Part]) -> None:
    async with RawHost(lambda _: parts) as host, opened(host.url) as seen, asyncio.timeout(PROMPT):
        assert await seen.bytes_of(f"{host.url}/file") == b"hello"


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x03\x00\x02\x02\x16", b"HTTP/1.1 2oo\n"])
async def test_what_is_not_http_is_not_waited_for(data: bytes) -> None:
    async with RawHost(lambda _: data) as host, opened(host.url) as seen, asyncio.timeout(PROMPT):
        with pytest.raises(TransportError, match="not HTTP"):
            await seen.bytes_of(f"{host.url}/file")


async def test_a_status_below_all_statuses_is_no_announcement_of_another() -> None:
    data = b"HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n"
    async with RawHost(lambda _: data) as host, opened(host.url) as seen, asyncio.timeout(PROMPT):
        with pytest.raises(APIError):
            await seen.bytes_of(f"{host.url}/file")


async def test_a_head_may_come_byte_by_byte() -> None:
    parts = [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"]
    async with RawHost(lambda _: parts) as host, opened(host.url) as seen, asyncio.timeout(PROMPT):
        assert await seen.bytes_of(f"{host.url}/file") == b"hello"


async def test_connections_that_are_used_no_more_are_closed_whether_or_not_others_are() -> None:
    """A burst leaves as many connections as it was wide; they are not the program's to carry for all of its life."""
    limits = aiohttp.ClientTimeout()
    async with RawHost(lambda _: reply(200, b"hello")) as host, aiohttp.ClientSession() as session:
        connections = Connections(session, READ_BUFFER, kept=0.5)
        url = URL(host.url)

        async def fetch() -> None:
            answer = await connections.get(url, {}, limits)
            assert await answer.chunk() == b"hello"
            answer.release()

        await fetch()
        before = descriptors()
        await asyncio.gather(*(fetch() for _ in range(10)))
        assert host.connections == 10
        assert descriptors() > before
        began = time.monotonic()
        while descriptors() > before:
            assert time.monotonic() - began < PROMPT
            await asyncio.sleep(0.1)
            await fetch()
        assert host.connections == 10  # and the one in use was kept
        connections.close()
