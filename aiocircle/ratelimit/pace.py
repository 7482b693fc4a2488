"""Pacing where headers say nothing about bursts: none at all, or only windows of over ten seconds. Pure.

A limit that nobody shows is found by meeting it, so what matters is how many requests meet it. At most as many as are
under way, and of those only what is above the limit. So the rate grows fast while very few are under way, and gently
once the round trip is what binds; a refusal (a *strike*) puts it below the rate at which it struck, for long.

Sources: the shape of TCP's slow start and CUBIC's plateau; botocore's adaptive mode, which has no plateau.
"""

from attrs import define, field

FAST_WIDTH = 3  # under way while the rate grows fast
FAST_MOST = 30.0  # seconds; by then every rate is faster than any network
GENTLE = 1.1  # growth a second once the round trip binds
BACK = 0.9  # of the rate at which it struck
SLOWEST = 0.5  # requests a second
HOLD = 30.0  # seconds without growth after the first strike; doubled by each further one
REGROWTH = 1.02
SECOND = 1.0
REMEMBERED = 512  # accepted answers; faster than so many a second nothing is measured
LUMP = 0.004  # seconds: what may leave together, since timers are no finer


@define(eq=False)
class Pace:
    """A rate in requests a second, that grows by ``growth`` a second from ``since``."""

    rate: float
    growth: float
    since: float
    fast: bool = True
    strikes: int = 0
    next_at: float = 0.0
    accepted: list[float] = field(factory=list)

    def rate_at(self, now: float) -> float:
        """Return the rate."""
        return float(self.rate * self.growth ** min(max(0.0, now - self.since), FAST_MOST))

    def spend(self, now: float, in_flight: int) -> None:
        """Take the place of one request, the last of those under way. A lull saves up one request, and no burst."""
        if self.fast and in_flight > FAST_WIDTH:
            self._go_gently(now)
        spacing = 1 / self.rate_at(now)
        self.next_at = max(self.next_at, now - max(LUMP, spacing)) + spacing

    def accept(self, now: float) -> None:
        """Count an accepted answer."""
        self.accepted.append(now)
        if len(self.accepted) > REMEMBERED:
            del self.accepted[: REMEMBERED // 2]

    def strike(self, now: float) -> None:
        """Go on below the rate at which a limit that nobody shows was met."""
        recent = sum(at > now - SECOND for at in self.accepted)
        reached = min(self.rate_at(now), float(max(recent, 1)))
        self.strikes += 1
        self.rate = max(SLOWEST, BACK * reached)
        self.growth, self.since, self.fast = REGROWTH, now + HOLD * 2.0 ** (self.strikes - 1), False
        self.next_at = now + 1 / self.rate

    def _go_gently(self, now: float) -> None:
        recent = sum(at > now - SECOND for at in self.accepted)
        self.rate = min(self.rate_at(now), max(self.rate, recent * GENTLE))
        self.growth, self.since, self.fast = GENTLE, now, False
