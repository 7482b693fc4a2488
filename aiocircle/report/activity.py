"""What was going on at a time, from when files began and ended: bytes, files and files in flight in each bin. Pure.

A file's bytes are taken to have come evenly between its begin and its end. So they add something to the bins at the two
ends of their time, and the same to each between; the latter are summed up at the end, so that a file costs the same
however long it took.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from attrs import define, field

NICE: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
MOST_BINS = 180
PAUSE = 600.0  # seconds without any file in flight after which another run has begun


@define(eq=False)
class _Sums:
    """Amounts in bins, to which what is spread over stretches of time is added."""

    number: int
    _parts: list[float] = field(init=False)
    _rates: list[float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._parts = [0.0] * self.number
        self._rates = [0.0] * (self.number + 1)

    def add(self, began: float, ended: float, amount: float) -> None:
        """Add an amount, evenly spread between two places that are counted in bins."""
        first, last = min(int(began), self.number - 1), min(int(ended), self.number - 1)
        if first == last:
            self._parts[first] += amount
            return
        rate = amount / (ended - began)
        self._parts[first] += (first + 1 - began) * rate
        self._parts[last] += (ended - last) * rate
        self._rates[first + 1] += rate
        self._rates[last] -= rate

    def totals(self) -> list[float]:
        """Return the amount in each bin."""
        between = accumulate(self._rates[:-1])
        return [max(0.0, part + rate) for part, rate in zip(self._parts, between, strict=True)]


@define(eq=False)
class Activity:
    """What was going on in a run of a download.

    Attributes:
        began: When it began, in seconds since the epoch.
        ended: And when its last file was complete.
    """

    began: float
    ended: float
    files: int = 0
    size: int = 0
    width: float = field(init=False)
    number: int = field(init=False)
    _bytes: _Sums = field(init=False)
    _flights: _Sums = field(init=False)
    _ends: list[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        span = max(self.ended - self.began, NICE[0])
        self.width = next((one for one in NICE if span / one <= MOST_BINS), span / MOST_BINS)
        self.number = int(span / self.width) + 1
        self._bytes, self._flights = _Sums(self.number), _Sums(self.number)
        self._ends = [0] * self.number

    def add(self, began: float, ended: float, size: int) -> None:
        """Count a file that came between two times within the run."""
        first, last = ((moment - self.began) / self.width for moment in (began, ended))
        self.files += 1
        self.size += size
        self._ends[min(int(last), self.number - 1)] += 1
        self._flights.add(first, last, last - first)
        self._bytes.add(first, last, size)

    def bytes_a_second(self) -> Sequence[float]:
        """Return the throughput in each bin."""
        return [total / self.width for total in self._bytes.totals()]

    def files_a_second(self) -> Sequence[float]:
        """Return how many files were completed a second, in each bin."""
        return [ends / self.width for ends in self._ends]

    def in_flight(self) -> Sequence[float]:
        """Return the mean number of files in flight in each bin."""
        return self._flights.totals()
