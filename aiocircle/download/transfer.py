"""One artifact to one file.

A file all of whose bytes come with its head is handed over as a whole (`aiocircle.download.small`); any other one
arrives by and by (`aiocircle.download.arrival`).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from attrs import define, field

from aiocircle.download.arrival import Arrival, told_validator
from aiocircle.download.body import LONGEST, announces_digest
from aiocircle.download.intake import Intake
from aiocircle.download.items import Item
from aiocircle.download.ledger import Ledger
from aiocircle.download.pages import is_page_instead
from aiocircle.download.parts import Part
from aiocircle.download.paths import SafePath
from aiocircle.download.records import Source, Stored
from aiocircle.download.reserve import Reserve
from aiocircle.download.resume import OK
from aiocircle.download.small import Ended, SmallFiles, Whole
from aiocircle.download.stores import Store
from aiocircle.endings import in_thread
from aiocircle.errors import IntegrityError
from aiocircle.events import TransferProgress, TransferStarted
from aiocircle.session import Session
from aiocircle.transport import Answer

T = TypeVar("T")
PAGE_HINT = "is the token still good ('aiocircle me' tells), and is there a portal or a proxy in between?"


@define(eq=False)
class Transfer:
    """Fetches artifacts into a store.

    Args:
        session: Sends the requests and repeats them.
        store: Where the files go.
        ledger: Where complete files are recorded.
        threads: Where blocking calls run.
        batch: Bytes gathered before they are written.
        ended: Told what became of each artifact that was taken on.
        small: Where small files go.
        intake: How many large bodies are received at a time.
        longest: Bytes at which a body whose length nobody announced is given up.
        arrived: Told the seconds from each request to its first byte, and the size announced.
        refused: Told that a host pushed back.
        reserve: Where further connections for one large file come from, if from anywhere.
    """

    session: Session
    store: Store
    ledger: Ledger
    threads: ThreadPoolExecutor
    batch: int
    ended: Ended
    small: SmallFiles
    intake: Intake
    longest: int = field(default=LONGEST, kw_only=True)
    arrived: Callable[[float, int | None], None] = field(default=lambda _wait, _size: None, kw_only=True)
    refused: Callable[[], None] = field(default=lambda: None, kw_only=True)
    reserve: Reserve | None = field(default=None, kw_only=True)
    _under_way: dict[str, asyncio.Event | None] = field(factory=dict, init=False)  # set at the end for those who wait

    async def run(self, item: Item) -> None:
        """Fetch one artifact. What becomes of it is told to ``ended``, possibly later, unless this raises.

        One that is listed twice, by two addresses or for two names, is not fetched twice at a time: both would write
        to its one part.

        Raises:
            UnwantedSize: It is smaller or larger than wanted.
            AioCircleError: It could not be had or stored. Nothing stands under its final name that did not before.
        """
        identity = item.artifact.identity
        while identity in self._under_way:
            over = self._under_way[identity] = self._under_way[identity] or asyncio.Event()
            await over.wait()
        self._under_way[identity] = None
        try:
            await self._fetch(item)
        finally:
            if (waited_for := self._under_way.pop(identity)) is not None:
                waited_for.set()

    async def _fetch(self, item: Item) -> None:
        began = self.session.clock.wall()
        kept: Part | None = None
        asked = 0.0

        async def conditions() -> Mapping[str, str]:
            nonlocal kept, asked
            kept = await self.hop(self.store.kept.find, item.artifact.identity) if self.store.kept else None
            asked = time.monotonic()
            return {} if kept is None or kept.kept is None else kept.kept.conditions()

        async def consume(answer: Answer) -> None:
            if not answer.tries:
                self.arrived(time.monotonic() - asked, answer.size)
            item.choice.sizes.check_head(answer)
            if is_page_instead(item.placed.path.name, answer.headers, home=answer.home):
                raise IntegrityError("the host sent a web page in the file's place", hint=PAGE_HINT)
            if kept is None and self._take_whole(item, answer, began):
                return
            await Arrival(self, answer, item, began, kept).receive()

        await self.session.fetch(item.url, consume, conditions, self.refused)
        if self.small.is_full:
            await self.small.room()

    def _take_whole(self, item: Item, answer: Answer, began: float) -> bool:
        """Hand a file over whose bytes are all there and its own, and tell whether it was such a one."""
        headers = answer.headers
        if answer.status != OK or "Content-Range" in headers or announces_digest(headers):
            return False
        chunks = answer.whole()
        if chunks is None:
            return False
        size = answer.size or 0
        if self.session.watched(TransferStarted):
            self.session.emit(TransferStarted(target=item.target, size=size))
        self.small.add(Whole(item, chunks, size, told_validator(answer), began, self.session.clock.wall()))
        if self.session.watched(TransferProgress):
            self.session.emit(TransferProgress(target=item.target, received=size))
        return True

    async def present(self, target: SafePath, artifact: Source) -> int | None:
        """Return an artifact's size in bytes if it stands complete under its final name, else ``None``."""
        return None if self.ledger.is_empty else await self.hop(self._present, target, artifact.identity)

    async def hop(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a blocking function in one of the threads."""
        return await in_thread(self.threads, function, *arguments)

    def commit(self, part: Part, target: SafePath, size: int, stored: Callable[[int, str], Stored]) -> None:
        """Give a complete part of so many bytes its name and record it; blocks."""
        with self.ledger.naming(stored(size, part.digest.digest().hex())) as naming:
            self.store.commit(part, target, size, naming.announce)

    def _present(self, target: SafePath, artifact: str) -> int | None:
        recorded = self.ledger.size_of(target, artifact)
        return recorded if recorded is not None and recorded == self.store.size_of(target) else None
