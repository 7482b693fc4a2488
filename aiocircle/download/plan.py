"""What to fetch: from a selection to jobs, from jobs to artifacts, as one stream.

The fan-out is lazy: pipeline, then workflows, then jobs, then pages of artifacts, a few jobs ahead of what is used. The
order is the host's order whatever answers first, so that a run gives the same names each time.

Of several workflows of one name the newest counts: the others are what it is a rerun of (quirks, A20). Jobs that have
no artifacts by nature, approvals and such as were never dispatched, are skipped without asking.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import UTC, datetime
from uuid import UUID

import anyio
from attrs import evolve, frozen

from aiocircle.api import Artifact, Artifacts, Job, Jobs, Pipeline, Pipelines, Workflow, Workflows
from aiocircle.errors import (
    AioCircleError,
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    WaitTooLongError,
)
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

JOBS_AHEAD = 8  # listings begun before their turn: enough to hide one round trip behind another

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@frozen(kw_only=True)
class Selection:
    """Which jobs: exactly one of a job, a workflow, a pipeline, or the latest pipeline (of a branch).

    Attributes:
        slug: The project.
        job: A job's number.
        workflow: A workflow's id.
        pipeline: A pipeline's number.
        branch: Only with ``latest``.
        latest: The newest pipeline.
    """

    slug: ProjectSlug
    job: int | None = None
    workflow: UUID | None = None
    pipeline: int | None = None
    branch: str | None = None
    latest: bool = False

    def __attrs_post_init__(self) -> None:
        chosen = [self.job is not None, self.workflow is not None, self.pipeline is not None, self.latest]
        if sum(chosen) != 1:
            raise ConfigurationError(
                "say which artifacts: exactly one of a job, a workflow, a pipeline, or the latest pipeline",
                hint="--job N, --workflow UUID, --pipeline N, or --latest with an optional --branch NAME",
            )
        if self.branch is not None and not self.latest:
            raise ConfigurationError("a branch alone selects no pipeline", hint="add --latest for its newest pipeline")


@frozen(kw_only=True)
class JobRef:
    """A job, or the place in which jobs are looked for, and what is known of where it belongs."""

    slug: ProjectSlug
    job_number: int | None = None
    job_name: str | None = None
    workflow_id: UUID | None = None
    workflow_name: str | None = None
    pipeline_number: int | None = None
    branch: str | None = None


@frozen(kw_only=True)
class Skipped:
    """A job that is passed over, and why."""

    name: str | None
    reason: str


@frozen(kw_only=True)
class ListingFailed:
    """A workflow's jobs, or a job's artifacts, could not be listed to the end."""

    what: str
    job_number: int | None
    error: AioCircleError
    job: JobRef | None = None


@frozen(kw_only=True)
class Listed:
    """An artifact of a job."""

    job: JobRef
    artifact: Artifact


@frozen(kw_only=True)
class JobListed:
    """All artifacts of a job have been handed out; ``count`` of them."""

    job: JobRef
    count: int


PlanStep = Skipped | ListingFailed | Listed | JobListed


class Planner:
    """Turns a selection into a stream of artifacts.

    Args:
        session: Asks the API.
        fields: The fields of the layout in use; what is known only by asking is asked for only if one needs it.
    """

    def __init__(self, session: Session, fields: Iterable[str]) -> None:
        self._pipelines = Pipelines(session)
        self._workflows = Workflows(session)
        self._jobs = Jobs(session)
        self._artifacts = Artifacts(session)
        self._fields = frozenset(fields)

    async def steps(self, selection: Selection) -> AsyncGenerator[PlanStep, None]:
        """Yield what is found, in the host's order.

        Raises:
            AioCircleError: The selection itself cannot be listed. Where there may be several jobs, a failure of one of
                their listings is a ``ListingFailed`` instead.
        """
        opened: deque[_Listing] = deque()
        try:
            async with aclosing(self._jobs_of(selection)) as jobs:
                async for found in jobs:
                    if not isinstance(found, JobRef):
                        yield found
                        continue
                    listing = _Listing(found, self._artifacts, alone=selection.job is not None)
                    opened.append(listing)
                    if len(opened) > JOBS_AHEAD:
                        async for step in opened[0].steps():
                            yield step
                        opened.popleft()
            while opened:
                async for step in opened[0].steps():
                    yield step
                opened.popleft()
        finally:
            with anyio.CancelScope(shield=True):
                for listing in opened:
                    await listing.close()

    async def _jobs_of(self, selection: Selection) -> AsyncGenerator[JobRef | Skipped | ListingFailed, None]:
        slug = selection.slug
        if selection.job is not None:
            yield await self._job(slug, selection.job)
            return
        if selection.workflow is not None:
            async with aclosing(self._jobs_in(await self._workflow(slug, selection.workflow))) as jobs:
                async for job in jobs:
                    yield job
            return
        pipeline = await self._pipeline(selection)
        for workflow in newest_of_each_name(await self._workflows.list(pipeline.id).collect()):
            if workflow.id is None:
                yield Skipped(name=workflow.name, reason="the workflow has no id")
                continue
            place = JobRef(
                slug=slug,
                workflow_id=workflow.id,
                workflow_name=workflow.name,
                pipeline_number=pipeline.number,
                branch=pipeline.vcs.branch if pipeline.vcs else None,
            )
            async with aclosing(self._guarded(workflow, place)) as jobs:
                async for found in jobs:
                    yield found

    async def _pipeline(self, selection: Selection) -> Pipeline:
        if selection.pipeline is not None:
            return await self._pipelines.get_by_number(selection.slug, selection.pipeline)
        newest = await self._pipelines.list(selection.slug, branch=selection.branch).first()
        if newest is None:
            where = f"on branch {selection.branch!r}" if selection.branch else "in this project"
            raise NotFoundError(404, "list pipelines", f"there is no pipeline {where}", hint="is the branch right?")
        return newest

    async def _guarded(
        self, workflow: Workflow, place: JobRef
    ) -> AsyncGenerator[JobRef | Skipped | ListingFailed, None]:
        """A workflow's jobs expire before its pipeline does (quirks, section 4); the others still count."""
        try:
            async with aclosing(self._jobs_in(place)) as jobs:
                async for found in jobs:
                    yield found
        except (AuthenticationError, WaitTooLongError):
            raise
        except AioCircleError as error:
            what = f"jobs of workflow {workflow.name or workflow.id}"
            yield ListingFailed(what=what, job_number=None, error=error, job=place)

    async def _jobs_in(self, place: JobRef) -> AsyncGenerator[JobRef | Skipped, None]:
        assert place.workflow_id is not None
        async with aclosing(self._jobs.list(place.workflow_id).pages()) as pages:
            async for page in pages:
                for job in page.items:
                    yield _ref_of(job, place)

    async def _job(self, slug: ProjectSlug, number: int) -> JobRef:
        place = JobRef(slug=slug, job_number=number)
        if not self._fields & {"job_name", "workflow_id", "workflow_name", "pipeline_number", "branch"}:
            return place
        details = await self._jobs.get(slug, number)
        workflow = details.latest_workflow
        place = evolve(
            place,
            job_name=details.name,
            workflow_id=workflow.id if workflow else None,
            workflow_name=workflow.name if workflow else None,
        )
        return await self._with_pipeline(place, details.pipeline.id if details.pipeline else None)

    async def _workflow(self, slug: ProjectSlug, workflow_id: UUID) -> JobRef:
        place = JobRef(slug=slug, workflow_id=workflow_id)
        if not self._fields & {"workflow_name", "pipeline_number", "branch"}:
            return place
        workflow = await self._workflows.get(workflow_id)
        return await self._with_pipeline(evolve(place, workflow_name=workflow.name), workflow.pipeline_id)

    async def _with_pipeline(self, place: JobRef, pipeline_id: UUID | None) -> JobRef:
        if pipeline_id is None or not self._fields & {"pipeline_number", "branch"}:
            return place
        pipeline = await self._pipelines.get(pipeline_id)
        return evolve(place, pipeline_number=pipeline.number, branch=pipeline.vcs.branch if pipeline.vcs else None)


def _ref_of(job: Job, place: JobRef) -> JobRef | Skipped:
    if job.type == "approval":
        return Skipped(name=job.name, reason="an approval has no artifacts")
    if job.job_number is None:
        return Skipped(name=job.name, reason=f"never ran ({job.status or 'no status'})")
    return evolve(place, job_number=job.job_number, job_name=job.name)


class _Listing:
    """The artifacts of one job, the first page of them on its way."""

    def __init__(self, job: JobRef, artifacts: Artifacts, *, alone: bool) -> None:
        assert job.job_number is not None
        self._job = job
        self._alone = alone
        self._pages = artifacts.list(job.slug, job.job_number).pages()
        self._first = asyncio.ensure_future(anext(self._pages))

    async def steps(self) -> AsyncGenerator[PlanStep, None]:
        """Yield the artifacts, then how it ended."""
        count = 0
        try:
            page = await self._first
            while True:
                for artifact in page.items:
                    count += 1
                    yield Listed(job=self._job, artifact=artifact)
                page = await anext(self._pages)
        except StopAsyncIteration:
            yield JobListed(job=self._job, count=count)
        except (AuthenticationError, WaitTooLongError):
            raise
        except AioCircleError as error:
            if self._alone and not count:
                raise
            yield ListingFailed(
                what=f"artifacts of job {self._job.job_number}",
                job_number=self._job.job_number,
                error=error,
                job=self._job,
            )

    async def close(self) -> None:
        """Stop what is still on its way."""
        self._first.cancel()
        await asyncio.gather(self._first, return_exceptions=True)
        await self._pages.aclose()


def newest_of_each_name(workflows: Iterable[Workflow]) -> list[Workflow]:
    """Return, in the order given, the newest workflow of each name: the others are what it is a rerun of."""
    newest: dict[str | None, Workflow] = {}
    for workflow in workflows:
        known = newest.get(workflow.name)
        if known is None or (workflow.created_at or _LONG_AGO) > (known.created_at or _LONG_AGO):
            newest[workflow.name] = workflow
    return list(newest.values())
