"""Who sees the token."""

from pathlib import Path

import aiohttp
import pytest
from raw_host import TOKEN, Asked, RawHost, opened, reply
from secret_exchanges import BODY, SIGNATURE, SLUG, address_in, traces_of, world
from tls import TLS

from aiocircle.auth import AuthScheme
from aiocircle.errors import (
    APIError,
    AuthenticationError,
    DecodeError,
    UnsafeAddressError,
)
from aiocircle.testing import Simulator

pytestmark = pytest.mark.anyio


def with_credentials(sim: Simulator) -> set[str]:
    return {asked.origin for asked in sim.requests if asked.headers.keys() & {"Circle-Token", "Authorization"}}


@pytest.mark.parametrize("scheme", AuthScheme)
@pytest.mark.parametrize("own_origin", [True, False], ids=["artifacts-on-a-host-of-their-own", "artifacts-on-the-api"])
async def test_the_api_and_artifact_hosts_see_the_token_and_storage_does_not(
    scheme: AuthScheme, own_origin: bool
) -> None:
    async with Simulator(world(), token=TOKEN, artifact_origin=own_origin) as sim:
        hosts = [sim.artifact_url.partition("://")[2]]
        async with opened(sim.url, auth=scheme, artifact_hosts=hosts) as seen:
            artifacts = await seen.client.artifacts.list(SLUG, 7).collect()
            bodies = [await seen.bytes_of(artifact.url or "") for artifact in artifacts]

        assert bodies == [BODY, BODY]
        assert sim.stats.leaks == 0
        assert with_credentials(sim) == {"api", "artifact"}
        assert {asked.origin for asked in sim.requests} == {"api", "artifact", "storage"}


async def test_an_artifact_host_that_nobody_listed_does_not_see_the_token() -> None:
    async with Simulator(world(), token=TOKEN, artifact_origin=True) as sim, opened(sim.url) as seen:
        with pytest.raises(AuthenticationError):
            await seen.bytes_of(await address_in(seen))

        assert with_credentials(sim) == {"api"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_every_kind_of_redirect_is_followed_without_the_token(status: int) -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        sim.faults.add("redirect-status", status=status)

        assert await seen.bytes_of(await address_in(seen)) == BODY

        assert sim.stats.leaks == 0
        assert "storage" not in with_credentials(sim)


@pytest.mark.parametrize("scheme", AuthScheme)
async def test_a_foreign_origin_sees_no_credential(scheme: AuthScheme) -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url, auth=scheme) as seen:
        sim.faults.add("redirect-foreign")

        await seen.bytes_of(await address_in(seen))

        assert sim.stats.foreign == 1
        assert sim.stats.leaks == 0


async def test_there_and_back_shows_the_token_at_home_only() -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        sim.faults.add("redirect-there-and-back", times=1)

        assert await seen.bytes_of(await address_in(seen)) == BODY

        assert [asked.origin for asked in sim.requests][1:] == ["artifact", "foreign", "artifact", "storage"]
        assert with_credentials(sim) == {"api", "artifact"}
        assert sim.stats.leaks == 0


async def test_an_api_answer_that_redirects_elsewhere_takes_no_token_along() -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        sim.faults.add("redirect-json")

        with pytest.raises(DecodeError):
            await seen.client.users.me()

        assert sim.stats.foreign == 1
        assert sim.stats.leaks == 0


async def test_a_redirect_relative_to_the_scheme_leads_to_storage() -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        sim.faults.add("redirect-relative")

        assert await seen.bytes_of(await address_in(seen)) == BODY
        assert sim.stats.leaks == 0


async def test_https_is_not_continued_as_http(tls: TLS) -> None:
    async with (
        Simulator(world(), token=TOKEN, ssl_context=tls.server) as sim,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls.client)) as session,
        opened(sim.url, session=session) as seen,
    ):
        address = await address_in(seen)
        assert await seen.bytes_of(address) == BODY
        sim.faults.add("redirect-http-downgrade")

        with pytest.raises(UnsafeAddressError, match="from https to http"):
            await seen.bytes_of(address)

        assert sim.stats.foreign == 0
        assert sim.stats.leaks == 0


@pytest.mark.parametrize(
    ("fault", "requests"), [("redirect-loop", 11), ("redirect-file", 1), ("redirect-no-location", 1)]
)
async def test_a_redirect_that_leads_nowhere_ends_at_once(fault: str, requests: int) -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        address = await address_in(seen)
        sim.faults.add(fault)

        with pytest.raises((UnsafeAddressError, APIError)):
            await seen.bytes_of(address)

        assert sim.stats.requests["output"] == requests
        assert seen.is_idle()


@pytest.mark.parametrize("hops", [0, 1, 10, 11, 1000])
async def test_ten_redirects_are_followed_and_no_more(hops: int) -> None:
    def answer(asked: Asked) -> bytes:
        number = int(asked.target[1:])
        return reply(302, Location=f"/{number + 1}") if number < hops else reply(body=BODY)

    async with RawHost(answer) as host, opened(host.url) as seen:
        if hops <= 10:
            assert await seen.bytes_of(f"{host.url}/0") == BODY
        else:
            with pytest.raises(UnsafeAddressError, match="more than 10 redirects"):
                await seen.bytes_of(f"{host.url}/0")

    assert len(host.asked) == min(hops, 10) + 1
    assert host.connections == 1


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", f"https://me:{SIGNATURE}@h.example/", "ftp://h.example/", "https://", ""]
)
async def test_a_redirect_to_what_may_not_be_followed_is_not_repeated(location: str) -> None:
    async with RawHost(lambda _: reply(302, Location=location)) as host, opened(host.url) as seen:
        with pytest.raises(UnsafeAddressError) as caught:
            await seen.bytes_of(f"{host.url}/x")

    assert len(host.asked) == 1
    assert SIGNATURE not in traces_of(caught.value)


async def test_anonymous_requests_have_no_authentication_header_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)

    async with RawHost(lambda _: reply()) as host, opened(host.url, None) as seen:
        await seen.get()
        await seen.bytes_of(f"{host.url}/file")

    assert len(host.asked) == 2
    for asked in host.asked:
        assert not asked.headers.keys() & {"circle-token", "authorization", "proxy-authorization", "cookie"}


async def test_cookies_are_neither_kept_nor_sent() -> None:
    async with RawHost(lambda _: reply(Set_Cookie="session=1; Path=/")) as host:
        named = host.url.replace("127.0.0.1", "localhost")  # no cookie jar takes cookies of a bare address
        async with opened(named) as seen:
            await seen.get()
            await seen.get()

    assert [asked.headers.get("cookie") for asked in host.asked] == [None, None]


async def test_a_callers_session_is_used_and_neither_changed_nor_closed() -> None:
    async with RawHost(lambda _: reply()) as host, aiohttp.ClientSession(headers={"X-Mine": "1"}) as session:
        async with opened(host.url, session=session) as seen:
            await seen.get()

        assert not session.closed
        assert "Circle-Token" not in session.headers
        async with session.get(host.url) as response:
            assert response.status == 200

    mine, callers = host.asked
    assert mine.headers["x-mine"] == "1"
    assert mine.headers["circle-token"] == TOKEN
    assert "circle-token" not in callers.headers
