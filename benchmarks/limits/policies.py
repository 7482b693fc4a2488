"""Servers whose policy is known exactly: they judge a request at the moment at which it arrives."""

import math
from collections.abc import Callable, Mapping, Sequence
from random import Random

from attrs import define, field, frozen

from benchmarks.limits.counters import Counter
from benchmarks.limits.dialects import Headers, Render, kong

__all__ = ["Bucket", "Server", "Tamper", "Verdict", "mangled", "missing", "silent_after", "without_retry_after"]

OK, TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE = 200, 429, 503
Tamper = Callable[[Headers, int, Random], Headers]


@frozen
class Verdict:
    """What a server answers."""

    accepted: bool
    status: int
    headers: Headers


@define
class Bucket:
    """Counters that are charged together.

    Attributes:
        counters: Shown in the headers, all of them enforced.
        render: How they are shown.
        guard: A counter that no header shows; its refusal says ``Retry-After: 1`` and shows room.
        penalised: Refused requests are charged too.
        foreign: Moments at which someone else sends a request on the same token, in order.
    """

    counters: Sequence[Counter]
    render: Render = kong
    guard: Counter | None = None
    penalised: bool = False
    foreign: Sequence[float] = ()
    _foreign_seen: int = 0

    def judge(self, now: float) -> tuple[bool, Headers]:
        """Judge and count one request of ours."""
        self._let_others_in(now)
        if self.guard is not None and self.guard.left(now) < 1:
            return False, [*self.render(self.counters, now, False), ("Retry-After", "1")]
        accepted = self._take(now)
        if accepted and self.guard is not None:
            self.guard.charge(now)
        return accepted, self.render(self.counters, now, not accepted)

    def opening(self, now: float) -> float:
        """Return the first moment from now on at which a request is accepted if none arrives before."""
        moment, last = now, -math.inf
        while moment > last:
            last = moment
            moment = self.peek(moment)
        return moment

    def peek(self, now: float) -> float:
        """Return the last of the moments at which each counter has room again; asks of no moment but now."""
        return max(counter.opening(now) for counter in self.enforced())

    def _let_others_in(self, now: float) -> None:
        while self._foreign_seen < len(self.foreign) and self.foreign[self._foreign_seen] <= now:
            self._take(self.foreign[self._foreign_seen])
            self._foreign_seen += 1

    def _take(self, now: float) -> bool:
        accepted = all(counter.left(now) > 0 for counter in self.counters)
        if accepted or self.penalised:
            for counter in self.counters:
                counter.charge(now)
        return accepted

    def enforced(self) -> list[Counter]:
        """Return all counters, the hidden one too."""
        return [*self.counters, *([self.guard] if self.guard is not None else [])]


@define
class Server:
    """Buckets, the routes that draw on them, and what goes wrong.

    Attributes:
        buckets: By name.
        routes: Route -> bucket.
        storms: Spans in which everything is answered with 503 and a ``Retry-After`` to their end, in whole seconds.
        tamper: What becomes of the headers on their way.
        random: Decides what is left to chance.
    """

    buckets: Mapping[str, Bucket]
    routes: Mapping[str, str]
    storms: Sequence[tuple[float, float]] = ()
    tamper: Tamper | None = None
    random: Random = field(factory=lambda: Random(0))

    def judge(self, now: float, route: str) -> Verdict:
        """Decide about one request that arrives now."""
        storm = self._storm(now)
        if storm is not None:
            seconds = str(max(1, math.ceil(storm - now)))
            return Verdict(False, SERVICE_UNAVAILABLE, [("Retry-After", seconds)])
        accepted, headers = self.buckets[self.routes[route]].judge(now)
        status = OK if accepted else TOO_MANY_REQUESTS
        if self.tamper is not None:
            headers = self.tamper(headers, status, self.random)
        return Verdict(accepted, status, headers)

    def opening(self, now: float, route: str) -> float:
        """Return the first moment from now on at which a request of this route is accepted if none arrives before."""
        bucket = self.buckets[self.routes[route]]
        moment, last = now, -math.inf
        while moment > last:
            last = moment
            moment = bucket.opening(self._storm(moment) or moment)
        return moment

    def peek(self, now: float, route: str) -> float:
        """Return the earliest moment at which a request of this route could be accepted, leaving the counters alone."""
        return max(self._storm(now) or now, self.buckets[self.routes[route]].peek(now))

    def _storm(self, now: float) -> float | None:
        return next((end for start, end in self.storms if start <= now < end), None)


def missing(share: float) -> Tamper:
    """Return what loses all rate headers of so many answers, refusals excepted."""

    def tamper(headers: Headers, status: int, random: Random) -> Headers:
        return [] if status == OK and random.random() < share else headers

    return tamper


def silent_after(answers: int) -> Tamper:
    """Return what loses all rate headers behind so many answers, refusals excepted."""
    left = [answers]

    def tamper(headers: Headers, status: int, random: Random) -> Headers:  # noqa: ARG001 - one of many
        left[0] -= 1
        return [] if status == OK and left[0] < 0 else headers

    return tamper


def mangled(share: float) -> Tamper:
    """Return what replaces one rate header's value by garbage on so many answers."""
    garbage = ("", "-", "NaN", "12abc", "1e9", "0x10", "٣", "null", ";;;", "99999999999999999999")

    def tamper(headers: Headers, status: int, random: Random) -> Headers:
        if status != OK or not headers or random.random() >= share:
            return headers
        index = random.randrange(len(headers))
        return [*headers[:index], (headers[index][0], random.choice(garbage)), *headers[index + 1 :]]

    return tamper


def without_retry_after(headers: Headers, status: int, random: Random) -> Headers:  # noqa: ARG001 - one of many
    """Drop ``Retry-After``."""
    return [header for header in headers if header[0] != "Retry-After"]
