"""What a call gives besides its value, and what has no method: whole answers, time limits, other settings."""

import asyncio
import copy
import gc
import json
import pickle
import warnings
from collections.abc import Iterable

import pytest
from raw_host import TOKEN, Asked, Hang, Part, RawHost, opened, reply

from aiocircle import UNSET, Client, RetryPolicy, Timeouts
from aiocircle.api import Message, PipelineNotTriggered, PipelineTriggered
from aiocircle.errors import (
    ConfigurationError,
    DeadlineError,
    DecodeError,
    NotFoundError,
    ServerError,
    WaitTooLongError,
)
from aiocircle.events import RequestSent

pytestmark = pytest.mark.anyio

ID = "5034460f-c7c4-4c43-9457-de07e2029e7b"
USER = json.dumps({"id": ID, "login": "octo", "brand_new": 1}).encode()
JSON = "application/json; charset=utf-8"


def always(part: bytes) -> RawHost:
    return RawHost(lambda _asked: part)


# --- calls -----------------------------------------------------------------------------------------------------------


async def test_a_call_gives_the_whole_answer_when_asked() -> None:
    headers = {"X_Request_Id": "r-1", "X_RateLimit_Limit_Minute": "60", "X_RateLimit_Remaining_Minute": "41"}
    async with always(reply(200, USER, **headers)) as host, opened(host.url) as seen:
        answer = await seen.client.users.me().response()
    assert (answer.status, answer.headers["x-request-id"]) == (200, "r-1")
    assert answer.value.login == "octo"
    assert answer.json["brand_new"] == 1
    assert [(quota.limit, quota.remaining) for quota in answer.rate.quotas] == [(60, 41)]


async def test_a_call_can_be_gathered_put_in_a_task_and_waited_for() -> None:
    async with always(reply(200, USER)) as host, opened(host.url) as seen:
        me = seen.client.users.me
        async with asyncio.TaskGroup() as group:
            task = group.create_task(me())
        users = [task.result(), *await asyncio.gather(me(), me()), await asyncio.wait_for(me(), 5)]
    assert [user.login for user in users] == ["octo"] * 4


@pytest.mark.parametrize("kind", ["value", "response", "limited"])
async def test_a_call_that_is_cancelled_before_its_first_step_leaves_nothing(kind: str) -> None:
    async with always(reply(200, USER)) as host, opened(host.url) as seen:
        call = seen.client.users.me()
        begun = call if kind == "value" else call.response() if kind == "response" else call.within(5).response()
        task: asyncio.Task[object] = asyncio.create_task(begun)
        task.cancel()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with pytest.raises(asyncio.CancelledError):
                await task
            del call, begun, task
            gc.collect()
    assert (warned, host.asked) == ([], [])


async def test_an_answer_is_copied_and_pickled() -> None:
    async with always(reply(200, USER, X_A="b")) as host, opened(host.url) as seen:
        answer = await seen.client.users.me().response()
    for other in (pickle.loads(pickle.dumps(answer)), copy.deepcopy(answer), copy.copy(answer)):
        assert other == answer
        assert other.headers["x-a"] == "b"


async def test_a_call_that_nobody_awaits_is_not_silently_lost() -> None:
    async with always(reply(200, USER)) as host, opened(host.url) as seen:
        call = seen.client.users.me()
        with pytest.warns(RuntimeWarning, match="never awaited"):
            del call
        seen.client.users.me().close()
        assert host.asked == []


async def test_a_call_has_a_time_limit_of_its_own_that_counts_repetitions() -> None:
    def answer(_asked: Asked) -> Iterable[Part]:
        return [Hang()]

    async with RawHost(answer) as host, opened(host.url) as seen:
        with pytest.raises(DeadlineError, match=r"within 0\.05 s"):
            await seen.client.users.me().within(0.05)
        assert seen.is_idle()
    async with always(reply(500)) as host, opened(host.url, retry=RetryPolicy(attempts=1000, base=1, cap=1)) as seen:
        with pytest.raises(DeadlineError):
            await seen.client.users.me().within(0.05).response()
        assert (await asyncio.wait_for(_failed(seen.client), 5)) > 0


async def _failed(client: Client) -> int:
    with pytest.raises(ServerError):
        await client.with_options(retry=RetryPolicy(attempts=1)).users.me()
    return client.limiter.totals().requests


async def test_the_status_tells_a_triggered_pipeline_from_one_that_was_not() -> None:
    async with always(reply(201, json.dumps({"id": ID, "number": 7}).encode())) as host, opened(host.url) as seen:
        run = await seen.client.pipelines.run("gh/acme/web", definition_id=ID)
        assert isinstance(run, PipelineTriggered)
        assert run.number == 7
    async with always(reply(200, b'{"message": "[ci skip]"}')) as host, opened(host.url) as seen:
        run = await seen.client.pipelines.run("gh/acme/web")
        assert isinstance(run, PipelineNotTriggered)
        assert run.message == "[ci skip]"
    async with always(reply(202)) as host, opened(host.url) as seen:
        with pytest.raises(DecodeError, match="202"):
            await seen.client.pipelines.run("gh/acme/web")


async def test_an_empty_answer_is_nothing_or_an_object_with_nothing_in_it() -> None:
    async with always(reply(202, b"")) as host, opened(host.url) as seen:
        assert await seen.client.workflows.cancel(ID) == Message()
        assert await seen.client.pipelines.values(ID) == {}
        with pytest.raises(DecodeError, match="id"):
            await seen.client.users.me()
    async with always(reply(204, b"")) as host, opened(host.url) as seen:
        answer = await seen.client.otel_exporters.delete(ID).response()
        assert (answer.status, answer.value, answer.json) == (204, None, None)


async def test_what_is_unset_is_not_sent_and_none_is_null() -> None:
    async with always(reply(200, b'{"id": "%s"}' % ID.encode())) as host, opened(host.url) as seen:
        await seen.client.schedules.update(ID, description=None, name="n", parameters=UNSET)
        await seen.client.webhooks.update(ID, verify_tls=False)
    sent = [json.loads(asked.body) for asked in host.asked]
    assert sent == [{"description": None, "name": "n"}, {"verify-tls": False, "verify_tls": False}]


async def test_of_the_requests_that_change_something_only_harmless_ones_are_repeated() -> None:
    async with always(reply(500)) as host, opened(host.url) as seen:
        for call in (seen.client.workflows.cancel(ID), seen.client.workflows.rerun(ID)):
            with pytest.raises(ServerError):
                await call
    targets = [asked.target.rpartition("/")[2] for asked in host.asked]
    assert (targets.count("cancel"), targets.count("rerun")) == (5, 1)


# --- what has no method ----------------------------------------------------------------------------------------------


async def test_anything_of_the_host_can_be_asked_for_by_its_path() -> None:
    async with always(reply(200, b"[1]", Content_Type=JSON)) as host, opened(host.url) as seen:
        answer = await seen.client.request("GET", "/api/v1.1/projects", query={"limit": 3, "filter": ["a", "b"]})
        await seen.client.request("POST", "/workflow/x/thing", body={"a": None})
    assert (answer.status, answer.value, answer.json) == (200, [1], [1])
    assert [(asked.method, asked.target) for asked in host.asked] == [
        ("GET", "/api/v1.1/projects?limit=3&filter=a&filter=b"),
        ("POST", "/api/v2/workflow/x/thing"),
    ]
    assert json.loads(host.asked[1].body) == {"a": None}
    assert host.asked[0].headers["circle-token"] == TOKEN


async def test_a_method_is_one_in_any_case_or_an_error_in_words() -> None:
    answers = iter([reply(500), reply(302, Location="/there"), reply()])
    async with RawHost(lambda _asked: next(answers)) as host, opened(host.url) as seen:
        await seen.client.request("get", "/x")  # repeated and followed, as GET is
        for odd in ("", "GE T", "GET\r\n", "GÉT"):
            with pytest.raises(ConfigurationError, match="no HTTP method"):
                await seen.client.request(odd, "/x")
    assert [asked.method for asked in host.asked] == ["GET"] * 3


async def test_text_is_text_when_it_was_asked_for() -> None:
    async with always(reply(200, b"line\n", Content_Type="text/plain")) as host, opened(host.url) as seen:
        answer = await seen.client.request("GET", "/api/v1.1/x/output/0/0", query={"file": True}, accept="text/plain")
        assert (answer.value, answer.json) == ("line\n", None)
        with pytest.raises(DecodeError):
            await seen.client.request("GET", "/x")


async def test_it_goes_through_the_same_retries_errors_and_events() -> None:
    answers = iter([reply(503), reply(429, Retry_After="1"), reply(404, b'{"message": "gone"}')])
    async with RawHost(lambda _asked: next(answers)) as host, opened(host.url) as seen:
        with pytest.raises(NotFoundError, match="GET /x: 404 gone"):
            await seen.client.request("GET", "/x")
        assert [event.status for event in seen.events if isinstance(event, RequestSent)] == [503, 429, 404]
        assert seen.limiter.totals().requests == 3


@pytest.mark.parametrize("path", ["x", "https://evil.example/x", ""])
async def test_a_path_cannot_lead_to_another_host(path: str) -> None:
    async with always(reply()) as host, opened(host.url) as seen:
        with pytest.raises(ConfigurationError):
            await seen.client.request("GET", path)
        for odd in ("//evil.example/x", "/@evil.example/x", "/..//evil.example"):
            await seen.client.request("GET", odd)
    assert len(host.asked) == 3


async def test_a_query_may_stand_in_the_path_and_beside_it() -> None:
    async with always(reply()) as host, opened(host.url) as seen:
        await seen.client.request("GET", "/x?a=%3F", query={"b": "?"})
        await seen.client.request("GET", "/x?a=b")
    assert [asked.target for asked in host.asked] == ["/api/v2/x?a=%3F&b=%3F", "/api/v2/x?a=b"]


@pytest.mark.parametrize("path", ["/c#/artifacts", "/a\nb", "/\ud800"])
async def test_a_path_that_cannot_be_sent_whole_is_refused_in_words(path: str) -> None:
    async with always(reply()) as host, opened(host.url) as seen:
        with pytest.raises(ConfigurationError, match="the path"):
            await seen.client.request("GET", path)
        with pytest.raises(ConfigurationError, match="media type"):
            await seen.client.request("GET", "/x", accept="text/plain\r\nX-A: b")
    assert not host.asked


async def test_a_request_can_have_a_time_limit() -> None:
    async with RawHost(lambda _asked: [Hang()]) as host, opened(host.url) as seen:
        with pytest.raises(DeadlineError):
            await seen.client.request("GET", "/x", within=0.05)


@pytest.mark.parametrize(
    ("path", "group"),
    [
        (f"/api/v1.1/project/gh/acme/web2/123/{ID}/x9/7", "/api/v1.1/project/{slug}/{id}/{id}/x9/{id}"),
        ("/project/circleci/a%2Fb/c/pipeline?page-token=x/y", "/project/{slug}/pipeline"),
        ("/insights/time-series/gh/acme/web/workflows/build/jobs", "/insights/time-series/{slug}/workflows/build/jobs"),
        ("/insights/gh/acme/web/branches", "/insights/{slug}/branches"),
        ("/project", "/project"),
        ("/me?x=1", "/me"),
    ],
)
async def test_things_of_one_kind_are_one_group(path: str, group: str) -> None:
    async with always(reply()) as host, opened(host.url) as seen:
        await seen.client.request("GET", path)
        assert [bucket.groups for bucket in seen.limiter.snapshot()] == [(group,)]


# --- other settings --------------------------------------------------------------------------------------------------


async def test_other_settings_are_a_copy_that_shares_connection_and_limiter() -> None:
    async with always(reply(500)) as host, opened(host.url) as seen:
        once = seen.client.with_options(retry=RetryPolicy(attempts=1))
        with pytest.raises(ServerError):
            await once.users.me()
        assert len(host.asked) == 1
        with pytest.raises(ServerError):
            await seen.client.users.me()
        assert len(host.asked) == 6
        assert once.limiter is seen.client.limiter
        assert host.connections == 1


async def test_other_settings_add_up_and_change_nothing_else() -> None:
    async with RawHost(lambda _asked: [Hang()]) as host, opened(host.url) as seen:
        other = seen.client.with_options(retry=RetryPolicy(attempts=1)).with_options(timeouts=Timeouts(stall=0.05))
        with pytest.raises(DeadlineError):
            await other.request("GET", "/x")
        assert len(host.asked) == 1


async def test_a_copy_has_a_patience_of_its_own() -> None:
    answers = iter([reply(429, Retry_After="30"), reply(200, USER)])
    async with RawHost(lambda _asked: next(answers)) as host, opened(host.url) as seen:
        with pytest.raises(WaitTooLongError):
            await seen.client.with_options(max_wait=1).users.me()
        assert (await seen.client.users.me()).login == "octo"


async def test_a_copy_is_open_as_long_as_its_client() -> None:
    client = Client(TOKEN, host="http://127.0.0.1:9", allow_http=True)
    copy = client.with_options(max_wait=1)
    with pytest.raises(ConfigurationError, match="not open"):
        _ = copy.users
    async with client:
        assert copy.limiter is client.limiter
        with pytest.raises(ConfigurationError, match="with_options"):
            await copy.__aenter__()
    with pytest.raises(ConfigurationError, match="not open"):
        _ = copy.users
