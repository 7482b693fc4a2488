"""Ways to count requests against a limit. Each is exact, pure in time, and asked with times that never go back.

Every counter answers the same five questions: is there room, how much, when does it come back (``reset``, in seconds),
at which moment will there be room if nothing more arrives (``opening``), and what a request costs (``charge``).
"""

import math
from collections import deque
from typing import Protocol

from attrs import define, field

__all__ = ["Counter", "FixedWindow", "SlidingCounter", "SlidingLog", "Steps", "TokenBucket"]

_JUST_AFTER = 1e-6  # seconds since the epoch are exact to a quarter of this
_NEVER = -math.inf


@define
class Steps:
    """A limit that may move: pairs of a moment and the limit from then on."""

    steps: tuple[tuple[float, int], ...]

    @classmethod
    def constant(cls, limit: int) -> "Steps":
        """Return a limit that stays."""
        return cls(((_NEVER, limit),))

    def at(self, now: float) -> int:
        """Return the limit at a moment."""
        return [limit for since, limit in self.steps if since <= now][-1]

    def next_change(self, now: float) -> float:
        """Return when the limit moves next."""
        return min((since for since, _ in self.steps if since > now), default=math.inf)


class Counter(Protocol):
    """One quota of a server."""

    @property
    def window(self) -> float:
        """The window's length in seconds."""
        ...

    def limit(self, now: float) -> int:
        """Return how many requests a window holds."""
        ...

    def left(self, now: float) -> int:
        """Return how many more would be accepted at this moment."""
        ...

    def charge(self, now: float) -> None:
        """Count one request."""
        ...

    def reset(self, now: float) -> float:
        """Return the seconds to the moment that a header would tell as the reset."""
        ...

    def elapsed(self, now: float) -> float:
        """Return the seconds since the window began."""
        ...

    def opening(self, now: float) -> float:
        """Return the first moment, from now on, at which there is room if nothing arrives before."""
        ...


@define
class FixedWindow:
    """So many requests per window.

    Attributes:
        limits: The limit.
        window: The window's length in seconds.
        aligned: Windows begin at multiples of their length; otherwise the first request after a window opens the next.
        lag: A request is counted so many seconds after it was judged, as by Kong's timer.
    """

    limits: Steps
    window: float
    aligned: bool = True
    lag: float = 0.0
    _start: float = _NEVER
    _used: int = 0
    _uncounted: deque[float] = field(factory=deque)

    def limit(self, now: float) -> int:
        """Return how many requests a window holds."""
        return self.limits.at(now)

    def left(self, now: float) -> int:
        """Return the limit less what was counted in this window."""
        self._roll(now)
        return max(0, self.limit(now) - self._used)

    def charge(self, now: float) -> None:
        """Count one request, opening a window where requests do."""
        self._roll(now)
        if self._start == _NEVER:
            self._start = now
        if self.lag:
            self._uncounted.append(now + self.lag)
        else:
            self._used += 1

    def elapsed(self, now: float) -> float:
        """Return the seconds since the window began; 0 if none is open."""
        self._roll(now)
        return 0.0 if self._start == _NEVER else now - self._start

    def reset(self, now: float) -> float:
        """Return the seconds to the window's end."""
        return self.window - self.elapsed(now)

    def opening(self, now: float) -> float:
        """Return now, the window's end, or the moment at which the limit is raised."""
        if self.left(now) > 0:
            return now
        return min(now + self.reset(now) + _JUST_AFTER, self.limits.next_change(now))

    def _roll(self, now: float) -> None:
        start = math.floor(now / self.window) * self.window if self.aligned else self._start
        if not self.aligned and now >= self._start + self.window:
            start = _NEVER
        if start != self._start:
            self._start, self._used = start, 0
            self._uncounted.clear()
        while self._uncounted and self._uncounted[0] <= now:
            self._uncounted.popleft()
            self._used += 1


@define
class SlidingLog:
    """So many requests in any span of the window's length."""

    limits: Steps
    window: float
    _times: deque[float] = field(factory=deque)

    def limit(self, now: float) -> int:
        """Return how many requests a span holds."""
        return self.limits.at(now)

    def left(self, now: float) -> int:
        """Return the limit less the requests of the last span."""
        self._forget(now)
        return max(0, self.limit(now) - len(self._times))

    def charge(self, now: float) -> None:
        """Enter one request in the log."""
        self._times.append(now)

    def elapsed(self, now: float) -> float:
        """Return the age of the oldest request that counts."""
        self._forget(now)
        return now - self._times[0] if self._times else 0.0

    def reset(self, now: float) -> float:
        """Return the seconds until the oldest request stops counting."""
        return self.window - self.elapsed(now)

    def opening(self, now: float) -> float:
        """Return when so many have stopped counting that one fits."""
        if self.left(now) > 0:
            return now
        leaves = self._times[len(self._times) - self.limit(now)] + self.window + _JUST_AFTER
        return min(leaves, self.limits.next_change(now))

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] <= now - self.window:
            self._times.popleft()


@define
class SlidingCounter:
    """Two counters: the previous aligned window counts in proportion to its overlap with the span that ends now."""

    limits: Steps
    window: float
    _start: float = _NEVER
    _before: int = 0
    _used: int = 0

    def limit(self, now: float) -> int:
        """Return how many requests a span holds."""
        return self.limits.at(now)

    def left(self, now: float) -> int:
        """Return the whole requests that still fit under the limit."""
        share = 1 - self.elapsed(now) / self.window
        return max(0, math.floor(self.limit(now) - self._before * share - self._used))

    def charge(self, now: float) -> None:
        """Count one request in the current window."""
        self._roll(now)
        self._used += 1

    def elapsed(self, now: float) -> float:
        """Return the seconds since the current window began."""
        self._roll(now)
        return now - self._start

    def reset(self, now: float) -> float:
        """Return the seconds to the end of the current window."""
        return self.window - self.elapsed(now)

    def opening(self, now: float) -> float:
        """Return when the previous window's share has shrunk enough."""
        if self.left(now) > 0:
            return now
        free = self.limit(now) - 1 - self._used
        start, before = self._start, self._before
        if free < 0:  # this window cannot take one more
            start, before, free = start + self.window, self._used, self.limit(now) - 1
        share = min(1.0, free / before) if before else 1.0
        return max(now, start + self.window * (1 - share)) + _JUST_AFTER

    def _roll(self, now: float) -> None:
        start = math.floor(now / self.window) * self.window
        if start != self._start:
            self._before = self._used if start - self._start <= self.window * 1.5 else 0
            self._start, self._used = start, 0


@define
class TokenBucket:
    """Tokens drip into a bucket at a rate, up to its capacity; a request takes one."""

    capacity: int
    rate: float
    _tokens: float = -1.0
    _at: float = 0.0

    @property
    def window(self) -> float:
        """The seconds in which an empty bucket fills."""
        return self.capacity / self.rate

    def limit(self, now: float) -> int:  # noqa: ARG002 - a counter's limit may move, this one's does not
        """Return the capacity."""
        return self.capacity

    def left(self, now: float) -> int:
        """Return the whole tokens in the bucket."""
        self._drip(now)
        return math.floor(self._tokens)

    def charge(self, now: float) -> None:
        """Take a token."""
        self._drip(now)
        self._tokens = max(0.0, self._tokens - 1)

    def elapsed(self, now: float) -> float:
        """Return the seconds of dripping that the bucket holds."""
        self._drip(now)
        return self._tokens / self.rate

    def reset(self, now: float) -> float:
        """Return the seconds until the bucket is full."""
        return self.window - self.elapsed(now)

    def opening(self, now: float) -> float:
        """Return when the next token is whole."""
        if self.left(now) > 0:
            return now
        return now + (1 - self._tokens) / self.rate + _JUST_AFTER

    def _drip(self, now: float) -> None:
        if self._tokens < 0:
            self._tokens, self._at = float(self.capacity), now
        self._tokens = min(float(self.capacity), self._tokens + (now - self._at) * self.rate)
        self._at = now
