"""Usage data: what comes of the world's jobs arrives once each, whatever happens on the way, and no token with it."""

import asyncio
import gzip
import itertools
import json
import tracemalloc
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from raw_host import Asked, RawHost, opened, reply
from usage_scene import BEGIN, END, SECRETS, SLUG, JumpingClock, by_id, scene

from aiocircle import ExportOptions
from aiocircle.errors import InterruptedBodyError, UsageExportError
from aiocircle.events import UsageAwaited
from aiocircle.export.rows import UsageRow
from aiocircle.export.usage import (
    ADMITTED,
    BETWEEN_LOOKS,
    HOUR,
    UsageJob,
    usage_rows,
)
from aiocircle.testing import World
from aiocircle.testing.usage import COLUMNS, NULL, packed_csv

pytestmark = pytest.mark.anyio


async def test_an_export_to_files_goes_on_with_what_a_run_that_was_broken_off_had_created(tmp_path: Path) -> None:
    async with scene() as seen:
        options = ExportOptions(since=END - timedelta(days=20), until=END, formats=("jsonl", "sqlite"))
        seen.sim.usage.rows_per_file = 50
        broken = seen.client.export.run(SLUG, "usage", to=tmp_path, options=options)
        task = asyncio.ensure_future(broken.run())
        while not seen.times("POST"):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        report = await seen.client.export.run(SLUG, "usage", to=tmp_path, options=options)
        assert len(seen.times("POST")) == 1, "what was created is looked at again, and not created once more"
        assert any(isinstance(event, UsageAwaited) for event in seen.told)
        expected = seen.expected(END - timedelta(days=20), END)
        rows = [json.loads(line) for line in (tmp_path / "usage.jsonl").read_text().splitlines()]
        assert len(rows) == len({row["id"] for row in rows}) == len(expected) == report.totals["usage"]
        again = await seen.client.export.run(SLUG, "usage", to=tmp_path, options=options)
        assert again.totals == report.totals


async def forget(_job: UsageJob) -> None:
    pass


async def test_every_row_is_what_the_world_holds() -> None:
    async with scene() as seen:
        seen.sim.usage.rows_per_file = 37
        rows = await seen.rows()
        jobs = {
            job.id: (pipeline, workflow, job)
            for pipeline in seen.sim.world.pipelines(SLUG)
            for workflow in pipeline.workflows
            for job in workflow.jobs
            if job.stopped_at is not None
        }
        storage = seen.sim.stats.requests["storage"]
        assert organization_ids(rows) == {UUID(seen.organization_id)}
    of_jobs = {row.job_id: row for row in rows if row.job_id is not None}
    assert of_jobs.keys() == jobs.keys()
    assert len(rows) == len(jobs) + 1  # and a seat
    assert storage == -(-len(rows) // 37)
    for identifier, (pipeline, workflow, job) in jobs.items():
        row = of_jobs[identifier]
        assert (row.pipeline_id, row.workflow_id, row.job_run_number) == (pipeline.id, workflow.id, job.number)
        assert (row.job_run_queued_at, row.job_run_started_at) == (job.created_at, job.started_at)
        assert row.job_run_stopped_at == job.stopped_at
        assert job.started_at is not None
        assert row.job_run_date == job.started_at.replace(hour=0, minute=0, second=0, microsecond=0)
        assert (row.vcs_branch, row.pipeline_created_at) == (pipeline.branch, pipeline.created_at)
        assert (row.job_name, row.job_build_status, row.parallelism) == (job.name, job.status, job.nodes)
        assert row.is_workflow_successful is (workflow.status == "success")
        assert row.job_run_seconds == 90.0
        assert row.id == f"{job.id}/{job.started_at:%Y-%m-%d}"
        assert dict(row.more) == {}


def organization_ids(rows: Iterable[UsageRow]) -> set[UUID]:
    return {UUID(row.organization_id) for row in rows}


async def test_every_value_is_what_the_file_says_and_so_is_the_record_beside_it() -> None:
    async with scene() as seen:
        found = [pair async for page in seen.pages() for pair in page.pairs]
        expected = seen.expected()
    assert sorted(record["JOB_ID"] for _, record in found) == sorted(row["JOB_ID"] for row in expected)
    said = {row["JOB_ID"]: row for row in expected}
    for row, record in found:
        assert record == said[record["JOB_ID"]]
        for name in COLUMNS:
            value, text = getattr(row, name.lower()), record[name]
            assert (value is None) is (text == NULL), name
            if isinstance(value, float):
                assert value == float(text)
            elif isinstance(value, str):
                assert value == text


async def test_a_seat_ran_no_job_and_has_its_row_in_every_export_of_its_time() -> None:
    async with scene() as seen:
        twice = [row for _ in range(2) for row in await seen.rows() if row.job_id is None]
    assert [(row.user_credits, row.pipeline_id) for row in twice] == [(25_000.0, None)] * 2
    assert twice[0].id == twice[1].id


async def test_a_long_time_is_split_into_spans_that_the_host_takes_and_asked_for_as_rarely_as_it_wants() -> None:
    async with scene(World(pipelines=20, newest=datetime(2026, 6, 30, tzinfo=UTC))) as seen:
        rows = await seen.rows(datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
        world = seen.expected(datetime(2020, 1, 1, tzinfo=UTC))
        now = datetime.fromtimestamp(seen.clock.wall(), UTC)
        throttled = [sent for _, sent in seen.asked if sent.status == 429]
    assert sorted(row.job_id or "" for row in rows) == sorted(row["JOB_ID"].replace(NULL, "") for row in world)
    assert throttled == []
    assert len(seen.jobs) == 12
    assert all(job.end - job.start <= timedelta(days=31) for job in seen.jobs)
    assert [job.start for job in seen.jobs[1:]] == [job.end for job in seen.jobs[:-1]]
    assert timedelta(days=364) < now - seen.jobs[0].start < timedelta(days=367)
    for method in ("POST", "GET"):
        times = seen.times(method)
        assert all(later - at >= HOUR for at, later in zip(times, times[ADMITTED:], strict=False)), method


async def test_an_export_is_asked_about_every_six_minutes() -> None:
    async with scene() as seen:
        seen.sim.usage.takes = 3000.0
        await seen.rows(END - timedelta(days=20))
        looks = seen.times("GET")
    assert len(looks) > 5
    assert all(later - at >= BETWEEN_LOOKS for at, later in itertools.pairwise(looks))


async def test_nothing_secret_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with scene(faults=["503-bare:1@api"]) as seen:
        seen.sim.faults.add("cut-body", times=1)
        await seen.rows()
        to_storage = [one for one in seen.sim.requests if one.origin == "storage"]
        text = f"{caplog.text} {seen.told}"
    assert to_storage
    assert all("Circle-Token" not in one.headers and "Authorization" not in one.headers for one in to_storage)
    assert all(parse_qs(urlsplit(one.path).query)["X-Amz-Signature"] for one in to_storage)
    assert [secret for secret in SECRETS if secret in text] == []


async def test_no_credential_goes_to_a_signed_address_whatever_host_it_names() -> None:
    """Not even to the API's own origin, which sees the token with everything else."""
    async with RawHost(lambda _: reply(200, b"x")) as host, opened(host.url) as seen:
        await seen.session.fetch(f"{host.url}/a?X-Amz-Signature=s", lambda answer: answer.read(9), anonymous=True)
        assert "circle-token" not in host.asked[-1].headers
        await seen.bytes_of(f"{host.url}/a")
        assert "circle-token" in host.asked[-1].headers


async def test_a_file_on_the_apis_own_origin_is_fetched_without_the_token_too() -> None:
    identifier = "00000000-0000-4000-8000-000000000000"

    def answer(asked: Asked) -> bytes:
        if asked.target.startswith("/files"):
            return reply(200, b"ORGANIZATION_ID,JOB_ID\no,j\n")
        state = {"usage_export_job_id": identifier, "state": "completed", "download_urls": [f"{host.url}/files?s=1"]}
        return reply(200, json.dumps(state).encode())

    async with RawHost(answer) as host, opened(host.url, clock=JumpingClock()) as seen:
        listing = usage_rows(seen.session, "o", BEGIN, BEGIN + timedelta(days=1), on_job=forget)
        rows = [row async for page in listing for row, _ in page.pairs]
    assert [row.id for row in rows] == ["j"]
    assert [("circle-token" in one.headers, one.target) for one in host.asked][2:] == [(False, "/files?s=1")]
    assert all("circle-token" in one.headers for one in host.asked[:2])


# --- what goes wrong on the way --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut-body", "cut-chunked", "wrong-length", "503-bare", "drop", "reset"])
async def test_a_file_that_did_not_come_whole_is_fetched_again_and_no_row_is_doubled(fault: str) -> None:
    async with scene() as seen:
        seen.sim.usage.rows_per_file = 50
        seen.sim.faults.add(fault, times=2, after=1, place="storage")
        rows = await seen.rows()
        expected = seen.expected()
        assert seen.sim.stats.faulted[fault] == 2
    assert len(by_id(rows)) == len(expected)


async def test_addresses_that_are_over_are_exchanged_for_new_ones() -> None:
    async with scene() as seen:
        seen.sim.usage.rows_per_file, seen.sim.usage.signature_ttl = 50, 100.0
        rows = []
        async for page in seen.pages():
            rows += [row for row, _ in page.pairs]
            seen.clock.now += 200
        refused = [sent for _, sent in seen.asked if sent.status == 403]
        expected = seen.expected()
    assert refused
    assert len(by_id(rows)) == len(expected)
    assert len(seen.jobs) == 2


async def test_the_new_addresses_are_good_for_the_files_that_follow() -> None:
    async with scene() as seen:
        seen.sim.usage.rows_per_file, seen.sim.usage.signature_ttl = 20, 3000.0
        pages = seen.pages(END - timedelta(days=20))
        await anext(pages)
        seen.clock.now += 4000
        rows = [row async for page in pages for row, _ in page.pairs]
        refused = [sent for _, sent in seen.asked if sent.status == 403]
    assert len(rows) > 60
    assert len(refused) == 1


async def test_files_that_were_exchanged_meanwhile_are_read_from_the_first() -> None:
    """Rows may come twice then, with the same ids."""
    identifier = "00000000-0000-4000-8000-000000000000"
    looks = iter([["a", "b"], ["c"]])

    def answer(asked: Asked) -> bytes:
        name = asked.target.partition("/files/")[2]
        if name:
            return reply(403) if name == "b" else reply(200, f"ORGANIZATION_ID,JOB_ID\no,{name}\n".encode())
        urls = [f"{host.url}/files/{name}" for name in next(looks)] if asked.method == "GET" else None
        state = {"usage_export_job_id": identifier, "state": "completed", "download_urls": urls}
        return reply(200, json.dumps(state).encode())

    async with RawHost(answer) as host, opened(host.url, clock=JumpingClock()) as seen:
        listing = usage_rows(seen.session, "o", BEGIN, BEGIN + timedelta(days=1), on_job=forget)
        rows = [row async for page in listing for row, _ in page.pairs]
    assert [row.id for row in rows] == ["a", "c"]


async def test_addresses_that_are_never_good_are_an_error() -> None:
    async with scene() as seen:
        seen.sim.usage.signature_ttl = -1000.0
        with pytest.raises(UsageExportError, match="answers 403 to the addresses") as caught:
            await seen.rows()
        assert [secret for secret in SECRETS if secret in repr(caught.value)] == []


async def test_a_file_that_is_cut_where_it_lies_is_an_error_before_any_of_its_rows() -> None:
    async with scene() as seen:
        whole = packed_csv(seen.expected())
        seen.sim.usage.bodies = {0: whole[: len(whole) // 2]}
        rows: list[Any] = []
        with pytest.raises(InterruptedBodyError, match="ended before its own end"):
            rows += [pair async for page in seen.pages() for pair in page.pairs]
    assert rows == []


async def test_a_file_that_unpacks_without_end_is_refused_with_little_memory() -> None:
    bomb = gzip.compress(b",".join([b"JOB_ID", b"ORGANIZATION_ID"]) + b"\n" + bytes(64_000_000), mtime=0)
    async with scene() as seen:
        seen.sim.usage.bodies = {0: bomb}
        tracemalloc.start()
        try:
            with pytest.raises(UsageExportError, match="unpacks to more than"):
                await seen.rows(longest=20_000_000)
            with pytest.raises(UsageExportError, match=r"cannot be read|characters or more"):
                await seen.rows()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 16_000_000


async def test_a_large_file_is_never_held_in_memory() -> None:
    async with scene() as seen:
        number, text = 20_000, "x" * 2000
        rows = [{"ORGANIZATION_ID": "o", "JOB_ID": f"job-{place}", "VCS_URL": text} for place in range(number)]
        seen.sim.usage.bodies = {0: packed_csv(rows, tuple(rows[0]))}
        count, largest = 0, 0
        tracemalloc.start()
        try:
            async for page in seen.pages(END - timedelta(days=1)):
                count, largest = count + len(page.pairs), max(largest, len(page.pairs))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (count, largest) == (number, 1000)
    assert peak < number * len(text) / 3


async def test_what_is_no_csv_is_an_error_that_says_what_it_is() -> None:
    async with scene() as seen:
        seen.sim.faults.add("html-200", times=1, place="storage")
        with pytest.raises(UsageExportError, match="not CSV but an HTML or XML page"):
            await seen.rows()
        for body, words in (
            (b"", "empty"),
            (gzip.compress(b""), "empty"),
            (gzip.compress(b"A,B\n1,2\n"), "no ORGANIZATION_ID or no JOB_ID"),
            (gzip.compress(b"ORGANIZATION_ID,JOB_ID\n1,2\n1,2,3\n"), "line 3 .* has 3 fields"),
            (b"\x1f\x8b" + bytes(100), "damaged"),
        ):
            seen.sim.usage.bodies = {0: body}
            with pytest.raises((UsageExportError, InterruptedBodyError), match=words):
                await seen.rows()


async def test_columns_come_and_go() -> None:
    async with scene() as seen:
        row = {**seen.expected()[0], "VCS_BRANCH": 'a,"b"\nc', "GPU_MINUTES": "7", "JOB_RUN_DATE": "yesterday"}
        columns = ["GPU_MINUTES", *(name for name in reversed(COLUMNS) if name != "DLC_CREDITS")]
        seen.sim.usage.bodies = {0: packed_csv([row], columns)}
        (found,) = await seen.rows(END - timedelta(days=1))
    assert found.vcs_branch == 'a,"b"\nc'
    assert found.dlc_credits is None
    assert found.job_run_date is None
    assert dict(found.more) == {"gpu_minutes": "7", "job_run_date": "yesterday"}
    assert found.total_credits == float(row["TOTAL_CREDITS"])
