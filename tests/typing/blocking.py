"""The blocking client as a contract for type checkers: never run, passed by mypy and pyright without an ignore."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, assert_type
from uuid import UUID

import aiocircle
from aiocircle import BlockingClient, DownloadOptions, ItemOutcome, Page, Report, Response, RetryPolicy, Selection
from aiocircle.blocking import Listing

if TYPE_CHECKING:
    from aiocircle.blocking import Artifacts


def download_a_job() -> None:
    def on_outcome(outcome: ItemOutcome) -> None:
        assert_type(outcome.reason, str | None)

    with aiocircle.BlockingClient("token", host="https://ci.example.com", max_wait=30) as client:
        assert_type(client, BlockingClient)
        assert_type(client.host, str)
        report = client.download("gh/acme/web", job=1234, to="out", on_outcome=on_outcome)
        assert_type(report, Report)
        selection = Selection(aiocircle.ProjectSlug.parse("gh/acme/web"), job=1234)
        assert_type(client.download(selection, "out", options=DownloadOptions(include=["**/*.xml"])), Report)
        plan = client.artifacts.plan(selection)
        assert_type(plan, aiocircle.Plan)
        client.run(lambda _: plan.save("plan.jsonl"))
        assert_type(client.download(client.run(lambda _: aiocircle.Plan.read("plan.jsonl")), "out"), Report)


def iterate(client: BlockingClient) -> None:
    artifacts = client.artifacts.list("gh/acme/web", 1234)
    assert_type(artifacts, Listing[aiocircle.Artifact])
    for artifact in artifacts:
        assert_type(artifact, aiocircle.Artifact)
    for page in artifacts.pages(ahead=False):
        assert_type(page, Page[aiocircle.Artifact])
        assert_type(page.items, Sequence[aiocircle.Artifact])
    assert_type(client.pipelines.list("gh/acme/web", branch="main").first(), aiocircle.Pipeline | None)
    assert_type(client.tests.list("gh/acme/web", 7).collect(limit=5), list[aiocircle.TestResult])


def ask(client: BlockingClient) -> None:
    assert_type(client.users.me().id, UUID)
    assert_type(client.jobs.get("gh/acme/web", 7), aiocircle.JobDetails)
    assert_type(client.projects.get("gh/acme/web"), aiocircle.Project)
    assert_type(client.request("GET", "/me"), Response[Any])
    assert_type(client.run(lambda api: api.users.me().response()), Response[aiocircle.User])
    assert_type(client.with_options(retry=RetryPolicy(attempts=1)), BlockingClient)
    for bucket in client.limiter.snapshot():
        assert_type(bucket.ready_in, float | None)


def part(artifacts: "Artifacts") -> int:
    return len(artifacts.list("gh/acme/web", 1).collect())


def open_by_hand() -> None:
    client = BlockingClient().open()
    assert_type(client, BlockingClient)
    assert_type(part(client.artifacts), int)
    client.close()
