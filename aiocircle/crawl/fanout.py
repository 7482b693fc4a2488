"""The one fan-out: projects, their pipelines, the workflows and jobs of those, as one stream.

It runs a few listings ahead at each level (`aiocircle.crawl.ahead`), all under the one rate limit. The order is the
host's order, newest first, whatever answers first, so that a run gives the same names each time; what is found comes
before what lies below it. What a selection says is applied at the first level that can tell: a pipeline that is not
wanted costs no request for its workflows, a workflow none for its jobs.

Of several workflows of one name the newest counts unless told otherwise: the others are what it is a rerun of (quirks,
A20). What the host has forgotten is skipped, with that reason: workflows and jobs expire before their pipeline does
(quirks, section 4).
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from attrs import evolve, field, frozen

from aiocircle.api import Job, Pipeline, Pipelines, Workflow, operations
from aiocircle.crawl.ahead import in_turn
from aiocircle.crawl.seen import Seen
from aiocircle.crawl.selection import Selection
from aiocircle.errors import AioCircleError, AuthenticationError, GoneError, NotFoundError, WaitTooLongError
from aiocircle.globs import name_matcher
from aiocircle.resource import Resource
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

T = TypeVar("T")

PROJECTS_AT_ONCE = 2
AT_ONCE = 8  # listings of workflows, and so of jobs; enough to hide one round trip behind others
ITSELF = 1  # what is found lies ready while what is below it is asked for
EXPIRED = "expired: the host does not know it any more"
ENDED = frozenset({"success", "failed", "error", "canceled", "unauthorized", "not_run"})
"""Statuses of workflows that have come to their end."""

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
class PipelineFound:
    """A pipeline, before what lies below it.

    Attributes:
        ref: Where that is looked for.
        pipeline: As decoded.
        json: As the host gave it; empty where it was not asked for by this run.
        goes_on: What lies below it is wanted.
    """

    ref: JobRef
    pipeline: Pipeline
    json: Mapping[str, Any] = field(factory=dict, repr=False)
    goes_on: bool = True


@frozen(kw_only=True)
class WorkflowFound:
    """A workflow, before its jobs; see `PipelineFound`."""

    ref: JobRef
    pipeline: Pipeline
    workflow: Workflow
    json: Mapping[str, Any] = field(factory=dict, repr=False)
    goes_on: bool = True


@frozen(kw_only=True)
class JobFound:
    """A job, with what it belongs to as far as that was listed; see `PipelineFound`."""

    ref: JobRef
    pipeline: Pipeline | None
    workflow: Workflow | None
    job: Job
    json: Mapping[str, Any] = field(factory=dict, repr=False)


@frozen
class AllBelow:
    """Everything that was found below a pipeline, a workflow or a job has been handed out."""

    found: PipelineFound | WorkflowFound | JobFound


@frozen(kw_only=True)
class Skipped:
    """Something that is passed over, and why.

    Attributes:
        name: What it is called.
        reason: Why, in words.
        job_number: Its number, if it is a job.
        ref: It, or the place in which it was looked for.
    """

    name: str | None
    reason: str
    job_number: int | None = None
    ref: JobRef | None = None


@frozen(kw_only=True)
class ListingFailed:
    """Something could not be listed to the end; ``job`` is the job, or the place of jobs, if it was one."""

    what: str
    job_number: int | None
    error: AioCircleError
    job: JobRef | None = None


Found = PipelineFound | WorkflowFound | JobFound | AllBelow | Skipped | ListingFailed

Chosen = Callable[[PipelineFound, Sequence[WorkflowFound]], Awaitable[Sequence[WorkflowFound]]]


async def all_of_them(_pipeline: PipelineFound, workflows: Sequence[WorkflowFound]) -> Sequence[WorkflowFound]:
    """Choose every workflow."""
    return workflows


class Crawl:
    """Turns a selection into a stream of what there is, or the pipelines that somebody else found into what is below.

    Args:
        session: Asks the API.
        selection: Which pipelines, workflows and jobs.
        choose: Given a pipeline and its workflows, says whose jobs are wanted: by ``goes_on``.
        at_once: How many pipelines are gone into at a time, those included that only pass by.
        seen: Told what was not wanted.
    """

    def __init__(
        self,
        session: Session,
        selection: Selection,
        choose: Chosen = all_of_them,
        at_once: int = AT_ONCE,
        seen: Seen | None = None,
    ) -> None:
        self._seen = seen or Seen()
        self._at_once = at_once
        self._pipelines = Pipelines(session)
        self._resource = Resource(session)
        self._selection = selection
        self._choose = choose
        self._wants_workflow = name_matcher(selection.workflow_names)
        self._wants_job = name_matcher(selection.job_names)
        self._statuses = frozenset(status.lower() for status in selection.statuses)

    def everything(self) -> AsyncGenerator[Found, None]:
        """Yield what is selected by pipelines, of each project in turn.

        Raises:
            AioCircleError: The selection itself cannot be listed. The failure of one of several listings is a
                ``ListingFailed`` instead.
        """
        return self.below(self.pipelines())

    def pipelines(self) -> AsyncGenerator[Found, None]:
        """Yield the pipelines that are selected, and nothing of what is below them."""
        return in_turn(each(self._selection.projects), self._pipelines_of, PROJECTS_AT_ONCE)

    def below(self, pipelines: AsyncGenerator[T | Found, None]) -> AsyncGenerator[T | Found, None]:
        """Yield what comes, and below each pipeline its workflows and their jobs.

        Args:
            pipelines: Is closed at the end. What is no pipeline keeps its place.
        """
        return self.jobs_below(in_turn(pipelines, self._workflows_of, self._at_once, ITSELF))

    def jobs_below(self, workflows: AsyncGenerator[T | Found, None]) -> AsyncGenerator[T | Found, None]:
        """Yield what comes, and below each workflow its jobs."""
        return in_turn(workflows, self._jobs_of, 2 * self._at_once, ITSELF)

    # --- one listing each ---------------------------------------------------------------------------------------------

    def _pipelines_of(self, slug: ProjectSlug) -> AsyncGenerator[Found, None]:
        found = self._all_pipelines(slug) if self._selection.is_whole else self._one_pipeline(slug)
        return guarded(found, f"pipelines of {slug}", alone=self._is_one_project, expires=False)

    @property
    def _is_one_project(self) -> bool:
        return len(self._selection.projects) == 1

    async def _one_pipeline(self, slug: ProjectSlug) -> AsyncGenerator[PipelineFound | Skipped, None]:
        if self._selection.pipeline is not None:
            yield found_pipeline(slug, await self._pipelines.get_by_number(slug, self._selection.pipeline))
            return
        branch = self._selection.branch
        newest = await self._pipelines.list(slug, branch=branch).first()
        if newest is not None:
            yield found_pipeline(slug, newest)
            return
        why = f"there is no pipeline{f' on branch {branch!r}' if branch else ''}"
        if self._is_one_project:
            raise NotFoundError(404, "list pipelines", f"{why} in {slug}", hint="is the branch right?")
        yield Skipped(name=f"pipelines of {slug}", reason=why, ref=JobRef(slug=slug))

    async def _all_pipelines(self, slug: ProjectSlug) -> AsyncGenerator[PipelineFound, None]:
        selection = self._selection
        async with aclosing(self.pages(slug, since=selection.since, until=selection.until)) as pages:
            async for found, _ in pages:
                for pipeline in found:
                    yield pipeline

    async def pages(
        self, slug: ProjectSlug, *, since: datetime | None, until: datetime | None, page_token: str | None = None
    ) -> AsyncGenerator[tuple[list[PipelineFound], str | None], None]:
        """Yield the pipelines of a time page by page, with the next page's token.

        No page is asked for behind that time, since the newest come first; the token is ``None`` then. The last date of
        a page tells: one before it that is wrong, such as one of the year 1, hides nothing that comes after it.
        """
        query = {"branch": self._selection.branch}
        listing = self._resource.pairs(operations.PIPELINES_LIST, Pipeline, {"slug": slug}, query, start=page_token)
        async with aclosing(listing.pages(ahead=since is None)) as pages:
            async for page in pages:
                found, over = [], False
                for pipeline, json in page.items:
                    created_at = pipeline.created_at
                    if created_at is not None:
                        over = since is not None and created_at < since
                        if over or (until is not None and created_at >= until):
                            continue
                    found.append(found_pipeline(slug, pipeline, json))
                yield found, None if over else page.next_page_token
                if over:
                    return

    async def _workflows_of(self, found: T | Found) -> AsyncGenerator[T | Found, None]:
        yield found
        if not isinstance(found, PipelineFound) or not found.goes_on:
            return
        what = f"workflows of pipeline {found.ref.pipeline_number or found.ref.pipeline_id}"
        alone = self._selection.pipeline is not None
        async with aclosing(guarded(self._wanted_workflows(found), what, alone=alone, job=found.ref)) as workflows:
            async for workflow in workflows:
                yield workflow
        yield AllBelow(found)

    async def _wanted_workflows(self, found: PipelineFound) -> AsyncGenerator[Found, None]:
        path = {"pipeline_id": found.ref.pipeline_id}
        listed = await self._resource.pairs(operations.WORKFLOWS_LIST, Workflow, path).collect()
        wanted = [pair for pair in listed if self._wants_workflow(pair[0].name)]
        for workflow, _ in listed if not wanted else ():
            self._seen.note("workflows", workflow.name)
        if not self._selection.all_reruns:
            newest = {id(workflow) for workflow in newest_of_each_name(workflow for workflow, _ in wanted)}
            wanted = [pair for pair in wanted if id(pair[0]) in newest]
        named = []
        for workflow, json in wanted:
            ref = evolve(found.ref, workflow_id=workflow.id, workflow_name=workflow.name)
            if workflow.id is None:
                yield Skipped(name=workflow.name, reason="the workflow has no id", ref=ref)
            else:
                named.append(WorkflowFound(ref=ref, pipeline=found.pipeline, workflow=workflow, json=json))
        for one in await self._choose(found, named):
            yield one

    async def _jobs_of(self, found: T | Found) -> AsyncGenerator[T | Found, None]:
        yield found
        if not isinstance(found, WorkflowFound) or not found.goes_on:
            return
        listing = self.jobs_of(found.ref, found.pipeline, found.workflow)
        what = f"jobs of workflow {found.ref.workflow_name or found.ref.workflow_id}"
        async with aclosing(guarded(listing, what, alone=False, job=found.ref)) as jobs:
            async for job in jobs:
                yield job
        yield AllBelow(found)

    async def jobs_of(
        self, place: JobRef, pipeline: Pipeline | None = None, workflow: Workflow | None = None
    ) -> AsyncGenerator[JobFound, None]:
        """Yield the jobs of a workflow that are wanted."""
        listing = self._resource.pairs(operations.JOBS_LIST, Job, {"workflow_id": place.workflow_id})
        async with aclosing(listing.pages()) as pages:
            async for page in pages:
                for job, json in page.items:
                    if not self._wants_job(job.name):
                        self._seen.note("jobs", job.name)
                    elif self._statuses and (job.status or "") not in self._statuses:
                        self._seen.note("statuses", job.status)
                    else:
                        ref = evolve(place, job_number=job.job_number, job_name=job.name)
                        yield JobFound(ref=ref, pipeline=pipeline, workflow=workflow, job=job, json=json)


def found_pipeline(slug: ProjectSlug, pipeline: Pipeline, json: Mapping[str, Any] | None = None) -> PipelineFound:
    """Return a pipeline of a project as found."""
    branch = pipeline.vcs.branch if pipeline.vcs else None
    ref = JobRef(slug=slug, pipeline_id=pipeline.id, pipeline_number=pipeline.number, branch=branch)
    return PipelineFound(ref=ref, pipeline=pipeline, json=json or {})


async def guarded(
    listing: AsyncGenerator[T, None], what: str, *, alone: bool, job: JobRef | None = None, expires: bool = True
) -> AsyncGenerator[T | Skipped | ListingFailed, None]:
    """Yield what a listing yields; if it fails, say so in its stream, since the others still count.

    Args:
        listing: Is closed at the end.
        what: What it is a listing of.
        alone: There are no others: if nothing came of it, its failure is that of the selection.
        job: The job whose artifacts they are, or the place whose jobs.
        expires: The host forgets such things, so one that it does not know is no failure. Of a project or an
            organisation, whose name may be mistyped or which the token may not see, it is one.
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
        if expires and isinstance(error, NotFoundError | GoneError):
            yield Skipped(name=what, reason=EXPIRED, job_number=job_number, ref=job)
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


async def each(values: Iterable[T]) -> AsyncGenerator[T, None]:
    """Yield each of some values."""
    for value in values:
        yield value
