"""How many files to have in flight. Pure: times are handed in.

Over a link with latency, files in flight divide it, and a host far away deserves hundreds; where host, link or
processor are busy, more of them wait for each other and win nothing. Two things tell them apart: the time from a
request to the first byte of its answer, which stays what it was with few in flight, and the processor, which is idle.
As long as both hold, one more for each file that arrives doubles the crowd in every round trip.

A host that pushes back (429, 503, a connection refused or broken, a timeout) halves the crowd, at most once a second;
from then on it grows by one for each crowd of files that end well.
"""

from attrs import define, field

FIRST, MOST, LEAST = 64, 512, 4
BUSY = 0.6  # the share of one processor from where on more files are no more speed
TOLERATED = 1.5  # times the shortest wait
SLACK = 0.005  # seconds by which waits differ without a meaning
WEIGHT = 0.1  # of one file in the mean
CALM = 1.0  # seconds between two retreats


@define(eq=False)
class Crowd:
    """The number of files in flight that is aimed at.

    Attributes:
        size: It.
        most: What it may become.
        fixed: It is what somebody asked for, and does not grow; it shrinks nonetheless.
    """

    size: int = FIRST
    most: int = MOST
    fixed: bool = False
    _shortest: float = field(default=float("inf"), init=False)
    _mean: float = field(default=0.0, init=False)
    _retreated_at: float = field(default=float("-inf"), init=False)
    _climbing: bool = field(default=True, init=False)
    _ceiling: int = field(default=0, init=False)
    _calm: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.size = min(self.size, self.most)
        self._ceiling = self.size if self.fixed else self.most

    def arrived(self, wait: float, busy: float, room: float) -> None:
        """Note a file that comes.

        Args:
            wait: Seconds from its request to its first byte.
            busy: The share of one processor that this process used of late.
            room: As many files like this one fit into memory.
        """
        self._shortest = min(self._shortest, wait)
        self._mean = wait if not self._mean else self._mean + WEIGHT * (wait - self._mean)
        slower = self._mean > TOLERATED * self._shortest + SLACK
        if slower or busy > BUSY or self.size >= min(self._ceiling, room):
            return
        self._calm += 1
        if self._climbing or self._calm >= self.size:
            self._calm = 0
            self.size += 1

    def refused(self, now: float) -> None:
        """Note that the host pushed back."""
        self._calm = 0
        if now - self._retreated_at >= CALM:
            self._retreated_at = now
            self._climbing = False
            self.size = max(min(LEAST, self.size), self.size // 2)
