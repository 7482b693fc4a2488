"""Requests over real sockets: what is repeated and how often, time limits, bodies of every kind, cancellation."""

import asyncio
import gc
import gzip
import json
import logging
import socket
import time
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Iterable

import aiohttp
import pytest
from raw_host import QUICK, TOKEN, Asked, Close, FastClock, Hang, Opened, Part, RawHost, Talker, opened, reply

from aiocircle.api import Artifact
from aiocircle.errors import (
    AioCircleError,
    APIError,
    BadRequestError,
    ConfigurationError,
    DeadlineError,
    DecodeError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    TransportError,
    WaitTooLongError,
)
from aiocircle.events import DeprecationNoticed, LimitWaiting, PageFetched, RequestSent, Retried
from aiocircle.pagination import EMPTY_PAGES, STALE_PAGES, Paginator
from aiocircle.retry import RetryPolicy
from aiocircle.session import MAX_HOPS, MAX_JSON
from aiocircle.testing import FakeArtifact, KongLimits, Simulator, World
from aiocircle.transport import Answer, Timeouts

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
BODY = bytes(range(256)) * 200
ONCE = RetryPolicy(attempts=1, refusals=0)


def world() -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 7, [FakeArtifact(f"{n}.bin", body=BODY) for n in range(50)])
    return world


async def artifact_in(seen: Opened) -> str:
    artifact = await seen.client.artifacts.list(SLUG, 7).first()
    assert artifact is not None
    return artifact.url or ""


# --- what is sent ----------------------------------------------------------------------------------------------------


async def test_requests_say_who_asks_and_what_they_take() -> None:
    async with RawHost(lambda _: reply()) as host, opened(host.url) as seen:
        await seen.get()
        await seen.bytes_of(f"{host.url}/file")
        await seen.post(body={"a": "é"})

    api, file, post = host.asked
    assert (api.method, api.target) == ("GET", "/api/v2/me")
    assert {asked.headers["user-agent"].partition("/")[0] for asked in host.asked} == {"aiocircle"}
    assert api.headers["accept"] == "application/json"
    assert "gzip" in api.headers["accept-encoding"]
    assert "content-type" not in api.headers
    assert file.headers["accept"] == "*/*"
    assert file.headers["accept-encoding"] == "identity"
    assert (post.method, json.loads(post.body)) == ("POST", {"a": "é"})
    assert post.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("token", "sent"),
    [
        ("a+b/c==", "a%2Bb%2Fc%3D%3D"),
        ("día 日本&x=1#?%", "d%C3%ADa%20%E6%97%A5%E6%9C%AC%26x%3D1%23%3F%25"),
        ("\ud800", "%ED%A0%80"),
    ],
)
async def test_page_tokens_are_percent_encoded(token: str, sent: str) -> None:
    def answer(asked: Asked) -> bytes:
        return reply(body=json.dumps({"items": [], "next_page_token": None if "?" in asked.target else token}).encode())

    async with RawHost(answer) as host, opened(host.url) as seen:
        await seen.client.artifacts.list(SLUG, 7).collect()

    assert [asked.target.partition("?")[2] for asked in host.asked] == ["", f"page-token={sent}"]


async def test_parameters_stay_the_same_from_page_to_page() -> None:
    def answer(asked: Asked) -> bytes:
        last = "page-token" in asked.target
        return reply(body=json.dumps({"items": [], "next_page_token": None if last else "t"}).encode())

    async with RawHost(answer) as host, opened(host.url) as seen:
        await seen.client.pipelines.list(SLUG, branch="feature/x y").collect()

    assert [asked.target.partition("?")[2] for asked in host.asked] == [
        "branch=feature%2Fx%20y",
        "branch=feature%2Fx%20y&page-token=t",
    ]


async def test_segments_are_quoted_and_none_leads_to_another_operation() -> None:
    async with RawHost(lambda _: reply()) as host, opened(host.url) as seen:
        for identifier in ("", ".", ".."):
            with pytest.raises(ConfigurationError):
                await seen.client.workflows.get(identifier)
        with pytest.raises(DecodeError):
            await seen.client.projects.get("circleci/a b/c?d#e")
        with pytest.raises(DecodeError):
            await seen.client.pipelines.get("../x")

    assert [asked.target for asked in host.asked] == [
        "/api/v2/project/circleci/a%20b/c%3Fd%23e",
        "/api/v2/pipeline/..%2Fx",
    ]


# --- what is repeated ------------------------------------------------------------------------------------------------

PASSING = [
    "429-retry-after-seconds",
    "429-retry-after-date",
    "429-retry-after-junk",
    "429-retry-after-negative",
    "429-reset-only",
    "429-reset-epoch",
    "429-bare",
    "500",
    "502-html",
    "503-retry-after",
    "503-bare",
    "504-html",
    "drop",
    "reset",
    "cut-body",
    "cut-chunked",
    "wrong-length",
    "junk-length",
    "double-length",
]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fault", PASSING)
async def test_trouble_that_passes_is_sat_out_with_one_request_each(fault: str, times: int) -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        sim.faults.add(fault, times=times, place="api")

        assert (await seen.client.users.me()).login == "octo"

        assert sim.stats.requests["me"] == times + 1
        assert [event.attempt for event in seen.events if isinstance(event, Retried)] == list(range(1, times + 1))
        assert seen.is_idle()


@pytest.mark.parametrize("fault", ["drop", "reset", "500", "502-html", "503-bare", "cut-body", "junk-length"])
async def test_trouble_that_stays_is_met_as_often_as_the_policy_says(fault: str) -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        sim.faults.add(fault, place="api")

        with pytest.raises((TransportError, ServerError)):
            await seen.client.users.me()

        assert sim.stats.requests["me"] == QUICK.attempts
        assert seen.is_idle()


@pytest.mark.parametrize(("fault", "error"), [("429-bare", RateLimitedError), ("503-retry-after", ServerError)])
async def test_refusals_that_stay_are_sat_out_as_often_as_the_policy_says(fault: str, error: type[APIError]) -> None:
    policy = RetryPolicy(refusals=2, base=0.001)
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url, retry=policy) as seen:
        sim.faults.add(fault)

        with pytest.raises(error):
            await seen.client.users.me()

        assert sim.stats.requests["me"] == 3


async def test_a_host_that_asks_for_a_day_is_believed_and_not_waited_for() -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        sim.faults.add("429-retry-after-day")

        with pytest.raises(WaitTooLongError) as caught:
            await seen.client.users.me()
        with pytest.raises(WaitTooLongError):
            await seen.client.users.me()

        assert caught.value.wait == pytest.approx(86_400, rel=0.01)
        assert caught.value.hint
        assert sim.stats.requests["me"] == 1
        assert seen.is_idle()


async def test_the_wait_for_a_refusal_is_as_long_as_asked_and_told() -> None:
    clock = FastClock(100)
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url, clock=clock) as seen:
        sim.faults.add("429-retry-after-seconds", times=1, seconds=20)
        began = clock.monotonic()

        await seen.client.users.me()

        assert clock.monotonic() - began >= 20
        waits = [event for event in seen.events if isinstance(event, LimitWaiting)]
        assert [event.reason for event in waits] == ["pause"]
        assert waits[0].seconds == pytest.approx(20, abs=5)


FINAL = [400, 401, 403, 404, 405, 409, 410, 422, 451, 501]


@pytest.mark.parametrize("status", FINAL)
async def test_a_refusal_for_the_callers_sake_is_not_repeated(status: int) -> None:
    async with RawHost(lambda _: reply(status)) as host, opened(host.url) as seen:
        with pytest.raises(APIError) as caught:
            await seen.get()
        with pytest.raises(APIError):
            await seen.bytes_of(f"{host.url}/file")

    assert caught.value.status == status
    assert len(host.asked) == 2


POSTS: dict[str, tuple[list[Part], bool]] = {
    "429": ([reply(429)], True),
    "429-with-a-date": ([reply(429, Retry_After="1")], True),
    "503-with-a-date": ([reply(503, Retry_After="1")], True),
    "503": ([reply(503)], False),
    "500": ([reply(500)], False),
    "502": ([reply(502)], False),
    "408": ([reply(408)], False),
    "no-answer": ([Close()], False),
    "not-http": ([b"220 mail.example ESMTP\r\n\r\n", Close()], False),
    "half-an-answer": ([reply(200, b"{}", Content_Length="99"), Close()], False),
    "silence": ([Hang()], False),
    "redirect": ([reply(307, Location="/elsewhere")], False),
    "redirect-303": ([reply(303, Location="/elsewhere")], False),
}


@pytest.mark.parametrize(("parts", "repeated"), POSTS.values(), ids=POSTS.keys())
async def test_a_post_is_repeated_only_when_it_was_surely_not_carried_out(parts: list[Part], repeated: bool) -> None:
    def answer(_: Asked) -> bytes | Iterable[Part]:
        return parts if len(host.asked) == 1 else reply(201, b'{"id": 1}')

    async with RawHost(answer) as host, opened(host.url, timeouts=Timeouts(stall=0.2)) as seen:
        if repeated:
            assert await seen.post(body={"branch": "main"}) == {"id": 1}
        else:
            with pytest.raises((APIError, TransportError)):
                await seen.post(body={"branch": "main"})

    assert len(host.asked) == 1 + repeated
    assert {asked.body for asked in host.asked} == {b'{"branch": "main"}'}
    assert {asked.target for asked in host.asked} == {"/api/v2/x"}


async def test_a_post_that_was_never_sent_may_be_repeated() -> None:
    async with opened(f"http://127.0.0.1:{unused_port()}") as seen:
        with pytest.raises(TransportError):
            await seen.post()

        assert len([event for event in seen.events if isinstance(event, RequestSent)]) == QUICK.attempts


async def test_a_connection_that_died_in_the_pool_costs_one_try_that_is_counted() -> None:
    """aiohttp by itself would repeat the request unseen, which limiter and policy know nothing of."""

    def answer(_: Asked) -> bytes | Iterable[Part]:
        return [Close()] if len(host.asked) == 2 else reply()

    async with RawHost(answer) as host, opened(host.url) as seen:
        await seen.get()
        await seen.get()

        assert len(host.asked) == 3
        assert len([event for event in seen.events if isinstance(event, RequestSent)]) == 3
        assert sum(lane.sent for lane in seen.limiter.snapshot()) == 3


@pytest.mark.parametrize("fault", ["cut-body", "cut-chunked", "wrong-length"])
async def test_a_cut_file_is_consumed_anew(fault: str) -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        address = await artifact_in(seen)
        sim.faults.add(fault, times=2)

        assert await seen.bytes_of(address) == BODY

        assert sim.stats.requests["storage"] == 3
        assert sim.stats.requests["output"] == 3


# --- time limits -----------------------------------------------------------------------------------------------------


async def failing(seen: Opened, address: str | None = None) -> AioCircleError:
    with pytest.raises(AioCircleError) as caught:
        await (seen.get() if address is None else seen.bytes_of(address))
    assert seen.is_idle()
    return caught.value


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
    assert "refused" in str(error) or "connect call failed" in str(error)


async def test_a_port_that_does_not_speak_http_is_an_error_in_words() -> None:
    async with Talker(b"220 mail.example ESMTP\r\n") as host, opened(f"http://127.0.0.1:{host.port}") as seen:
        error = await failing(seen)

    assert str(error) == "127.0.0.1 answered something that is not HTTP"


# --- bodies ----------------------------------------------------------------------------------------------------------


async def test_gzip_is_unpacked() -> None:
    packed = gzip.compress(b'{"a": 1}')
    async with RawHost(lambda _: reply(200, packed, Content_Encoding="gzip")) as host, opened(host.url) as seen:
        assert await seen.get() == {"a": 1}


async def test_an_empty_body_is_no_value() -> None:
    async with RawHost(lambda _: reply(200, b" \n")) as host, opened(host.url) as seen:
        assert await seen.get() is None


async def test_an_answer_without_content_is_no_value() -> None:
    async with RawHost(lambda _: b"HTTP/1.1 204 No Content\r\n\r\n") as host, opened(host.url) as seen:
        assert await seen.post() is None
        assert await seen.get() is None

    assert host.connections == 1


async def test_an_endless_body_is_given_up_at_the_limit() -> None:
    mib = b"100000\r\n" + b"7" * (1 << 20) + b"\r\n"
    parts = [reply(200, b"", Transfer_Encoding="chunked"), *[mib] * 1000]
    async with RawHost(lambda _: parts) as host, opened(host.url) as seen:
        error = await failing(seen)

    assert isinstance(error, DecodeError)
    assert f"{MAX_JSON >> 20} MiB" in str(error)
    assert error.hint
    assert len(host.asked) == 1


async def test_a_gzip_bomb_is_given_up_in_bounded_memory() -> None:
    packer = zlib.compressobj(1, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(400)) + packer.flush()
    async with RawHost(lambda _: reply(200, bomb, Content_Encoding="gzip")) as host, opened(host.url) as seen:
        tracemalloc.start()
        try:
            error = await failing(seen)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert isinstance(error, DecodeError)
    assert peak < 2.5 * MAX_JSON


async def test_a_bomb_in_an_error_is_cut_short() -> None:
    bomb = gzip.compress(bytes(50 << 20), 1)
    async with RawHost(lambda _: reply(404, bomb, Content_Encoding="gzip")) as host, opened(host.url) as seen:
        tracemalloc.start()
        try:
            error = await failing(seen)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert isinstance(error, NotFoundError)
    assert peak < 8 << 20


NO_PAGE: dict[str, bytes] = {
    "html": b"<!DOCTYPE html><title>Sign in</title>",
    "cut": b'{"items": [{"path": "a", "url": "https://',
    "text": b"upstream connect error",
    "empty": b"",
    "null": b"null",
    "number": b"7",
    "array": b"[1, 2]",
    "no-items": b'{"next_page_token": null}',
    "items-null": b'{"items": null}',
    "items-object": b'{"items": {}, "next_page_token": null}',
    "token-number": b'{"items": [], "next_page_token": 7}',
    "item-null": b'{"items": [null], "next_page_token": null}',
    "item-text": b'{"items": ["a"], "next_page_token": null}',
    "item-wrong": b'{"items": [{"path": 7, "url": [], "node_index": "x"}], "next_page_token": null}',
    "deep": b"[" * 100_000,
    "deep-item": b'{"items": [{"path": ' + b"[" * 500 + b"]" * 500 + b'}], "next_page_token": null}',
    "latin-1": '{"items": [], "next_page_token": "é"}'.encode("latin-1"),
}


@pytest.mark.parametrize("body", NO_PAGE.values(), ids=NO_PAGE.keys())
async def test_what_is_no_page_is_an_error_with_a_hint_and_is_not_repeated(body: bytes) -> None:
    async with RawHost(lambda _: reply(200, body)) as host, opened(host.url) as seen:
        with pytest.raises(DecodeError) as caught:
            await seen.client.artifacts.list(SLUG, 7).collect()

    assert caught.value.hint
    assert str(caught.value).startswith("list artifacts: ")
    assert len(str(caught.value)) < 250
    assert len(host.asked) == 1


@pytest.mark.parametrize("fault", ["json-cut", "json-html-200", "json-shape", "items-null"])
async def test_the_simulators_broken_answers_are_errors_with_a_hint(fault: str) -> None:
    async with Simulator(world(), token=TOKEN, faults=[fault]) as sim, opened(sim.url) as seen:
        with pytest.raises(DecodeError) as caught:
            await seen.client.artifacts.list(SLUG, 7).collect()

        assert caught.value.hint
        assert sim.stats.requests["project.job.artifacts"] == 1


ERRORS: dict[str, tuple[bytes, str, object]] = {
    "core": (b'{"message": "Project not found"}', "Project not found", {"message": "Project not found"}),
    "policy": (b'{"error": "bad rego"}', "bad rego", {"error": "bad rego"}),
    "v3": (
        b'{"error": {"id": "1", "type": "x", "title": "Invalid", "detail": "page[limit] is 1 to 100"}}',
        "page[limit] is 1 to 100",
        {"error": {"id": "1", "type": "x", "title": "Invalid", "detail": "page[limit] is 1 to 100"}},
    ),
    "v3-title": (b'{"error": {"title": "Invalid"}}', "Invalid", {"error": {"title": "Invalid"}}),
    "list-in-message": (b'{"message": ["a", "b"]}', "['a', 'b']", {"message": ["a", "b"]}),
    "number-in-message": (b'{"message": 7}', "7", {"message": 7}),
    "null": (b"null", "(the host gave no reason)", None),
    "empty-object": (b"{}", "(the host gave no reason)", {}),
    "no-words": (b'{"message": null, "error": ""}', "(the host gave no reason)", {"message": None, "error": ""}),
    "string": (b'"nope"', "nope", "nope"),
    "array": (b'["nope"]', "['nope']", ["nope"]),
    "text": (b"no\n such  host", "no such host", "no\n such  host"),
    "html": (b"<html><h1>502</h1>", "(an HTML or XML page)", "<html><h1>502</h1>"),
    "xml": (b'<?xml version="1.0"?><Error/>', "(an HTML or XML page)", '<?xml version="1.0"?><Error/>'),
    "empty": (b"", "(the host gave no reason)", ""),
    "cut": (b'{"message": "half', '{"message": "half', '{"message": "half'),
    "not-utf-8": (b"\xff\xfe", "\ufffd\ufffd", "\ufffd\ufffd"),
}


@pytest.mark.parametrize(("body", "message", "value"), ERRORS.values(), ids=ERRORS.keys())
async def test_an_errors_words_are_found_in_each_shape(body: bytes, message: str, value: object) -> None:
    async with RawHost(lambda _: reply(404, body, X_Request_Id="r-1")) as host, opened(host.url) as seen:
        error = await failing(seen)

    assert isinstance(error, NotFoundError)
    assert (error.message, error.body) == (message, value)
    assert (error.status, error.operation, error.request_id) == (404, "get thing", "r-1")
    assert str(error) == f"get thing: 404 {message}"
    assert error.hint


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"[" * 900 + b"]" * 900, b'{"error":' * 900 + b"1" + b"}" * 900], ids=len
)
async def test_an_error_whose_body_is_too_deep_is_still_that_error(body: bytes) -> None:
    async with RawHost(lambda _: reply(400, body)) as host, opened(host.url) as seen:
        assert isinstance(await failing(seen), BadRequestError)


async def test_the_words_of_a_long_error_are_cut() -> None:
    long = json.dumps({"message": "long " * 10_000}).encode()
    bodies = {"/api/v2/json": long, "/api/v2/text": long[12:]}
    async with RawHost(lambda asked: reply(400, bodies[asked.target])) as host, opened(host.url) as seen:
        for path in ("/json", "/text"):
            with pytest.raises(BadRequestError) as caught:
                await seen.get(path)
            assert len(str(caught.value)) < 400


async def test_a_redirect_of_a_post_is_an_error_that_says_so() -> None:
    async with RawHost(lambda _: reply(308, Location="/elsewhere")) as host, opened(host.url) as seen:
        with pytest.raises(APIError, match="redirects this, and it was not followed"):
            await seen.post()


# --- announcements ---------------------------------------------------------------------------------------------------


async def test_the_announced_end_of_an_operation_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    sunset = "Mon, 01 Feb 2027 00:00:00 GMT"
    answer = reply(200, b"{}", Deprecation="@1795452290", Sunset=sunset)
    async with RawHost(lambda _: answer) as host, opened(host.url) as seen:
        with caplog.at_level(logging.WARNING, "aiocircle"):
            await seen.get()
            await seen.get()
            await seen.post()
        told = [event for event in seen.events if isinstance(event, DeprecationNoticed)]

    assert told == [
        DeprecationNoticed(operation="get thing", deprecation="@1795452290", sunset=sunset),
        DeprecationNoticed(operation="post thing", deprecation="@1795452290", sunset=sunset),
    ]
    assert [record.levelname for record in caplog.records if record.name == "aiocircle"] == ["WARNING"] * 2


# --- listings over sockets -------------------------------------------------------------------------------------------


def listing(seen: Opened) -> Paginator[Artifact]:
    return seen.client.artifacts.list(SLUG, 7)


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        ("page-token-repeated", 2),
        ("page-token-cycle", 3),
        ("page-repeated", 1 + STALE_PAGES),
        ("page-empty-forever", EMPTY_PAGES + 2),
        ("page-token-404", 2),
    ],
)
async def test_a_listing_without_an_end_costs_a_bounded_number_of_requests(fault: str, requests: int) -> None:
    async with Simulator(world(), token=TOKEN, faults=[fault]) as sim, opened(sim.url) as seen:
        with pytest.raises(AioCircleError) as caught:
            await listing(seen).collect()

        assert caught.value.code == "pagination"
        assert sim.stats.requests["project.job.artifacts"] <= requests
        assert seen.is_idle()


@pytest.mark.parametrize("fault", ["page-token-absent", "page-token-empty", "items-duplicated", "unknown-fields"])
async def test_a_listing_with_oddities_is_complete(fault: str) -> None:
    async with Simulator(world(), token=TOKEN, faults=[fault]) as sim, opened(sim.url) as seen:
        assert len(await listing(seen).collect()) == 50
        assert sim.stats.requests["project.job.artifacts"] == 3


async def test_pages_are_told_with_their_number_in_every_reading() -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        paginator = listing(seen)
        await paginator.collect()
        await paginator.collect()

        told = [(event.number, event.items) for event in seen.events if isinstance(event, PageFetched)]
        assert told == [(1, 20), (2, 20), (3, 10)] * 2


# --- cancellation ----------------------------------------------------------------------------------------------------


async def test_cancelling_a_body_that_does_not_come_waits_for_nothing() -> None:
    parts: list[Part] = [reply(200, b"{", Content_Length="100"), Hang()]
    async with RawHost(lambda _: parts) as host, opened(host.url) as seen:
        for number, work in enumerate((seen.get(), seen.bytes_of(f"{host.url}/file")), start=1):
            task = asyncio.ensure_future(work)
            while len([event for event in seen.events if isinstance(event, RequestSent)]) < number:
                await asyncio.sleep(0.001)
            task.cancel()

            done, _ = await asyncio.wait([task], timeout=0.5)

            assert done == {task}
            assert seen.is_idle()


@pytest.fixture
async def debugged() -> None:
    """aiohttp tells of connections that nobody closed only to a loop that is being debugged."""
    asyncio.get_running_loop().set_debug(True)


def tasks_of_ours() -> set[asyncio.Task[object]]:
    """Return all tasks but those in which the simulator accepts and serves connections."""
    serving = ("RequestHandler", "_accept_connection")
    return {task for task in asyncio.all_tasks() if not any(name in repr(task.get_coro()) for name in serving)}


@pytest.mark.parametrize("kind", ["json", "file", "listing", "retried", "refused"])
async def test_cancellation_at_any_moment_leaves_nothing_behind(kind: str, debugged: None) -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url) as seen:
        address = await artifact_in(seen)
        sim.faults.add("500", match="/me$")
        sim.faults.add("429-retry-after-seconds", match="/project/gh/acme/web$")
        works: dict[str, Callable[[], Awaitable[object]]] = {
            "json": lambda: seen.client.jobs.get(SLUG, 7),
            "file": lambda: seen.bytes_of(address),
            "listing": lambda: listing(seen).collect(),
            "retried": seen.client.users.me,
            "refused": lambda: seen.client.projects.get(SLUG),
        }
        before = tasks_of_ours()
        cancelled = 0
        for steps in range(120):
            task = asyncio.ensure_future(works[kind]())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            cancelled += task.cancelled()
            assert task.cancelled() or isinstance(task.exception(), APIError | None)
            assert seen.is_idle(), f"after {steps} steps"
            assert tasks_of_ours() == before, f"after {steps} steps"
        assert cancelled > 5
    gc.collect()  # a connection that nobody closed would warn now, and warnings are errors


async def test_cancelled_while_waiting_for_the_limit_gives_the_place_back() -> None:
    async with Simulator(world(), token=TOKEN) as sim, opened(sim.url, clock=FastClock(1)) as seen:
        sim.faults.add("429-retry-after-seconds", times=1, seconds=60)
        tasks = [asyncio.ensure_future(seen.get()) for _ in range(5)]
        while not any(lane.waits_for == "pause" for lane in seen.limiter.snapshot()):
            await asyncio.sleep(0.001)

        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

        assert seen.is_idle()


# --- under a limit ---------------------------------------------------------------------------------------------------


async def test_two_hundred_requests_at_once_meet_no_refusal() -> None:
    clock = FastClock(10)
    limits = KongLimits({"second": 20}, clock=clock.wall)
    async with Simulator(world(), token=TOKEN, limits=limits) as sim, opened(sim.url, clock=clock) as seen:
        began = clock.monotonic()

        users = await asyncio.gather(*(seen.client.users.me() for _ in range(200)))

        assert {user.login for user in users} == {"octo"}
        assert sim.stats.limited == 0
        assert sim.stats.requests["me"] == 200
        assert clock.monotonic() - began < 40
        assert seen.is_idle()


async def test_a_session_makes_as_many_hops_as_it_says() -> None:
    async with RawHost(lambda _: reply(302, Location="/x")) as host, opened(host.url) as seen:
        await failing(seen, f"{host.url}/x")

    assert len(host.asked) == MAX_HOPS + 1


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
