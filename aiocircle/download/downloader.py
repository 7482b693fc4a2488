"""One run: a plan, and many artifacts at once, each to a final name of its own.

The plan is read while files are fetched (`aiocircle.download.fetching`), at the pace at which they are. A name is
decided and checked against all names before it when its artifact is listed, which is before its own first byte; the
order of the listing, not that of arrival, decides who keeps a disputed name.

One failing item is an outcome, not the end. The run ends early only for what every other item would meet as well: the
token is refused, the disk is full, the network is gone. When only the listing cannot go on, what was listed is fetched.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import evolve

from aiocircle.api import Artifact
from aiocircle.crawl.fanout import JobRef, ListingFailed, Skipped
from aiocircle.crawl.selection import Selection
from aiocircle.download.capacity import affordable
from aiocircle.download.choice import choice_of
from aiocircle.download.crowd import FIRST, MOST, Crowd
from aiocircle.download.fetching import BROKEN_IN_A_ROW, Fetching
from aiocircle.download.filters import UnwantedSize, note_unwanted
from aiocircle.download.intent import intent_text
from aiocircle.download.items import Item, place_of, source_in, source_of, unplaced
from aiocircle.download.ledger import Ledger
from aiocircle.download.notes import Notes
from aiocircle.download.options import DownloadOptions
from aiocircle.download.outcomes import Outcomes
from aiocircle.download.outputs import open_store
from aiocircle.download.paths import Claims, DuplicateClaim
from aiocircle.download.plan import JobListed, Listed, Planner
from aiocircle.download.planfile import Plan
from aiocircle.download.records import Source
from aiocircle.download.report import ItemOutcome, Report, outcome_of
from aiocircle.download.stores import Store
from aiocircle.endings import finish, in_thread
from aiocircle.errors import (
    AioCircleError,
    ConfigurationError,
    DownloadError,
    StoreError,
    TransportError,
    UnsafeAddressError,
)
from aiocircle.events import ItemPlanned, ListingEnded
from aiocircle.given import check_path
from aiocircle.session import Session


class Download:
    """One run over one selection, which happens once. ``report`` may be asked for at any time.

    ``await`` it, or ``run`` it, for the report. Or enter it, and read the outcome of every item as it ends; the run
    waits for who reads. Leaving the block waits for the end of the run, an exception in it cancels the run::

        async with client.download("gh/acme/web", "out", all=True) as run:
            async for outcome in run:
                print(outcome.status, outcome.target)
        print(run.report.files)

    Args:
        session: Sends requests.
        selection: What to fetch, or a plan of it; ``None`` where `aiocircle.download.again` decides that.
        output: Where to fetch it to: a directory, a bucket, an archive, or ``-`` for a tar to standard output.
        options: How.
        on_outcome: Called with the outcome of every item, in the order in which they end.
    """

    def __init__(
        self,
        session: Session,
        selection: Selection | Plan | None,
        output: str | Path,
        options: DownloadOptions,
        on_outcome: Callable[[ItemOutcome], None] | None = None,
    ) -> None:
        check_path(output, "the output")
        self._session = session
        self._selection = selection
        self._output = str(output)
        self._options = options
        self._choice = choice_of(selection, options)
        self._notes = Notes(session, on_outcome)
        self._planner = Planner(session, self._choice.layout.fields, self._notes.tally.seen)
        self._planned = 0
        self._is_complete = True
        self._job: tuple[JobRef, Source] | None = None  # the one that was listed last
        self._stopped_by: AioCircleError | None = None
        self._is_begun = False
        self._began = session.clock.monotonic()
        self._before = session.limiter.totals()
        self._ended: float | None = None

    def __await__(self) -> Generator[Any, None, Report]:
        return self.run().__await__()

    async def __aenter__(self) -> Self:
        self._notes.outcomes = Outcomes(self.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._notes.outcomes is not None
        await self._notes.outcomes.end(cancel=error is not None)

    def __aiter__(self) -> AsyncIterator[ItemOutcome]:
        """Return the outcomes of items, in the order in which they end.

        Raises:
            ConfigurationError: The run was not entered.
        """
        if self._notes.outcomes is None:
            raise ConfigurationError(
                "the run has not begun", hint="use it as 'async with client.download(...) as run:'"
            )
        return self._notes.outcomes

    @property
    def report(self) -> Report:
        """What has been done so far."""
        until = self._ended if self._ended is not None else self._session.clock.monotonic()
        return self._notes.tally.report(
            output=self._output,
            seconds=until - self._began,
            before=self._before,
            after=self._session.limiter.totals(),
            stopped_by=self._stopped_by,
        )

    async def run(self) -> Report:
        """Fetch everything selected and return the report; failures of single items are in it.

        Raises:
            AioCircleError: Nothing could be begun: the selection does not exist, the output cannot be written.
            ConfigurationError: It has begun before.
        """
        if self._is_begun:
            raise ConfigurationError("a run happens once", hint="call client.download() again")
        self._is_begun = True
        try:
            if self._options.dry_run:
                await self._rehearse()
            else:
                await self._fetch_all()
        finally:
            self._ended = self._session.clock.monotonic()
        if self._stopped_by is not None and not self._notes.tally.counts:
            raise self._stopped_by
        return self.report

    async def _rehearse(self) -> None:
        async with aclosing(self._items(Claims())) as items:
            try:
                async for some in items:
                    for item in some:
                        self._notes.add(item.outcome("planned"))
                    await self._notes.caught_up()
            except AioCircleError as error:
                self._stopped_by = error

    async def _fetch_all(self) -> None:
        asked = self._options.concurrency
        most, kept = affordable(asked or MOST)
        crowd = Crowd(size=asked or FIRST, most=most, fixed=asked is not None)
        store = self._store(kept)
        threads = ThreadPoolExecutor(store.at_once, thread_name_prefix="aiocircle")
        opened = ExitStack()
        try:
            await in_thread(threads, opened.enter_context, store)
            ledger = Ledger(store.own_directory, store.is_named)
            await in_thread(threads, opened.enter_context, ledger)
            self._notes.ledger = ledger
            await in_thread(threads, ledger.begin, self._session.origin, self._intent())
            claims = Claims(fold=not await in_thread(threads, store.holds_case))
            told = self._session, self._notes, self._items(claims), self._skip, self._stop
            await Fetching(*told, crowd=crowd, buffer=self._options.buffer).run(store, ledger, threads)
            if self._stopped_by is None:
                loop = asyncio.get_running_loop()
                await finish(loop.run_in_executor(threads, store.finish), store.hurry)
            if self._stopped_by is None and self._is_complete:
                await in_thread(threads, lambda: ledger.about(finished="yes"))
        finally:
            await self._let_go(threads, opened)

    def _stop(self, error: AioCircleError) -> None:
        self._stopped_by = self._stopped_by or error

    def _intent(self) -> str:
        """Return what is to be fetched, for whoever finds this run unfinished."""
        began = datetime.fromtimestamp(self._session.clock.wall(), UTC)
        return intent_text(self._selection, self._options, began) if isinstance(self._selection, Selection) else ""

    def _store(self, kept_parents: int) -> Store:
        options = self._options
        state = None if options.state is None else Path(options.state)
        return open_store(
            self._output, state=state, sync=options.sync, dedupe=options.dedupe, kept_parents=kept_parents
        )

    async def _let_go(self, threads: ThreadPoolExecutor, opened: ExitStack) -> None:
        """Record the last files and unlock the output; a disk that refuses even that shall not cost the report."""
        try:
            await in_thread(threads, opened.close)
        except StoreError as error:
            self._stop(error)
        finally:
            threads.shutdown(wait=False)

    def _skip(self, item: Item, unwanted: UnwantedSize) -> None:
        self._notes.add(evolve(item.outcome("skipped"), target="", reason=str(unwanted)))

    async def _items(self, claims: Claims) -> AsyncGenerator[list[Item], None]:
        """Yield the artifacts to fetch, some at a time, each with a name of its own, and note what else there is."""
        what, lost = self._selection, 0
        assert what is not None
        async with aclosing(what.steps() if isinstance(what, Plan) else self._planner.steps(what)) as steps:
            async for step in steps:
                match step:
                    case Listed(job=job, artifacts=artifacts):
                        yield self._placed(job, artifacts, claims)
                    case JobListed(job=job):
                        self._notes.listed(job, self._choice.text, _levels(what))
                        lost = 0
                    case Skipped():
                        self._notes.add(outcome_of(step))
                    case ListingFailed(job=job, error=error):
                        whole = None if job is None else source_of(job)
                        self._is_complete = self._is_complete and whole is not None  # what it hides has no record
                        self._notes.failure(outcome_of(step), whole, error, self._choice.text)
                        lost = lost + 1 if isinstance(error, TransportError) else 0
                        if lost >= BROKEN_IN_A_ROW:
                            raise error
        self._session.emit(ListingEnded(total=self._planned))

    def _placed(self, job: JobRef, artifacts: Iterable[Artifact], claims: Claims) -> list[Item]:
        items = []
        for artifact in artifacts:
            if (item := self._place(job, artifact, claims)) is not None:
                items.append(item)
                self._planned += 1
                if self._session.watched(ItemPlanned):
                    self._session.emit(ItemPlanned(target=item.target, total=self._planned))
        return items

    def _place(self, job: JobRef, artifact: Artifact, claims: Claims) -> Item | None:
        """Give an artifact its name; one that can have none is noted and dropped, one that is not wanted dropped."""
        choice = self._choice
        if not choice.wanted(artifact):
            if not self._planned:
                note_unwanted(artifact, self._options, self._notes.tally.seen)
            return None
        if self._job is None or self._job[0] is not job:
            self._job = job, source_of(job)
        source = source_in(self._job[1], artifact)
        try:
            if not artifact.url:
                raise UnsafeAddressError("the listing gives no address for it")
            identity = source.identity
            wanted = choice.layout.place(place_of(job, artifact, source))
            address = f"{identity} {artifact.url}"
            placed = claims.claim(wanted, address, identity, _unsigned(identity, artifact.url))
            if choice.shard is not None and identity not in choice.shard:
                return None  # only now: all parts shall agree on who has which name
        except DuplicateClaim as claim:
            self._notes.add(evolve(unplaced(job, artifact), target=str(claim.path), status="duplicate"))
            return None
        except DownloadError as error:
            self._notes.failure(unplaced(job, artifact), source, error, choice.text)
            return None
        target, node = str(placed.path), artifact.node_index
        return Item(job.job_number, node, artifact.path, placed, target, artifact.url, source, choice)


def _unsigned(identity: str, url: str) -> str:
    """Return what tells an artifact and its address from others without the query, which may be new each time."""
    return f"{identity} {url.partition('?')[0]}"


def _levels(what: Selection | Plan) -> int:
    """Return of how many levels a run learns that nothing is missing there; see ``Notes.listed``."""
    if isinstance(what, Plan):  # what was left out when it was made, it does not tell
        return 0
    return 1 if what.job is not None else 2 if what.workflow is not None else 3
