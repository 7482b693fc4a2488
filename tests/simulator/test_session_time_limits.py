"""Every wait of an exchange has a limit, and the error names it."""

import asyncio
import socket
import time
from collections.abc import Iterable

import aiohttp
import pytest
from exchanges import BODY, artifact_in, failing, unused_port, world
from raw_host import TOKEN, Asked, Hang, Part, RawHost, Talker, opened, reply

from aiocircle.errors import (
    DeadlineError,
    NotFoundError,
)
from aiocircle.retry import RetryPolicy
from aiocircle.testing import Simulator
from aiocircle.timeouts import Timeouts
from aiocircle.transport import Answer

pytestmark = pytest.mark.anyio


ONCE = RetryPolicy(attempts=1, refusals=0)


async def test_the_limit_for_connecting_is_named() -> None:
    async with (
        Talker() as host,
        opened(f"https://127.0.0.1:{host.port}", retry=ONCE, timeouts=Timeouts(connect=0.1)) as seen,
    ):
        error = await failing(seen)

    assert isinstance(error, DeadlineError)
    assert "no connection" in str(error)
    assert "within 0.1 s" in str(error)


@pytest.mark.parametrize("fault", ["silence", "stall", "stall-half"])
async def test_the_limit_for_silence_is_named(fault: str) -> None:
    async with (
        Simulator(world(), token=TOKEN) as sim,
        opened(sim.url, retry=ONCE, timeouts=Timeouts(stall=0.1)) as seen,
    ):
        sim.faults.add(fault, place="api")
        error = await failing(seen)

    assert isinstance(error, DeadlineError)
    assert "sent nothing for 0.1 s" in str(error)


async def test_the_limit_for_the_whole_is_named() -> None:
    async with (
        Simulator(world(), token=TOKEN) as sim,
        opened(sim.url, retry=ONCE, timeouts=Timeouts(total=0.2)) as seen,
    ):
        sim.faults.add("slow-drip", place="api")
        error = await failing(seen)

    assert isinstance(error, DeadlineError)
    assert "did not answer completely within 0.2 s" in str(error)


async def test_a_file_has_no_limit_for_the_whole() -> None:
    async with (
        Simulator(world(), token=TOKEN) as sim,
        opened(sim.url, retry=ONCE, timeouts=Timeouts(total=0.2)) as seen,
    ):
        address = await artifact_in(seen)
        sim.faults.add("slow-drip", rate=len(BODY) * 2)

        async def size_of(answer: Answer) -> int:
            size = 0
            while chunk := await answer.chunk():
                size += len(chunk)
            return size

        began = time.monotonic()
        assert await seen.session.fetch(address, size_of) == len(BODY)
        assert time.monotonic() - began > 0.2


async def test_the_words_of_a_refused_file_are_not_waited_for_without_limit() -> None:
    async with (
        Simulator(world(), token=TOKEN) as sim,
        opened(sim.url, timeouts=Timeouts(total=0.2)) as seen,
    ):
        address = (await artifact_in(seen)).replace("/artifacts/0/", "/artifacts/9/")
        sim.faults.add("slow-drip", place="artifact", rate=1)
        error = await failing(seen, address)

    assert isinstance(error, NotFoundError)
    assert "gave no reason" in str(error)


async def test_a_redirect_is_followed_though_its_own_body_does_not_come() -> None:
    def answer(asked: Asked) -> bytes | Iterable[Part]:
        if asked.target == "/there":
            return reply(body=b"file")
        return [reply(302, Location="/there", Content_Length="100"), Hang()]

    async with RawHost(answer) as host, opened(host.url) as seen, asyncio.timeout(10):
        assert await seen.bytes_of(f"{host.url}/x") == b"file"


async def test_waiting_for_one_of_a_callers_few_connections_is_not_waiting_for_a_host() -> None:
    release = asyncio.Event()

    def answer(asked: Asked) -> bytes | Iterable[Part]:
        return [reply(200, b"{", Content_Length="2"), Hang()] if asked.target == "/a" else reply()

    connector = aiohttp.TCPConnector(limit=1)
    async with (
        RawHost(answer) as host,
        aiohttp.ClientSession(connector=connector) as session,
        opened(host.url, session=session, retry=ONCE, timeouts=Timeouts(connect=0.1)) as seen,
    ):

        async def hold(_answer: object) -> None:
            await release.wait()

        holding = asyncio.ensure_future(seen.session.fetch(f"{host.url}/a", hold))
        waiting = asyncio.ensure_future(seen.bytes_of(f"{host.url}/b"))
        await asyncio.sleep(0.3)
        assert len(host.asked) == 1
        release.set()
        assert await waiting == b"{}"
        await holding


class NoName(aiohttp.abc.AbstractResolver):
    """What a machine without DNS says."""

    async def resolve(self, *_: object, **__: object) -> list[aiohttp.abc.ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def close(self) -> None:
        pass


async def test_a_name_that_does_not_resolve_is_an_error_in_words() -> None:
    connector = aiohttp.TCPConnector(resolver=NoName())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        opened("https://nowhere.invalid", session=session) as seen,
    ):
        error = await failing(seen)

    assert error.code == "connect"
    assert str(error) == "no connection to nowhere.invalid: the name does not resolve"


async def test_a_refused_port_is_an_error_in_words() -> None:
    async with opened(f"http://127.0.0.1:{unused_port()}") as seen:
        error = await failing(seen)

    assert error.code == "connect"
    assert str(error) == "no connection to 127.0.0.1: connection refused"


async def test_a_port_that_does_not_speak_http_is_an_error_in_words() -> None:
    async with Talker(b"220 mail.example ESMTP\r\n") as host, opened(f"http://127.0.0.1:{host.port}") as seen:
        error = await failing(seen)

    assert str(error) == "127.0.0.1 answered something that is not HTTP"
