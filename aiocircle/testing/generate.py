"""How a seeded pipeline comes about: a pure function of the project and the number."""

import random
from datetime import datetime, timedelta
from typing import NamedTuple

import attrs

from aiocircle.testing.artifacts import GeneratedArtifacts
from aiocircle.testing.ids import Address, IdSpace, Kind
from aiocircle.testing.records import Job, Pipeline, Project, Workflow

# Numbers of jobs follow from the place of the job, so that a number leads back to its pipeline without a table.
WORKFLOWS_PER_PIPELINE = 4
JOBS_PER_WORKFLOW = 8
JOBS_PER_PIPELINE = WORKFLOWS_PER_PIPELINE * JOBS_PER_WORKFLOW

BRANCHES = ("main", "main", "main", "feature/login", "feature/größe", "release/1.x")
UNLISTED_TRIGGERS = ("unknown", "Decoupled Ingestion System")
TRIGGERS = ("webhook", "webhook", "api", "scheduled_pipeline", "explicit")
_INTERVAL = timedelta(minutes=37)


class Plan(NamedTuple):
    """The figures of a world that the generator needs."""

    seed: int
    pipelines: int
    artifacts: int
    nodes: int
    newest: datetime
    oddities: frozenset[str]


class _Step(NamedTuple):
    """One job of the workflow every generated pipeline runs."""

    name: str
    type: str = "build"
    parallel: bool = False
    tests: int = 0
    files: bool = False


_STEPS = (
    _Step("compile", files=True),
    _Step("unit tests", parallel=True, tests=50, files=True),
    _Step("lint"),
    _Step("hold for release", type="approval"),
    _Step("deploy"),
)


def job_number(pipeline: int, workflow: int, job: int) -> int:
    """Return the number of a generated job."""
    return ((pipeline - 1) * WORKFLOWS_PER_PIPELINE + workflow) * JOBS_PER_WORKFLOW + job + 1


def branch_of(plan: Plan, project: Project, number: int) -> str | None:
    """Return the branch of a generated pipeline without making it; None for a tag or without version control."""
    if number % 17 == 0 or number % 13 == 0:
        return None
    return random.Random(f"{plan.seed}/{project.index}/{number}/branch").choice(BRANCHES)


def generate_pipeline(plan: Plan, ids: IdSpace, project: Project, number: int) -> Pipeline:
    """Return pipeline ``number`` (from 1) of ``project``, with its workflows and jobs."""
    draw = random.Random(f"{plan.seed}/{project.index}/{number}")
    address = Address(Kind.PIPELINE, project.index, number)
    created_at = plan.newest - _INTERVAL * (plan.pipelines - number) - timedelta(milliseconds=draw.randrange(60_000))
    errored = number % 11 == 0
    pipeline = Pipeline(
        address=address,
        id=ids.make(address),
        project=project,
        number=number,
        state="errored" if errored else "setup" if number % 19 == 0 else "created",
        created_at=created_at,
        trigger=_trigger(plan, draw, number),
        branch=branch_of(plan, project, number),
        tag=f"v1.{number}.0" if number % 17 == 0 else None,
    )
    if errored:
        return pipeline
    first = _workflow(plan, ids, pipeline, 0, failed=number % 4 == 0, held=number % 3 == 0)
    workflows = [first]
    if first.status == "failed":
        workflows.append(_workflow(plan, ids, pipeline, 1, failed=False, held=False))
    if "null-workflow-id" in plan.oddities and number % 5 == 0:
        workflows.append(attrs.evolve(first, id=None, jobs=(), status="not_run", stopped_at=None))
    return attrs.evolve(pipeline, workflows=tuple(workflows))


def planned_jobs(
    plan: Plan, ids: IdSpace, project: Project, workflow: Address, start: datetime, *, held: bool
) -> tuple[Job, ...]:
    """Return the jobs of a workflow that has yet to run, as they will have ended, without numbers.

    Args:
        plan: The world's figures.
        ids: Its identifiers.
        project: The project.
        workflow: Where the workflow stands.
        start: When it appears.
        held: One of the jobs waits to be approved.
    """
    jobs: list[Job] = []
    steps = [step for step in _STEPS if held or step.type != "approval"]
    for place, step in enumerate(steps):
        job = _job(plan, ids, project, workflow._replace(kind=Kind.JOB, job=place), step, start, jobs)
        jobs.append(attrs.evolve(job, number=None))
    return tuple(jobs)


def _trigger(plan: Plan, draw: random.Random, number: int) -> str:
    if "unlisted-trigger" in plan.oddities and number % 7 == 0:
        return UNLISTED_TRIGGERS[number % 2]
    return draw.choice(TRIGGERS)


def _workflow(plan: Plan, ids: IdSpace, pipeline: Pipeline, index: int, *, failed: bool, held: bool) -> Workflow:
    """Return a run of ``build-and-test``: failed in its tests, held before its deployment, or green."""
    address = pipeline.address._replace(kind=Kind.WORKFLOW, workflow=index)
    created_at = pipeline.created_at + timedelta(seconds=3) + timedelta(minutes=12 * index)
    jobs: list[Job] = []
    for place, step in enumerate(_STEPS):
        job = _job(plan, ids, pipeline.project, address._replace(kind=Kind.JOB, job=place), step, created_at, jobs)
        jobs.append(_outcome(plan, job, failed=failed, held=held))
    status = "failed" if failed else "on_hold" if held else "success"
    stopped_at = None if held and not failed else created_at + timedelta(minutes=10)
    return Workflow(
        address=address,
        id=ids.make(address),
        name="build-and-test",
        status=status,
        created_at=created_at,
        stopped_at=stopped_at,
        jobs=tuple(jobs),
    )


def _job(
    plan: Plan, ids: IdSpace, project: Project, address: Address, step: _Step, start: datetime, before: list[Job]
) -> Job:
    nodes = plan.nodes if step.parallel else 1
    started_at = start + timedelta(seconds=5, minutes=2 * address.job)
    seed = f"{plan.seed}/{address}"
    return Job(
        address=address,
        id=ids.make(address),
        project=project,
        name=step.name,
        number=job_number(address.pipeline, address.workflow, address.job),
        type=step.type,
        nodes=nodes,
        created_at=start,
        started_at=started_at,
        stopped_at=started_at + timedelta(seconds=90),
        dependencies=tuple(job.id for job in before[-1:]),
        artifacts=GeneratedArtifacts(seed, plan.artifacts if step.files else 0, nodes),
        tests=step.tests,
    )


def _outcome(plan: Plan, job: Job, *, failed: bool, held: bool) -> Job:
    """Return ``job`` as it ended in a failed, a held or a green workflow."""
    place = job.address.job
    if failed and place == 1:
        return attrs.evolve(job, status="failed")
    never_ran = (failed and place > 1) or (held and place == len(_STEPS) - 1)
    if never_ran:
        status = "skipped" if "skipped-status" in plan.oddities and failed else "blocked"
        return attrs.evolve(
            job,
            number=None,
            status=status,
            started_at=None,
            stopped_at=None,
            artifacts=GeneratedArtifacts("", 0),
            tests=0,
        )
    if job.type == "approval":
        return attrs.evolve(job, status="on_hold" if held else "success", started_at=None, stopped_at=None)
    return job
