"""Neither token nor signature is in any error, event, log or repr."""

import asyncio
import base64
import json
import logging
import socket
import ssl
import traceback
from collections.abc import Iterable
from pathlib import Path

import pytest
from raw_host import QUICK, TOKEN, Close, Hang, Opened, Part, RawHost, Talker, opened, reply
from secret_exchanges import BODY, SIGNATURE, address_in, traces_of, world
from tls import TLS

from aiocircle.auth import AuthScheme
from aiocircle.errors import (
    AioCircleError,
    APIError,
    ForbiddenError,
)
from aiocircle.events import RequestSent, Retried
from aiocircle.retry import RetryPolicy
from aiocircle.testing import Simulator
from aiocircle.timeouts import Timeouts

pytestmark = pytest.mark.anyio


FORMS = (TOKEN, base64.b64encode(f"{TOKEN}:".encode()).decode(), SIGNATURE)
ONCE = RetryPolicy(attempts=1)


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
    tls: TLS, caplog: pytest.LogCaptureFixture
) -> None:
    async with RawHost(lambda _: reply(), tls.server) as host, opened(host.url) as seen:
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
    assert "http://" in (error.hint or "")


async def test_a_deadline_shows_no_token(caplog: pytest.LogCaptureFixture) -> None:
    impatient = Timeouts(stall=0.1)
    async with (
        Simulator(world(), token=TOKEN, faults=["silence"]) as sim,
        opened(sim.url, retry=ONCE, timeouts=impatient) as seen,
    ):
        shown, error = await everything_shown_by(seen, caplog)

    assert_no_secret(shown)
    assert error.code == "deadline"


def variables_of(error: BaseException | None) -> str:
    """Return what is written down by who reports an error with its frames' variables: those of all but these tests."""
    shown = []
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if Path(frame.f_code.co_filename).parent != Path(__file__).parent:
                shown += [f"{name} = {value!r}" for name, value in frame.f_locals.items()]
        error = error.__cause__ or error.__context__
    assert shown
    return "\n".join(shown)


ENDINGS: dict[str, list[Part]] = {
    "closed": [Close()],
    "not-http": [b"SSH-2.0\r\n\r\n"],
    "no-answer": [Hang()],
    "no-body": [reply(200, b"", Content_Length="9"), Hang()],
}


@pytest.mark.parametrize("what", ["api", "file"])
@pytest.mark.parametrize("scheme", AuthScheme)
@pytest.mark.parametrize("parts", ENDINGS.values(), ids=ENDINGS.keys())
async def test_no_frame_that_a_failure_or_a_cancellation_passes_has_a_variable_that_shows_the_token(
    parts: list[Part], scheme: AuthScheme, what: str
) -> None:
    async with RawHost(lambda _: parts) as host, opened(host.url, auth=scheme, retry=ONCE) as seen:
        with pytest.raises((AioCircleError, TimeoutError)) as caught:
            async with asyncio.timeout(0.3):
                await (seen.get() if what == "api" else seen.bytes_of(f"{host.url}/file"))
    assert host.asked
    assert_no_secret(variables_of(caught.value))


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
