"""Workers over the items of a run: as many as help, until no items are left, or until one ends the run for all."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import anyio
from anyio.abc import TaskGroup

from aiocircle.download.capacity import Load, room
from aiocircle.download.crowd import Crowd
from aiocircle.download.filters import UnwantedSize
from aiocircle.download.intake import Intake
from aiocircle.download.items import Item
from aiocircle.download.ledger import Ledger
from aiocircle.download.notes import Notes
from aiocircle.download.options import SMALLEST_BATCH
from aiocircle.download.report import EXPIRED_FILE
from aiocircle.download.reserve import Reserve
from aiocircle.download.small import SmallFiles
from aiocircle.download.stores import Store
from aiocircle.download.transfer import Transfer
from aiocircle.endings import finish
from aiocircle.errors import (
    AioCircleError,
    AuthenticationError,
    GoneError,
    NotFoundError,
    StoreError,
    TransportError,
)
from aiocircle.session import Session

BATCH = 1024 * 1024
BROKEN_IN_A_ROW = 50  # items or listings, each after all its tries, before the network counts as gone


class Fetching:
    """The work of one run.

    Args:
        session: Sends requests.
        notes: Where it is noted what became of each item.
        items: Yields what there is to do, some at a time. It is read at the pace at which that is done.
        skip: Called with what is of another size than wanted.
        stop: Called with what ends the listing, or the run, early.
        crowd: How many files are to be in flight.
        buffer: Bytes of file content in memory at most.
    """

    def __init__(
        self,
        session: Session,
        notes: Notes,
        items: AsyncGenerator[list[Item], None],
        skip: Callable[[Item, UnwantedSize], None],
        stop: Callable[[AioCircleError], None],
        *,
        crowd: Crowd,
        buffer: int,
    ) -> None:
        self._session = session
        self._notes = notes
        self._items = items
        self._skip = skip
        self._stop = stop
        self._crowd = crowd
        self._buffer = buffer
        self._is_secure = session.origin.startswith("https:")
        self._load = Load()
        self._ready: deque[Item] = deque()
        self._all_listed = False
        self._turn = asyncio.Lock()
        self._over = asyncio.Event()
        self._workers = 0
        self._broken = 0
        self._group: TaskGroup
        self._transfer: Transfer
        self._reserve: Reserve

    async def run(self, store: Store, ledger: Ledger, threads: ThreadPoolExecutor) -> None:
        """Fetch everything.

        Args:
            store: Where to.
            ledger: Where it is recorded.
            threads: Where blocking calls run.
        """
        monotonic = self._session.clock.monotonic
        self._reserve = Reserve(lambda: self._crowd.size - self._workers, self._load.now, monotonic)
        small = SmallFiles(store, ledger, threads, self._buffer // 8, self._end)
        self._transfer = Transfer(
            *(self._session, store, ledger, threads, self._batch, self._end, small, Intake(self._load.now)),
            arrived=self._arrived,
            refused=lambda: self._crowd.refused(monotonic()),
            reserve=self._reserve,
        )

        def hurry() -> None:
            store.hurry()
            small.hurry()

        is_cut = True
        try:
            async with aclosing(self._items), anyio.create_task_group() as self._group:
                self._join()
                self._group.start_soon(self._heed, hurry)
            is_cut = self._group.cancel_scope.cancel_called
        finally:
            await finish(small.drain(is_cut=is_cut), hurry)

    async def _heed(self, hurry: Callable[[], object]) -> None:
        """Call ``hurry`` when the run ends early, which is before what workers wait for in threads is over."""
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            hurry()
            raise

    @property
    def _batch(self) -> int:
        return max(SMALLEST_BATCH, min(BATCH, self._buffer // (2 * max(self._workers, 1))))

    def _join(self) -> None:
        """Let as many workers begin as may."""
        while self._workers + self._reserve.lent < self._crowd.size and (self._ready or not self._all_listed):
            self._workers += 1
            self._group.start_soon(self._work)
        self._transfer.batch = self._batch

    def _arrived(self, wait: float, size: int | None) -> None:
        before = self._crowd.size
        each = min(size or BATCH, BATCH)
        self._crowd.arrived(wait, self._load.now(), room(self._buffer, each, secure=self._is_secure))
        if self._crowd.size > before:
            self._join()

    async def _work(self) -> None:
        try:
            # A cancellation reaches a task only where it waits, and a request is sent before that.
            while not self._group.cancel_scope.cancel_called and self._workers <= self._crowd.size:
                if not self._ready and not await self._more():
                    return
                await self._fetch(self._ready.popleft())
        finally:
            self._workers -= 1
            if not self._workers:
                self._over.set()
            self._transfer.batch = self._batch

    async def _more(self) -> bool:
        """Read on in the plan, which all workers do in turn, until there is something to do; false at its end."""
        if self._all_listed:
            return False
        async with self._turn:
            try:
                while not self._ready and not self._all_listed:
                    await self._notes.caught_up()
                    some = await anext(self._items, None)
                    self._all_listed = some is None
                    self._ready.extend(some or ())
            except AioCircleError as error:
                self._all_listed = True
                self._stop(error)
                if _ends_the_run(error):
                    self._group.cancel_scope.cancel()
        return bool(self._ready)

    async def _fetch(self, item: Item) -> None:
        try:
            size = await self._transfer.present(item.placed.path, item.artifact)
            if size is None:
                await self._transfer.run(item)
            else:
                item.choice.sizes.check(size)
                self._notes.add(item.outcome("present", size))
        except UnwantedSize as unwanted:
            self._skip(item, unwanted)
        except (NotFoundError, GoneError) as error:
            self._notes.missing(item.outcome("failed"), item.artifact, error, item.choice.text, reason=EXPIRED_FILE)
            self._broken = 0
        except AioCircleError as error:
            self._end(item, error)

    def _end(self, item: Item, result: int | AioCircleError) -> None:
        """Note what became of an item: its size in bytes, or an error, which may be that of all others as well."""
        if isinstance(result, int):
            self._notes.add(item.outcome("stored", result))
            self._broken = 0
            return
        self._notes.failure(item.outcome("failed"), item.artifact, result, item.choice.text)
        self._broken = self._broken + 1 if isinstance(result, TransportError) else 0
        if _ends_the_run(result) or self._broken >= BROKEN_IN_A_ROW:
            self._stop(result)
            self._group.cancel_scope.cancel()


def _ends_the_run(error: AioCircleError) -> bool:
    """Tell whether every other item would fail in the same way."""
    if isinstance(error, AuthenticationError):
        return not error.redirected
    return isinstance(error, StoreError) and error.fatal
