"""What has to be asked for job by job: details, artifacts and tests, as a stage behind the fan-out."""

import functools
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from typing import Any

from aiocircle.api import Artifact, Jobs, TestResult, operations
from aiocircle.crawl.ahead import in_turn
from aiocircle.crawl.fanout import JobFound, each, guarded
from aiocircle.export.convert import artifact_row, details_row, test_row
from aiocircle.export.datasets import OF_JOBS
from aiocircle.export.found import Missing, Pairs
from aiocircle.resource import Resource
from aiocircle.session import Session

PIPELINES_AT_ONCE = 48
JOBS_AT_ONCE = 128  # whatever else passes by takes one of these places
READY = 2  # the job, or pages


class Details:
    """Asks for what there is of each job that comes by.

    Args:
        session: Asks the API.
        datasets: Which of ``OF_JOBS`` are wanted.
    """

    def __init__(self, session: Session, datasets: Collection[str]) -> None:
        self._jobs = Jobs(session)
        self._resource = Resource(session)
        self._datasets = [name for name in OF_JOBS if name in datasets]
        self._ask: Mapping[str, Callable[[JobFound], AsyncGenerator[Pairs, None]]] = {
            "job_details": self._details,
            "artifacts": self._artifacts,
            "tests": self._tests,
        }

    def behind(self, stream: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """Yield what comes, and behind each job what there is of it."""
        return in_turn(stream, self._of, JOBS_AT_ONCE, READY) if self._datasets else stream

    async def _of(self, found: object) -> AsyncGenerator[Any, None]:
        yield found
        if not isinstance(found, JobFound) or not _has_run(found):
            return
        listings = in_turn(each(self._datasets), functools.partial(self._dataset, found), len(OF_JOBS) + 1, READY)
        async with aclosing(listings) as stream:
            async for one in stream:
                yield one

    async def _dataset(self, found: JobFound, dataset: str) -> AsyncGenerator[Pairs | Missing, None]:
        what = f"{dataset.replace('_', ' ')} of job {found.ref.job_number}"
        async with aclosing(guarded(self._ask[dataset](found), what, alone=False, job=found.ref)) as stream:
            async for one in stream:
                yield one if isinstance(one, Pairs) else Missing(dataset, one)

    async def _details(self, found: JobFound) -> AsyncGenerator[Pairs, None]:
        answer = await self._jobs.get(found.ref.slug, found.ref.job_number or 0).response()
        yield Pairs("job_details", [(details_row(found, answer.value), answer.json)])

    async def _artifacts(self, found: JobFound) -> AsyncGenerator[Pairs, None]:
        path = {"slug": found.ref.slug, "job_number": found.ref.job_number}
        listing = self._resource.pairs(operations.ARTIFACTS_LIST, Artifact, path)
        async with aclosing(listing.pages()) as pages:
            async for page in pages:
                yield Pairs("artifacts", [(artifact_row(found, artifact), json) for artifact, json in page.items])

    async def _tests(self, found: JobFound) -> AsyncGenerator[Pairs, None]:
        path = {"slug": found.ref.slug, "job_number": found.ref.job_number}
        listing = self._resource.pairs(operations.TESTS_LIST, TestResult, path)
        position = 0
        async with aclosing(listing.pages()) as pages:
            async for page in pages:
                numbered = enumerate(page.items, position)
                yield Pairs("tests", [(test_row(found, place, test), json) for place, (test, json) in numbered])
                position += len(page.items)


def _has_run(found: JobFound) -> bool:
    """Tell whether there can be anything of a job: not of an approval, of one that never ran, or that still runs."""
    job = found.job
    return job.type != "approval" and job.job_number is not None and job.stopped_at is not None
