"""From a selection to jobs: projects, their pipelines, the workflows and jobs of those, as one stream.

The fan-out runs a few listings ahead at each level (`aiocircle.download.ahead`), all under the one rate limit. The
order is the host's order, newest first, whatever answers first, so that a run gives the same names each time. What a
selection says is applied at the first level that can tell: a pipeline that is not wanted costs no request for its
workflows, a workflow none for its jobs, a job none for its artifacts.

Of several workflows of one name the newest counts: the others are what it is a rerun of (quirks, A20). Jobs that have
no artifacts by nature, approvals and such as were never dispatched, are skipped without asking. What the host has
forgotten is skipped too, with that reason: workflows and jobs expire before their pipeline does (quirks, section 4).
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from attrs import evolve, frozen

from aiocircle.api import Job, Jobs, Pipeline, Pipelines, Workflow, Workflows
from aiocircle.download.ahead import in_turn
from aiocircle.download.globs import name_matcher
from aiocircle.download.selection import Selection
from aiocircle.errors import AioCircleError, AuthenticationError, GoneError, NotFoundError, WaitTooLongError
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

T = TypeVar("T")

PROJECTS_AT_ONCE = 2
PIPELINES_AT_ONCE = 8  # listings of workflows, and so below; enough to hide one round trip behind others
WORKFLOWS_AT_ONCE = 8
EXPIRED = "expired: the host does not know it any more"
EXPIRED_FILE = "expired: the host lists the file and has it no longer"
EXPIRED_ENTRY = "expired: the host does not list it any more"

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@frozen(kw_only=True)
class JobRef:
    """A job, or the place in which jobs are looked for, and what is known of where it belongs."""

    slug: ProjectSlug
    job_number: int | None = None
    job_name: str | None = None
    pipeline_id: UUID | None = None
    workflow_id: UUID | None = None
    workflow_name: str | None = None
    pipeline_number: int | None = None
    branch: str | None = None


@frozen(kw_only=True)
class Skipped:
    """Something that is passed over, and why.

    Attributes:
        name: What it is called.
        reason: Why, in words.
        job_number: Its number, if it is a job.
    """

    name: str | None
    reason: str
    job_number: int | None = None


@frozen(kw_only=True)
class ListingFailed:
    """Something could not be listed to the end; ``job`` is the job, or the place of jobs, if it was one."""

    what: str
    job_number: int | None
    error: AioCircleError
    job: JobRef | None = None


Found = JobRef | Skipped | ListingFailed


class Crawl:
    """Turns a selection into a stream of jobs.

    Args:
        session: Asks the API.
        selection: Which jobs.
        fields: The fields of the layout in use; what is known only by asking is asked for only if one needs it.
    """

    def __init__(self, session: Session, selection: Selection, fields: Iterable[str]) -> None:
        self._pipelines = Pipelines(session)
        self._workflows = Workflows(session)
        self._jobs = Jobs(session)
        self._selection = selection
        self._fields = frozenset(fields)
        self._wants_workflow = name_matcher(selection.workflow_names)
        self._wants_job = name_matcher(selection.job_names)
        self._statuses = frozenset(status.lower() for status in selection.statuses)

    async def jobs(self) -> AsyncGenerator[Found, None]:
        """Yield the jobs, and what is passed over, in the host's order.

        Raises:
            AioCircleError: The selection itself cannot be listed. The failure of one of several listings is a
                ``ListingFailed`` instead.
        """
        if self._selection.job is not None:
            yield await self._one_job(self._selection.projects[0], self._selection.job)
            return
        async with aclosing(in_turn(self._workflow_places(), self._jobs_of, WORKFLOWS_AT_ONCE)) as jobs:
            async for job in jobs:
                yield job

    async def _workflow_places(self) -> AsyncGenerator[Found, None]:
        if self._selection.workflow is not None:
            yield await self._one_workflow(self._selection.projects[0], self._selection.workflow)
            return
        async with aclosing(in_turn(self._pipeline_places(), self._workflows_of, PIPELINES_AT_ONCE)) as places:
            async for place in places:
                yield place

    async def _pipeline_places(self) -> AsyncGenerator[Found, None]:
        slugs = _each(self._selection.projects)
        async with aclosing(in_turn(slugs, self._pipelines_of, PROJECTS_AT_ONCE)) as places:
            async for place in places:
                yield place

    # --- one listing each ---------------------------------------------------------------------------------------------

    def _pipelines_of(self, slug: ProjectSlug) -> AsyncGenerator[Found, None]:
        found = self._all_pipelines(slug) if self._selection.is_whole else self._one_pipeline(slug)
        return guarded(found, f"pipelines of {slug}", alone=len(self._selection.projects) == 1)

    def _workflows_of(self, place: Found) -> AsyncGenerator[Found, None]:
        if not isinstance(place, JobRef):
            return _each((place,))
        what = f"workflows of pipeline {place.pipeline_number or place.pipeline_id}"
        return guarded(self._wanted_workflows(place), what, alone=self._selection.pipeline is not None)

    def _jobs_of(self, place: Found) -> AsyncGenerator[Found, None]:
        if not isinstance(place, JobRef):
            return _each((place,))
        what = f"jobs of workflow {place.workflow_name or place.workflow_id}"
        return guarded(self._wanted_jobs(place), what, alone=self._selection.workflow is not None, job=place)

    async def _one_pipeline(self, slug: ProjectSlug) -> AsyncGenerator[Found, None]:
        if self._selection.pipeline is not None:
            yield _place_of(slug, await self._pipelines.get_by_number(slug, self._selection.pipeline))
            return
        branch = self._selection.branch
        newest = await self._pipelines.list(slug, branch=branch).first()
        if newest is None:
            where = f"on branch {branch!r}" if branch else f"in {slug}"
            raise NotFoundError(404, "list pipelines", f"there is no pipeline {where}", hint="is the branch right?")
        yield _place_of(slug, newest)

    async def _all_pipelines(self, slug: ProjectSlug) -> AsyncGenerator[Found, None]:
        """Yield the pipelines of the time that is wanted, and ask for no page behind it: the newest come first."""
        since, until = self._selection.since, self._selection.until
        listing = self._pipelines.list(slug, branch=self._selection.branch)
        async with aclosing(listing.pages(ahead=since is None)) as pages:
            async for page in pages:
                over = False
                for pipeline in page.items:
                    created_at = pipeline.created_at
                    if created_at is not None and since is not None and created_at < since:
                        over = True
                    elif created_at is None or until is None or created_at < until:
                        yield _place_of(slug, pipeline)
                if over:
                    return

    async def _wanted_workflows(self, place: JobRef) -> AsyncGenerator[Found, None]:
        assert place.pipeline_id is not None
        listed = await self._workflows.list(place.pipeline_id).collect()
        wanted = [workflow for workflow in listed if self._wants_workflow(workflow.name)]
        for workflow in wanted if self._selection.all_reruns else newest_of_each_name(wanted):
            if workflow.id is None:
                yield Skipped(name=workflow.name, reason="the workflow has no id")
            else:
                yield evolve(place, workflow_id=workflow.id, workflow_name=workflow.name)

    async def _wanted_jobs(self, place: JobRef) -> AsyncGenerator[Found, None]:
        assert place.workflow_id is not None
        async with aclosing(self._jobs.list(place.workflow_id).pages()) as pages:
            async for page in pages:
                for job in page.items:
                    if self._wants_job(job.name) and (not self._statuses or (job.status or "") in self._statuses):
                        yield _ref_of(job, place)

    # --- what is named by itself --------------------------------------------------------------------------------------

    async def _one_job(self, slug: ProjectSlug, number: int) -> JobRef:
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

    async def _one_workflow(self, slug: ProjectSlug, workflow_id: UUID) -> JobRef:
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


async def guarded(
    listing: AsyncGenerator[T, None], what: str, *, alone: bool, job: JobRef | None = None
) -> AsyncGenerator[T | Skipped | ListingFailed, None]:
    """Yield what a listing yields; if it fails, say so in its stream, since the others still count.

    Args:
        listing: Is closed at the end.
        what: What it is a listing of.
        alone: There are no others: if nothing came of it, its failure is that of the selection.
        job: The job whose artifacts they are, or the place whose jobs.
    """
    begun = False
    job_number = job.job_number if job is not None else None
    try:
        async with aclosing(listing) as values:
            async for value in values:
                begun = True
                yield value
    except (AuthenticationError, WaitTooLongError):
        raise
    except AioCircleError as error:
        if alone and not begun:
            raise
        if isinstance(error, NotFoundError | GoneError):
            yield Skipped(name=what, reason=EXPIRED, job_number=job_number)
        else:
            yield ListingFailed(what=what, job_number=job_number, error=error, job=job)


def newest_of_each_name(workflows: Iterable[Workflow]) -> list[Workflow]:
    """Return, in the order given, the newest workflow of each name: the others are what it is a rerun of."""
    newest: dict[str | None, Workflow] = {}
    for workflow in workflows:
        known = newest.get(workflow.name)
        if known is None or (workflow.created_at or _LONG_AGO) > (known.created_at or _LONG_AGO):
            newest[workflow.name] = workflow
    return list(newest.values())


def _place_of(slug: ProjectSlug, pipeline: Pipeline) -> JobRef:
    return JobRef(
        slug=slug,
        pipeline_id=pipeline.id,
        pipeline_number=pipeline.number,
        branch=pipeline.vcs.branch if pipeline.vcs else None,
    )


def _ref_of(job: Job, place: JobRef) -> JobRef | Skipped:
    if job.type == "approval":
        return Skipped(name=job.name, reason="an approval has no artifacts", job_number=job.job_number)
    if job.job_number is None:
        return Skipped(name=job.name, reason=f"never ran ({job.status or 'no status'})")
    return evolve(place, job_number=job.job_number, job_name=job.name)


async def _each(values: Iterable[T]) -> AsyncGenerator[T, None]:
    for value in values:
        yield value
