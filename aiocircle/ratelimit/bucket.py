"""The token bucket whose tokens are granted by answers. Pure: time, facts and randomness are handed in.

**What is known.** A host counts requests in one or several windows that we cannot see; its figures change without
notice. An answer may show what remained of a window *after the request it answers was counted*. Our other requests
that were under way at that moment may or may not have been counted in it.

**What is granted.** Quota is granted only by answers; time grants at most one probe.

* Each window has a ledger of its own (``quota``); credit and times are the strictest of all.
* Refusals (429, and 503) stop the whole bucket for as long as was asked, or for a growing time where nothing was
  asked, or where that was not enough several times. Then one probe. Requests that were sent before the stop and are
  refused after it do not lengthen it.
* Cold start: two under way before the first answer of a route group, then eight, one more with each accepted answer.
  Where headers say nothing about bursts a pace feels the way up (``pace``).
* A refusal that no exhausted quota explains is a limit nobody shows, and so is one that only refusals show: the same
  pace takes over.
* An answer that is overdue is not waited for, or one request that hangs would hold up all others: a probe goes when a
  window has room for it and for all that is under way.

Sources: Kong's fixed windows, the IETF drafts, and measurements of limiters in the field.
"""

from functools import lru_cache
from typing import Literal

from attrs import define, field, frozen

from aiocircle.ratelimit.facts import QuotaFact, RateFacts
from aiocircle.ratelimit.pace import Pace
from aiocircle.ratelimit.quota import DEFAULT_WINDOW, NEVER, Mark, Quota

COLD_WIDTH = 2
FIRST_WIDTH = 8
BURST_BLIND_WINDOW = 10.0  # seconds; a longer window tells nothing about bursts inside it
BACKOFF_FIRST = 0.5
BACKOFF_CAP = 30.0
BELIEVED = 4  # probes refused in a row after as long as the host asked for: from then on it does not know when
OVERDUE = 1.0  # seconds after the last request left for which answers are waited for when only they can tell
SPREAD = 0.2  # a backoff without the host's word is spread by this share, so that clients do not return together
UNSEEN_ANSWERS = 3  # a quota missing from so many answers that do carry others is gone

Reason = Literal["budget", "pause", "pace", "answer"]


@define(eq=False)
class Ticket:
    """The right to send one request, and what was known when it was given.

    It must be answered, lost or withdrawn exactly once.
    """

    group: str
    bucket: int
    sent_at: float
    answered_at_send: int
    alone: bool
    marks: dict[str, Mark]


@frozen(kw_only=True)
class QuotaState:
    """One quota as last known: ``remaining`` counts requests under way as spent; ``resets_in`` seconds."""

    name: str
    limit: int | None
    remaining: int
    window: float | None
    resets_in: float


@lru_cache(maxsize=256)
def quota_name(system: str, window: float | None, name: str | None, partition: str | None) -> str:
    """Return what tells a quota from every other, as text."""
    parts = [system, f"{window:g}" if window else "", name or "", partition or ""]
    return "/".join(parts).rstrip("/")


def name_of(fact: QuotaFact) -> str:
    """Return the name of the quota that a fact is about; where a host shows but one of several, its limit is in it."""
    name = quota_name(fact.system, fact.window, fact.name, fact.partition)
    return f"{name}#{fact.limit}" if fact.name is None and (fact.system == "std" or fact.window is None) else name


@define(eq=False)
class Bucket:
    """The state of one budget. ``metered=False`` starts without any limit, until an answer shows or enforces one."""

    number: int = 0
    metered: bool = True
    share: int = 1
    sent: int = 0
    answered: int = 0
    refused: int = 0
    quotas: dict[str, Quota] = field(factory=dict)
    width: float = COLD_WIDTH
    paused_until: float = 0.0
    paused_at: float = -1.0
    probation: bool = False
    failures: int = 0
    pace: Pace | None = None
    spacing: float = 0.0
    spaced_group: str = ""
    spacing_unseen: int = 0
    last_sent_at: float = -1.0
    cold: dict[str, int] = field(factory=dict)
    warm: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        if not self.metered:
            self.width = NEVER

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing was ever shown or enforced here, so that the next answer is all there is to count."""
        limits = self.metered or self.quotas or self.pace or self.spacing or self.refused
        return not limits and self.share == 1

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return self.sent - self.answered

    def ready_at(self, now: float, group: str = "", waiting: int = 1) -> tuple[float, Reason]:
        """Return when the next request of a route group may leave, and what it waits for until then.

        A time not after ``now`` means at once; ``NEVER`` means that only an answer can tell, and another time for which
        it waits for one that it goes then without it. ``waiting`` is how many stand in line, this one included.
        """
        if self.paused_until > now:
            return self.paused_until, "pause"
        in_flight = self.sent - self.answered
        if self._is_full(in_flight, group):
            return NEVER, "answer"
        at = now
        for quota in self.quotas.values():
            if group in quota.groups or group not in self.warm:
                ready = quota.ready_at(now, self.sent, in_flight, waiting, self.last_sent_at)
                at = ready if ready > at else at  # noqa: FURB136 -- max() costs more than all the rest of this
        reason: Reason = "budget"
        if at == NEVER or (self.probation and in_flight):
            at, reason = self._overdue_at(now, group, in_flight), "answer"
        if self.pace is None and not self.spacing:
            return at, reason
        paced = self.last_sent_at + self.spacing if self.spacing else 0.0
        if self.pace is not None:
            paced = max(paced, self.pace.ready_at(in_flight))
        if max(at, paced) == NEVER:
            return NEVER, "answer"
        return (paced, "pace") if paced > at else (at, reason)

    def _overdue_at(self, now: float, group: str, in_flight: int) -> float:
        """Return when the next request may leave if until then none of those under way is answered."""
        at = self.last_sent_at + OVERDUE
        for quota in self.quotas.values():
            if group in quota.groups or group not in self.warm:
                at = max(at, quota.overdue_at(now, self.sent, in_flight))
        return at

    def _is_full(self, in_flight: int, group: str) -> bool:
        """Tell whether as many are under way as may be: in all, or of a group of which no answer is known."""
        if in_flight >= self.width:
            return True
        return bool(self.cold) and self.metered and self.cold.get(group, 0) >= COLD_WIDTH and group not in self.warm

    def send(self, now: float, group: str = "") -> Ticket:
        """Take a token. Only right after ``ready_at`` allowed it."""
        alone = self.sent == self.answered
        self.sent += 1
        self.last_sent_at = now
        if self.metered and group not in self.warm:
            self.cold[group] = self.cold.get(group, 0) + 1
            if self.pace is None and not self.answered:
                self.pace = Pace()
        if self.pace:
            self.pace.spend(now)
        marks = {}
        for name, quota in self.quotas.items():
            quota.spent += quota.share > 1
            marks[name] = Mark(quota.floor, quota.refills)
        return Ticket(group, self.number, now, self.answered, alone, marks)

    def withdraw(self, ticket: Ticket) -> None:
        """Give back a token whose request never left."""
        self.sent -= 1
        self._leave_cold(ticket.group)

    def lost(self, ticket: Ticket, now: float) -> None:
        """Record that no answer will come. The host may have counted it; not counting it here would leak credit."""
        self.answered += 1
        self._leave_cold(ticket.group)
        self._remember(ticket.group, now)

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
        if ticket.group not in self.warm:
            self.warm.append(ticket.group)
        for fact in facts.quotas:
            if fact.remaining is None:
                self._space(ticket.group, fact, facts)
            else:
                self._learn(ticket, fact, fact.remaining, now, refused=refused)
        self._forget_unseen(ticket.group, facts, refused=refused)
        if refused:
            self._refuse(ticket, facts, now, jitter)
        else:
            self._remember(ticket.group, now)
            self._accept(ticket, facts, now)

    def states(self, now: float) -> tuple[QuotaState, ...]:
        """Return what is known of each quota, for people."""
        return tuple(
            QuotaState(
                name=name,
                limit=quota.limit,
                remaining=max(0, quota.credit(self.sent)),
                window=quota.length,
                resets_in=max(0.0, quota.latest - now),
            )
            for name, quota in self.quotas.items()
        )

    def _leave_cold(self, group: str) -> None:
        if group in self.cold:
            self.cold[group] -= 1
            if self.cold[group] <= 0:
                del self.cold[group]

    def _space(self, group: str, fact: QuotaFact, facts: RateFacts) -> None:
        """Let requests of a limit go evenly, since nothing tells what is left of it.

        Not of a long window beside others: of several named policies a host may show but the one that is nearest
        exhaustion (draft 11, B.3.1), and then enough is left of this one.
        """
        if not fact.limit or not fact.window:
            return
        others = any(other.system == "policy" and other.remaining is not None for other in facts.quotas)
        if not (others and fact.system == "policy" and fact.window > BURST_BLIND_WINDOW):
            self.spacing = max(self.spacing, fact.window / fact.limit)
            self.spaced_group, self.spacing_unseen = group, 0

    def _learn(self, ticket: Ticket, fact: QuotaFact, room: int, now: float, *, refused: bool) -> None:
        name = name_of(fact)
        quota = self.quotas.get(name)
        if quota is None:
            quota = self.quotas[name] = Quota.first(
                fact,
                room,
                answered_at_send=ticket.answered_at_send,
                sent_at=ticket.sent_at,
                sent=self.sent,
                now=now,
                refused=refused,
            )
            quota.share = self.share
        else:
            quota.learn(
                fact,
                room,
                ticket.marks.get(name),
                answered_at_send=ticket.answered_at_send,
                alone=ticket.alone,
                sent_at=ticket.sent_at,
                sent=self.sent,
                now=now,
                refused=refused,
            )
        if ticket.group not in quota.groups:
            quota.groups.append(ticket.group)

    def _remember(self, group: str, now: float) -> None:
        for quota in self.quotas.values():
            if group in quota.groups:
                quota.remember(now)

    def _forget_unseen(self, group: str, facts: RateFacts, *, refused: bool) -> None:
        if self.spacing and group == self.spaced_group and facts.quotas:
            shown_whole = all(fact.remaining is not None for fact in facts.quotas)
            self.spacing_unseen += shown_whole
            if self.spacing_unseen >= UNSEEN_ANSWERS:
                self.spacing = 0.0
        if not facts.quotas:
            if not refused:
                self._forget_untold(group)
            return
        told = [fact for fact in facts.quotas if fact.remaining is not None]
        if len(told) == len(self.quotas):
            return
        names = {name_of(fact) for fact in told}
        for name in [name for name, quota in self.quotas.items() if name not in names and group in quota.groups]:
            self.quotas[name].unseen += 1
            if self.quotas[name].unseen >= UNSEEN_ANSWERS:
                del self.quotas[name]

    def _forget_untold(self, group: str) -> None:
        """Drop what only refusals show, or do by now: no answer would ever grant anything of it again."""
        for name, quota in [(name, quota) for name, quota in self.quotas.items() if group in quota.groups]:
            quota.silent += 1
            if not quota.granted:
                del self.quotas[name]
        if self.metered and not self.quotas and self.pace is None:
            self.pace = Pace()

    def _accept(self, ticket: Ticket, facts: RateFacts, now: float) -> None:
        if self.pace:
            self.pace.accept(now, self.in_flight)
        if ticket.sent_at <= self.paused_at:
            return
        self.failures = 0
        self.probation = False
        self.width = max(FIRST_WIDTH, self.width + 1)
        if facts.quotas and self.pace is not None and not self.pace.strikes:
            self._set_pace(facts)

    def _set_pace(self, facts: RateFacts) -> None:
        """Windows of up to ten seconds make a pace needless; longer ones say nothing about bursts."""
        shortest = min((fact.window or fact.reset or DEFAULT_WINDOW) for fact in facts.quotas)
        if shortest <= BURST_BLIND_WINDOW:
            self.pace = None

    def _refuse(self, ticket: Ticket, facts: RateFacts, now: float, jitter: float) -> None:
        self.refused += 1
        current = ticket.sent_at > self.paused_at
        pause = facts.pause or 0.0
        if facts.backoff or self.failures >= BELIEVED:
            backoff = min(BACKOFF_CAP, BACKOFF_FIRST * 2**self.failures)
            pause = max(pause, backoff * (1 - SPREAD + 2 * SPREAD * jitter))
        unexplained = not any(fact.remaining == 0 and self._explains(fact) for fact in facts.quotas)
        if current and unexplained and not facts.unavailable:
            self._strike(now, now + (facts.pause or 0.0))
        if not current and facts.backoff and self.paused_until > now:
            return
        self.paused_until = max(self.paused_until, now + pause)
        if current:
            self.failures += 1
            self.paused_at = now
        self.probation = True

    def _explains(self, fact: QuotaFact) -> bool:
        """Tell whether accepted answers show a quota too, in time; the first of all may be refused before any could."""
        return self.quotas[name_of(fact)].granted or self.width <= COLD_WIDTH

    def _strike(self, now: float, until: float) -> None:
        """A refusal that no quota explains: a limit nobody shows. ``until`` is the end of the pause it asks for."""
        if self.pace is None:
            self.pace = Pace(NEVER if not self.answered else max(1.0, self.width))
        shown = any(quota.granted for quota in self.quotas.values())  # and with it what others use
        self.pace.strike(now, until, others=not shown)
        self.width = min(self.width, FIRST_WIDTH)
