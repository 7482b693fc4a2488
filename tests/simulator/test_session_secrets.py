"""The token and signed addresses over real sockets: who gets to see them, and that nothing of ours ever shows them."""

import base64
import json
import logging
import pickle
import socket
import ssl
import traceback
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest
from raw_host import QUICK, TOKEN, Asked, Close, Opened, Part, RawHost, Talker, certificate, opened, reply

from aiocircle.auth import AuthScheme
from aiocircle.errors import (
    AioCircleError,
    APIError,
    AuthenticationError,
    DecodeError,
    ForbiddenError,
    UnsafeAddressError,
)
from aiocircle.events import RequestSent, Retried
from aiocircle.retry import RetryPolicy
from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.transport import Timeouts

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
BODY = b"the very bytes"
SIGNATURE = "5ca1ab1e0123456789abcdef"
FORMS = (TOKEN, base64.b64encode(f"{TOKEN}:".encode()).decode(), SIGNATURE)
ONCE = RetryPolicy(attempts=1)


def world() -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 7, [FakeArtifact("a/ü b+c.txt", body=BODY), FakeArtifact("plain.txt", 1, body=BODY)])
    return world


async def address_in(seen: Opened) -> str:
    artifact = await seen.client.artifacts.list(SLUG, 7).first()
    assert artifact is not None
    assert artifact.url is not None
    return artifact.url


def with_credentials(sim: Simulator) -> set[str]:
    return {asked.origin for asked in sim.requests if asked.headers.keys() & {"Circle-Token", "Authorization"}}


# --- who sees the token ----------------------------------------------------------------------------------------------


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


async def test_https_is_not_continued_as_http(tmp_path: Path) -> None:
    server, trusting = certificate(tmp_path)
    async with (
        Simulator(world(), token=TOKEN, ssl_context=server) as sim,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session,
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


# --- who shows it ----------------------------------------------------------------------------------------------------


def traces_of(*things: object) -> str:
    """Return everything that a log, a traceback, a debugger or a crash report would show of these."""
    shown, seen, todo = [], set(), list(things)
    while todo:
        thing = todo.pop()
        if id(thing) in seen or thing is None:
            continue
        seen.add(id(thing))
        shown += [str(thing), repr(thing)]
        if isinstance(thing, BaseException):
            shown += traceback.format_exception(thing)
            shown.append(pickle.dumps(thing).decode("latin-1"))
            todo += [thing.__cause__, thing.__context__, *thing.args, *vars(thing).values()]
    return "\n".join(shown)


async def everything_shown_by(
    seen: Opened, caplog: pytest.LogCaptureFixture, address: str | None = None
) -> tuple[str, AioCircleError]:
    """Make a request fail, and return all that anybody could read of it."""
    with caplog.at_level(logging.DEBUG), pytest.raises(AioCircleError) as caught:
        await (seen.client.users.me() if address is None else seen.bytes_of(address))
    records = [record.getMessage() + repr(record.args) for record in caplog.records if record.name != "asyncio"]
    return traces_of(caught.value, *seen.events, seen.client, seen.session, *records), caught.value


def assert_no_secret(text: str) -> None:
    for form in FORMS:
        assert form not in text
        assert form[:12] not in text


ESCAPED = "".join(f"\\u{ord(char):04x}" for char in TOKEN)
ECHOES = {
    "json": reply(401, json.dumps({"message": f"Invalid token {TOKEN}"}).encode()),
    "json-escaped": reply(401, f'{{"message": "Invalid token {ESCAPED}"}}'.encode()),
    "json-key": reply(400, json.dumps({"message": "unknown", TOKEN: [{"x": TOKEN}]}).encode()),
    "json-basic": reply(401, json.dumps({"error": {"detail": f"Basic {FORMS[1]}"}}).encode()),
    "json-list": reply(400, json.dumps([TOKEN]).encode()),
    "json-quoted": reply(400, json.dumps({"message": f'bad "Circle-Token: {TOKEN}\\"'}).encode()),
    "text": reply(403, f"Circle-Token: {TOKEN}".encode()),
    "text-at-the-cut": reply(403, b"x" * 490 + TOKEN.encode()),
    "page": reply(502, f"<html>{TOKEN}</html>".encode()),
    "request-id": reply(404, b"", X_Request_Id=TOKEN),
    "deprecation": reply(404, b"", Deprecation=TOKEN, Sunset=f"Basic {FORMS[1]}"),
    "success-that-is-text": reply(200, f"hello {TOKEN}".encode()),
    "success-that-is-text-at-the-cut": reply(200, b"x" * 50 + TOKEN.encode()),
    "success-of-a-wrong-shape": reply(200, json.dumps({"id": TOKEN, "login": [TOKEN]}).encode()),
    "success-that-is-half": reply(200, f'{{"id": "{TOKEN}'.encode()),
    "redirect-to-nowhere": reply(302, b"", Location=f"ftp://h.example/?circle-token={TOKEN}"),
    "signed-address-in-an-error": reply(400, f"GET https://s3.example/k?X-Amz-Signature={SIGNATURE} failed".encode()),
}


@pytest.mark.parametrize("scheme", [AuthScheme.CIRCLE_TOKEN, AuthScheme.BASIC])
@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES.keys())
async def test_a_host_that_echoes_the_token_does_not_make_us_show_it(
    answer: bytes, scheme: AuthScheme, caplog: pytest.LogCaptureFixture
) -> None:
    async with RawHost(lambda _: answer) as host, opened(host.url, auth=scheme) as seen:
        shown, _ = await everything_shown_by(seen, caplog)

    assert_no_secret(shown)


FAILURES: dict[str, list[Part]] = {
    "closed": [Close()],
    "not-http": [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Close()],
    "junk-status": [b"HTTP/1.1 abc Whatever\r\n\r\n", Close()],
    "junk-length": [reply(200, b"x", Content_Length="seven"), Close()],
    "two-lengths": [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", Close()],
    "header-bomb": [b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 50_000 + b"\r\n", Close()],
    "long-header": [b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 100_000 + b"\r\n\r\n", Close()],
    "cut-body": [reply(200, b"{}", Content_Length="99"), Close()],
    "cut-chunked": [reply(200, b"9\r\n{}", Transfer_Encoding="chunked"), Close()],
    "junk-chunked": [reply(200, b"zz\r\n{}\r\n0\r\n\r\n", Transfer_Encoding="chunked"), Close()],
    "junk-gzip": [reply(200, b"no gzip at all", Content_Encoding="gzip"), Close()],
}


@pytest.mark.parametrize("parts", FAILURES.values(), ids=FAILURES.keys())
async def test_no_failure_of_http_shows_the_token_or_keeps_the_request(
    parts: list[Part], caplog: pytest.LogCaptureFixture
) -> None:
    async with RawHost(lambda _: parts) as host, opened(host.url) as seen:
        shown, error = await everything_shown_by(seen, caplog)

    assert_no_secret(shown)
    assert error.code in {"transport", "interrupted"}
    assert error.__context__ is None
    assert error.__cause__ is None
    assert len(host.asked) == QUICK.attempts


async def test_no_failure_to_connect_shows_the_token(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(f"http://127.0.0.1:{unused_port()}") as seen:
        shown, error = await everything_shown_by(seen, caplog)

    assert_no_secret(shown)
    assert error.code == "connect"
    assert error.__context__ is None


async def test_a_signed_address_that_fails_is_shown_without_its_query(caplog: pytest.LogCaptureFixture) -> None:
    signed = f"http://127.0.0.1:{unused_port()}/bucket/k?X-Amz-Credential=AKIA&X-Amz-Signature={SIGNATURE}"
    async with RawHost(lambda _: reply(302, Location=signed)) as host, opened(host.url) as seen:
        shown, error = await everything_shown_by(seen, caplog, f"{host.url}/x")
        addresses = [event.url for event in seen.events if isinstance(event, RequestSent)]

    assert_no_secret(shown)
    assert error.code == "connect"
    assert any(address.endswith("/bucket/k") for address in addresses)
    assert any(isinstance(event, Retried) for event in seen.events)


async def test_an_expired_signature_is_replaced_from_the_artifacts_own_address() -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        sim.faults.add("expired-signature", times=2)

        assert await seen.bytes_of(await address_in(seen)) == BODY

        assert sim.stats.requests["output"] == 3
        assert sim.stats.requests["storage"] == 3
        assert sim.stats.leaks == 0


async def test_a_signature_that_stays_expired_is_an_error_that_does_not_show_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        address = await address_in(seen)
        sim.faults.add("expired-signature")
        shown, error = await everything_shown_by(seen, caplog, address)

        assert isinstance(error, ForbiddenError)
        assert error.redirected
        assert sim.stats.requests["output"] == QUICK.attempts
    assert "X-Amz-" not in shown


async def test_a_certificate_that_nobody_signed_is_refused_in_words_and_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, _ = certificate(tmp_path)
    async with RawHost(lambda _: reply(), server) as host, opened(host.url) as seen:
        shown, error = await everything_shown_by(seen, caplog)
        requests = [event for event in seen.events if isinstance(event, RequestSent)]

    assert_no_secret(shown)
    assert error.code == "connect"
    assert "self-signed" in str(error) or "self signed" in str(error)
    assert len(requests) == 1
    assert host.asked == []


async def test_a_port_that_does_not_speak_tls_gets_no_token(caplog: pytest.LogCaptureFixture) -> None:
    greeting = b"220 mail.example ESMTP\r\n"
    async with Talker(greeting) as host, opened(f"https://127.0.0.1:{host.port}", retry=ONCE) as seen:
        shown, error = await everything_shown_by(seen, caplog)

    assert_no_secret(shown)
    assert error.code == "connect"
    assert "no secure connection" in str(error)


async def test_a_deadline_shows_no_token(caplog: pytest.LogCaptureFixture) -> None:
    impatient = Timeouts(stall=0.1)
    async with (
        Simulator(world(), token=TOKEN, faults=["silence"]) as sim,
        opened(sim.url, retry=ONCE, timeouts=impatient) as seen,
    ):
        shown, error = await everything_shown_by(seen, caplog)

    assert_no_secret(shown)
    assert error.code == "deadline"


async def test_neither_client_nor_session_nor_their_parts_show_the_token() -> None:
    async with opened("https://circleci.com") as seen:
        parts: Iterable[object] = (*vars(seen.session).values(), *vars(seen.client).values())

        assert_no_secret(traces_of(seen.client, seen.session, *parts))


async def test_values_of_models_are_the_hosts_own_words() -> None:
    """Only errors, events and logs are cleaned; data are handed on as they came."""
    body = json.dumps({"id": "b0b6bf23-5a4c-4d1f-8b4c-000000000001", "name": TOKEN}).encode()
    async with RawHost(lambda _: reply(200, body)) as host, opened(host.url) as seen:
        user = await seen.client.users.me()

    assert user.name == TOKEN


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize("place", ["args", "__context__", "__cause__", "body", "hint"])
async def test_these_tests_would_notice_a_secret(place: str) -> None:
    error = APIError(400, "x", "y")
    setattr(error, place, ssl.SSLError(TOKEN) if place.startswith("__") else (TOKEN,))

    with pytest.raises(AssertionError):
        assert_no_secret(traces_of(error))
