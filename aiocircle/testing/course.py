"""What requests set in motion: pipelines that were triggered, reruns, approvals and cancellations.

Nothing runs in the background. A run knows when it began, how long its jobs take and what was done to it; what it looks
like follows from the moment at which somebody looks. So a world moves as its clock does, and a clock that stands still
stops it.
"""

import itertools
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Literal

import attrs

from aiocircle.testing.artifacts import GeneratedArtifacts
from aiocircle.testing.generate import Plan, planned_jobs
from aiocircle.testing.ids import Address, IdSpace, Kind
from aiocircle.testing.records import Job, Pipeline, Workflow

Outcome = Literal["success", "failed", "held", "errored", "skipped"]
Place = tuple[str, int]
"""A pipeline's project and number."""


@attrs.frozen
class Script:
    """What becomes of a triggered pipeline.

    Attributes:
        outcome: ``failed``: a job fails; ``held``: one waits to be approved; ``errored``: the configuration is refused,
            and no workflow ever appears; ``skipped``: nothing is triggered, as for a commit that skips CI.
        delay: Seconds until its workflow appears.
        job_seconds: How long each of its jobs takes.
    """

    outcome: Outcome = "success"
    delay: float = 4.0
    job_seconds: float = 20.0


SCRIPTS: Mapping[str, Script] = {
    "fails": Script("failed"),
    "waits": Script("held"),
    "broken-config": Script("errored"),
    "skip-ci": Script("skipped"),
}
"""What a triggered pipeline does by its branch or tag; everything else succeeds."""

_ENDED = frozenset({"success", "failed", "canceled"})
_MOVING = frozenset({"running", "queued", "on_hold"})
_DAY = timedelta(days=1)


@attrs.define(kw_only=True)
class Run:
    """A workflow that moves: its jobs run one after the other.

    Attributes:
        address: Where it stands.
        id: Its UUID.
        name: Its name.
        began: When its first job may begin.
        created_at: When it appeared; usually the same.
        jobs: As they will have ended if nothing is done to them.
        job_seconds: How long each of them takes.
        carried: Places of jobs that had ended before.
        approved: When jobs that wait were approved, by place.
        canceled: When jobs were cancelled, by place.
        canceled_at: When the whole was cancelled.
    """

    address: Address
    id: str
    name: str
    began: datetime
    jobs: tuple[Job, ...]
    job_seconds: float
    created_at: datetime = attrs.field(default=attrs.Factory(lambda self: self.began, takes_self=True))
    carried: frozenset[int] = frozenset()
    approved: dict[int, datetime] = attrs.field(factory=dict)
    canceled: dict[int, datetime] = attrs.field(factory=dict)
    canceled_at: datetime | None = None

    def at(self, moment: datetime) -> Workflow:
        """Return what it looks like at a moment."""
        seen: list[Job] = []
        start: datetime | None = self.began
        for place in range(len(self.jobs)):
            job, start = self._job_at(place, start, moment)
            seen.append(job)
        status = _status(seen)
        stops = [job.stopped_at for place, job in enumerate(seen) if job.stopped_at and place not in self.carried]
        return Workflow(
            address=self.address,
            id=self.id,
            name=self.name,
            status=status,
            created_at=self.created_at,
            stopped_at=max([self.canceled_at or self.began, *stops]) if status in _ENDED else None,
            jobs=tuple(seen),
        )

    def _job_at(self, place: int, start: datetime | None, moment: datetime) -> tuple[Job, datetime | None]:
        """Return a job that may begin at ``start``, and when the next one may; None for never."""
        job = self.jobs[place]
        if place in self.carried:
            return job, start
        if start is None or start > moment or (self.canceled_at and start >= self.canceled_at):
            return self._waiting(job), None
        if job.type == "approval":
            return self._approval(job, start, self.approved.get(place))
        stop = self.canceled.get(place) or self.canceled_at
        end = start + timedelta(seconds=self.job_seconds)
        if stop is not None and start <= stop < end:
            return attrs.evolve(_unfinished(job, start), status="canceled", stopped_at=stop), None
        if moment < end:
            return _unfinished(job, start), None
        ended = attrs.evolve(job, created_at=self.began, started_at=start, stopped_at=end)
        return ended, end if job.status == "success" else None

    def _approval(self, job: Job, start: datetime, granted: datetime | None) -> tuple[Job, datetime | None]:
        job = attrs.evolve(job, created_at=self.began, started_at=None, stopped_at=None)
        if granted is None:
            return attrs.evolve(job, status="canceled" if self.canceled_at else "on_hold"), None
        return attrs.evolve(job, status="success"), max(start, granted)

    def _waiting(self, job: Job) -> Job:
        return attrs.evolve(
            _unfinished(job, self.began),
            status="canceled" if self.canceled_at else "blocked",
            number=None,
            started_at=None,
        )


def _unfinished(job: Job, start: datetime) -> Job:
    return attrs.evolve(
        job,
        status="running",
        created_at=start,
        started_at=start,
        stopped_at=None,
        artifacts=GeneratedArtifacts("", 0),
        tests=0,
    )


def _status(jobs: list[Job]) -> str:
    statuses = {job.status for job in jobs}
    told = ("canceled", "failed", "running", "on_hold")
    return next((status for status in told if status in statuses), "success" if statuses == {"success"} else "running")


@attrs.define
class _Beginning:
    """A pipeline that was triggered, until its workflow appears."""

    appears: datetime
    script: Script


class Course:
    """Everything that moves in one world.

    Attributes:
        scripts: What triggered pipelines do, by branch or tag.
        numbers: The ids of the jobs that requests brought about, by project and number.
    """

    def __init__(self, plan: Plan, ids: IdSpace) -> None:
        self.scripts = dict(SCRIPTS)
        self.numbers: dict[Place, str] = {}
        self._plan = plan
        self._ids = ids
        self._clock: Callable[[], float] = lambda: 0.0
        self._origin, self._speed = 0.0, 1.0
        self._runs: dict[Place, dict[int, Run]] = {}
        self._beginnings: dict[Place, _Beginning] = {}

    def start(self, clock: Callable[[], float], speed: float) -> None:
        """Let time pass as ``clock`` tells, in seconds, and so many times faster."""
        self._clock, self._origin, self._speed = clock, clock(), speed

    def moment(self) -> datetime:
        """Return the time in the world: a day after everything that was seeded, and counting."""
        return self._plan.newest + _DAY + timedelta(seconds=(self._clock() - self._origin) * self._speed)

    def seen(self, pipeline: Pipeline) -> Pipeline:
        """Return a pipeline as it is now."""
        place = _place(pipeline)
        runs, beginning = self._runs.get(place), self._beginnings.get(place)
        if runs is None and beginning is None:
            return pipeline
        moment = self.moment()
        if beginning is not None and beginning.appears <= moment:
            state = "errored" if beginning.script.outcome == "errored" else "created"
            pipeline = attrs.evolve(pipeline, state=state)
        workflows = dict(enumerate(pipeline.workflows))
        workflows |= {index: run.at(moment) for index, run in (runs or {}).items() if run.began <= moment}
        return attrs.evolve(pipeline, workflows=tuple(workflow for _, workflow in sorted(workflows.items())))

    def script_of(self, ref: str | None) -> Script:
        """Return what a pipeline of a branch or tag does."""
        return self.scripts.get(ref or "", Script())

    def begin(self, pipeline: Pipeline, number: int) -> None:
        """Set a new pipeline in motion; its jobs get numbers from ``number`` on."""
        script = self.script_of(pipeline.branch or pipeline.tag)
        appears = pipeline.created_at + timedelta(seconds=script.delay)
        self._beginnings[_place(pipeline)] = _Beginning(appears, script)
        if script.outcome == "errored":
            return
        address = pipeline.address._replace(kind=Kind.WORKFLOW)
        held = script.outcome == "held"
        jobs = planned_jobs(self._plan, self._ids, pipeline.project, address, appears, held=held)
        if script.outcome == "failed":
            jobs = tuple(
                attrs.evolve(job, status="failed" if place == 1 else "success") for place, job in enumerate(jobs)
            )
        self._add(pipeline, address, "build-and-test", appears, self._numbered(jobs, number), script.job_seconds)

    def rerun(self, pipeline: Pipeline, workflow: Workflow, again: frozenset[int], number: int) -> str:
        """Run the jobs at the places ``again`` in a new workflow and return its UUID; this time they succeed."""
        now = self.moment()
        address = workflow.address._replace(workflow=len(pipeline.workflows))
        jobs = tuple(
            self._renewed(job, address._replace(kind=Kind.JOB, job=place)) if place in again else job
            for place, job in enumerate(workflow.jobs)
        )
        carried = frozenset(range(len(jobs))) - again
        return self._add(
            pipeline, address, workflow.name, now, self._numbered(jobs, number, carried), carried=carried
        ).id

    def cancel(self, pipeline: Pipeline, workflow: Workflow, job: Job | None = None) -> None:
        """Cancel a workflow, or one job of it; what has ended stays as it is."""
        if workflow.status in _ENDED and not any(one.status in _MOVING for one in workflow.jobs):
            return
        run = self._moving(pipeline, workflow, 0)
        if job is None:
            run.canceled_at = run.canceled_at or self.moment()
        else:
            run.canceled.setdefault(job.address.job, self.moment())

    def approve(self, pipeline: Pipeline, workflow: Workflow, job: Job, number: int) -> None:
        """Approve a job that waits; the ones behind it get numbers from ``number`` on."""
        self._moving(pipeline, workflow, number).approved[job.address.job] = self.moment()

    def _moving(self, pipeline: Pipeline, workflow: Workflow, number: int) -> Run:
        """Return the run behind a workflow; one that was only described begins to move now."""
        found = self._runs.get(_place(pipeline), {}).get(workflow.address.workflow)
        if found is not None:
            return found
        carried = frozenset(place for place, job in enumerate(workflow.jobs) if job.status in _ENDED)
        jobs = tuple(
            job if place in carried else attrs.evolve(job, status="success") for place, job in enumerate(workflow.jobs)
        )
        numbered = self._numbered(jobs, number, carried) if number else jobs
        run = self._add(pipeline, workflow.address, workflow.name, self.moment(), numbered, carried=carried)
        run.created_at = workflow.created_at
        return run

    def _renewed(self, job: Job, address: Address) -> Job:
        return attrs.evolve(job, address=address, id=self._ids.make(address), status="success", number=None)

    def _numbered(self, jobs: tuple[Job, ...], first: int, carried: frozenset[int] = frozenset()) -> tuple[Job, ...]:
        """Return jobs with numbers; those that have one keep it."""
        numbers = itertools.count(first)
        numbered = tuple(
            job if place in carried or job.number is not None else attrs.evolve(job, number=next(numbers))
            for place, job in enumerate(jobs)
        )
        self.numbers |= {
            (job.project.slug, job.number): job.id
            for job, before in zip(numbered, jobs, strict=True)
            if job.number is not None and job is not before
        }
        return numbered

    def _add(
        self,
        pipeline: Pipeline,
        address: Address,
        name: str,
        began: datetime,
        jobs: tuple[Job, ...],
        job_seconds: float = Script().job_seconds,
        *,
        carried: frozenset[int] = frozenset(),
    ) -> Run:
        run = Run(
            address=address,
            id=self._ids.make(address),
            name=name,
            began=began,
            jobs=jobs,
            job_seconds=job_seconds,
            carried=carried,
        )
        self._runs.setdefault(_place(pipeline), {})[address.workflow] = run
        return run


def _place(pipeline: Pipeline) -> Place:
    return pipeline.project.slug, pipeline.number
