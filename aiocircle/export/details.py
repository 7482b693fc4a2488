"""What has to be asked for job by job: details, artifacts and tests, as a stage behind the fan-out."""

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from aiocircle.api import Artifact, Jobs, TestResult, operations
from aiocircle.crawl.ahead import in_turn
from aiocircle.crawl.fanout import AllBelow, JobFound, each, guarded
from aiocircle.export.convert import artifact_row, details_row, test_row
from aiocircle.export.datasets import OF_JOBS
from aiocircle.export.found import Missing, Pair, Pairs
from aiocircle.resource import Resource
from aiocircle.session import Session

PIPELINES_AT_ONCE = 32
JOBS_AT_ONCE = 64  # whatever else passes by takes one of these places
_HAVE_RUN = frozenset({"success", "failed", "timedout", "infrastructure_fail"})  # whatever dates there are
_NO_JSON: Mapping[str, Any] = {}
FIRST_JOBS = 4  # as long as it is not known how much there is of a job
READY = 2  # the job, or pages
READY_ROWS = 6_000  # of all jobs, about; so pages of many rows are asked for further ahead than such of few


class Details:
    """Asks for what there is of each job that comes by.

    Args:
        session: Asks the API.
        datasets: Which of ``OF_JOBS`` are wanted.
        is_known: Says of a job, before it is asked about, that there is no need to.
        with_json: Rows come with the items as the host gave them.
    """

    def __init__(
        self,
        session: Session,
        datasets: Collection[str],
        is_known: Callable[[JobFound], Awaitable[bool]] | None = None,
        *,
        with_json: bool = False,
    ) -> None:
        self._is_known = is_known
        self._with_json = with_json
        self._rows_of_job: float | None = None  # that lie ready at most, about
        self._jobs = Jobs(session)
        self._resource = Resource(session)
        self._datasets = [name for name in OF_JOBS if name in datasets]
        self._ask: Mapping[str, Callable[[JobFound], AsyncGenerator[Pairs, None]]] = {
            "job_details": self._details,
            "artifacts": self._artifacts,
            "tests": self._tests,
        }

    def behind(self, stream: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """Yield what comes, and behind each job what there is of it, with an ``AllBelow`` at the end."""
        return in_turn(stream, self._of, self._width, READY) if self._datasets else stream

    def _width(self) -> int:
        if self._rows_of_job is None:
            return FIRST_JOBS
        return max(FIRST_JOBS, min(JOBS_AT_ONCE, int(READY_ROWS / (1 + self._rows_of_job))))

    def _pairs(self, dataset: str, pairs: Sequence[Pair]) -> Pairs:
        """Return what came together, and learn from it how much there is of a job."""
        ready = (READY + 1) * len(pairs)  # and those in hand
        before = ready if self._rows_of_job is None else self._rows_of_job
        self._rows_of_job = max(ready, 0.98 * before + 0.02 * ready)
        return Pairs(dataset, pairs if self._with_json else [(row, _NO_JSON) for row, _ in pairs])

    async def _of(self, found: object) -> AsyncGenerator[Any, None]:
        yield found
        if not isinstance(found, JobFound) or not _has_run(found):
            return
        if self._is_known is not None and await self._is_known(found):
            return
        listings = in_turn(each(self._datasets), functools.partial(self._dataset, found), len(OF_JOBS) + 1, READY)
        async with aclosing(listings) as stream:
            async for one in stream:
                yield one
        yield AllBelow(found)

    async def _dataset(self, found: JobFound, dataset: str) -> AsyncGenerator[Pairs | Missing, None]:
        what = f"{dataset.replace('_', ' ')} of job {found.ref.job_number}"
        async with aclosing(guarded(self._ask[dataset](found), what, alone=False, job=found.ref)) as stream:
            async for one in stream:
                yield one if isinstance(one, Pairs) else Missing(dataset, one)

    async def _details(self, found: JobFound) -> AsyncGenerator[Pairs, None]:
        answer = await self._jobs.get(found.ref.slug, found.ref.job_number or 0).response()
        yield self._pairs("job_details", [(details_row(found, answer.value), answer.json)])

    async def _artifacts(self, found: JobFound) -> AsyncGenerator[Pairs, None]:
        path = {"slug": found.ref.slug, "job_number": found.ref.job_number}
        listing = self._resource.pairs(operations.ARTIFACTS_LIST, Artifact, path)
        async with aclosing(listing.pages()) as pages:
            async for page in pages:
                pairs = [(artifact_row(found, artifact), json) for artifact, json in page.items]
                yield self._pairs("artifacts", pairs)

    async def _tests(self, found: JobFound) -> AsyncGenerator[Pairs, None]:
        path = {"slug": found.ref.slug, "job_number": found.ref.job_number}
        listing = self._resource.pairs(operations.TESTS_LIST, TestResult, path)
        position = 0
        async with aclosing(listing.pages()) as pages:
            async for page in pages:
                numbered = enumerate(page.items, position)
                yield self._pairs("tests", [(test_row(found, place, test), json) for place, (test, json) in numbered])
                position += len(page.items)


def _has_run(found: JobFound) -> bool:
    """Tell whether there can be anything of a job: not of an approval, of one that never ran, or that still runs."""
    job = found.job
    has_ended = job.stopped_at is not None or job.status in _HAVE_RUN
    return job.type != "approval" and job.job_number is not None and has_ended
