"""What failed, once more: no selection is needed, the ledger knows what is missing.

Addresses are not kept from run to run, so the jobs that have something missing are listed again. Of a job's artifacts
those are fetched that failed, to the names that they were to have; where the listing itself had failed, all of them.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from uuid import UUID

from attrs import evolve, frozen

from aiocircle.api import Artifact, Artifacts, Jobs
from aiocircle.crawl.fanout import JobRef
from aiocircle.download.downloader import Download
from aiocircle.download.items import Item, source_of
from aiocircle.download.layout import Layout
from aiocircle.download.options import DownloadOptions
from aiocircle.download.paths import Claims, PlacedPath, SafePath
from aiocircle.download.records import Failed, Records, Source
from aiocircle.download.report import ItemOutcome
from aiocircle.errors import AioCircleError, AuthenticationError, DownloadError, WaitTooLongError
from aiocircle.events import ItemPlanned, ListingEnded
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug


@frozen
class Missing:
    """What a ledger says is missing.

    Attributes:
        failures: What could not be had.
        origin: The API that was asked; ``None`` if it is not recorded.
        finished: Whether the last run came to its end: else there may be more than failed.
    """

    failures: tuple[Failed, ...]
    origin: str | None
    finished: bool


def missing_in(output: str | Path, state: Path | None = None) -> Missing:
    """Read what is missing; blocks.

    Raises:
        StoreError: There is no ledger, or it cannot be read.
    """
    with Records(output, state) as records:
        about = records.about()
        return Missing(tuple(records.failed()), about.get("origin"), about.get("finished", "yes") == "yes")


class Again(Download):
    """One run over what failed. Like any other download, but for what it fetches.

    Args:
        session: Sends requests.
        missing: What failed.
        output: Where it is missing.
        options: How; what is fetched, and its names, follow from the run that failed.
        on_outcome: Called with the outcome of every item.
    """

    def __init__(
        self,
        session: Session,
        missing: Missing,
        output: str | Path,
        options: DownloadOptions,
        on_outcome: Callable[[ItemOutcome], None] | None = None,
    ) -> None:
        super().__init__(session, None, output, options, on_outcome)
        self._failures = missing.failures
        self._is_complete = missing.finished

    async def _items(self, claims: Claims) -> AsyncGenerator[list[Item], None]:
        jobs: dict[tuple[str, int | None, str | None], list[Failed]] = {}
        for failed in self._failures:
            source = failed.source
            jobs.setdefault((source.slug, source.job, None if source.job else source.workflow), []).append(failed)
        for failures in jobs.values():
            try:
                async with aclosing(self._items_of(failures, claims)) as items:
                    async for item in items:
                        self._planned += 1
                        self._session.emit(ItemPlanned(target=item.target, total=self._planned))
                        yield [item]
            except (AuthenticationError, WaitTooLongError):
                raise
            except AioCircleError as error:
                for failed in failures:
                    self._note_failure(_outcome_of(failed), failed.source, error)
        self._session.emit(ListingEnded(total=self._planned))

    async def _items_of(self, failures: Sequence[Failed], claims: Claims) -> AsyncGenerator[Item, None]:
        """Yield what is missing of one job, or of the jobs of a workflow that could not be listed."""
        listing = next((failed for failed in failures if failed.source.path is None), None)
        if listing is not None and listing.layout is not None:
            self._layout = Layout(listing.layout)
        place = _ref_of(failures[0].source)
        for ref in [place] if place.job_number is not None else await self._jobs_in(place):
            assert ref.job_number is not None
            artifacts = await Artifacts(self._session).list(ref.slug, ref.job_number).collect()
            self._tally.jobs += 1
            wanted = {failed.source.identity: failed for failed in failures}
            for artifact in artifacts:
                failed = wanted.pop(source_of(ref, artifact).identity, None)
                item = self._item(ref, artifact, failed, claims, all_of_it=listing is not None)
                if item is not None:
                    yield item
            self._resolve(ref)
            for failed in wanted.values():
                if failed.source.path is not None:
                    gone = DownloadError("the job does not list it any more", hint="artifacts expire after 30 days")
                    self._note_failure(_outcome_of(failed), failed.source, gone)

    def _item(
        self, ref: JobRef, artifact: Artifact, failed: Failed | None, claims: Claims, *, all_of_it: bool
    ) -> Item | None:
        if failed is not None and failed.target and artifact.url:
            path = SafePath(tuple(failed.target.split("/")))
            placed = claims.claim(PlacedPath(path), f"{failed.source.identity} {artifact.url}")
            source = failed.source
            return Item(source.job, source.node, source.path, placed, str(placed.path), artifact.url, source)
        return self._place(ref, artifact, claims) if failed is not None or all_of_it else None

    async def _jobs_in(self, place: JobRef) -> list[JobRef]:
        assert place.workflow_id is not None
        jobs = await Jobs(self._session).list(place.workflow_id).collect()
        return [
            evolve(place, job_number=job.job_number, job_name=job.name)
            for job in jobs
            if job.job_number is not None and job.type != "approval"
        ]


def _ref_of(source: Source) -> JobRef:
    return JobRef(
        slug=ProjectSlug.parse(source.slug),
        job_number=source.job,
        job_name=source.job_name,
        workflow_id=None if source.workflow is None else UUID(source.workflow),
        workflow_name=source.workflow_name,
        pipeline_number=source.pipeline,
        branch=source.branch,
    )


def _outcome_of(failed: Failed) -> ItemOutcome:
    source = failed.source
    return ItemOutcome(
        target=failed.target, status="failed", job_number=source.job, node_index=source.node, path=source.path
    )
