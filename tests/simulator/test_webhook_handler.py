"""A real server that receives webhooks: what it answers, what it does afterwards, and how it ends."""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from aiocircle import Client
from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.webhooks import JobCompleted, WebhookEvent, WebhookHandler, WorkflowCompleted, handler, webhook_handler

pytestmark = pytest.mark.anyio

SECRET = "a secret that is kept"
Answer = tuple[int, str]


def event_body(identifier: str = "1", **more: Any) -> bytes:
    return json.dumps({"id": identifier, "type": "ping", **more}).encode()


def signature(body: bytes, secret: str = SECRET) -> str:
    return "v1=" + hmac.new(secret.encode(), body, "sha256").hexdigest()


class Deliveries:
    """CircleCI's end: sends bodies to the receiver, signed unless told otherwise."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def send(self, body: bytes, *headers: tuple[str, str]) -> Answer:
        fields = list(headers) or [("circleci-signature", signature(body))]
        async with self._session.post(self.url, data=body, headers=fields) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def receiving(hook: WebhookHandler) -> AsyncIterator[Deliveries]:
    app = web.Application()
    hook.add_to(app, "/circleci")
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session:
        try:
            yield Deliveries(f"http://{host}:{port}/circleci", session)
        finally:
            await runner.cleanup()


class Recorder:
    """Keeps the ids of events; each waits for the gate."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.began: list[str] = []
        self.done: list[str] = []
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()

    async def __call__(self, event: WebhookEvent) -> None:
        self.began.append(event.id)
        await self.gate.wait()
        self.done.append(event.id)


async def test_a_signed_event_is_taken_on_and_any_other_refused_in_words() -> None:
    seen = Recorder()
    async with receiving(webhook_handler(SECRET, seen)) as circleci:
        body = event_body()
        assert await circleci.send(body) == (202, "taken on")
        status, text = await circleci.send(event_body("2"), ("circleci-signature", signature(body)))
        assert (status, "does not fit" in text) == (401, True)
        status, text = await circleci.send(event_body("3"), ("content-type", "application/json"))
        assert (status, "not signed" in text) == (401, True)
        status, text = await circleci.send(b"[]")
        assert (status, "not a JSON object" in text) == (400, True)
        status, text = await circleci.send(b'{"type": "ping"}')
        assert (status, "'id' is missing" in text) == (400, True)
    assert seen.done == ["1"]


async def test_two_signatures_in_two_header_fields_are_refused() -> None:
    body = event_body()
    async with receiving(webhook_handler(SECRET, Recorder())) as circleci:
        twice = [("circleci-signature", signature(body)), ("circleci-signature", signature(body))]
        status, text = await circleci.send(body, *twice)
    assert (status, "twice" in text) == (401, True)


async def test_a_body_that_is_too_long_is_refused_with_and_without_its_length() -> None:
    async with receiving(webhook_handler(SECRET, Recorder(), max_body=100)) as circleci:
        body = event_body(note="x" * 100)
        assert await circleci.send(body) == (413, "the body is longer than 100 bytes")

        async def pieces() -> AsyncIterator[bytes]:
            yield body[:50]
            yield body[50:]

        async with aiohttp.ClientSession() as session, session.post(circleci.url, data=pieces()) as answer:
            assert answer.status == 413
        just = event_body(note="x" * (100 - len(event_body(note=""))))
        assert len(just) == 100
        assert (await circleci.send(just))[0] == 202


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "READ_SECONDS", 0.1)
    async with receiving(webhook_handler(SECRET, Recorder())) as circleci:
        port = int(circleci.url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /circleci HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        assert b" 408 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_an_event_is_worked_on_once_however_often_it_is_delivered() -> None:
    seen = Recorder()
    async with receiving(webhook_handler(SECRET, seen)) as circleci:
        answers = await asyncio.gather(*(circleci.send(event_body()) for _ in range(20)))
        assert sorted(status for status, _ in answers) == [200] * 19 + [202]
    assert seen.done == ["1"]


async def test_only_so_many_events_are_remembered_the_latest_ones() -> None:
    seen = Recorder()
    async with receiving(webhook_handler(SECRET, seen, remember=3)) as circleci:
        for identifier in "1234":
            await circleci.send(event_body(identifier))
        assert [(await circleci.send(event_body(identifier)))[0] for identifier in "432"] == [200, 200, 200]
        assert (await circleci.send(event_body("1")))[0] == 202
    assert sorted(seen.done) == ["1", "1", "2", "3", "4"]


async def test_the_answer_comes_before_the_work_is_done_and_the_application_ends_after_it() -> None:
    seen = Recorder(is_open=False)
    async with receiving(webhook_handler(SECRET, seen)) as circleci:
        began = time.monotonic()
        assert (await circleci.send(event_body()))[0] == 202
        assert time.monotonic() - began < 1
        asyncio.get_running_loop().call_later(0.2, seen.gate.set)
        assert seen.done == []
    assert seen.done == ["1"]


async def test_so_many_events_are_worked_on_at_once_and_what_is_too_much_is_left_to_be_repeated() -> None:
    seen = Recorder(is_open=False)
    async with receiving(webhook_handler(SECRET, seen, concurrency=2, backlog=4)) as circleci:
        answers = [(await circleci.send(event_body(identifier)))[0] for identifier in "12345"]
        assert answers == [202, 202, 202, 202, 503]
        assert sorted(seen.began) == ["1", "2"]
        seen.gate.set()
        while len(seen.done) < 4:
            await asyncio.sleep(0.01)
        assert (await circleci.send(event_body("5")))[0] == 202
    assert sorted(seen.done) == ["1", "2", "3", "4", "5"]


async def test_work_that_is_not_done_in_time_is_cancelled_and_told(caplog: pytest.LogCaptureFixture) -> None:
    seen, before = Recorder(is_open=False), asyncio.all_tasks()
    async with receiving(webhook_handler(SECRET, seen, grace=0.1)) as circleci:
        await circleci.send(event_body("slow"))
    assert (seen.began, seen.done) == (["slow"], [])
    assert "not done with ping 'slow'" in caplog.text
    assert asyncio.all_tasks() == before


async def test_an_error_in_the_work_is_logged_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    done = []

    async def fails(event: WebhookEvent) -> None:
        done.append(event.id)
        raise RuntimeError("a mistake in the handler")

    async with receiving(webhook_handler(SECRET, fails)) as circleci:
        assert (await circleci.send(event_body("1")))[0] == 202
        assert (await circleci.send(event_body("2")))[0] == 202
        assert (await circleci.send(event_body("1")))[0] == 200
    assert done == ["1", "2"]
    assert "on_event failed for ping '1'" in caplog.text
    assert "a mistake in the handler" in caplog.text
    assert SECRET not in caplog.text


async def test_a_handler_whose_lifetime_nobody_keeps_takes_nothing_on() -> None:
    app = web.Application()
    app.router.add_post("/circleci", webhook_handler(SECRET, Recorder()).handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session:
        status, text = await Deliveries(f"http://{host}:{port}/circleci", session).send(event_body())
    await runner.cleanup()
    assert (status, "no more events" in text) == (503, True)


@pytest.mark.parametrize("kind", ["job-completed", "workflow-completed"])
async def test_from_an_event_to_the_artifacts(
    circleci_factory: Callable[..., Simulator], tmp_path: Path, kind: str
) -> None:
    """A signed event arrives, and the files of just that job, or workflow, lie there afterwards."""
    world = World(pipelines=0)
    job = world.add_job("gh/acme/web", 136, [FakeArtifact(f"report-{n}.xml", size=2000) for n in range(5)])
    world.add_job("gh/acme/web", 137, [FakeArtifact("other.xml", size=2000)])
    found = world.workflow_of(job)
    assert found is not None
    simulator = circleci_factory(world)
    body = event_body(
        type=kind,
        project={"slug": "gh/acme/web"},
        workflow={"id": str(found[1].id)},
        job={"number": 136, "name": "test"},
    )

    async with Client(simulator.token, host=simulator.url) as client:

        async def fetch(event: WebhookEvent) -> None:
            assert isinstance(event, JobCompleted | WorkflowCompleted)
            report = await client.download(event.selection(), tmp_path)
            report.raise_for_failures()

        async with receiving(webhook_handler(SECRET, fetch)) as circleci:
            assert (await circleci.send(body))[0] == 202

    fetched = {path.name: path.read_bytes() for path in tmp_path.rglob("*.xml")}
    assert fetched == {
        one.path: world.artifact_bytes("gh/acme/web", 136, one.path, one.node_index) for one in job.artifacts
    }
