"""What listens at a limiter's address and is no Redis is a store that is lost, whatever it says."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aiocircle.ratelimit.redis_store import RedisStore
from aiocircle.ratelimit.store import Kept, StoreLostError

pytestmark = pytest.mark.anyio

HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"
ANSWERS = {
    "ok": b"+OK\r\n",
    "no list": b":1\r\n",
    "a short list": b"*1\r\n:1\r\n",
    "a mark that is a number": b"*4\r\n:5\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\n1\r\n",
    "a mark that is no text": b"*4\r\n$1\r\n\xff\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\n1\r\n",
    "no time": b"*4\r\n$1\r\na\r\n$1\r\nx\r\n$-1\r\n$-1\r\n",
    "a time that is a word": b"*4\r\n$1\r\na\r\n$1\r\nx\r\n$4\r\nsoon\r\n$1\r\n1\r\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@asynccontextmanager
async def speaker(answer: bytes, hello: bytes) -> AsyncIterator[RedisStore]:
    """Listen, greet whoever asks for it, and answer everything else with the same."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while asked := await reader.read(1 << 16):
            commands = asked.count(b"*")
            writer.write(hello + b"+OK\r\n" * (commands - 1) if b"HELLO" in asked else answer * commands)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    store = RedisStore(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", time.monotonic)
    try:
        yield store
    finally:
        await store.close()
        server.close()


@pytest.mark.parametrize("hello", [HELLO, None], ids=["greeted", "not greeted"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_nonsense_is_a_store_that_is_lost(answer: bytes, hello: bytes | None) -> None:
    async with speaker(answer, answer if hello is None else hello) as store, asyncio.timeout(20):
        for _ in range(2):
            with pytest.raises(StoreLostError):
                await store.open()
            with pytest.raises(StoreLostError):
                await store.swap("key", None, Kept("mark", b"text"))
