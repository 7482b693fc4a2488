"""Pacing where headers say nothing about bursts: none at all, or only windows of over ten seconds. Pure.

A limit that nobody shows is found by meeting it. What that costs is known beforehand: everything stops with the first
refusal, so no more are refused than were under way then, that is, rate times round trip; and if the rate grows slowly,
no more than a second has more than the one before. To pass a rate is to risk that. From this follow three phases.

1. *Search.* An accepted answer raises the rate by ``GAIN`` over how many are under way: fast where few are at stake,
   and by a straight line once the round trip binds. From ``RISK`` under way on it is as many a second, each second, so
   that the growth of a second is what bounds the loss. And never beyond twice what the last second accepted: who sends
   little has tried little.
2. *Approach.* While the rate grew fast, the last second accepted up to twice the limit, partly in the window before. So
   the first refusal (a *strike*) puts the rate well below that, and it grows by ``APPROACH`` a second: the next strike
   costs few, and what the last second accepted is then the limit, but for little. Before a second has passed nobody
   knows what others had of the window: the rate falls, and the search goes on.
3. *Hold.* That strike, and each further one, puts the rate just below what was accepted, for long.

Where a strike asks for a long pause, a long window was used up and not a rate passed: what was accepted between two of
them is its quota, the time between them its length. Beyond the least that the quota can be, few go at a time. Others
may have used some of it, so now and then a window is asked for more, until it refuses.

Sources: TCP's slow start and CUBIC's approach to where it struck; RFC 7661, for who sends little; botocore's adaptive
mode, which never holds.
"""

from bisect import bisect_right

from attrs import define, field

from aiocircle.ratelimit.quota import NEVER

START = 20.0  # requests a second
GAIN = 5.0  # requests a second, for an accepted answer
RISK = 10  # requests under way
APPROACH = 0.02  # of the rate, each second
BACK_FAR = 0.7  # of what the last second accepted, after fast growth
BACK = 0.9  # the same, after slow growth
PUSH, PUSH_AGAIN = 2.0, 1.5  # times what the last second accepted: the search goes no further, at first and later
SLOWEST = 0.5  # requests a second
HOLD = 180.0  # seconds without growth; doubled by each further strike
SECOND = 1.0
LUMP = 0.004  # seconds: what may leave together, since timers are no finer
LONG_PAUSE = 3.0  # seconds; who asks for so much has a long window
BEYOND = 3  # under way where a window's quota may be used up
MOST_REST = 32  # windows
SHORTER = 0.9  # of its length: so much less is no error of measurement


@define(eq=False)
class LongWindow:
    """A window that only its refusals show: its ``quota`` and ``period``, zero while unknown, and what is ``used``.

    Whether it grants more than that is tried one by one, in windows that open from ``tried_from`` on; after each trial
    that fails, ``rest`` of them pass without.
    """

    quota: int = 0
    period: float = 0.0
    opened: float = -1.0
    used: int = 0
    tried_from: float = 0.0
    rest: int = 1

    def ready_at(self, in_flight: int) -> float:
        """Return when the next request may leave; 0: at once, ``NEVER``: after an answer."""
        if not self.quota or self.used + in_flight < self.quota:
            return 0.0
        if self.period and in_flight:
            return NEVER
        if self.period:
            return 0.0 if self.is_tried else self.opened + self.period
        return NEVER if in_flight >= BEYOND else 0.0

    @property
    def is_tried(self) -> bool:
        """More than the quota is asked of this window."""
        return self.opened >= self.tried_from

    def accept(self, now: float) -> None:
        """Count an accepted answer."""
        if self.period and now >= self.opened + self.period:
            self.opened += self.period * ((now - self.opened) // self.period)
            self.used = 0
        self.used += 1
        if self.period and self.used > self.quota:
            self.quota, self.rest = self.used, 1

    def strike(self, now: float, until: float) -> bool:
        """Learn from a refusal, and tell whether it was this window's."""
        is_long = until - now >= LONG_PAUSE
        if self.period and self.used >= self.quota:
            if now >= self.opened + self.period:  # its end was waited for, and had not come
                self._measure(until)
            else:
                self._leave_alone(until)
                if not is_long:
                    return True
        elif not is_long:
            return False
        elif self.used or self.opened < 0:  # else it was used up before, and tells no more of itself
            if self.opened >= 0 and (not self.period or until - self.opened < SHORTER * self.period):
                self._measure(until)
            elif self.period:
                self.tried_from = until  # others may have used a part of it
            self.quota = max(1, self.used if self.period else max(self.quota, self.used))
        self.opened, self.used = until, 0
        return True

    def _measure(self, end: float) -> None:
        self.period = end - self.opened
        self.tried_from = end + self.period

    def _leave_alone(self, until: float) -> None:
        """Let windows pass without a trial, twice as many as the last time."""
        self.rest = min(2 * self.rest, MOST_REST)
        self.tried_from = max(until, self.opened + self.period) + (self.rest - 1) * self.period


@define(eq=False)
class Pace:
    """A rate in requests a second, and what was learned of it.

    Attributes:
        rate: The rate.
        strikes: Refusals that were met.
        falls: Those that lowered the rate.
        held_until: The rate does not grow before.
        next_at: When the next request may leave, as far as the rate is concerned.
        since_strike: Answers accepted since the last strike.
        base: Below this much, and what ``push`` allows beside it, the search goes on.
        push: Times what the last second accepted.
        began: When the first answer was accepted.
        accepted: When answers of the last second were.
        window: What refusals told of a long window.
    """

    rate: float = START
    strikes: int = 0
    falls: int = 0
    held_until: float = 0.0
    next_at: float = 0.0
    since_strike: int = 0
    base: float = START
    push: float = PUSH
    began: float | None = None
    accepted: list[float] = field(factory=list)
    window: LongWindow = field(factory=LongWindow)

    def ready_at(self, in_flight: int) -> float:
        """Return when the next request may leave; ``NEVER``: after an answer."""
        return max(self.next_at, self.window.ready_at(in_flight))

    def spend(self, now: float) -> None:
        """Take the place of one request. A lull saves up one request, and no burst."""
        spacing = 1 / self.rate
        self.next_at = max(self.next_at, now - max(LUMP, spacing)) + spacing

    def accept(self, now: float, in_flight: int) -> None:
        """Count an accepted answer.

        Args:
            now: When it arrived.
            in_flight: How many others are under way.
        """
        self.window.accept(now)
        self.since_strike += 1
        self.began = now if self.began is None else self.began
        self.accepted.append(now)
        recent = self._recent(now)
        if now >= self.held_until:
            self.rate = max(self.rate, min(self.rate + self._step(in_flight), self.base + self.push * recent))

    def strike(self, now: float, until: float, *, others: bool = True) -> None:
        """Learn from a refusal: go on below the rate, or within the window, that it met.

        Args:
            now: When it arrived.
            until: The end of the pause that it asks for; ``now`` if it asks for none.
            others: Somebody else may have used a part of what was granted.
        """
        is_windows = self.window.strike(now, until)
        is_early = others and not self.strikes and self.began is not None and now < self.began + SECOND
        self.strikes += is_windows or not is_early
        # Without any accepted answer since the last strike it is that one's window still.
        if not is_windows and self.since_strike:
            back = BACK if self.falls else BACK_FAR
            self.rate = max(SLOWEST, back * min(self.rate, float(self._recent(now))))
            self.held_until = now + HOLD * 2.0 ** (self.falls - 1) if self.falls else 0.0
            self.falls += not is_early
            self.base, self.push = (SLOWEST, PUSH_AGAIN) if is_early else (self.base, self.push)
        self.since_strike = 0
        self.next_at = now + 1 / self.rate

    def _step(self, in_flight: int) -> float:
        """Return by how much an accepted answer raises the rate."""
        if self.strikes:
            return APPROACH
        return GAIN / (in_flight + 1) if in_flight < RISK else RISK / self.rate

    def _recent(self, now: float) -> int:
        """Return how many answers the last second accepted, and forget older ones."""
        del self.accepted[: bisect_right(self.accepted, now - SECOND)]
        return len(self.accepted)
