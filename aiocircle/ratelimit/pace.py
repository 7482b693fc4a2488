"""Pacing where headers say nothing about bursts: none at all, or only windows of over ten seconds. Pure.

A limit that nobody shows is found by meeting it, so what matters is how many requests meet it. At most as many as are
under way, and of those only what is above the limit. So the rate grows fast while very few are under way, and gently
once the round trip is what binds; a refusal (a *strike*) puts it below the rate at which it struck, for long.

Where a strike asks for a long pause, a long window was used up: what was accepted between two of them is its quota, the
time between them its length. From the least that the quota can be, one request goes at a time.

Sources: the shape of TCP's slow start and CUBIC's plateau; botocore's adaptive mode, which has no plateau.
"""

from attrs import define, field

from aiocircle.ratelimit.quota import NEVER

FAST_WIDTH = 3  # under way at most while the rate grows fast
FAST_MOST = 30.0  # seconds; by then every rate is faster than any network
CLIMB = 1.5  # requests a second, each second, once the round trip binds
CLIMB_MOST = 600.0  # seconds
BACK = 0.85  # of the rate at which it struck
SLOWEST = 0.5  # requests a second
HOLD = 180.0  # seconds without growth after the first strike; doubled by each further one
REGROWTH = 1.02
LONG_PAUSE = 3.0  # seconds; who asks for so much has a long window
SECOND = 1.0
REMEMBERED = 512  # accepted answers; faster than so many a second nothing is measured
LUMP = 0.004  # seconds: what may leave together, since timers are no finer


@define(eq=False)
class Pace:
    """A rate in requests a second that grows from ``since``: by the factor ``growth`` and by ``climb`` each second."""

    rate: float
    growth: float
    since: float
    fast: bool = True
    bound: bool = False
    gentle: float = 1.0
    climb: float = 0.0
    strikes: int = 0
    next_at: float = 0.0
    accepted: list[float] = field(factory=list)
    quota: int = 0
    period: float = 0.0
    opened: float = -1.0
    used: int = 0
    since_strike: int = 0

    def rate_at(self, now: float) -> float:
        """Return the rate."""
        seconds = max(0.0, now - self.since)
        return float(self.rate * self.growth ** min(seconds, FAST_MOST) + self.climb * min(seconds, CLIMB_MOST))

    def ready_at(self, in_flight: int) -> float:
        """Return when the next request may leave; ``NEVER``: after an answer."""
        if self.fast and in_flight >= FAST_WIDTH:
            self.bound = True
            return NEVER
        if self.quota and self.used + in_flight >= self.quota:
            if in_flight:
                return NEVER
            if self.period:
                return max(self.next_at, self.opened + self.period)
        return self.next_at

    def spend(self, now: float) -> None:
        """Take the place of one request. A lull saves up one request, and no burst."""
        if self.fast and self.bound and now - self.since >= SECOND:
            self._go_gently(now)
        spacing = 1 / self.rate_at(now)
        self.next_at = max(self.next_at, now - max(LUMP, spacing)) + spacing

    def accept(self, now: float) -> None:
        """Count an accepted answer."""
        if self.period and now >= self.opened + self.period:
            self.opened += self.period * ((now - self.opened) // self.period)
            self.used = 0
        self.used += 1
        self.since_strike += 1
        self.accepted.append(now)
        if len(self.accepted) > REMEMBERED:
            del self.accepted[: REMEMBERED // 2]

    def strike(self, now: float, until: float) -> None:
        """Learn from a refusal that asks for a pause: go on below the rate, or within the quota, that it met."""
        self.strikes += 1
        if until - now >= LONG_PAUSE:
            self._learn_window(until)
        recent = sum(at > now - SECOND for at in self.accepted)
        rate = self.rate_at(now)
        if until - now >= LONG_PAUSE or not self.since_strike:
            self.rate = rate  # it was not the rate that was too high
        else:
            self.rate = max(SLOWEST, BACK * min(rate, float(recent)))
        self.since_strike, self.climb = 0, 0.0
        self.growth, self.since, self.fast = REGROWTH, now + HOLD * 2.0 ** (self.strikes - 1), False
        self.next_at = now + 1 / self.rate

    def _learn_window(self, until: float) -> None:
        if self.opened >= 0 and until > self.opened:
            self.period = until - self.opened if not self.period else min(self.period, until - self.opened)
        self.quota = max(1, self.used if self.period else max(self.quota, self.used))
        self.opened, self.used = until, 0

    def _go_gently(self, now: float) -> None:
        recent = sum(at > now - SECOND for at in self.accepted)
        self.rate = max(SLOWEST, min(self.rate_at(now), float(recent)))
        self.growth, self.since, self.fast = self.gentle, now, False
        self.climb = CLIMB
