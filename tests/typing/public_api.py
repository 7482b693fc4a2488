"""The public API as a contract: checked by mypy and pyright, never run.

A user's script must pass both without an ignore, and what is reveal-ed here may not change by accident.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, assert_type
from uuid import UUID

import aiohttp

import aiocircle
from aiocircle import Client, DownloadOptions, Page, Paginator, Report, Response, RetryPolicy, Selection, Timeouts, api
from aiocircle.errors import APIError, NotFoundError, PaginationError, PartialDownloadError, WaitTooLongError
from aiocircle.events import LimitWaiting, RequestSent
from aiocircle.export.exports import Rows
from aiocircle.export.rows import JobRow
from aiocircle.export.sinks import open_sink
from aiocircle.response import Call


async def download_a_job() -> None:
    async with aiocircle.Client("token", host="https://ci.example.com") as client:
        report = await client.download("gh/acme/web", job=1234, to="out")
        assert_type(report, Report)
        assert_type(report.files, int)
        assert_type(report.seconds, float)
        assert_type(report.ok, bool)
        for failure in report.failures:
            assert_type(failure.reason, str | None)
        report.raise_for_failures()


async def iterate() -> None:
    async with Client() as client:
        artifacts = client.artifacts.list("gh/acme/web", 1234)
        assert_type(artifacts, Paginator[aiocircle.Artifact])
        async for artifact in artifacts:
            assert_type(artifact, aiocircle.Artifact)
            assert_type(artifact.path, str | None)
        async for page in artifacts.pages():
            assert_type(page, Page[aiocircle.Artifact])
            assert_type(page.next_page_token, str | None)
            assert_type(page.items, Sequence[aiocircle.Artifact])
        assert_type(await client.pipelines.list("gh/acme/web", branch="main").first(), aiocircle.Pipeline | None)
        assert_type(await client.tests.list("gh/acme/web", 7).collect(limit=5), list[aiocircle.TestResult])
        assert_type((await client.users.me()).id, UUID)
        assert_type(await client.jobs.get("gh/acme/web", 7), aiocircle.JobDetails)
        assert_type(await client.projects.get("gh/acme/web"), aiocircle.Project)


async def embed() -> None:
    def on_event(event: aiocircle.Event) -> None:
        match event:
            case RequestSent(status=status):
                assert_type(status, int | None)
            case LimitWaiting(seconds=seconds):
                assert_type(seconds, float)
            case _:
                pass

    async with (
        aiohttp.ClientSession() as session,
        Client(
            session=session,
            auth="bearer",
            timeouts=Timeouts(connect=5, stall=30),
            retry=RetryPolicy(attempts=3),
            max_wait=30,
            on_event=on_event,
        ) as client,
    ):
        selection = Selection(aiocircle.ProjectSlug.parse("gh/acme/web"), latest=True, branch="main")
        run = client.download(
            selection, Path("out"), options=DownloadOptions(include=["**/*.xml"], layout="{job_name}/{path}")
        )
        assert_type(run, aiocircle.Download)
        assert_type(await run.run(), Report)
        async with client.download(["gh/acme/web", "gh/acme/api"], "out", since=timedelta(days=30)) as run:
            async for outcome in run:
                assert_type(outcome, aiocircle.ItemOutcome)
        assert_type(run.report, Report)
        plan = await client.artifacts.plan("gh/acme/web", all=True, options=DownloadOptions(include=["*.xml"]))
        assert_type(plan, aiocircle.Plan)
        assert_type(await client.download(plan, "out"), Report)
        await plan.save("plan.jsonl")
        assert_type(await aiocircle.Plan.read("plan.jsonl"), aiocircle.Plan)
        for bucket in client.limiter.snapshot():
            assert_type(bucket.ready_in, float | None)


async def errors() -> None:
    async with Client() as client:
        try:
            await client.workflows.list("5034460f-c7c4-4c43-9457-de07e2029e7b").collect()
        except NotFoundError as error:
            assert_type(error.status, int)
            assert_type(error.hint, str | None)
        except PaginationError as error:
            assert_type(error.page_token, str | None)
        except WaitTooLongError as error:
            assert_type(error.resets_at, float)
        except PartialDownloadError:
            raise
        except APIError as error:
            assert_type(error.retry_after, float | None)


async def the_whole_api(since: datetime, owner: UUID) -> None:
    async with Client() as client:
        assert_type(client.pipelines.get(owner), Call[aiocircle.Pipeline])
        assert_type(await client.pipelines.values(str(owner)), dict[str, Any])
        run = await client.pipelines.run("gh/acme/web", config=api.GitRef(branch="main"), parameters={"a": 1})
        if isinstance(run, api.PipelineTriggered):
            assert_type(run.number, int | None)
        else:
            assert_type(run, api.PipelineNotTriggered)
        assert_type(await client.workflows.cancel(owner), api.Message)
        assert_type(
            (await client.workflows.rerun(owner, jobs=[owner], from_failed=aiocircle.UNSET)).workflow_id, UUID | None
        )
        assert_type(client.insights.runs("gh/acme/web", "build", start_date=since), Paginator[api.WorkflowRun])
        assert_type((await client.insights.org_summary("gh/acme", project_names=["web"])).org_data, api.Summary | None)
        assert_type(await client.contexts.create(name="x", owner_slug="gh/acme"), api.Context)
        assert_type(client.decisions.list(owner, "config", after=since, offset=20), Paginator[api.DecisionLog])
        assert_type(client.users.collaborations(), Paginator[api.Collaboration])
        timetable = api.Timetable(per_hour=1, hours_of_day=[4], days_of_week=["MON"])
        schedule = await client.schedules.update(owner, description=None, timetable=timetable)
        assert_type(schedule.timetable, api.Timetable | None)
        assert_type(schedule.created_at, datetime | None)
        assert_type(client.deploy_components.list(org_id=owner), Paginator[api.Component])
        assert_type(await client.projects.update_settings("gh/acme/web", oss=True), api.ProjectSettings)
        assert_type(await client.usage_exports.create(owner, start=since, end=since), api.UsageExport)
        assert_type(await client.otel_exporters.delete(owner), None)


async def beside_the_values() -> None:
    async with Client() as client:
        answer = await client.projects.get("gh/acme/web").within(5).response()
        assert_type(answer, Response[aiocircle.Project])
        assert_type(answer.status, int)
        assert_type(answer.value.slug, str)
        for quota in answer.rate.quotas:
            assert_type(quota.remaining, int | None)
        assert_type(await client.request("GET", "/api/v1.1/projects", query={"limit": 3}), Response[Any])
        assert_type(client.with_options(max_wait=5, retry=RetryPolicy(attempts=1)), Client)


async def exports() -> None:
    async with Client() as client:
        rows = client.export.jobs("gh/acme/web", branch="main")
        assert_type(rows, Rows[JobRow])
        async for row in rows:
            assert_type(row.duration_seconds, float | None)
            assert_type(row.dependencies, Sequence[str])
        assert_type(await rows.first(), JobRow | None)
        options = aiocircle.ExportOptions(formats=("parquet", "csv"), partition="month", raw=False)
        report = await client.export.run(["gh/acme/web"], "builds", to="out", options=options)
        assert_type(report, aiocircle.ExportReport)
        assert_type(report.totals, Mapping[str, int])
        with open_sink("jsonl", "out", compression="zstd") as sink:
            sink.begin(rows.table)
            assert_type(sink.has(rows.table), bool)
