"""The simulator's exports of usage data: the host's rules, as CircleCI documents them."""

import csv
import gzip
import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import define
from sim_client import api, ask

from aiocircle.testing import Simulator, SimulatorThread, World
from aiocircle.testing.usage import COLUMNS

SLUG = "gh/acme/web"
NOW = datetime(2026, 11, 3, tzinfo=UTC)
MONTH = {"start": "2026-10-10T00:00:00Z", "end": "2026-11-03T00:00:00Z"}


@define
class Moving:
    """A clock that is set."""

    now: float = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Moving:
    return Moving()


@pytest.fixture
def sim(clock: Moving) -> Iterator[Simulator]:
    with SimulatorThread(World(pipelines=30), clock=clock) as running:
        yield running


def place(sim: Simulator, slug: str = SLUG) -> str:
    return f"/organizations/{api(sim, f'/project/{slug}').json()['organization_id']}/usage_export_job"


def create(sim: Simulator, **body: Any) -> tuple[int, Any]:
    headers = {"Circle-Token": sim.token, "Content-Type": "application/json"}
    address = f"{sim.url}/api/v2{place(sim)}"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def found(sim: Simulator, identifier: str) -> Any:
    return api(sim, f"{place(sim)}/{identifier}").json()


def test_an_export_moves_with_the_worlds_clock_and_leads_to_gzipped_csv(sim: Simulator, clock: Moving) -> None:
    sim.usage.rows_per_file = 40
    status, created = create(sim, **MONTH)
    assert (status, created["state"], created["download_urls"]) == (201, "created", None)
    states = []
    for _ in range(3):
        states.append(found(sim, created["usage_export_job_id"]))
        clock.now += sim.usage.takes / 2
    assert [one["state"] for one in states] == ["created", "processing", "completed"]
    files = [ask(url) for url in states[-1]["download_urls"]]
    assert len(files) > 1
    assert {reply.status for reply in files} == {200}
    texts = [io.StringIO(gzip.decompress(reply.body).decode(), newline="") for reply in files]
    rows = [row for text in texts for row in csv.DictReader(text)]
    assert [set(row) for row in rows] == [set(COLUMNS)] * len(rows)
    ran = [
        job.id
        for pipeline in sim.world.pipelines(SLUG)
        for workflow in pipeline.workflows
        for job in workflow.jobs
        if job.stopped_at
    ]
    assert [row["JOB_ID"] for row in rows] == [*ran, "\\N"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"start": "2026-10-02T23:59:59Z"}, "31 days"),
        ({"start": "2025-11-01T00:00:00Z", "end": "2025-11-02T00:00:00Z"}, "one year"),
        ({"end": "2026-11-03T00:00:01Z"}, "future"),
        ({"end": "2026-10-01T00:00:00Z"}, "before start"),
        ({"start": "2026-10-10"}, "Unexpected"),
        ({"start": None}, "Unexpected"),
        ({"granularity": "daily"}, "Unexpected"),
        ({"shared_org_ids": ["00000000-0000-4000-8000-000000000000"]}, "unknown"),
    ],
)
def test_what_the_host_does_not_take_is_refused(sim: Simulator, changed: dict[str, Any], words: str) -> None:
    status, body = create(sim, **{**MONTH, **changed})
    assert (status, words in body["message"]) == (400, True)


def test_ten_requests_an_hour_of_each_kind_are_admitted(sim: Simulator, clock: Moving) -> None:
    answers = [create(sim, **MONTH) for _ in range(11)]
    assert [status for status, _ in answers] == [201] * 10 + [429]
    path = f"{place(sim)}/{answers[0][1]['usage_export_job_id']}"
    assert [api(sim, path).status for _ in range(11)] == [200] * 10 + [429]
    clock.now += 3600
    assert api(sim, path).status == 200
    assert create(sim, **MONTH)[0] == 201


def test_addresses_are_signed_anew_and_run_out_and_want_no_credential(sim: Simulator, clock: Moving) -> None:
    identifier = create(sim, **MONTH)[1]["usage_export_job_id"]
    clock.now += sim.usage.takes
    first = found(sim, identifier)["download_urls"][0]
    assert ask(first, {"Circle-Token": sim.token}).status == 400
    assert ask(first, {"Authorization": f"Bearer {sim.token}"}).status == 400
    assert sim.stats.leaks == 2
    clock.now += timedelta(hours=37).total_seconds()
    second = found(sim, identifier)["download_urls"][0]
    assert first.partition("?")[0] == second.partition("?")[0]
    assert (ask(first).status, ask(second).status) == (403, 200)
    assert ask(second.replace("0.csv.gz", "1.csv.gz")).status == 403


def test_an_export_belongs_to_its_organisation(sim: Simulator) -> None:
    identifier = create(sim, **MONTH)[1]["usage_export_job_id"]
    other = place(sim, next(slug for slug in sim.world.projects if slug != SLUG))
    assert api(sim, f"{other}/{identifier}").status == 404
    assert api(sim, "/organizations/nobody/usage_export_job/x").status == 404


def test_summaries_know_what_they_are_asked_for(sim: Simulator) -> None:
    pages = f"/insights/pages/{SLUG}/summary"
    whole = api(sim, pages).json()
    some = api(sim, f"{pages}?branches=main&branches=release/1.x&workflow-names=nothing").json()
    assert len(whole["all_branches"]) > 2
    assert some["project_workflow_data"] == []
    narrow = api(sim, f"{pages}?branches=main&branches=release/1.x").json()["project_workflow_branch_data"]
    assert {one["branch"] for one in narrow} == {"main", "release/1.x"}
    organisation = api(sim, "/insights/github/acme/summary?project-names=web").json()
    assert [one["project_name"] for one in organisation["org_project_data"]] == ["web"]
    assert api(sim, f"{pages}?reporting-window=for-ever").status == 400
    assert api(sim, "/insights/gh/nobody/summary").status == 404


def test_metrics_of_tests_are_those_of_the_runs(sim: Simulator) -> None:
    body = api(sim, f"/insights/{SLUG}/workflows/build-and-test/test-metrics").json()
    runs = [run for pipeline in sim.world.pipelines(SLUG) for run in pipeline.workflows][:10]
    assert [run["workflow_id"] for run in body["test_runs"]] == [run.id for run in runs]
    assert [run["test_counts"]["total"] for run in body["test_runs"]] == [
        sum(job.tests for job in run.jobs) for run in runs
    ]
    assert [run["test_counts"]["failure"] > 0 for run in body["test_runs"]] == [run.status == "failed" for run in runs]
    assert body["most_failed_tests"][0]["failed_runs"] >= body["most_failed_tests"][-1]["failed_runs"] > 0
