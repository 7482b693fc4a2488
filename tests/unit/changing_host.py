"""A host whose history grows and changes while nobody looks, without sockets, for exports by the thousand.

`ChangingHost` stands in the place of a session. It knows what every listing has to answer, and can let listings fail,
forget page tokens, and cancel whoever asks at a request or while files are written: a kill that leaves what is
committed, as SQLite's own commits are what a kill leaves.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from attrs import define, field

from aiocircle.errors import NotFoundError, ServerError
from aiocircle.events import TableWritten
from aiocircle.ratelimit.facts import RateFacts
from aiocircle.response import Response

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BRANCHES = ("main", "next")
PAGE = 3
Json = dict[str, Any]


@define(eq=False)
class Job:
    number: int | None
    id: str
    status: str
    tests: int = 0
    artifacts: int = 0

    @property
    def has_run(self) -> bool:
        return self.number is not None and self.status == "success"


@define(eq=False)
class Workflow:
    id: str
    status: str
    changed_at: datetime
    rerun_of: datetime | None = None  # when its pipeline was created, if it is not of the first ones
    jobs: list[Job] = field(factory=list)


@define(eq=False)
class Pipeline:
    id: str
    number: int
    created_at: datetime
    branch: str
    state: str = "created"
    workflows: list[Workflow] = field(factory=list)


@define(eq=False)
class ChangingHost:
    """Answers what an export asks for, and changes when told to."""

    random: Random
    projects: Mapping[str, list[Pipeline]]
    now: datetime = BEGIN
    origin: str = "https://host"
    schedules: dict[str, list[str]] = field(factory=dict)
    gone: set[str] = field(factory=set)  # paths that are not found any more
    broken: set[str] = field(factory=set)  # paths that fail as long as they are here
    era: int = 0  # of page tokens: earlier ones are not known any more
    kill_at: int | None = None  # requests and events of files until the export is cut
    killed: Callable[[], object] = lambda: None
    ids: int = 0
    numbers: int = 0

    # --- what changes -------------------------------------------------------------------------------------------------

    def id(self) -> str:
        self.ids += 1
        return str(UUID(int=self.ids << 64 | 0x4000 << 64 | 0x8000000000000000, version=4))

    def pass_time(self, span: timedelta) -> None:
        self.now += span
        if span < timedelta(hours=1):
            return
        for pipelines in self.projects.values():
            for pipeline in pipelines:
                if pipeline.state == "pending":
                    pipeline.state = "created"
                    self.add_workflow(pipeline)

    def trigger(self, slug: str) -> None:
        self.now += timedelta(seconds=1)
        pipelines = self.projects[slug]
        branch = self.random.choice(BRANCHES)
        pipeline = Pipeline(self.id(), len(pipelines) + 1, self.now, branch)
        pipelines.append(pipeline)
        pipeline.state = self.random.choice(("pending", "errored", "created", "created", "created", "created"))
        if pipeline.state == "created":
            for _ in range(self.random.choice((1, 1, 2))):
                self.add_workflow(pipeline)

    def add_workflow(self, pipeline: Pipeline, *, is_rerun: bool = False) -> None:
        status = self.random.choice(("success", "success", "failed", "running", "on_hold"))
        workflow = Workflow(self.id(), status, self.now, pipeline.created_at if is_rerun else None)
        pipeline.workflows.append(workflow)
        for _ in range(self.random.randint(1, 3)):
            self.add_job(workflow)
        if status == "on_hold":
            workflow.jobs.append(Job(None, self.id(), "on_hold"))

    def add_job(self, workflow: Workflow) -> None:
        status = "running" if workflow.status == "running" and self.random.random() < 0.5 else "success"
        self.numbers += 1
        job = Job(self.numbers, self.id(), status, self.random.randint(0, 3), self.random.randint(0, 2))
        workflow.jobs.append(job)

    def progress(self, workflow: Workflow) -> None:
        workflow.changed_at = self.now
        workflow.status = self.random.choice(("success", "failed", "canceled", workflow.status))
        if workflow.status == "running":
            self.add_job(workflow)
        for job in workflow.jobs:
            if workflow.status != "on_hold" and job.number is not None:
                job.status = "success"

    # --- what it holds ------------------------------------------------------------------------------------------------

    def pipelines(self, slug: str) -> Iterator[Pipeline]:
        return reversed(self.projects[slug])

    def workflows(self) -> list[Workflow]:
        return [one for pipelines in self.projects.values() for p in pipelines for one in p.workflows]

    # --- a session ----------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Any:
        return SimpleNamespace(wall=self.now.timestamp, monotonic=lambda: 0.0)

    @property
    def limiter(self) -> Any:
        return SimpleNamespace(totals=lambda: SimpleNamespace(requests=0, refusals=0, waits=0, waited=0.0))

    def watched(self, kind: type) -> bool:
        return kind is TableWritten

    def emit(self, event: object) -> None:
        if isinstance(event, TableWritten):
            self.step()

    def step(self) -> None:
        if self.kill_at is not None:
            self.kill_at -= 1
            if self.kill_at == 0:
                self.killed()

    def request(self, operation: str, _method: str, path: str, *, query: Any = None, **_: Any) -> Any:
        return SimpleNamespace(operation=operation, path=path, query=query or {})

    async def ask(self, request: Any) -> Any:
        self.step()
        await asyncio.sleep(0)
        path = request.path.replace("%2F", "/")
        if path in self.gone:
            raise NotFoundError(404, request.operation, "Not Found")
        if path in self.broken:
            raise ServerError(500, request.operation, "broken")
        json = self.answer(path, request.query)
        return Response(status=200, headers={}, value=json, json=json, rate=RateFacts())

    def answer(self, path: str, query: Mapping[str, Any]) -> Json:
        for pattern, answer in _ROUTES.items():
            if found := re.fullmatch(pattern, path):
                return answer(self, query, *found.groups())
        raise AssertionError(path)

    # --- answers ------------------------------------------------------------------------------------------------------

    def _pipelines(self, query: Mapping[str, Any], slug: str) -> Json:
        branch, token = query.get("branch"), query.get("page-token")
        listed = [one for one in self.pipelines(slug) if branch in {None, one.branch}]
        place = 0
        if token is not None:  # it names the pipeline behind which the page begins
            era, number = map(int, token.split("/"))
            if era < self.era:
                raise NotFoundError(404, "list pipelines", "no such page")
            place = next(place for place, one in enumerate(listed, 1) if one.number == number)
        page, more = listed[place : place + PAGE], place + PAGE < len(listed)
        items = [
            {
                "id": one.id,
                "number": one.number,
                "state": one.state,
                "created_at": one.created_at.isoformat(),
                "vcs": {"branch": one.branch},
            }
            for one in page
        ]
        return {"items": items, "next_page_token": f"{self.era}/{page[-1].number}" if more else None}

    def _workflows(self, _query: object, pipeline_id: str) -> Json:
        found = next(p for pipelines in self.projects.values() for p in pipelines if p.id == pipeline_id)
        return {
            "items": [
                {"id": one.id, "name": "build", "status": one.status, "created_at": found.created_at.isoformat()}
                for one in found.workflows
            ]
        }

    def _jobs(self, _query: object, workflow_id: str) -> Json:
        found = next(one for one in self.workflows() if one.id == workflow_id)
        return {
            "items": [
                {
                    "id": one.id,
                    "name": f"job {one.number}",
                    "job_number": one.number,
                    "status": one.status,
                    "type": "build" if one.number else "approval",
                    "stopped_at": self.now.isoformat() if one.has_run else None,
                }
                for one in found.jobs
            ]
        }

    def _job(self, number: str) -> Job:
        return next(job for one in self.workflows() for job in one.jobs if job.number == int(number))

    def _details(self, _query: object, _slug: str, number: str) -> Json:
        return {"number": int(number), "status": self._job(number).status, "name": f"job {number}"}

    def _artifacts(self, _query: object, _slug: str, number: str) -> Json:
        return {
            "items": [
                {"path": f"file {place}", "node_index": 0, "url": f"https://host/{number}/{place}"}
                for place in range(self._job(number).artifacts)
            ]
        }

    def _tests(self, _query: object, _slug: str, number: str) -> Json:
        return {"items": [{"name": f"test {place}", "result": "success"} for place in range(self._job(number).tests)]}

    def _schedules(self, _query: object, slug: str) -> Json:
        return {"items": [{"id": one, "name": f"schedule {one}"} for one in self.schedules.get(slug, [])]}


_ROUTES: Mapping[str, Callable[..., Json]] = {
    "/project/([^/]+/[^/]+/[^/]+)/pipeline": ChangingHost._pipelines,
    "/pipeline/([^/]+)/workflow": ChangingHost._workflows,
    "/workflow/([^/]+)/job": ChangingHost._jobs,
    r"/project/([^/]+/[^/]+/[^/]+)/job/(\d+)": ChangingHost._details,
    r"/project/([^/]+/[^/]+/[^/]+)/(\d+)/artifacts": ChangingHost._artifacts,
    r"/project/([^/]+/[^/]+/[^/]+)/(\d+)/tests": ChangingHost._tests,
    "/project/([^/]+/[^/]+/[^/]+)/schedule": ChangingHost._schedules,
}
