"""A seeded history of a team's CI, as rows of an export and as a ledger: realistic enough for a report to be looked at.

Builds grow slower until somebody adds a cache, one week is bad, machines are scarce in the afternoon, some tests cannot
make up their mind, and what failed is run again from there.
"""

import random
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import attrs

from aiocircle.download.ledger import Ledger
from aiocircle.download.records import Failed, Source, Stored
from aiocircle.export.records import creation, encoder, upsertion
from aiocircle.export.rows import (
    FlakyTestRow,
    GapRow,
    JobDetailsRow,
    JobRow,
    JobTestRow,
    PipelineRow,
    WorkflowRow,
    WorkflowRunRow,
)
from aiocircle.export.tables import TABLES

FIRST = datetime(2026, 8, 24, 6, tzinfo=UTC)
SLUG = "gh/acme/web"
Rows = Mapping[str, Sequence[tuple[Any, ...]]]


class Step(NamedTuple):
    """A job of a workflow: seconds it takes, how they spread, how often it fails, what it needs, where it runs."""

    name: str
    seconds: float
    spread: float
    fails: float
    needs: tuple[str, ...] = ()
    machine: str = "medium"
    tests: int = 0


WORKFLOWS: Mapping[str, tuple[Step, ...]] = {
    "build-and-test": (
        Step("checkout", 14, 0.2, 0.002, machine="small"),
        Step("lint", 48, 0.2, 0.03, ("checkout",), "small"),
        Step("typecheck", 95, 0.15, 0.02, ("checkout",)),
        Step("build", 190, 0.18, 0.015, ("checkout",), "large"),
        Step("unit-tests", 240, 0.2, 0.05, ("build",), "large", 24),
        Step("integration-tests", 420, 0.3, 0.07, ("build",), "large", 10),
        Step("browser-tests", 510, 0.35, 0.09, ("build",), "xlarge", 8),
        Step("coverage", 32, 0.2, 0.005, ("unit-tests", "integration-tests"), "small"),
    ),
    "deploy": (
        Step("image", 150, 0.25, 0.02, (), "large"),
        Step("deploy-staging", 85, 0.4, 0.03, ("image",)),
        Step("smoke-tests", 60, 0.3, 0.04, ("deploy-staging",)),
        Step("deploy-production", 110, 0.4, 0.02, ("smoke-tests",)),
    ),
    "nightly": (
        Step("dependency-audit", 75, 0.3, 0.08),
        Step("end-to-end", 1500, 0.25, 0.18, (), "xlarge"),
        Step("performance", 2100, 0.15, 0.06, (), "2xlarge"),
    ),
}
TESTS = {
    "unit-tests": ("cart", "pricing", "search", "session"),
    "integration-tests": ("database", "payments", "webhooks"),
    "browser-tests": ("checkout flow", "sign in"),
}
FLAKY = {"test_checkout flow_3": 0.03, "test_sign in_1": 0.02, "test_webhooks_2": 0.015, "test_payments_1": 0.01}
CREDITS = {"small": 5, "medium": 10, "large": 20, "xlarge": 40, "2xlarge": 80}


class History:
    """The rows of an export over so many days."""

    def __init__(self, *, seed: int = 1, days: int = 84, pipelines_a_day: int = 9, slug: str = SLUG) -> None:
        self.rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self._draw = random.Random(seed)
        self._slug = slug
        self._job_number = 4000
        self._flakes: dict[tuple[str, str], list[Any]] = {}
        number = 1200
        for day in range(days):
            start = FIRST + timedelta(days=day)
            busy = pipelines_a_day if start.weekday() < 5 else pipelines_a_day // 5
            for hour in sorted(self._draw.triangular(0, 13, 8) for _ in range(busy)):
                number += 1
                self._pipeline(number, day, start + timedelta(hours=hour))
            number += 1
            self._pipeline(number, day, start + timedelta(hours=19), nightly=True)
        self._flaky_tests()
        self._gaps()

    def _pipeline(self, number: int, day: int, created: datetime, *, nightly: bool = False) -> None:
        branch = "main" if nightly or self._draw.random() < 0.35 else f"feature/{self._draw.choice('ABCDEF')}-{number}"
        pipeline = PipelineRow(*[None] * len(PipelineRow._fields))._replace(  # type: ignore[arg-type]
            project=self._slug,
            id=self._id(),
            number=number,
            state="created",
            created_at=created,
            branch=branch,
            revision=f"{number:040x}",
            errors=(),
            trigger_parameters={},
        )
        self.rows["pipelines"].append(pipeline)
        if nightly:
            self._workflow(pipeline, "nightly", day, created + timedelta(seconds=4))
            return
        ended = self._until_green(pipeline, day, created + timedelta(seconds=3))
        if branch == "main" and ended is not None:
            self._workflow(pipeline, "deploy", day, ended + timedelta(seconds=2))

    def _until_green(self, pipeline: PipelineRow, day: int, start: datetime) -> datetime | None:
        before: dict[str, JobRow] = {}
        for _ in range(3):
            status, stopped, before = self._workflow(pipeline, "build-and-test", day, start, before)
            if status == "success":
                return stopped
            if self._draw.random() < 0.45:
                break
            start = stopped + timedelta(minutes=self._draw.uniform(1, 240))
        return None

    def _workflow(
        self, pipeline: PipelineRow, name: str, day: int, start: datetime, before: Mapping[str, JobRow] | None = None
    ) -> tuple[str, datetime, dict[str, JobRow]]:
        """Run a workflow; jobs that succeeded in the one before are listed again and not run again."""
        workflow = self._id()
        jobs: dict[str, JobRow] = {}
        credits_used = 0
        is_cancelled = self._draw.random() < 0.04
        for step in WORKFLOWS[name]:
            known = (before or {}).get(step.name)
            if known is not None and known.status == "success":
                jobs[step.name] = known._replace(workflow_id=workflow)
                continue
            needed = [jobs[one] for one in step.needs]
            if any(one.status != "success" for one in needed):
                jobs[step.name] = self._not_run(pipeline, workflow, name, step, needed)
                continue
            at = max([start, *(one.stopped_at for one in needed if one.stopped_at is not None)])
            job = self._job(pipeline, workflow, name, step, day, at, needed, is_rerun=bool(before))
            if is_cancelled and len(jobs) == 3:
                job = job._replace(status="canceled")
            jobs[step.name] = job
            credits_used += round(CREDITS[step.machine] * (job.duration_seconds or 0) / 60)
        self.rows["jobs"].extend(jobs.values())
        bad = {job.status for job in jobs.values()} - {"success", "blocked"}
        status = "failed" if "failed" in bad else "canceled" if bad else "success"
        stopped = max(job.stopped_at for job in jobs.values() if job.stopped_at is not None)
        stopped = max(stopped, start)
        self.rows["workflows"].append(
            WorkflowRow(
                self._slug,
                pipeline.id,
                pipeline.number,
                pipeline.created_at,
                pipeline.branch,
                workflow,
                name,
                status,
                None,
                start,
                stopped,
                (stopped - start).total_seconds(),
                "someone",
                None,
                None,
                None,
                None,
            )
        )
        self.rows["insights_runs"].append(
            WorkflowRunRow(
                self._slug,
                name,
                workflow,
                status,
                pipeline.branch,
                start,
                stopped,
                round((stopped - start).total_seconds()),
                credits_used,
                False,
            )
        )
        return status, stopped, jobs

    def _job(
        self, pipeline: PipelineRow, workflow: str, workflow_name: str, step: Step, day: int, at: datetime,
        needed: Iterable[JobRow], *, is_rerun: bool,
    ) -> JobRow:  # fmt: skip
        scarce = 1 + 5 * max(0.0, 1 - abs(at.hour - 15) / 4) * (step.machine in {"xlarge", "2xlarge", "large"})
        queued = self._draw.lognormvariate(0.9, 0.8) * scarce
        slow = 1 + (0.009 * day if day < 55 else 0.05) if step.name in {"build", "unit-tests"} else 1.0
        seconds = step.seconds * slow * self._draw.lognormvariate(0, step.spread)
        bad_week = 3.2 if 30 <= day < 36 and step.name == "integration-tests" else 1.0
        fails = self._draw.random() < step.fails * bad_week * (0.35 if is_rerun else 1)
        if fails:
            seconds *= self._draw.uniform(0.3, 1)
        started = at + timedelta(seconds=round(queued, 3))
        stopped = started + timedelta(seconds=round(seconds, 3))
        self._job_number += 1
        status = "failed" if fails else "success"
        ids = [one.id for one in needed]
        job = JobRow(
            self._slug,
            pipeline.id,
            pipeline.number,
            pipeline.created_at,
            pipeline.branch,
            workflow,
            workflow_name,
            self._id(),
            self._job_number,
            step.name,
            "build",
            status,
            started,
            stopped,
            (stopped - started).total_seconds(),
            ids,
            dict.fromkeys(ids, "success"),
            None,
            None,
            None,
        )
        self.rows["job_details"].append(
            JobDetailsRow(
                self._slug,
                pipeline.id,
                pipeline.number,
                pipeline.created_at,
                pipeline.branch,
                workflow,
                workflow_name,
                self._job_number,
                step.name,
                status,
                "docker",
                step.machine,
                1,
                at,
                at,
                started,
                stopped,
                (started - at).total_seconds(),
                job.duration_seconds,
                (),
                (),
                (),
                "acme",
                f"https://app.circleci.com/pipelines/github/acme/web/{pipeline.number}/workflows/{workflow}/jobs/{self._job_number}",
            )
        )
        self._tests(pipeline, job, step, seconds)
        return job

    def _not_run(
        self, pipeline: PipelineRow, workflow: str, workflow_name: str, step: Step, needed: Iterable[JobRow]
    ) -> JobRow:
        ids = [one.id for one in needed]
        return JobRow(
            self._slug,
            pipeline.id,
            pipeline.number,
            pipeline.created_at,
            pipeline.branch,
            workflow,
            workflow_name,
            self._id(),
            None,
            step.name,
            "build",
            "blocked",
            None,
            None,
            None,
            ids,
            {},
            None,
            None,
            None,
        )

    def _tests(self, pipeline: PipelineRow, job: JobRow, step: Step, seconds: float) -> None:
        groups = TESTS.get(step.name, ())
        for position in range(step.tests):
            group = groups[position % len(groups)]
            name = f"test_{group}_{position // len(groups)}"
            weight = (position % 5 + 1) ** 2
            fails = self._draw.random() < FLAKY.get(name, 0.0004)
            self.rows["tests"].append(
                JobTestRow(
                    self._slug,
                    pipeline.id,
                    pipeline.number,
                    pipeline.created_at,
                    pipeline.branch,
                    job.workflow_id,
                    job.workflow_name,
                    job.job_number or 0,
                    job.name,
                    position,
                    name,
                    f"acme.{group.replace(' ', '_')}",
                    f"tests/{group}.py",
                    "pytest",
                    "failure" if fails else "success",
                    round(seconds * weight / (11 * step.tests) * self._draw.lognormvariate(0, 0.3), 3),
                    "assert 1 == 2" if fails else None,
                )
            )
            if fails and name in FLAKY:
                flake = self._flakes.setdefault((f"acme.{group.replace(' ', '_')}", name), [0, 0, job])
                flake[0] += 1
                flake[1] += round(seconds)
                flake[2] = job

    def _flaky_tests(self) -> None:
        for (classname, name), (times, wasted, job) in self._flakes.items():
            self.rows["flaky_tests"].append(
                FlakyTestRow(
                    self._slug,
                    job.workflow_name,
                    job.name,
                    classname,
                    name,
                    "",
                    "pytest",
                    times,
                    wasted,
                    job.pipeline_number,
                    job.workflow_id,
                    job.pipeline_created_at,
                    job.job_number,
                )
            )

    def _gaps(self) -> None:
        for number in (4100, 4207, 5111):
            self.rows["gaps"].append(
                GapRow(
                    "tests",
                    self._slug,
                    "",
                    "",
                    number,
                    f"the tests of job {number}",
                    "404 Not Found: it has expired",
                    "not_found",
                    FIRST + timedelta(days=80, minutes=number),
                )
            )

    def _id(self) -> str:
        return str(UUID(int=self._draw.getrandbits(128), version=4))


def write_export(directory: Path, rows: Rows) -> Path:
    """Write rows as an export's state has them, and return the database."""
    own = directory / ".aiocircle"
    own.mkdir(parents=True, exist_ok=True)
    path = own / "export.sqlite"
    with closing(sqlite3.connect(path)) as database:
        for name, values in rows.items():
            table = TABLES[name]
            database.execute(creation(table, '"_run" INTEGER'))
            encoded = encoder(table)(values)
            database.executemany(upsertion(table, "_run"), [(*row, 1) for row in encoded])
        database.execute("CREATE TABLE _marks (name TEXT)")
        database.commit()
    return path


def write_ledger(directory: Path, *, seed: int = 1, files: int = 2400, failures: int = 14) -> Path:
    """Write the ledger of a download in two runs, whose crowd grew and was pushed back once."""
    own = directory / ".aiocircle"
    own.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    source = Source(slug=SLUG, pipeline=1500, workflow_name="build-and-test", branch="main", job=4711, node=0)
    with Ledger(own) as ledger:
        batch: list[tuple[Stored, int | None]] = []
        for first, number in ((1_790_000_000.0, files * 3 // 4), (1_790_080_000.0, files // 4)):
            lanes = [first + 0.05 * lane for lane in range(48)]
            for place in range(number):
                lane = min(range(len(lanes)), key=lanes.__getitem__)
                size = int(draw.lognormvariate(10.5, 2.1))
                slow = 3.0 if 0.4 < place / number < 0.5 else 1.0
                took = (0.06 + size / 2_500_000) * draw.lognormvariate(0, 0.4) * slow
                began = lanes[lane]
                lanes[lane] = began + took + 0.01
                target = f"4711/{place % 4}/reports/{first:.0f}-{place}.xml"
                stored = Stored(
                    source=Source(**{**_values(source), "node": place % 4, "path": target}),
                    target=target,
                    size=size,
                    sha256="0" * 64,
                    began=began,
                    ended=began + took,
                )
                batch.append((stored, None))
        ledger.announce(batch)
        for place in range(failures):
            code, reason = (("server", "503 Service Unavailable"), ("interrupted_body", "the body ended too early"))[
                place % 3 == 0
            ]
            path = f"logs/{place}.txt"
            failed = Source(
                **{**_values(source), "path": path, "address": f"https://output.circle-artifacts.com/{path}"}
            )
            ledger.fail(Failed(source=failed, target=f"4711/0/{path}", code=code, reason=reason, ended=1_790_080_100.0))
        ledger.about(origin="https://circleci.com", finished="yes")
    return own / "ledger.sqlite"


def _values(source: Source) -> dict[str, Any]:
    return attrs.asdict(source)
