"""From a selection to the jobs whose artifacts are wanted (`aiocircle.crawl.fanout`), and what is named by itself.

Jobs that have no artifacts by nature, approvals and such as were never dispatched, are skipped without asking.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from uuid import UUID

from attrs import evolve

from aiocircle.api import Jobs, Pipelines, Workflows
from aiocircle.crawl.fanout import (
    AllBelow,
    Crawl,
    Found,
    JobFound,
    JobRef,
    ListingFailed,
    PipelineFound,
    Skipped,
    WorkflowFound,
    guarded,
)
from aiocircle.crawl.seen import Seen
from aiocircle.crawl.selection import Selection
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

Wanted = JobRef | Skipped | ListingFailed


class WantedJobs:
    """Turns a selection into a stream of jobs.

    Args:
        session: Asks the API.
        selection: Which jobs.
        fields: The fields of the layout in use; what is known only by asking is asked for only if one needs it.
        seen: Told what was not wanted.
    """

    def __init__(self, session: Session, selection: Selection, fields: Iterable[str], seen: Seen | None = None) -> None:
        self._pipelines = Pipelines(session)
        self._workflows = Workflows(session)
        self._jobs = Jobs(session)
        self._crawl = Crawl(session, selection, seen=seen)
        self._selection = selection
        self._fields = frozenset(fields)

    async def stream(self) -> AsyncGenerator[Wanted, None]:
        """Yield the jobs, and what is passed over, in the host's order.

        Raises:
            AioCircleError: The selection itself cannot be listed. The failure of one of several listings is a
                ``ListingFailed`` instead.
        """
        slug = self._selection.projects[0]
        if self._selection.job is not None:
            yield await self._one_job(slug, self._selection.job)
            return
        if self._selection.workflow is not None:
            place = await self._one_workflow(slug, self._selection.workflow)
            what = f"jobs of workflow {place.workflow_name or place.workflow_id}"
            found: AsyncGenerator[Found, None] = guarded(self._crawl.jobs_of(place), what, alone=True, job=place)
        else:
            found = self._crawl.everything()
        async with aclosing(found) as stream:
            async for one in stream:
                if isinstance(one, JobFound):
                    yield _with_artifacts(one)
                elif not isinstance(one, PipelineFound | WorkflowFound | AllBelow):
                    yield one

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


def _with_artifacts(found: JobFound) -> JobRef | Skipped:
    job = found.job
    if job.type == "approval":
        return Skipped(name=job.name, reason="an approval has no artifacts", job_number=job.job_number)
    if job.job_number is None:
        return Skipped(name=job.name, reason=f"never ran ({job.status or 'no status'})")
    return found.ref
