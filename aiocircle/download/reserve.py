"""Connections that no file needs, lent to large ones.

A run has so many files in flight (`aiocircle.download.crowd`). While there are more files to come, each place is taken;
towards the end of a run, and in a run of few files, some are free. Only those are lent, so that a further connection of
a file counts as a file in flight, and none is kept from another file.
"""

from collections.abc import Callable
from typing import Protocol

from aiocircle.download.crowd import BUSY
from aiocircle.download.width import MOST, Sight, Width

SMALLEST, LARGEST = 4 * 1024 * 1024, 64 * 1024 * 1024  # bytes of a segment
LASTING, SHORTEST = 2.0, 0.5  # seconds for which one lasts at the rate of its connection; and at the file's end
FIRST = 3.0  # seconds for which that of the first connection does: a step is judged within them
MISHAPS = 4  # segments lost in a run, after which none is lent
LOOK_SECONDS = 0.03


class LargeFile(Protocol):
    """What a reserve has to know of a file."""

    @property
    def left(self) -> int:
        """Bytes still to come."""
        ...

    @property
    def flowing(self) -> int:
        """Connections that have brought something."""
        ...

    def fill(self) -> None:
        """Have as many connections as are aimed at."""
        ...


class Reserve:
    """The connections of one run that may be lent.

    Attributes:
        lent: How many are.
        mishaps: Segments that were lost.
        width: How many connections a large file shall have.

    Args:
        spare: Returns how many more files might be in flight.
        load: Returns the share of one processor that this process used of late.
        now: Returns seconds.
    """

    def __init__(self, spare: Callable[[], int], load: Callable[[], float], now: Callable[[], float]) -> None:
        self.lent = 0
        self.mishaps = 0
        self.width = Width()
        self._spare = spare
        self._load = load
        self._now = now
        self._received = 0
        self._looked_at = 0.0
        self._files: set[LargeFile] = set()

    @property
    def free(self) -> int:
        """How many more connections there may be; negative if there are too many."""
        return 0 if self.mishaps >= MISHAPS else self._spare() - self.lent

    def enter(self, file: LargeFile) -> None:
        """Take note of a large file that is going to come."""
        self._files.add(file)
        file.fill()

    def leave(self, file: LargeFile) -> None:
        """Forget a file."""
        self._files.discard(file)

    def arrived(self, size: int, *, is_held_up: bool = False) -> None:
        """Note bytes that came, and whether they found the disk busy with those before."""
        self._received += size
        now = self._now()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        files = len(self._files)
        sight = Sight(
            now=now,
            received=self._received,
            left=sum(file.left for file in self._files),
            files=files,
            flowing=sum(file.flowing for file in self._files),
            most=min(MOST, 1 + (self.lent + max(0, self.free)) // max(1, files)),
            busy=is_held_up or self._load() > BUSY,
        )
        self.width.look(sight)
        for file in tuple(self._files):
            file.fill()

    def head(self, left: int) -> int:
        """Return the bytes that the first connection keeps of a file of which so much is still to come."""
        return max(SMALLEST, min(left // 2, int(FIRST * self.width.each)))

    def segment(self, left: int) -> int:
        """Return the length in bytes of the next segment of a file of which so much has not been asked for."""
        lasting, shortest = int(LASTING * self.width.each), int(SHORTEST * self.width.each)
        least = min(LARGEST, max(SMALLEST, shortest))
        size = max(least, min(LARGEST, lasting, left // (2 * self.width.size)))
        return left if left < size + least else size
