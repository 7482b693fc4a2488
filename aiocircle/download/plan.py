"""What to fetch: from a selection to jobs (`aiocircle.download.jobs`), from jobs to artifacts, as one stream.

The artifacts of a few jobs are listed ahead of what is used, page by page, and come in the order of the jobs.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

from attrs import frozen

from aiocircle.api import Artifact, Artifacts
from aiocircle.crawl.ahead import in_turn
from aiocircle.crawl.fanout import JobRef, ListingFailed, Skipped, guarded
from aiocircle.crawl.seen import Seen
from aiocircle.crawl.selection import Selection
from aiocircle.download.jobs import Wanted, WantedJobs
from aiocircle.session import Session

AT_ONCE = 64  # artifacts in a step: what a step costs is shared by them
JOBS_AT_ONCE = 9  # one that is read, and those ahead of it: enough to hide one round trip behind others


@frozen(kw_only=True)
class Listed:
    """Artifacts of a job that were listed together, up to ``AT_ONCE`` of them."""

    job: JobRef
    artifacts: Sequence[Artifact]


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
        seen: Told what was not wanted.
    """

    def __init__(self, session: Session, fields: Iterable[str], seen: Seen | None = None) -> None:
        self._session = session
        self._seen = seen
        self._artifacts = Artifacts(session)
        self._fields = frozenset(fields)

    async def steps(self, selection: Selection) -> AsyncGenerator[PlanStep, None]:
        """Yield what is found, in the host's order.

        Raises:
            AioCircleError: The selection itself cannot be listed. Where there may be several jobs, a failure of one of
                their listings is a ``ListingFailed`` instead.
        """

        def begin(found: Wanted) -> AsyncGenerator[PlanStep, None]:
            return self._pages(found, alone=selection.job is not None)

        jobs = WantedJobs(self._session, selection, self._fields, self._seen).stream()
        async with aclosing(in_turn(jobs, begin, JOBS_AT_ONCE)) as found:
            async for one in found:
                yield one

    async def _pages(self, found: Wanted, *, alone: bool) -> AsyncGenerator[PlanStep, None]:
        if not isinstance(found, JobRef):
            yield found
            return
        async with aclosing(
            guarded(self._listing(found), f"artifacts of job {found.job_number}", alone=alone, job=found)
        ) as pages:
            async for page in pages:
                yield page

    async def _listing(self, job: JobRef) -> AsyncGenerator[Listed | JobListed, None]:
        assert job.job_number is not None
        count = 0
        async with aclosing(self._artifacts.list(job.slug, job.job_number).pages()) as pages:
            async for page in pages:
                count += len(page.items)
                for start in range(0, len(page.items), AT_ONCE):
                    yield Listed(job=job, artifacts=page.items[start : start + AT_ONCE])
        yield JobListed(job=job, count=count)
