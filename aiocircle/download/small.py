"""Files all of whose bytes have arrived, on their way to a thread: many in one hop, and in one transaction.

A hop to a thread costs more than writing a small file, and a transaction of the ledger as much as one. So nobody waits
for a single file. Whoever received it adds it and fetches the next one; what became of it is told when its hop has
landed. Files gather while a hop is under way, for a moment at least. What is added is written, whoever is cancelled
meanwhile: `SmallFiles.drain` waits for that at the end of a run, for a few seconds if a bucket is why it ends.
`SmallFiles.room` bounds their bytes in memory.

One hop is under way at a time; where the disk is slow, so that waiting is what it costs, there are several. Where it is
quick, the loop stands still for the few milliseconds that a hop takes: both would only fight for the interpreter, at
each call of the system anew, and take twice as long.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from attrs import define, field

from aiocircle.download.items import Item
from aiocircle.download.ledger import Ledger
from aiocircle.download.records import Stored
from aiocircle.download.stores import Staged, Store
from aiocircle.errors import AioCircleError, StoreError

Ended = Callable[[Item, int | AioCircleError], None]
"""Told what became of an item: its size in bytes, or why it could not be had."""

GATHERED = 32  # files that make a hop worth its cost
GATHERED_BYTES = 512 * 1024  # or bytes; the system takes them while the interpreter does something else
GATHER_SECONDS = 0.004  # for which fewer wait for others
MOST_FILES = 64  # in a hop
RECORD = 4096  # bytes of memory that a file takes beside its own, roughly: of tiny ones there shall not be too many
PATIENCE = 0.004  # seconds: the loop stands still for a hop that is likely to be over within that
IMPATIENT_HOPS = 16  # after one that was not
GRACE_SECONDS = 5.0  # for what a remote store has not taken when a run ends early
SLOW_FILE = 0.001  # seconds for a file, from where on threads wait for the disk and not for each other


@define(eq=False)
class Whole:
    """A file all of whose bytes have arrived.

    Attributes:
        item: What it is, and the name it is going to have.
        chunks: Its bytes.
        size: How many.
        validator: What the host gave as such.
        began: Seconds since the epoch at which the fetch began.
        ended: And when it was complete.
        let_go: Called when its bytes are needed no more.
    """

    item: Item
    chunks: Sequence[bytes | memoryview]
    size: int
    validator: str | None
    began: float
    ended: float
    let_go: Callable[[], None] | None = None
    sha256: str = field(default="", init=False)
    error: BaseException | None = field(default=None, init=False)

    def stored(self) -> Stored:
        """Return what is recorded of it."""
        return Stored(
            source=self.item.artifact,
            target=self.item.target,
            size=self.size,
            validator=self.validator,
            sha256=self.sha256,
            began=self.began,
            ended=self.ended,
        )


class SmallFiles:
    """Hands whole files to threads.

    Args:
        store: Where they go.
        ledger: Where they are recorded.
        threads: Where that happens.
        most_bytes: In memory, from where on ``room`` waits.
        ended: Told what became of each.
    """

    def __init__(
        self, store: Store, ledger: Ledger, threads: ThreadPoolExecutor, most_bytes: int, ended: Ended
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._threads = threads
        self._most_bytes = most_bytes
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._gathered: list[Whole] = []
        self._gathered_bytes = 0
        self._bytes = 0
        self._hops = 0
        self._most_hops = store.at_once if store.is_remote else 1
        self._impatient = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []  # for room
        self._drain: asyncio.Future[None] | None = None  # for any hop's end
        self._crash: BaseException | None = None
        self._until = math.inf

    def add(self, whole: Whole) -> None:
        """Take a file."""
        self._gathered.append(whole)
        self._bytes += whole.size + RECORD
        self._gathered_bytes += whole.size
        if self._is_worth_a_hop:
            self._hop()
        elif self._timer is None:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._hop_at_last)

    @property
    def _is_worth_a_hop(self) -> bool:
        return len(self._gathered) >= GATHERED or self._gathered_bytes >= GATHERED_BYTES

    @property
    def is_full(self) -> bool:
        """Whether ``room`` would wait."""
        return self._bytes > self._most_bytes or self._crash is not None

    async def room(self) -> None:
        """Wait until there is room for more."""
        while self.is_full and self._crash is None:
            self._hop()
            if self._hops and self.is_full:
                waiter = self._loop.create_future()
                self._waiters.append(waiter)
                await waiter
        if self._crash is not None:
            raise self._crash

    def hurry(self) -> None:
        """Give a remote store a few seconds, since the run ends early: what it has not taken by then fails."""
        if self._store.is_remote:
            self._until = min(self._until, time.monotonic() + GRACE_SECONDS)

    async def drain(self, *, is_cut: bool = False) -> None:
        """Wait until everything that was added has been written; not to be cancelled.

        Args:
            is_cut: The run ends early.
        """
        if is_cut:
            self.hurry()
        while self._gathered or self._hops:
            self._hop()
            if self._hops:
                self._drain = self._loop.create_future()
                await self._drain
        if self._timer is not None:
            self._timer.cancel()
        if self._crash is not None:
            raise self._crash

    def _hop_at_last(self) -> None:
        self._timer = None
        self._hop()

    def _hop(self) -> None:
        if not self._gathered or self._hops >= self._most_hops:
            return
        share = min(MOST_FILES, -(-len(self._gathered) // (self._most_hops - self._hops)))
        batch, self._gathered = self._gathered[:share], self._gathered[share:]
        size = sum(whole.size for whole in batch)
        self._gathered_bytes -= size
        slow = self._store.is_remote
        patience = 0.0 if slow or self._impatient or size > GATHERED_BYTES else PATIENCE
        self._hops += 1
        hop = self._threads.submit(self._write, batch)
        try:
            seconds = hop.result(patience)
        except TimeoutError:
            self._impatient = IMPATIENT_HOPS if patience else max(0, self._impatient - 1)
            asyncio.wrap_future(hop).add_done_callback(lambda _: self._landed(batch, hop.result()))
        else:
            self._landed(batch, seconds)
        if slow:
            self._hop()  # what waits for a network waits side by side

    def _landed(self, batch: Sequence[Whole], seconds: float) -> None:
        self._hops -= 1
        each = seconds / len(batch)
        if each > SLOW_FILE:
            self._most_hops = min(self._store.at_once, self._most_hops + 1)
        elif each < SLOW_FILE / 2 and self._most_hops > 1 and not self._store.is_remote:
            self._most_hops -= 1
        for whole in batch:
            self._bytes -= whole.size + RECORD
            if whole.let_go is not None:
                whole.let_go()
            try:
                self._tell(whole)
            except BaseException as error:  # noqa: BLE001 -- of a callback of the caller's, or of a mistake: it ends the run
                self._crash = self._crash or error
        waiters = [] if self._drain is None else [self._drain]
        if not self.is_full or self._crash is not None:  # to wake all of them for the room of one costs more than it
            waiters, self._waiters = waiters + self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._gathered and self._timer is None:
            self._timer = self._loop.call_later(0 if self._is_worth_a_hop else GATHER_SECONDS, self._hop_at_last)

    def _tell(self, whole: Whole) -> None:
        if whole.error is None:
            self._ended(whole.item, whole.size)
        elif isinstance(whole.error, AioCircleError):
            self._ended(whole.item, whole.error)
        else:
            raise whole.error

    # --- in a thread --------------------------------------------------------------------------------------------------

    def _write(self, batch: Sequence[Whole]) -> float:
        began = time.perf_counter()
        try:
            self._name(self._staged(batch))
        except BaseException as error:  # noqa: BLE001 -- whoever is told of the files gets it
            for whole in batch:
                whole.error = whole.error or error
        return time.perf_counter() - began

    def _staged(self, batch: Sequence[Whole]) -> list[tuple[Whole, Staged]]:
        staged = []
        for whole in batch:
            digest = hashlib.sha256(usedforsecurity=False)
            for chunk in whole.chunks:
                digest.update(chunk)
            whole.sha256 = digest.hexdigest()
            try:
                staged.append((whole, self._store.stage(whole.item.placed.path, whole.chunks, whole.sha256)))
            except AioCircleError as error:
                whole.error = error
        return staged

    def _name(self, staged: Sequence[tuple[Whole, Staged]]) -> None:
        """Give files their names, between two entries of the ledger: no kill can come in between."""
        try:
            self._ledger.announce([(whole.stored(), one.inode) for whole, one in staged])
        except BaseException:
            for _, one in staged:
                self._store.discard_staged(one)
            raise
        for whole, one in staged:
            if time.monotonic() > self._until:
                self._store.discard_staged(one)
                whole.error = StoreError(f"{whole.item.target}: the run ended before it was stored")
                continue
            try:
                self._store.publish(one)
            except AioCircleError as error:
                whole.error = error
        self._ledger.confirm([whole.item.target for whole, _ in staged if whole.error is None])
        self._ledger.withdraw([whole.item.target for whole, _ in staged if whole.error is not None])
