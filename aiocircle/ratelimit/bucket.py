"""The token bucket whose tokens are granted by answers. Pure: time, facts and randomness are handed in.

**What is known.** A host counts requests in one or several windows that we cannot see; its figures change without
notice. An answer may show what remained of a window *after the request it answers was counted*. Our other requests
that were under way at that moment may or may not have been counted in it.

**What is granted.** Quota is granted only by answers; time grants at most one probe.

* The ledger: ``sent`` (S) counts requests ever sent, ``answered`` (C) those ever answered or lost. A ticket remembers C
  at its send.
* The ceiling: an answer that shows ``remaining`` r proves room for r more after itself. When it was computed, at
  least the C-at-its-send earlier requests and itself had been counted, so S may rise to ``r + C_at_send + 1``
  (without the +1 when it was refused, for then it was not counted). The greatest such value is the quota's ceiling, and
  ``ceiling - S`` is its credit. Requests under way are thereby reserved, and an answer that arrives late has an
  old C and cannot raise anything: order does not matter.
* The cap: within one window, no more than ``r + S`` at receipt can ever be right, whatever other answers proved. A
  ceiling above it means that somebody else spends from the same quota, or that the limit shrank.
* Refill: an accepted answer that shows no less than the lowest figure known when its request left cannot be
  of the same window, since it has itself cost one. A new window began in between, and its end is dated by this answer.
* Credit zero: nothing is sent before the window surely ended (receipt + reset of an answer of this very window; the
  window's length where no reset is given). Then one probe, alone; its answer grants the rest.
* Refusals (429, and 503) stop the whole bucket for as long as was asked, or for a growing time where nothing was
  asked. Then, again, one probe. Requests that were sent before the stop and are refused after it do not lengthen it.
* Cold start: two under way before the first answer, then eight, one more with each accepted answer. Where headers say
  nothing about bursts (none at all, or only windows over ten seconds) a pace that doubles or quadruples feels the way
  up.

Several quotas (windows, header systems) bind at once: credit and times are the strictest of all.
Sources: Kong's fixed windows, the IETF drafts, and measurements of limiters in the field.
"""

from typing import Literal

from attrs import define, field, frozen

from aiocircle.ratelimit.headers import QuotaFact, RateFacts

NEVER = float("inf")

COLD_WIDTH = 2
FIRST_WIDTH = 8
FIRST_GROWTH = 2.0  # a pace that grows more slowly is one that a refusal taught
GROWTH_SECONDS = 60.0  # by then every pace is faster than any network
BURST_BLIND_WINDOW = 10.0  # seconds; a longer window tells nothing about bursts inside it
BACKOFF_FIRST = 0.5
BACKOFF_CAP = 30.0
SPREAD = 0.2  # a backoff without the host's word is spread by this share, so that clients do not return together
UNSEEN_ANSWERS = 3  # a quota missing from so many answers that do carry others is gone
SHARED_WINDOWS = 5  # how many windows a quota counts as shared after somebody else was seen spending from it
DEFAULT_WINDOW = 1.0  # CircleCI's guide: without a named window, limits are per second

QuotaKey = tuple[str, float | None, str | None, str | None]
Reason = Literal["budget", "pause", "pace", "answer"]


@define(eq=False)
class Ticket:
    """The right to send one request, and what was known when it was given.

    It must be answered, lost or withdrawn exactly once.
    """

    group: str
    answered_at_send: int
    sent_at: float
    floors: dict[QuotaKey, int]


@define(eq=False)
class _Quota:
    """One window's ledger marks. ``floor`` is the lowest remaining shown since the window began."""

    limit: int | None
    window: float | None
    ceiling: int
    cap: int
    floor: int
    ends_at: float
    began_after: float
    shared_until: float = 0.0
    unseen: int = 0


@define(eq=False)
class _Pace:
    """Even spacing at a rate (requests a second) that grows by ``growth`` a second."""

    rate: float
    growth: float
    since: float
    next_at: float = 0.0

    def rate_at(self, now: float) -> float:
        return float(self.rate * self.growth ** min(now - self.since, GROWTH_SECONDS))

    def spend(self, now: float) -> None:
        # A pause in demand must not be saved up into a burst: at most one spacing is credited.
        self.next_at = max(self.next_at, now - 1 / self.rate_at(now)) + 1 / self.rate_at(now)


@frozen(kw_only=True)
class QuotaState:
    """One quota as last known: ``remaining`` counts requests under way as spent; ``resets_in`` seconds."""

    limit: int | None
    remaining: int
    window: float | None
    resets_in: float


@define(eq=False)
class Bucket:
    """The state of one budget. ``metered=False`` starts without any limit, until an answer shows or enforces one."""

    metered: bool = True
    sent: int = 0
    answered: int = 0
    refused: int = 0
    quotas: dict[QuotaKey, _Quota] = field(factory=dict)
    _width: float = COLD_WIDTH
    _paused_until: float = 0.0
    _paused_at: float = -1.0
    _probation: bool = False
    _failures: int = 0
    _pace: _Pace | None = None
    _spacing: float = 0.0
    _last_sent_at: float = 0.0
    _cold: dict[str, int] = field(factory=dict)
    _warm: set[str] = field(factory=set)
    _meter: tuple[int, int, int] = (0, 0, 0)

    def __attrs_post_init__(self) -> None:
        if not self.metered:
            self._width = NEVER

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return self.sent - self.answered

    def ready_at(self, now: float, group: str = "") -> tuple[float, Reason]:
        """Return when the next request of a route group may leave, and what it waits for until then.

        A time not after ``now`` means at once; ``NEVER`` means that only an answer can tell.
        """
        if self._paused_until > now:
            return self._paused_until, "pause"
        if self.in_flight >= self._width or (self._probation and self.in_flight):
            return NEVER, "answer"
        if self.metered and group not in self._warm and self._cold.get(group, 0) >= COLD_WIDTH:
            return NEVER, "answer"
        at = now
        for quota in self.quotas.values():
            credit = quota.ceiling - self.sent
            if credit <= 0:
                at = max(at, quota.ends_at)
            if self.in_flight and (credit <= 0 or (quota.shared_until > now and self.in_flight >= max(1, credit // 2))):
                return NEVER, "answer"
        paced = max(self._pace.next_at if self._pace else 0.0, self._last_sent_at + self._spacing)
        return (paced, "pace") if paced > at else (at, "budget")

    def send(self, now: float, group: str = "") -> Ticket:
        """Take a token. Only right after ``ready_at`` allowed it."""
        self.sent += 1
        self._last_sent_at = now
        if self.metered and group not in self._warm:
            self._cold[group] = self._cold.get(group, 0) + 1
            if self._pace is None and not self.answered:
                self._pace = _Pace(rate=10.0, growth=2.0, since=now)
        if self._pace:
            self._pace.spend(now)
        floors = {key: quota.floor for key, quota in self.quotas.items()}
        return Ticket(group, self.answered, now, floors)

    def withdraw(self, ticket: Ticket) -> None:
        """Give back a token whose request never left."""
        self.sent -= 1
        self._leave_cold(ticket.group)

    def lost(self, ticket: Ticket) -> None:
        """Record that no answer will come. The host may have counted it; not counting it here would leak credit."""
        self.answered += 1
        self._leave_cold(ticket.group)

    def adopt(self, ticket: Ticket) -> None:
        """Take over a ticket that another bucket gave out, knowing nothing of what came before it."""
        self.sent += 1
        ticket.answered_at_send = self.answered
        ticket.floors = {}

    def answer(self, ticket: Ticket, facts: RateFacts, now: float, *, refused: bool, jitter: float = 0.5) -> None:
        """Learn from an answer.

        Args:
            ticket: The request's ticket.
            facts: What its headers say.
            now: When it arrived.
            refused: The status was 429 or 503.
            jitter: A random number in [0, 1) that spreads backoffs.
        """
        self.answered += 1
        self._leave_cold(ticket.group)
        self._warm.add(ticket.group)
        for fact in facts.quotas:
            self._learn(ticket, fact, now, refused=refused)
        self._forget_unseen(facts)
        if refused:
            self._refuse(ticket, facts, now, jitter)
        else:
            self._accept(ticket, facts, now)

    def states(self, now: float) -> tuple[QuotaState, ...]:
        """Return what is known of each quota, for people."""
        return tuple(
            QuotaState(
                limit=quota.limit,
                remaining=max(0, quota.ceiling - self.sent),
                window=quota.window,
                resets_in=max(0.0, quota.ends_at - now),
            )
            for quota in self.quotas.values()
        )

    def _leave_cold(self, group: str) -> None:
        if group in self._cold:
            self._cold[group] -= 1
            if self._cold[group] <= 0:
                del self._cold[group]

    def _learn(self, ticket: Ticket, fact: QuotaFact, now: float, *, refused: bool) -> None:
        if fact.remaining is None:
            if fact.limit and fact.window:
                self._spacing = max(self._spacing, fact.window / fact.limit)
            return
        key = fact.key
        room = fact.remaining
        ceiling = room + ticket.answered_at_send + (0 if refused else 1)
        ends_at = now + _reset_of(fact)
        quota = self.quotas.get(key)
        cap = room + self.sent
        if quota is None:
            self.quotas[key] = _Quota(fact.limit, fact.window, min(ceiling, cap), cap, room, ends_at, ticket.sent_at)
            return
        quota.limit, quota.unseen = fact.limit, 0
        floor = ticket.floors.get(key)
        if not refused and ((floor is not None and room >= floor) or ticket.sent_at > quota.ends_at):
            quota.began_after, quota.floor, quota.cap, quota.ends_at = now, room, cap, ends_at
        elif ticket.sent_at >= quota.began_after:
            quota.floor, quota.cap = min(quota.floor, room), min(quota.cap, cap)
            quota.ends_at = min(quota.ends_at, ends_at) if quota.ends_at > now else ends_at
        if refused and not room:
            quota.ends_at = ends_at
        if quota.ceiling > quota.cap:
            quota.shared_until = now + SHARED_WINDOWS * (fact.window or DEFAULT_WINDOW)
        quota.ceiling = min(max(quota.ceiling, ceiling), quota.cap)

    def _forget_unseen(self, facts: RateFacts) -> None:
        if not facts.quotas:
            return
        shown = {fact.key for fact in facts.quotas}
        for key in [key for key in self.quotas if key not in shown]:
            self.quotas[key].unseen += 1
            if self.quotas[key].unseen >= UNSEEN_ANSWERS:
                del self.quotas[key]

    def _accept(self, ticket: Ticket, facts: RateFacts, now: float) -> None:
        second, count, before = self._meter
        self._meter = (second, count + 1, before) if second == int(now) else (int(now), 1, count)
        if ticket.sent_at <= self._paused_at:
            return
        self._failures = 0
        self._probation = False
        self._width = max(FIRST_WIDTH, self._width + 1)
        self._set_pace(facts, now)

    def _set_pace(self, facts: RateFacts, now: float) -> None:
        """Windows of up to ten seconds make a pace needless; longer ones say nothing about bursts."""
        if not facts.quotas or (self._pace and self._pace.growth < FIRST_GROWTH):
            return
        shortest = min((fact.window or fact.reset or DEFAULT_WINDOW) for fact in facts.quotas)
        if shortest <= BURST_BLIND_WINDOW:
            self._pace = None
        elif self.answered == 1:
            self._pace = _Pace(rate=40.0, growth=4.0, since=now)

    def _refuse(self, ticket: Ticket, facts: RateFacts, now: float, jitter: float) -> None:
        self.refused += 1
        current = ticket.sent_at > self._paused_at
        pause = facts.pause or 0.0
        if facts.backoff:
            backoff = min(BACKOFF_CAP, BACKOFF_FIRST * 2**self._failures)
            pause = max(pause, backoff * (1 - SPREAD + 2 * SPREAD * jitter))
            if current:
                self._slow_down(now)
        if not current and facts.backoff and self._paused_until > now:
            return
        self._paused_until = max(self._paused_until, now + pause)
        if current:
            self._failures += 1
            self._paused_at = now
        self._probation = True

    def _slow_down(self, now: float) -> None:
        """A refusal that no quota explains: a limit nobody shows. Go on below the rate at which it struck."""
        second, count, before = self._meter
        accepted = max(count, before) if second >= int(now) - 1 else 0
        known = self._pace.rate_at(now) if self._pace else 0.0
        self._pace = _Pace(rate=max(1.0, 0.9 * accepted, min(0.7 * known, 1e3)), growth=1.1, since=now)
        self._width = min(self._width, FIRST_WIDTH)


def _reset_of(fact: QuotaFact) -> float:
    """Return seconds until the fact's window has surely ended."""
    if fact.reset is not None:
        return fact.reset
    return fact.window if fact.window is not None else DEFAULT_WINDOW
