"""The public API as a contract: checked by mypy and pyright, never run.

A user's script must pass both without an ignore, and what is reveal-ed here may not change by accident.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import assert_type
from uuid import UUID

import aiohttp

import aiocircle
from aiocircle import Client, DownloadOptions, Page, Paginator, Report, RetryPolicy, Selection, Timeouts
from aiocircle.errors import APIError, NotFoundError, PaginationError, PartialDownloadError, WaitTooLongError
from aiocircle.events import LimitWaiting, RequestSent


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
        selection = Selection(slug=aiocircle.ProjectSlug.parse("gh/acme/web"), latest=True, branch="main")
        run = client.prepare(selection, Path("out"), DownloadOptions(include=["**/*.xml"], layout="{job_name}/{path}"))
        assert_type(run, aiocircle.Download)
        assert_type(await run.run(), Report)
        assert_type(run.report(), Report)
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
