"""What failed, once more, and what a killed run had still before it: the ledger knows what is missing.

Addresses are not kept from run to run, so the jobs that have something missing are listed again. Of a job's artifacts
those are fetched that failed, to the names that they were to have; where the listing itself, or that of the jobs of a
workflow or a pipeline, had failed, all that the run wanted which it failed in, and they leave other files their names.
Then comes what the last run was to fetch if it did not come to its end: all of it is listed again, as by that run, and
what is there already is left alone.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from uuid import UUID

from attrs import evolve, frozen

from aiocircle.api import Artifact, Artifacts
from aiocircle.crawl.fanout import JobRef, Skipped
from aiocircle.crawl.selection import Selection
from aiocircle.download.choice import choice_in
from aiocircle.download.downloader import Download
from aiocircle.download.filters import UnwantedSize
from aiocircle.download.intent import read_intent
from aiocircle.download.items import Item, source_of, unplaced
from aiocircle.download.jobs import WantedJobs
from aiocircle.download.layout import FIELDS
from aiocircle.download.options import DownloadOptions
from aiocircle.download.paths import Claims, DuplicateClaim, PlacedPath, SafePath
from aiocircle.download.records import Failed, Records, Source
from aiocircle.download.report import EXPIRED_ENTRY, ItemOutcome, outcome_of
from aiocircle.endings import in_thread
from aiocircle.errors import (
    AioCircleError,
    AuthenticationError,
    ConfigurationError,
    GoneError,
    NotFoundError,
    WaitTooLongError,
)
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
        intent: What it was to fetch, as recorded; empty if it is not.
    """

    failures: tuple[Failed, ...]
    origin: str | None
    finished: bool
    intent: str = ""

    def pending(self, options: DownloadOptions) -> tuple[Selection, DownloadOptions] | None:
        """Return what to select, and how, for what the last run had still before it, if that is known."""
        return None if self.finished else read_intent(self.intent, options)


def missing_in(output: str | Path, state: Path | None = None) -> Missing:
    """Read what is missing; blocks.

    Raises:
        StoreError: There is no ledger, or it cannot be read.
    """
    with Records(output, state) as records:
        about = records.about()
        finished = about.get("finished", "yes") == "yes"
        return Missing(tuple(records.failed()), about.get("origin"), finished, about.get("intent", ""))


class Again(Download):
    """One run over what failed and what is pending. Like any other download, but for what it fetches.

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
        selection, options = missing.pending(options) or (None, options)
        super().__init__(session, selection, output, options, on_outcome)
        self._missing = missing
        self._is_complete = missing.finished or selection is not None
        self._had: frozenset[str] = frozenset()

    def _intent(self) -> str:
        return self._missing.intent

    async def _items(self, claims: Claims) -> AsyncGenerator[list[Item], None]:
        choice = self._choice
        if self._selection is None:
            await in_thread(None, self._leave_names, claims)
        async with aclosing(self._failed_items(claims)) as failed:
            async for some in failed:
                yield some
        if self._selection is None:
            self._session.emit(ListingEnded(total=self._planned))
            return
        self._choice = choice
        self._had = frozenset(failure.source.identity for failure in self._missing.failures)
        async with aclosing(super()._items(claims)) as pending:
            async for some in pending:
                yield some

    def _leave_names(self, claims: Claims) -> None:
        """Leave files their names where a listing had failed: nobody knows yet which names it leads to."""
        again = {failed.source.identity for failed in self._missing.failures}
        if all(failed.source.path is not None for failed in self._missing.failures):
            return
        state = None if self._options.state is None else Path(self._options.state)
        with Records(self._output, state) as records:
            for stored in records.stored():
                job = evolve(stored.source, path=None)
                workflow = evolve(job, job=None)
                above = {job.identity, workflow.identity, evolve(workflow, workflow=None).identity}
                if again.isdisjoint({stored.source.identity, *above}):
                    claims.keep(PlacedPath(SafePath(tuple(stored.target.split("/")))), stored.source.identity)

    async def _failed_items(self, claims: Claims) -> AsyncGenerator[list[Item], None]:
        for failures in _by_place(self._missing.failures):
            try:
                async with aclosing(self._items_of(failures, claims)) as items:
                    async for item in items:
                        self._planned += 1
                        self._session.emit(ItemPlanned(target=item.target, total=self._planned))
                        yield [item]
            except (AuthenticationError, WaitTooLongError):
                raise
            except (NotFoundError, GoneError) as error:
                for failed in failures:
                    self._note_gone(failed, error)
            except AioCircleError as error:
                for failed in failures:
                    self._notes.failure(_outcome_of(failed), failed.source, error, failed.choice or "")

    def _place(self, job: JobRef, artifact: Artifact, claims: Claims) -> Item | None:
        if self._had and source_of(job, artifact).identity in self._had:
            return None
        return super()._place(job, artifact, claims)

    def _skip(self, item: Item, unwanted: UnwantedSize) -> None:
        super()._skip(item, unwanted)
        if self._notes.ledger is not None:
            self._notes.ledger.resolve(item.artifact.identity)  # nor did the run want it in which it failed

    def _note_gone(self, failed: Failed, error: NotFoundError | GoneError | None = None) -> None:
        self._notes.missing(_outcome_of(failed), failed.source, error, failed.choice or "", reason=EXPIRED_ENTRY)

    async def _items_of(self, failures: Sequence[Failed], claims: Claims) -> AsyncGenerator[Item, None]:
        """Yield what is missing of one job, or of the jobs of a workflow or a pipeline that could not be listed."""
        listing = next((failed for failed in failures if failed.source.path is None), None)
        self._choice = choice_in((listing or failures[0]).choice)
        place = _ref_of(failures[0].source)
        if place.job_number is not None:
            async with aclosing(self._items_in(place, failures, claims, all_of_it=listing is not None)) as items:
                async for item in items:
                    yield item
            return
        async with aclosing(WantedJobs(self._session, self._selection_of(place), FIELDS).stream()) as jobs:
            async for found in jobs:
                if isinstance(found, JobRef):
                    async with aclosing(self._items_in(found, failures, claims, all_of_it=True)) as items:
                        async for item in items:
                            yield item
                elif isinstance(found, Skipped):
                    self._notes.add(outcome_of(found))
                else:
                    raise found.error  # so that the place counts as failed again, with all below it
        self._resolve(failures[0])

    async def _items_in(
        self, job: JobRef, failures: Sequence[Failed], claims: Claims, *, all_of_it: bool
    ) -> AsyncGenerator[Item, None]:
        assert job.job_number is not None
        wanted = {failed.source.identity: failed for failed in failures}
        listed = await Artifacts(self._session).list(job.slug, job.job_number).collect()
        sources = [source_of(job, artifact) for artifact in listed]
        addresses = Counter(identity for identity, _ in {(source.identity, source.address) for source in sources})
        for artifact, source in zip(listed, sources, strict=True):
            failed = wanted.get(source.identity)
            if failed is None and not all_of_it:
                continue
            # Which one of several the name belongs to, only its address tells. The others' names are made anew.
            is_it = failed and (addresses[source.identity] == 1 or source.address == failed.source.address)
            item = self._item(job, artifact, failed if is_it else None, claims)
            if item is not None:
                yield item
        for source in sources:
            wanted.pop(source.identity, None)
        self._notes.listed(job, self._choice.text, 1)
        for failed in wanted.values():
            if failed.source.path is not None:
                self._note_gone(failed)
            elif failed.source.job is not None:
                self._resolve(failed)

    def _resolve(self, listing: Failed) -> None:
        assert self._notes.ledger is not None
        self._notes.ledger.resolve(listing.source.identity, listing.key)  # older versions knew it by the former

    def _item(self, ref: JobRef, artifact: Artifact, failed: Failed | None, claims: Claims) -> Item | None:
        if failed is not None and failed.target and artifact.url:
            path = SafePath(tuple(failed.target.split("/")))
            try:
                placed = claims.claim(PlacedPath(path), f"{failed.source.identity} {artifact.url}")
            except DuplicateClaim as claim:  # a listing above it that had failed, too, has brought it already
                self._notes.add(evolve(unplaced(ref, artifact), target=str(claim.path), status="duplicate"))
                return None
            source = failed.source
            values = source.job, source.node, source.path, placed, str(placed.path), artifact.url, source
            return Item(*values, choice_in(failed.choice))
        return self._place(ref, artifact, claims)

    def _selection_of(self, place: JobRef) -> Selection:
        """Return what leads to the wanted jobs of a workflow or a pipeline."""
        below = self._choice.below
        if place.workflow_id is not None:
            of_jobs = {name: below[name] for name in ("job_names", "statuses") if name in below}
            return Selection(place.slug, workflow=place.workflow_id, **of_jobs)
        if place.pipeline_number is not None:
            return Selection(place.slug, pipeline=place.pipeline_number, **below)
        raise ConfigurationError(
            f"what could not be listed of {place.slug} is not recorded", hint="the same 'aiocircle download' lists it"
        )


def _by_place(failures: Iterable[Failed]) -> Iterable[list[Failed]]:
    """Return failures by the places to be listed: more than once if more than one listing of a place had failed."""
    places: dict[str, list[Failed]] = {}
    listings: dict[str, str] = {}
    for failed in failures:
        place = evolve(failed.source, path=None).identity
        if failed.source.path is None and listings.setdefault(place, failed.key) != failed.key:
            place = failed.key
        places.setdefault(place, []).append(failed)
    return places.values()


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
