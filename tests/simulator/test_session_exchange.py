"""One request after another over real sockets: what is sent, what is repeated, what is told."""

import asyncio
import json
import logging
from collections.abc import Iterable

import pytest
from exchanges import BODY, SLUG, artifact_in, failing, listing, unused_port, world
from raw_host import QUICK, TOKEN, Asked, Close, FastClock, Hang, Part, RawHost, opened, reply

from aiocircle.errors import (
    AioCircleError,
    APIError,
    ConfigurationError,
    DecodeError,
    RateLimitedError,
    ServerError,
    TransportError,
    WaitTooLongError,
)
from aiocircle.events import DeprecationNoticed, LimitWaiting, PageFetched, RequestSent, Retried
from aiocircle.pagination import EMPTY_PAGES, STALE_PAGES
from aiocircle.retry import RetryPolicy
from aiocircle.session import MAX_HOPS
from aiocircle.testing import KongLimits, Simulator
from aiocircle.timeouts import Timeouts

pytestmark = pytest.mark.anyio


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


async def test_a_host_that_fails_and_says_when_to_come_back_is_asked_again_then() -> None:
    answers = iter([reply(502, Retry_After="20"), reply(500, Retry_After="0"), reply()])
    async with RawHost(lambda _: next(answers)) as host, opened(host.url, clock=FastClock(100)) as seen:
        await seen.get()

    assert [event.after for event in seen.events if isinstance(event, Retried)] == [20, 0]


async def test_a_request_that_stood_in_line_for_long_is_still_repeated() -> None:
    exhausted = reply(RateLimit_Limit="1", RateLimit_Remaining="0", RateLimit_Reset="90")
    answers = iter([exhausted, reply(500), reply()])
    policy = RetryPolicy(base=0.001, total=60)
    async with (
        RawHost(lambda _: next(answers)) as host,
        opened(host.url, retry=policy, clock=FastClock(100)) as seen,
    ):
        await seen.get()
        await seen.get()

        assert seen.client.limiter.totals().waited > policy.total
        assert len(host.asked) == 3


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
