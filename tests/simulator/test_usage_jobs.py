"""Exports of usage data that come to nothing, or that come from an earlier run: none is created twice."""

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from raw_host import RawHost, opened, reply
from usage_scene import BEGIN, END, Scene, by_id, scene

from aiocircle.errors import UsageExportError
from aiocircle.export.usage import (
    ADMITTED,
    UsageJob,
    UsagePage,
    usage_rows,
)

pytestmark = pytest.mark.anyio

# --- exports that come to nothing, or come from an earlier run -------------------------------------------------------


async def test_an_export_without_files_is_over_with_an_empty_last_page() -> None:
    async with scene() as seen:
        pages: list[UsagePage] = [page async for page in seen.pages(END, END + timedelta(days=2))]
        storage = seen.sim.stats.requests["storage"]
    assert [(page.job, list(page.pairs), page.is_last) for page in pages] == [(seen.jobs[0], [], True)]
    assert storage == 0


async def test_an_export_that_failed_is_an_error_with_the_hosts_reason() -> None:
    async with scene() as seen:
        seen.sim.usage.failing = 1
        with pytest.raises(UsageExportError, match="failed: The query timed out"):
            await seen.rows(END - timedelta(days=1))


async def test_an_hour_whose_requests_others_have_spent_is_waited_for() -> None:
    async with scene() as seen:
        exports = seen.client.usage_exports
        for _ in range(ADMITTED):
            await exports.create(seen.organization_id, start=END, end=END)
        rows = await seen.rows()
        throttled = [sent for _, sent in seen.asked if sent.status == 429]
        expected = seen.expected()
    assert throttled
    assert len(by_id(rows)) == len(expected)


async def test_a_host_that_has_no_exports_says_so_in_a_sentence() -> None:
    async with RawHost(lambda _: reply(404, b'{"message":"Not Found"}')) as host, opened(host.url) as seen:

        async def on_job(_job: UsageJob) -> None:
            raise AssertionError

        with pytest.raises(UsageExportError, match="exports no usage data of this organisation") as caught:
            await anext(usage_rows(seen.session, "o", BEGIN, datetime.now(UTC), on_job=on_job))
    assert "Server" in (caught.value.hint or "")


async def killed(seen: Scene, begin: datetime = BEGIN, end: datetime = END) -> None:
    """Begin, and be cancelled at the first pause after the creation of the first export."""
    created = asyncio.Event()

    async def on_job(job: UsageJob) -> None:
        seen.jobs.append(job)
        created.set()
        await asyncio.Event().wait()

    async def run() -> None:
        async for _ in usage_rows(seen.client._opened, seen.organization_id, begin, end, on_job=on_job):
            raise AssertionError

    task = asyncio.ensure_future(run())
    await created.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_killed_run_created_is_not_created_again() -> None:
    async with scene() as seen:
        await killed(seen)
        kept, seen.jobs = seen.jobs, []
        rows = await seen.rows(resume=kept)
        expected = seen.expected()
        created = [one.body for one in seen.sim.requests if one.method == "POST"]
    assert len(by_id(rows)) == len(expected)
    assert len(kept) == len(seen.jobs) == 1
    assert Counter(created).most_common(1)[0][1] == 1
    assert len(created) == 2


async def test_a_kept_export_of_another_end_is_taken_and_the_rest_is_asked_for() -> None:
    async with scene() as seen:
        await killed(seen)
        kept, seen.jobs = seen.jobs, []
        later = END + timedelta(days=1)
        rows = await seen.rows(BEGIN, later, resume=kept)
        expected = seen.expected(BEGIN, later)
    assert len(by_id(rows)) == len(expected)
    assert [(job.start, job.end) for job in seen.jobs] == [(kept[0].end, later)]


@pytest.mark.parametrize(("later", "created"), [(timedelta(hours=5), 1), (timedelta(days=2), 2)])
async def test_a_kept_export_is_taken_for_a_time_that_begins_a_little_later(later: timedelta, created: int) -> None:
    """What began so many days ago does so when it is said again; a day more than is asked for does no harm."""
    async with scene() as seen:
        await killed(seen)
        kept, seen.jobs = seen.jobs, []
        await seen.rows(BEGIN + later, END, resume=kept)
    assert len(seen.jobs) == created


async def test_the_same_command_some_minutes_later_creates_nothing() -> None:
    async with scene() as seen:
        end = datetime.fromtimestamp(seen.clock.wall(), UTC)
        await killed(seen, end - timedelta(days=31), end)
        kept, seen.jobs = seen.jobs, []
        seen.clock.now += 1200
        end = datetime.fromtimestamp(seen.clock.wall(), UTC)
        rows = await seen.rows(end - timedelta(days=31), end, resume=kept)
    assert rows
    assert seen.jobs == []


async def test_a_kept_export_that_failed_or_is_forgotten_is_created_once_more() -> None:
    async with scene() as seen:
        seen.sim.usage.failing = 1
        await killed(seen)
        failed, seen.jobs = seen.jobs[0], []
        forgotten = UsageJob(
            organization_id=seen.organization_id,
            export_id="00000000-0000-4000-8000-000000000000",
            start=failed.end,
            end=END,
        )
        seen.clock.now += 4000
        rows = await seen.rows(resume=[failed, forgotten])
        expected = seen.expected()
    assert len(by_id(rows)) == len(expected)
    assert [(job.start, job.end) for job in seen.jobs] == [(BEGIN, failed.end), (failed.end, END)]


async def test_who_stops_in_between_leaves_no_task_behind() -> None:
    async with scene() as seen:
        seen.sim.usage.rows_per_file = 20
        before = asyncio.all_tasks()
        async with contextlib.aclosing(seen.pages()) as pages:
            async for _ in pages:
                break
        assert {task for task in asyncio.all_tasks() - before if not is_simulators(task)} == set()


def is_simulators(task: "asyncio.Task[Any]") -> bool:
    return "aiohttp" in repr(task.get_coro())


async def test_the_files_are_the_same_each_time() -> None:
    async with scene() as first, scene() as second:
        bodies = []
        for seen in (first, second):
            await seen.rows()
            bodies.append([seen.sim.usage.content(f"/usage-exports/{job.export_id}/0.csv.gz") for job in seen.jobs])
    assert bodies[0] == bodies[1]
