"""Bounded workers over a plan: many artifacts at once, each to a final name of its own.

The plan is read while files are fetched, at the pace at which they are: a worker takes the next item when it is free. A
name is decided and checked against all names before it when its artifact is listed, which is before its own first byte;
the order of the listing, not that of arrival, decides who keeps a disputed name.

One failing item is an outcome, not the end. The run ends early only for what every other item would meet as well: the
token is refused, the disk is full, the network is gone. When only the listing cannot go on, what was listed is fetched.
"""

import asyncio
import resource
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing
from pathlib import Path

import anyio
from attrs import define, evolve, field, frozen, validators

from aiocircle.api import Artifact
from aiocircle.download.crowd import FIRST, MOST, Crowd
from aiocircle.download.globs import glob_matcher
from aiocircle.download.layout import DEFAULT_LAYOUT_MANY_JOBS, DEFAULT_LAYOUT_ONE_JOB, ArtifactPlace, Layout
from aiocircle.download.ledger import Ledger
from aiocircle.download.paths import Claims, DuplicateClaim, PlacedPath
from aiocircle.download.plan import JobListed, JobRef, Listed, ListingFailed, Planner, Selection, Skipped
from aiocircle.download.report import ItemOutcome, ItemStatus, Report, Tally
from aiocircle.download.stores import KEPT_PARENTS, LocalStore
from aiocircle.download.transfer import Transfer, in_thread
from aiocircle.errors import (
    AioCircleError,
    AuthenticationError,
    DownloadError,
    StoreError,
    TransportError,
    UnsafeAddressError,
)
from aiocircle.events import ItemPlanned, ListingEnded, TransferEnded
from aiocircle.session import Session

BATCH = 1024 * 1024
SMALLEST_BATCH = 64 * 1024
THREADS = 4  # writers; more than the cores of a usual machine gain nothing
BROKEN_IN_A_ROW = 50  # items, each after all its tries, before the network counts as gone
DESCRIPTORS_OF_A_FILE = 3  # its part, its connection to the storage, and the idle one to the host of its address
SPARE_DESCRIPTORS = 24  # for the interpreter, the ledger, the listings' connections, the store's own
LOAD_SECONDS = 0.04  # over which the processor's load is taken
PLENTY_OF_DESCRIPTORS = 256


@frozen(kw_only=True)
class DownloadOptions:
    """How to download.

    Attributes:
        concurrency: Files in flight; ``None`` for 64 at first, more while that brings more, less when the host objects.
        buffer: Bytes of file content in memory at most, over all files.
        include: Globs over the artifact's path; empty for everything.
        exclude: Globs over the artifact's path, which win.
        layout: A template, or ``None`` for the default one.
        sync: Flush each file to the disk before it gets its name.
        dry_run: Decide on names, fetch nothing.
    """

    concurrency: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    buffer: int = field(default=64 * 1024 * 1024, validator=validators.ge(SMALLEST_BATCH))
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    layout: str | None = None
    sync: bool = False
    dry_run: bool = False


@define(eq=False)
class _Item:
    job_number: int | None
    node_index: int | None
    path: str | None
    placed: PlacedPath
    target: str
    url: str
    artifact: str

    def outcome(self, status: ItemStatus, size: int = 0) -> ItemOutcome:
        """Return what became of it."""
        return ItemOutcome(
            target=self.target,
            status=status,
            size=size,
            job_number=self.job_number,
            node_index=self.node_index,
            path=self.path,
            note=self.placed.note,
        )


class Download:
    """One run over one selection. ``run`` it once; ``report`` may be asked for at any time.

    Args:
        session: Sends requests.
        selection: What to fetch.
        output: The directory to fetch it to.
        options: How.
        on_outcome: Called with the outcome of every item, in the order in which they end.
    """

    def __init__(
        self,
        session: Session,
        selection: Selection,
        output: Path,
        options: DownloadOptions,
        on_outcome: Callable[[ItemOutcome], None] | None = None,
    ) -> None:
        self._session = session
        self._selection = selection
        self._output = output
        self._options = options
        self._on_outcome = on_outcome
        default = DEFAULT_LAYOUT_ONE_JOB if selection.job is not None else DEFAULT_LAYOUT_MANY_JOBS
        self._layout = Layout(options.layout or default)
        self._wanted = glob_matcher(options.include, options.exclude)
        self._planner = Planner(session, self._layout.fields)
        self._tally = Tally()
        self._planned = 0
        self._broken = 0
        self._all_listed = False
        self._slug_of: JobRef | None = None
        self._slug = ""
        self._stopped_by: AioCircleError | None = None
        self._began = session.clock.monotonic()
        self._before = session.limiter.totals()
        self._ended: float | None = None

    def report(self) -> Report:
        """Return what has been done so far."""
        until = self._ended if self._ended is not None else self._session.clock.monotonic()
        return self._tally.report(
            output=str(self._output),
            seconds=until - self._began,
            before=self._before,
            after=self._session.limiter.totals(),
            stopped_by=self._stopped_by,
        )

    async def run(self) -> Report:
        """Fetch everything selected and return the report; failures of single items are in it.

        Raises:
            AioCircleError: Nothing could be begun: the selection does not exist, the output cannot be written.
        """
        try:
            if self._options.dry_run:
                await self._rehearse()
            else:
                await self._fetch_all()
        finally:
            self._ended = self._session.clock.monotonic()
        if self._stopped_by is not None and not self._tally.counts:
            raise self._stopped_by
        return self.report()

    async def _rehearse(self) -> None:
        async with aclosing(self._items(Claims())) as items:
            try:
                async for item in items:
                    self._note(item.outcome("planned"))
            except AioCircleError as error:
                self._stopped_by = error

    async def _fetch_all(self) -> None:
        asked = self._options.concurrency
        most, kept = affordable(asked or MOST)
        crowd = Crowd(size=asked or FIRST, most=most, fixed=asked is not None)
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aiocircle")
        opened = ExitStack()
        try:
            store = LocalStore(self._output, sync=self._options.sync, kept_parents=kept)
            await in_thread(threads, opened.enter_context, store)
            ledger = Ledger(store.own_directory)
            await in_thread(threads, opened.enter_context, ledger)
            claims = Claims(fold=not await in_thread(threads, store.holds_case))
            await self._work(Transfer(self._session, store, ledger, threads, self._batch(crowd.size)), claims, crowd)
        finally:
            await self._let_go(threads, opened)

    async def _let_go(self, threads: ThreadPoolExecutor, opened: ExitStack) -> None:
        """Record the last files and unlock the output; a disk that refuses even that shall not cost the report."""
        try:
            with anyio.CancelScope(shield=True):
                await in_thread(threads, opened.close)
        except StoreError as error:
            self._stopped_by = self._stopped_by or error
        finally:
            threads.shutdown(wait=False)

    def _batch(self, in_flight: int) -> int:
        return max(SMALLEST_BATCH, min(BATCH, self._options.buffer // (2 * in_flight)))

    async def _work(self, transfer: Transfer, claims: Claims, crowd: Crowd) -> None:
        async with aclosing(self._items(claims)) as items, anyio.create_task_group() as group:
            turn = asyncio.Lock()
            monotonic = self._session.clock.monotonic
            workers = 0
            load = _Load()

            def arrived(wait: float, size: int | None) -> None:
                before = crowd.size
                crowd.arrived(wait, load.now(), self._options.buffer / min(size or BATCH, BATCH))
                if crowd.size > before:
                    join()

            async def work() -> None:
                nonlocal workers
                try:
                    await self._worker(items, turn, transfer, group.cancel_scope, lambda: workers > crowd.size)
                finally:
                    workers -= 1
                    transfer.batch = self._batch(max(workers, 1))

            def join() -> None:
                nonlocal workers
                while workers < crowd.size and not self._all_listed:
                    workers += 1
                    group.start_soon(work)
                transfer.batch = self._batch(max(workers, 1))

            transfer.arrived, transfer.refused = arrived, lambda: crowd.refused(monotonic())
            join()

    async def _worker(
        self,
        items: AsyncGenerator[_Item, None],
        turn: asyncio.Lock,
        transfer: Transfer,
        scope: anyio.CancelScope,
        is_too_many: Callable[[], bool],
    ) -> None:
        # A cancellation reaches a task only where it waits, and a request is sent before that.
        while not scope.cancel_called and not is_too_many():
            if (item := await self._next(items, turn, scope)) is None:
                self._all_listed = True
                return
            try:
                self._note(await self._fetch(item, transfer))
                self._broken = 0
            except AioCircleError as error:
                self._note(_failed(item.outcome("failed"), error))
                self._broken = self._broken + 1 if isinstance(error, TransportError) else 0
                if _ends_the_run(error) or self._broken >= BROKEN_IN_A_ROW:
                    self._stopped_by = self._stopped_by or error
                    scope.cancel()

    async def _next(
        self, items: AsyncGenerator[_Item, None], turn: asyncio.Lock, scope: anyio.CancelScope
    ) -> _Item | None:
        """Return the next artifact of the plan, which all workers read in turn, or ``None`` at its end."""
        async with turn:
            try:
                return await anext(items, None)
            except AioCircleError as error:
                self._stopped_by = error
                if _ends_the_run(error):
                    scope.cancel()
                return None

    async def _fetch(self, item: _Item, transfer: Transfer) -> ItemOutcome:
        target = item.placed.path
        size = await transfer.present(target, item.artifact)
        if size is not None:
            return item.outcome("present", size)
        return item.outcome("stored", await transfer.run(item.url, target, item.artifact))

    async def _items(self, claims: Claims) -> AsyncGenerator[_Item, None]:
        """Yield the artifacts to fetch, each with a name of its own, and note what else the plan brings."""
        async with aclosing(self._planner.steps(self._selection)) as steps:
            async for step in steps:
                match step:
                    case Listed(job=job, artifact=artifact):
                        if (item := self._place(job, artifact, claims)) is not None:
                            self._planned += 1
                            if self._session.watched(ItemPlanned):
                                self._session.emit(ItemPlanned(target=item.target, total=self._planned))
                            yield item
                    case JobListed():
                        self._tally.jobs += 1
                    case Skipped():
                        self._tally.skipped_jobs += 1
                    case ListingFailed(what=what, job_number=number, error=error):
                        self._note(
                            _failed(ItemOutcome(target="", status="failed", job_number=number, path=what), error)
                        )
        self._session.emit(ListingEnded(total=self._planned))

    def _place(self, job: JobRef, artifact: Artifact, claims: Claims) -> _Item | None:
        """Give an artifact its name; one that can have none, or is not wanted, is noted and dropped."""
        path = artifact.path or ""
        if not self._wanted(path):
            return None
        # A listing may hold lone surrogates, the ledger may not.
        name = path if path.isascii() else path.encode(errors="backslashreplace").decode()
        if self._slug_of is not job:
            self._slug_of, self._slug = job, str(job.slug)
        identity = f"{self._slug}#{job.job_number}/{artifact.node_index}/{name}"
        try:
            if not artifact.url:
                raise UnsafeAddressError("the listing gives no address for it")
            placed = claims.claim(
                self._layout.place(_place_of(job, artifact, self._slug)), f"{identity} {artifact.url}"
            )
        except DuplicateClaim as claim:
            self._note(evolve(_unplaced(job, artifact), target=str(claim.path), status="duplicate"))
            return None
        except DownloadError as error:
            self._note(_failed(_unplaced(job, artifact), error))
            return None
        return _Item(
            job.job_number, artifact.node_index, artifact.path, placed, str(placed.path), artifact.url, identity
        )

    def _note(self, outcome: ItemOutcome) -> None:
        self._tally.add(outcome)
        if self._session.watched(TransferEnded):
            self._session.emit(
                TransferEnded(target=outcome.target, status=outcome.status, size=outcome.size, reason=outcome.reason)
            )
        if self._on_outcome:
            self._on_outcome(outcome)


class _Load:
    """The share of one processor that this process used of late."""

    def __init__(self) -> None:
        self._since, self._used, self._share = time.monotonic(), time.process_time(), 1.0

    def now(self) -> float:
        """Return it."""
        passed = time.monotonic() - self._since
        if passed >= LOAD_SECONDS:
            used = time.process_time()
            self._share = (used - self._used) / passed
            self._since, self._used = self._since + passed, used
        return self._share


def affordable(concurrency: int) -> tuple[int, int]:
    """Return how many files may be in flight, and directories kept open by a thread, so that descriptors suffice."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return concurrency, KEPT_PARENTS
    kept = KEPT_PARENTS if allowed >= PLENTY_OF_DESCRIPTORS else 1
    left = allowed - SPARE_DESCRIPTORS - THREADS * (kept + 1)  # a thread opens one more before it closes the oldest
    return max(1, min(concurrency, left // DESCRIPTORS_OF_A_FILE)), kept


def _place_of(job: JobRef, artifact: Artifact, slug: str) -> ArtifactPlace:
    assert job.job_number is not None
    return ArtifactPlace(
        project=slug,
        pipeline_number=job.pipeline_number,
        workflow_id=None if job.workflow_id is None else str(job.workflow_id),
        workflow_name=job.workflow_name,
        job_number=job.job_number,
        job_name=job.job_name,
        branch=job.branch,
        node_index=artifact.node_index,
        path=artifact.path or "",
    )


def _unplaced(job: JobRef, artifact: Artifact) -> ItemOutcome:
    return ItemOutcome(
        target="", status="failed", job_number=job.job_number, node_index=artifact.node_index, path=artifact.path
    )


def _failed(outcome: ItemOutcome, error: AioCircleError) -> ItemOutcome:
    return evolve(outcome, status="failed", reason=str(error), code=error.code)


def _ends_the_run(error: AioCircleError) -> bool:
    """Tell whether every other item would fail in the same way."""
    if isinstance(error, AuthenticationError):
        return not error.redirected
    return isinstance(error, StoreError) and error.fatal
