"""A proxy that stands in the way is named as one, and its password in no error."""

import socket

import pytest
from raw_host import QUICK, RawHost, opened, reply
from secret_exchanges import traces_of

from aiocircle import Client
from aiocircle.errors import ConfigurationError, ConnectError

pytestmark = pytest.mark.anyio

API = "https://circleci.example"
PASSWORD = "GEHEIM_of_the_proxy"


def proxied(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://me:{PASSWORD}@{place}")


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


async def test_an_address_of_a_proxy_that_is_none_is_an_error_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    proxied(monkeypatch, "[bad")
    with pytest.raises(ConfigurationError, match="proxy") as caught:
        await Client("token", host=API, trust_env=True).__aenter__()
    assert PASSWORD not in traces_of(caught.value)
