"""Exports of usage data: jobs that move with the world's clock, and the gzipped CSV files that come of them.

The columns are those that CircleCI documents; where nothing is known a field is `NULL`, as the service's database
writes it. Rows follow from the jobs that ran, with one more for a seat that ran none. The same world, asked for the
same time, gives the same bytes.
"""

import csv
import gzip
import hashlib
import io
import random
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from aiocircle.testing.answers import Json, repository, timestamp
from aiocircle.testing.content import FixedContent
from aiocircle.testing.exchange import Answer, json_answer, message_answer
from aiocircle.testing.ids import Address, Kind
from aiocircle.testing.pages import Handlers, Query
from aiocircle.testing.records import Job, Pipeline, Project, Workflow
from aiocircle.testing.world import World

COLUMNS = (
    *("ORGANIZATION_ID", "ORGANIZATION_NAME", "ORGANIZATION_CREATED_DATE", "PROJECT_ID", "PROJECT_NAME"),
    *("PROJECT_CREATED_DATE", "LAST_BUILD_FINISHED_AT", "VCS_NAME", "VCS_URL", "VCS_BRANCH", "PIPELINE_ID"),
    *("PIPELINE_CREATED_AT", "PIPELINE_NUMBER", "IS_UNREGISTERED_USER", "PIPELINE_TRIGGER_SOURCE"),
    *("PIPELINE_TRIGGER_USER_ID", "WORKFLOW_ID", "WORKFLOW_NAME", "WORKFLOW_FIRST_JOB_QUEUED_AT"),
    *("WORKFLOW_FIRST_JOB_STARTED_AT", "WORKFLOW_STOPPED_AT", "IS_WORKFLOW_SUCCESSFUL", "JOB_NAME", "JOB_RUN_NUMBER"),
    *("JOB_ID", "JOB_RUN_DATE", "JOB_RUN_QUEUED_AT", "JOB_RUN_STARTED_AT", "JOB_RUN_STOPPED_AT", "JOB_BUILD_STATUS"),
    *("RESOURCE_CLASS", "OPERATING_SYSTEM", "EXECUTOR", "PARALLELISM", "JOB_RUN_SECONDS"),
    *("MEDIAN_CPU_UTILIZATION_PCT", "MAX_CPU_UTILIZATION_PCT", "MEDIAN_RAM_UTILIZATION_PCT"),
    *("MAX_RAM_UTILIZATION_PCT", "COMPUTE_CREDITS", "DLC_CREDITS", "USER_CREDITS", "STORAGE_CREDITS"),
    *("NETWORK_CREDITS", "LEASE_CREDITS", "LEASE_OVERAGE_CREDITS", "IPRANGES_CREDITS", "TOTAL_CREDITS"),
)
NULL = "\\N"
PREFIX = "/usage-exports/"

WIDEST, OLDEST = timedelta(days=31), timedelta(days=366)
AN_HOUR, ADMITTED = timedelta(hours=1), 10  # requests, of each kind and organisation
SEAT_CREDITS = 25_000

_KEYS = frozenset({"start", "end", "shared_org_ids"})
_CREDITS_A_MINUTE = 10


@attrs.frozen(kw_only=True)
class Export:
    """An export that was asked for: of which organisations, for which time, and what is to become of it."""

    id: str
    projects: tuple[Project, ...]
    start: datetime
    end: datetime
    created_at: datetime
    fails: bool


class UsageExports:
    """The exports of one world. Its attributes may be set at any time.

    Args:
        world: Whose jobs are exported. By its time exports are made; see `Course.moment`.
        clock: Returns seconds since the epoch, by which a time lies in the past.
        sign: Returns the signed address of a path in the storage, good for so many seconds.

    Attributes:
        waits: Seconds until an export is begun.
        takes: Seconds until it is over, the wait included.
        failing: So many of the exports that are created next fail.
        rows_per_file: Rows in a file, the header not counted.
        signature_ttl: Seconds that an address is good for.
        bodies: Bytes that stand in place of an export's files, by their place from 0.
    """

    def __init__(self, world: World, clock: Callable[[], float], sign: Callable[[str, float], str]) -> None:
        self._world = world
        self._clock = clock
        self._sign = sign
        self.waits = 30.0
        self.takes = 500.0
        self.failing = 0
        self.rows_per_file = 200
        self.signature_ttl = 36 * 3600.0
        self.bodies: dict[int, bytes] = {}
        self._exports: dict[str, Export] = {}
        self._files: dict[str, tuple[bytes, ...]] = {}
        self._asked: dict[tuple[str, str], deque[datetime]] = {}

    def handlers(self) -> Handlers:
        """Return what answers each route."""
        return {"usage.export": self._get}

    def create(self, body: Mapping[str, Any], organization_id: str) -> Answer | None:
        """Create an export; 201, or why not."""
        project = self._organization(organization_id)
        if project is None:
            return None
        if not self._admits("create", organization_id):
            return message_answer(429, "Rate limit exceeded.")
        shared = body.get("shared_org_ids", [])
        start, end = _moment(body.get("start")), _moment(body.get("end"))
        if body.keys() - _KEYS or start is None or end is None or not isinstance(shared, list):
            return message_answer(400, "Unexpected request body provided.")
        others = [self._organization(str(other)) for other in shared]
        now = datetime.fromtimestamp(self._clock(), UTC)
        refusal = _refusal(start, end, now) or ("a shared organization is unknown" if None in others else None)
        if refusal is not None:
            return message_answer(400, refusal)
        export = Export(
            id=self._new_id(),
            projects=(project, *(other for other in others if other is not None)),
            start=start,
            end=end,
            created_at=self._world.course.moment(),
            fails=self.failing > 0,
        )
        self.failing = max(0, self.failing - 1)
        self._exports[export.id] = export
        span = {"start": timestamp(start), "end": timestamp(end)}
        return json_answer({**self._state(export, "created"), **span}, 201)

    def content(self, path: str) -> FixedContent | None:
        """Return what lies in the storage at a path, if it is a file of an export."""
        identifier, _, name = path.removeprefix(PREFIX).partition("/")
        export = self._exports.get(identifier) if path.startswith(PREFIX) else None
        place = name.removesuffix(".csv.gz")
        if export is None or not place.isdecimal() or int(place) >= self._count(export):
            return None
        body = self.bodies[int(place)] if int(place) in self.bodies else self.files(export)[int(place)]
        return FixedContent(body, f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')

    def rows(self, projects: Sequence[Project], start: datetime, end: datetime) -> list[dict[str, str]]:
        """Return the rows of what ran in a time, by column."""
        return [row for project in projects for row in self._rows_of(project, start, end)]

    def files(self, export: Export) -> tuple[bytes, ...]:
        """Return the files of an export: none where nothing ran."""
        if export.id not in self._files:
            rows = self.rows(export.projects, export.start, export.end)
            parts = (rows[at : at + self.rows_per_file] for at in range(0, len(rows), self.rows_per_file))
            self._files[export.id] = tuple(packed_csv(part) for part in parts)
        return self._files[export.id]

    def _get(self, _query: Query, organization_id: str, identifier: str) -> Answer | None:
        export = self._exports.get(identifier)
        if export is None or self._organization(organization_id) is not export.projects[0]:
            return None
        if not self._admits("get", organization_id):
            return message_answer(429, "Rate limit exceeded.")
        age = (self._world.course.moment() - export.created_at).total_seconds()
        if age < self.takes:
            return json_answer(self._state(export, "created" if age < self.waits else "processing"))
        if export.fails:
            return json_answer({**self._state(export, "failed"), "error_reason": "The query timed out."})
        return json_answer(self._state(export, "completed"))

    def _state(self, export: Export, state: str) -> Json:
        count = self._count(export) if state == "completed" else 0
        paths = (f"{PREFIX}{export.id}/{place}.csv.gz" for place in range(count))
        urls: list[str] | None = [self._sign(path, self.signature_ttl) for path in paths]
        if not urls and "null-download-urls" in self._world.plan.oddities:
            urls = None
        return {"usage_export_job_id": export.id, "state": state, "download_urls": urls}

    def _count(self, export: Export) -> int:
        return max([len(self.files(export)), *(place + 1 for place in self.bodies)])

    def _admits(self, kind: str, organization_id: str) -> bool:
        """Count a request, unless there were too many within the last hour."""
        now = self._world.course.moment()
        asked = self._asked.setdefault((kind, organization_id), deque())
        while asked and asked[0] <= now - AN_HOUR:
            asked.popleft()
        if len(asked) >= ADMITTED:
            return False
        asked.append(now)
        return True

    def _new_id(self) -> str:
        text = f"usage export {self._world.plan.seed} {len(self._exports)}"
        return str(uuid.UUID(bytes=hashlib.blake2b(text.encode(), digest_size=16).digest(), version=4))

    def _organization(self, identifier: str) -> Project | None:
        """Return the project that stands for an organisation."""
        address = self._world.ids.read(identifier)
        if address is None or address.kind is not Kind.ORGANIZATION:
            return None
        return next((one for one in self._world.projects.values() if one.index == address.project), None)

    # What a row has.

    def _rows_of(self, project: Project, start: datetime, end: datetime) -> Iterator[dict[str, str]]:
        for pipeline in self._world.pipelines(project.slug):
            for workflow in pipeline.workflows:
                for job in workflow.jobs:
                    ended = job.started_at is not None and job.stopped_at is not None
                    if ended and job.started_at is not None and start <= job.started_at <= end:
                        yield self._row(pipeline, workflow, job)
        month = self._world.plan.newest.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        if start <= month <= end:
            credits_used = {"USER_CREDITS": str(SEAT_CREDITS), "TOTAL_CREDITS": str(SEAT_CREDITS)}
            yield {
                **dict.fromkeys(COLUMNS, NULL),
                **self._of_organization(project),
                "PIPELINE_TRIGGER_USER_ID": self._world.ids.make(Address(Kind.USER)),
                "JOB_RUN_DATE": _date(month),
                **credits_used,
            }

    def _row(self, pipeline: Pipeline, workflow: Workflow, job: Job) -> dict[str, str]:
        starts = [one.started_at for one in workflow.jobs if one.started_at is not None]
        return {
            **self._of_organization(job.project),
            **self._of_project(job.project),
            "VCS_BRANCH": pipeline.branch or NULL,
            "PIPELINE_ID": pipeline.id,
            "PIPELINE_CREATED_AT": _time(pipeline.created_at),
            "PIPELINE_NUMBER": str(pipeline.number),
            "IS_UNREGISTERED_USER": "false",
            "PIPELINE_TRIGGER_SOURCE": pipeline.trigger,
            "PIPELINE_TRIGGER_USER_ID": self._world.ids.make(Address(Kind.USER)),
            "WORKFLOW_ID": workflow.id or NULL,
            "WORKFLOW_NAME": workflow.name,
            "WORKFLOW_FIRST_JOB_QUEUED_AT": _time(workflow.created_at),
            "WORKFLOW_FIRST_JOB_STARTED_AT": _time(min(starts)),
            "WORKFLOW_STOPPED_AT": _time(workflow.stopped_at),
            "IS_WORKFLOW_SUCCESSFUL": str(workflow.status == "success").lower(),
            **_of_job(job),
        }

    def _of_organization(self, project: Project) -> dict[str, str]:
        return {
            "ORGANIZATION_ID": self._world.ids.make(Address(Kind.ORGANIZATION, project.index)),
            "ORGANIZATION_NAME": project.organization,
            "ORGANIZATION_CREATED_DATE": _date(self._world.plan.newest - timedelta(days=900)),
        }

    def _of_project(self, project: Project) -> dict[str, str]:
        newest = self._world.plan.newest
        return {
            "PROJECT_ID": self._world.ids.make(Address(Kind.PROJECT, project.index)),
            "PROJECT_NAME": project.name,
            "PROJECT_CREATED_DATE": _date(newest - timedelta(days=400)),
            "LAST_BUILD_FINISHED_AT": _time(newest),
            "VCS_NAME": "github",
            "VCS_URL": repository(project),
        }


def packed_csv(rows: Sequence[Mapping[str, str]], columns: Sequence[str] = COLUMNS) -> bytes:
    """Return rows as CSV with a header, compressed; nothing in it tells when that was."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval=NULL, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _of_job(job: Job) -> dict[str, str]:
    assert job.started_at is not None
    assert job.stopped_at is not None
    seconds = int((job.stopped_at - job.started_at).total_seconds())
    draw = random.Random(job.id)
    compute = seconds * job.nodes * _CREDITS_A_MINUTE / 60
    storage = draw.randrange(100) / 100
    return {
        "JOB_NAME": job.name,
        "JOB_RUN_NUMBER": str(job.number),
        "JOB_ID": job.id,
        "JOB_RUN_DATE": _date(job.started_at),
        "JOB_RUN_QUEUED_AT": _time(job.created_at),
        "JOB_RUN_STARTED_AT": _time(job.started_at),
        "JOB_RUN_STOPPED_AT": _time(job.stopped_at),
        "JOB_BUILD_STATUS": job.status,
        "RESOURCE_CLASS": "medium",
        "OPERATING_SYSTEM": "Linux",
        "EXECUTOR": "docker",
        "PARALLELISM": str(job.nodes),
        "JOB_RUN_SECONDS": str(seconds),
        "MEDIAN_CPU_UTILIZATION_PCT": f"{draw.uniform(5, 60):.2f}",
        "MAX_CPU_UTILIZATION_PCT": f"{draw.uniform(60, 100):.2f}",
        "MEDIAN_RAM_UTILIZATION_PCT": f"{draw.uniform(5, 50):.2f}",
        "MAX_RAM_UTILIZATION_PCT": NULL if draw.random() < 0.1 else f"{draw.uniform(50, 100):.2f}",  # noqa: PLR2004
        "COMPUTE_CREDITS": f"{compute:.2f}",
        "DLC_CREDITS": "0",
        "USER_CREDITS": "0",
        "STORAGE_CREDITS": f"{storage:.2f}",
        "NETWORK_CREDITS": "0",
        "LEASE_CREDITS": "0",
        "LEASE_OVERAGE_CREDITS": "0",
        "IPRANGES_CREDITS": "0",
        "TOTAL_CREDITS": f"{compute + storage:.2f}",
    }


def _refusal(start: datetime, end: datetime, now: datetime) -> str | None:
    if end < start:
        return "end is before start"
    if end - start > WIDEST:
        return "end must be no more than 31 days after start"
    if now - start > OLDEST:
        return "start must be no more than one year ago"
    return "end must not be in the future" if end > now else None


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _time(value: datetime | None) -> str:
    return NULL if value is None else value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _date(value: datetime) -> str:
    return value.strftime("%Y-%m-%d")
