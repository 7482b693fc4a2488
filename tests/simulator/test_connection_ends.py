"""How connections end: with a word of TLS or without one, by a reset, and before their answer has been read."""

import asyncio
import gc
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from attrs import define, field
from raw_host import opened, reply
from tls import TLS

from aiocircle import RetryPolicy
from aiocircle.errors import InterruptedBodyError
from aiocircle.transport import Answer

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(attempts=1)
End = Callable[[socket.socket], None]


def by_word(connection: socket.socket) -> None:
    assert isinstance(connection, ssl.SSLSocket)
    with suppress(OSError):
        connection.unwrap()
    connection.close()


def without_a_word(connection: socket.socket) -> None:
    os.close(connection.detach())


def by_reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@define
class Ending:
    """A host that gives each connection one answer and ends it."""

    answer: bytes
    end: End
    context: ssl.SSLContext | None = None
    ended: threading.Event = field(factory=threading.Event)
    url: str = ""

    @contextmanager
    def listening(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=self._serve, args=(listening,))
            thread.start()
            yield f"{'http' if self.context is None else 'https'}://127.0.0.1:{listening.getsockname()[1]}"
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _serve(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                if self.context is not None:
                    connection = self.context.wrap_socket(connection, server_side=True)
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += connection.recv(4096)
                connection.sendall(self.answer)
                self.end(connection)
                self.ended.set()


def unbounded(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n\r\n" + body


@pytest.mark.parametrize("size", [0, 1000, 300_000])
async def test_a_body_whose_end_is_that_of_tls_counts_if_the_host_says_so(tls: TLS, size: int) -> None:
    """A line that is cut ends as well, but nobody who cuts it can say so by TLS."""
    body = os.urandom(size)
    with Ending(unbounded(body), by_word, tls.server).listening() as url:
        async with opened(url, retry=ONCE, ssl_context=tls.client) as seen:
            assert await seen.bytes_of(f"{url}/x") == body
    with Ending(unbounded(body), without_a_word, tls.server).listening() as url:
        async with opened(url, retry=ONCE, ssl_context=tls.client) as seen:
            with pytest.raises(InterruptedBodyError):
                await seen.bytes_of(f"{url}/x")


@pytest.mark.parametrize("end", [by_word, without_a_word])
@pytest.mark.parametrize("status", ["200 OK\r\nTransfer-Encoding: chunked", "204 No Content"])
async def test_a_body_that_has_an_end_of_its_own_needs_none_of_tls(tls: TLS, end: End, status: str) -> None:
    body = b"" if status.startswith("204") else b"5\r\nwhole\r\n0\r\n\r\n"
    answer = f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode() + body
    with Ending(answer, end, tls.server).listening() as url:
        async with opened(url, retry=ONCE, ssl_context=tls.client) as seen:
            assert await seen.bytes_of(f"{url}/x") in {b"", b"whole"}


async def test_a_reset_is_no_end_of_a_body(tls: TLS) -> None:
    for end, is_good in ((by_reset, False), (without_a_word, True)):
        host = Ending(unbounded(bytes(1000)), end)

        async def consume(answer: Answer, host: Ending = host) -> bytes:
            first = await answer.chunk()
            await asyncio.to_thread(host.ended.wait)
            return first + await answer.read(1 << 20)

        with host.listening() as url:
            async with opened(url, retry=ONCE) as seen:
                if is_good:
                    assert len(await seen.session.fetch(f"{url}/x", consume)) == 1000
                else:
                    with pytest.raises(InterruptedBodyError):
                        await seen.session.fetch(f"{url}/x", consume)


@pytest.mark.parametrize("size", [0, 1000, 300_000])
@pytest.mark.parametrize("end", [by_word, without_a_word])
async def test_neither_is_the_end_of_a_connection_by_way_of_a_proxy(
    tls: TLS, monkeypatch: pytest.MonkeyPatch, end: End, size: int
) -> None:
    body = os.urandom(size)
    with Ending(unbounded(body), end, tls.server).listening() as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        url = "http://circleci.example"
        async with opened(url, retry=ONCE, ssl_context=tls.client, trust_env=True, allow_http=True) as seen:
            if end is by_word:
                assert await seen.bytes_of(f"{url}/x") == body
            else:
                with pytest.raises(InterruptedBodyError):
                    await seen.bytes_of(f"{url}/x")


async def test_json_tells_itself_whether_it_is_whole(tls: TLS) -> None:
    with Ending(unbounded(b"[1]"), without_a_word, tls.server).listening() as url:
        async with opened(url, retry=ONCE, ssl_context=tls.client) as seen:
            assert await seen.get() == [1]


@pytest.mark.parametrize("size", [200_000, 300_000, 3_000_000])
async def test_a_body_is_all_there_however_its_connection_ends_behind_it(tls: TLS, size: int) -> None:
    """Asyncio drops what has come by TLS and not been read yet when the connection ends."""
    body = os.urandom(size)
    host = Ending(reply(body=body, Connection="close"), without_a_word, tls.server)

    async def consume(answer: Answer) -> bytes:
        received, inflow = answer.inflow(answer.size or 0, 10_000)
        while inflow is not None:
            with answer.named():
                view = await inflow.next()
            if view is None:
                break
            received += bytes(view)
            inflow.give_back(view)
            await asyncio.sleep(0.0001)
        return received

    with host.listening() as url:
        async with opened(url, retry=ONCE, ssl_context=tls.client) as seen:
            for _ in range(5):
                assert await seen.session.fetch(f"{url}/x", consume) == body
                assert await seen.bytes_of(f"{url}/x") == body


async def test_an_answer_that_nobody_wants_keeps_no_connection_whose_host_has_ended_it(tls: TLS) -> None:
    """A file of another size than wanted is left at its head."""
    host = Ending(reply(body=bytes(300_000), Connection="close"), without_a_word, tls.server)

    async def leave(_answer: Answer) -> None:
        await asyncio.to_thread(host.ended.wait)
        await asyncio.sleep(0.05)  # its end arrives

    gc.disable()
    try:
        with host.listening() as url:
            async with opened(url, retry=ONCE, ssl_context=tls.client) as seen:
                before = connections()
                for _ in range(10):
                    await seen.session.fetch(f"{url}/x", leave)
                async with asyncio.timeout(10):
                    while connections() > before:
                        await asyncio.sleep(0.01)
    finally:
        gc.enable()


def connections() -> int:
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the directory's own handle
            found += str(one.readlink()).startswith("socket:")
    return found
