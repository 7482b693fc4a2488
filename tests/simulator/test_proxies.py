"""Requests go through the environment's proxies; one that stands in the way is named, and its password in no error."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from raw_host import QUICK, TOKEN, Close, RawHost, Talker, opened, reply
from secret_exchanges import traces_of
from tls import TLS

from aiocircle import Client, Timeouts
from aiocircle.errors import APIError, ConfigurationError, ConnectError, DeadlineError

pytestmark = pytest.mark.anyio

API = "https://circleci.example"
PASSWORD = "GEHEIM_of_the_proxy"


def proxied(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://me:{PASSWORD}@{place}")


class Tunnel:
    """A proxy that leads every ``CONNECT`` to the same port of this machine."""

    def __init__(self, port: int) -> None:
        self.heads: list[Sequence[str]] = []
        self._to = port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.place = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode().rstrip().split("\r\n"))
        there, to = await asyncio.open_connection("127.0.0.1", self._to)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(self._pass_on(reader, to), self._pass_on(there, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while received := await reader.read(1 << 16):
            writer.write(received)
            await writer.drain()
        writer.close()


async def test_https_goes_through_a_tunnel_that_sees_no_token_and_whose_password_nobody_else_sees(
    monkeypatch: pytest.MonkeyPatch, tls: TLS
) -> None:
    tls.client.check_hostname = False
    async with RawHost(lambda asked: reply(200, b"{}"), tls.server) as host, Tunnel(host.port) as tunnel:
        proxied(monkeypatch, tunnel.place)
        async with opened(API, trust_env=True, ssl_context=tls.client) as seen:
            assert await seen.get() == {}
            assert await seen.bytes_of("https://files.example/x") == b"{}"
    assert [head[0] for head in tunnel.heads] == [
        "CONNECT circleci.example:443 HTTP/1.1",
        "CONNECT files.example:443 HTTP/1.1",
    ]
    assert all(any(line.startswith("Proxy-Authorization: Basic ") for line in head) for head in tunnel.heads)
    assert TOKEN not in repr(tunnel.heads)
    assert [asked.headers.get("circle-token") for asked in host.asked] == [TOKEN, None]
    assert all("proxy-authorization" not in asked.headers for asked in host.asked)


async def test_plain_http_is_asked_of_the_proxy_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawHost(lambda _: reply(200, b"{}")) as proxy:
        proxied(monkeypatch, f"127.0.0.1:{proxy.port}")
        async with opened(API.replace("https", "http"), trust_env=True, allow_http=True) as seen:
            await seen.get()
            await seen.bytes_of("http://files.example/x")
    assert [asked.target for asked in proxy.asked] == ["http://circleci.example/api/v2/me", "http://files.example/x"]
    assert all(asked.headers["proxy-authorization"].startswith("Basic ") for asked in proxy.asked)


async def test_a_proxy_that_refuses_plain_http_is_not_taken_for_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawHost(lambda _: reply(407, b"who are you?")) as proxy:
        proxied(monkeypatch, f"127.0.0.1:{proxy.port}")
        async with opened(API.replace("https", "http"), trust_env=True, allow_http=True) as seen:
            with pytest.raises(APIError, match="407 who are you") as caught:
                await seen.get()
    assert "only a proxy" in (caught.value.hint or "")
    assert PASSWORD not in traces_of(caught.value, *seen.events)


@pytest.mark.parametrize("more", [{"trust_env": True}, {"ssl_context": ssl.create_default_context()}])
async def test_what_a_session_of_ones_own_decides_is_not_set_beside_it(more: dict[str, Any]) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError, match="without effect"):
            Client("token", host=API, session=session, **more)


@pytest.mark.parametrize("trust_env", [True, False])
async def test_this_machine_is_asked_itself_and_netrc_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trust_env: bool
) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    proxied(monkeypatch, "127.0.0.1:1")
    async with RawHost(lambda _: reply(200, b"{}")) as host, opened(host.url, trust_env=trust_env) as seen:
        await seen.get()
        await seen.bytes_of(f"{host.url}/x")
        assert [asked.target for asked in host.asked] == ["/api/v2/me", "/x"]
        assert all("authorization" not in asked.headers for asked in host.asked)


@pytest.mark.parametrize(("status", "asked"), [(407, 1), (403, 1), (502, QUICK.attempts)])
async def test_a_proxy_that_refuses_is_not_taken_for_the_host(
    monkeypatch: pytest.MonkeyPatch, status: int, asked: int
) -> None:
    async with RawHost(lambda _: reply(status, b"<html>")) as proxy:
        proxied(monkeypatch, f"127.0.0.1:{proxy.port}")
        async with opened(API, trust_env=True) as seen:
            with pytest.raises(ConnectError, match=f"the proxy .* refuses it .{status}.") as caught:
                await seen.get()
    assert caught.value.hint
    assert PASSWORD not in traces_of(caught.value, *seen.events)
    assert [one.method for one in proxy.asked] == ["CONNECT"] * asked
    assert all("circle-token" not in one.headers for one in proxy.asked)


async def test_a_proxy_that_is_not_there_is_not_taken_for_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxied(monkeypatch, f"127.0.0.1:{nobody.getsockname()[1]}")
        async with opened(API, trust_env=True) as seen:
            with pytest.raises(ConnectError, match="no connection to the proxy on the way to") as caught:
                await seen.get()
    assert PASSWORD not in traces_of(caught.value, *seen.events)


async def test_a_proxy_whose_name_does_not_resolve_is_not_taken_for_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    proxied(monkeypatch, "proxy.invalid:3128")
    async with opened(API, trust_env=True) as seen:
        with pytest.raises(ConnectError, match="the proxy on the way to circleci") as caught:
            await seen.get()
    assert "the name does not resolve" in str(caught.value)
    assert "https_proxy" in (caught.value.hint or "")


async def test_a_proxy_whose_certificate_is_not_trusted_is_not_taken_for_the_host(
    monkeypatch: pytest.MonkeyPatch, tls: TLS
) -> None:
    async with RawHost(lambda _: reply(200), tls.server) as proxy:
        monkeypatch.setenv("https_proxy", f"https://me:{PASSWORD}@127.0.0.1:{proxy.port}")
        async with opened(API, trust_env=True) as seen:
            with pytest.raises(ConnectError, match="no secure connection to the proxy on the way to"):
                await seen.get()


async def test_a_proxy_that_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Talker() as silent:
        proxied(monkeypatch, f"127.0.0.1:{silent.port}")
        async with opened(API, trust_env=True, timeouts=Timeouts(connect=0.2)) as seen:
            with pytest.raises(DeadlineError) as caught:
                await seen.get()
    assert f"the proxy http://127.0.0.1:{silent.port}," in (caught.value.hint or "")
    assert PASSWORD not in traces_of(caught.value, *seen.events)


async def test_a_tunnel_that_ends_where_tls_begins_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawHost(lambda _: [b"HTTP/1.1 200 Connection established\r\n\r\n", Close()]) as proxy:
        proxied(monkeypatch, f"127.0.0.1:{proxy.port}")
        async with opened(API, trust_env=True) as seen:
            with pytest.raises(ConnectError, match=r"no connection to circleci\.example: connection reset by peer"):
                await seen.get()


async def test_an_address_of_a_proxy_that_is_none_is_an_error_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    proxied(monkeypatch, "[bad")
    with pytest.raises(ConfigurationError, match="proxy") as caught:
        await Client("token", host=API, trust_env=True).__aenter__()
    assert PASSWORD not in traces_of(caught.value)
