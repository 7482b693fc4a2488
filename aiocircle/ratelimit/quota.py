"""One quota: what a host's window still grants us, and when it grants again. Pure: time and facts are handed in.

**Ledger.** The bucket counts S requests ever sent and C ever answered or lost; a ticket remembers C at its send. An
answer that shows r left proves room for r more after itself, and at its moment at least C-at-send earlier requests and
itself had been counted. So S may rise to the *ceiling* ``r + C_at_send + 1`` (no +1 for a refusal); ``ceiling - S`` is
the *credit*. Requests under way are thereby reserved, and a late answer has an old C and cannot raise anything.

**Lowering.** Within one window no more than ``r + S`` at receipt (the *cap*) can be right, whatever other answers
proved. A ceiling above it means that somebody else spends, or that the limit shrank: the quota counts as *shared* for a
while. Nor can a window grant more than its limit (the *top*), whatever a host that counts late may show.

**Refill.** An accepted answer that shows no less than the lowest figure known when its request left (the *floor*)
cannot be of the same window, since it has itself cost one. If it shows all that can be left of a full limit, a window
began; if it shows part, the quota *drips* (token bucket, sliding window), and how much it gained in that time is its
*gain*. Before a clock's window can have ended it is neither: the host counts late.

**The next window** begins in an interval that is kept as narrow as answers allow: not before the last request that was
surely counted in this one (``earliest``), and not after ``latest``: receipt + reset, or one window after this one
surely began. Windows aligned to a clock (a header names their length, or one was seen to begin sooner than a window
after our first request) keep their phase: the interval is shifted by whole windows and intersected with each new
sighting, where it is sure which window was seen. The length of others is measured, if nobody tells it.

**Credit zero.** Nothing is sent before ``latest``, or, once windows are known to come back, before fewer than the limit
of our own requests can lie within one (the *slot*; a sliding counter obeys neither, so it is never met without credit).
Then one probe, alone; its answer grants the rest. What is under way and overdue by then is not waited for, if the next
window has room for it too.

**Scouts.** A credit that is kept back can be spent inside the interval without any risk: before the new window it is
accepted by the old one, after it, it opens the new. So scouts halve the interval, and find token buckets, wrong resets
and shorter windows. One that finds the new window has cost the old one a request, so none is kept once the interval is
small beside the window, nor when what waits fits the credit.
"""

from attrs import define, field

from aiocircle.ratelimit.facts import QuotaFact

NEVER = float("inf")

DEFAULT_WINDOW = 1.0  # seconds; CircleCI's guide: without a named window, limits are per second
SHARED_WINDOWS = 5  # for so many windows a quota counts as shared after somebody else was seen spending from it
SHARED_AT_MOST = 60.0  # seconds; a day's quota does not stay shared for five days
DRIPS_AFTER = 2  # partial refills in a row that make it a dripping quota
KEPT_FIRST, KEPT_MOST, KEPT_LONG = 7, 12, 2  # credits held back for scouts while the phase is unknown
KEPT_DRIPPING, KEPT_LATER = 3, 1  # and of a dripping quota, and where the phase is known but for a little
LONG_WINDOW = 10.0  # seconds; over so long a time a few scouts are enough, and what is held back is missed
SMALL_LIMIT = 4  # nothing is held back from less
DRIFT = 2e-4  # of a window: how far two clocks may part in one
ROUNDED = 1.0  # seconds by which a reset may be rounded up; trusted only with a credit at hand
SILENT_ANSWERS = 16  # accepted ones in a row that show no quota at all: from then on only refusals may show it
SLOTS = 64  # answers remembered, evenly spread, for a window's length of them


@define(eq=False)
class Mark:
    """What a ticket remembers of one quota: the floor when it left."""

    floor: int
    refills: int


@define(eq=False)
class Quota:
    """One window's ledger. ``ceiling`` and ``cap`` count as the bucket's S does."""

    limit: int | None
    length: float | None
    ceiling: int
    cap: int
    floor: int
    earliest: float
    latest: float
    not_before: float
    begun_after: float
    begun_by: float
    top: float
    aligned: bool = False
    least_length: float = 0.0
    most_length: float = NEVER
    refills: int = 0
    learnt_at: float = 0.0
    floor_at: float = 0.0
    drips: int = 0
    gain: float = 0.0
    answered_at: float = 0.0
    shared_until: float = 0.0
    unseen: int = 0
    silent: int = 0
    share: int = 1
    spent: int = 0
    groups: list[str] = field(factory=list)
    slots: list[float] = field(factory=list)
    round_trip: float = 0.0
    skipped: int = 0

    @classmethod
    def first(
        cls, fact: QuotaFact, room: int, *, answered_at_send: int, sent_at: float, sent: int, now: float, refused: bool
    ) -> "Quota":
        """Return the quota that an answer shows for the first time."""
        length = fact.window
        cap = room + sent
        return cls(
            limit=fact.limit,
            length=length,
            ceiling=min(room + answered_at_send + (not refused), cap),
            cap=cap,
            floor=room,
            earliest=sent_at,
            latest=now + _reset_of(fact),
            not_before=sent_at + _reset_of(fact) - ROUNDED,
            begun_after=sent_at - (length or NEVER),
            begun_by=now,
            top=NEVER if fact.limit is None else answered_at_send + fact.limit,
            aligned=fact.system == "x" and length is not None,
            learnt_at=sent_at,
            floor_at=sent_at,
            answered_at=now,
            silent=SILENT_ANSWERS if refused else 0,
            spent=1,
        )

    def credit(self, sent: int) -> int:
        """Return how many more requests may leave."""
        credit = self.ceiling - sent
        if self.share > 1 and self.limit is not None:
            credit = min(credit, max(1, self.limit // self.share) - self.spent)
        return credit

    def ready_at(self, now: float, sent: int, in_flight: int, waiting: int, last_sent_at: float) -> float:
        """Return when the next request may leave as far as this quota is concerned; ``NEVER``: after an answer."""
        credit = self.ceiling - sent if self.share == 1 else self.credit(sent)
        if credit <= 0:
            return NEVER if in_flight else self.surely_at(now)
        if self.shared_until > now:
            return NEVER if in_flight >= max(1, credit // 2) else now
        kept = self._kept(waiting, credit)
        if credit > kept:
            return now
        if self.drips:
            return self._drip_at(credit, in_flight, last_sent_at)
        if in_flight:
            return NEVER
        return min(self._scout_at(credit), self.latest)

    def overdue_at(self, now: float, sent: int, in_flight: int) -> float:
        """Return when one more may leave without an answer of those under way, which may still count in any window."""
        if self.limit is None or in_flight >= self.limit:
            return NEVER
        return now if self.credit(sent) > 0 else self.surely_at(now, in_flight)

    @property
    def granted(self) -> bool:
        """Accepted answers show it, so that they may grant more."""
        return self.silent < SILENT_ANSWERS

    @property
    def dripping(self) -> bool:
        """It comes back bit by bit, as token buckets and sliding windows do."""
        return self.drips >= DRIPS_AFTER and self.gain > 0

    def surely_at(self, now: float, in_flight: int = 0) -> float:
        """Return when a request is surely accepted again, although no credit is known; those under way count as now."""
        if self.shared_until > now or self.share > 1:
            return self.latest
        if self.dripping or (self.drips and not self.refills):
            return max(self._slot_at(in_flight), self.answered_at + 3 / self.gain)
        return min(self.latest, self._slot_at(in_flight) or NEVER) if self.refills and not self.drips else self.latest

    def _slot_at(self, in_flight: int = 0) -> float:
        """Return when fewer than the limit of our own answers lie within one window; 0 where that is not known.

        Those under way count as if they came now.
        """
        if self.length is None or self.limit is None:
            return 0.0
        stride = self._stride(self.limit)
        if len(self.slots) * stride < self.limit:
            return 0.0
        newer = max(0, (self.limit - 1 - self.skipped - in_flight) // stride)  # entries that may still count
        return self.slots[max(0, len(self.slots) - 1 - newer)] + self.length

    @staticmethod
    def _stride(limit: int) -> int:
        return max(1, -(-limit // SLOTS))

    def _drip_at(self, credit: int, in_flight: int, last_sent_at: float) -> float:
        """Return when a kept credit of a dripping quota may be spent: as fast as it gains, the last one more slowly."""
        last = credit <= 1
        paced = last_sent_at + (2 if last else 1) / self.gain
        early = self._slot_at(in_flight) - (0.35 if last else 0.7) * self.round_trip
        return max(paced, early)

    def learn(
        self,
        fact: QuotaFact,
        room: int,
        mark: Mark | None,
        *,
        answered_at_send: int,
        alone: bool,
        sent_at: float,
        sent: int,
        now: float,
        refused: bool,
    ) -> None:
        """Take in what an answer shows.

        Args:
            fact: What it says of this quota.
            room: The remaining it shows.
            mark: What was known of this quota when its request left.
            answered_at_send: C at that time.
            alone: Nothing else was under way then.
            sent_at: When that was.
            sent: S now.
            now: When the answer arrived.
            refused: The request was not accepted.
        """
        self.limit, self.unseen, self.answered_at, self.round_trip = fact.limit, 0, now, now - sent_at
        self.silent = self.silent if refused else 0
        refilled = not refused and mark is not None and room >= mark.floor and mark.refills == self.refills
        if refilled and self.aligned and self.refills and now < self._not_over_before():
            return  # the host counts late: what it shows was true before requests that it had answered
        late = not refused and sent_at >= self.latest
        if refilled or late:
            ours = 1 if self.dripping and alone else sent - answered_at_send
            full = fact.limit is None or (room + ours >= fact.limit and (alone or not self.dripping))
            self._refill(fact, room, full=full, alone=alone, sent_at=sent_at, sent=sent, now=now)
            if not full or fact.limit is None:
                self.top = NEVER
            else:
                self.top = answered_at_send + fact.limit
        elif sent_at >= self.learnt_at:
            if room < self.floor:
                self.floor, self.floor_at = room, sent_at
            self.cap = min(self.cap, room + sent)
            self.earliest = max(self.earliest, sent_at)
            reset = _reset_of(fact)
            end = now + reset
            if refused and not room and sent_at >= self.begun_by + self.most_length:
                # too early: these windows begin by a clock, and not with the request that seemed to open them
                self.aligned, self.least_length, self.most_length = True, 0.0, NEVER
            self.latest = end if refused and not room else min(self.latest, end)
            self.not_before = max(self.not_before, sent_at + reset - ROUNDED)
            self.spent += not refused
        if self.ceiling > self.cap and self.drips == 0:
            self.shared_until = now + min(SHARED_AT_MOST, SHARED_WINDOWS * (fact.window or DEFAULT_WINDOW))
        ceiling = max(self.ceiling, room + answered_at_send + (not refused))
        self.ceiling = int(min(ceiling, self.cap, self.top))

    def _refill(
        self, fact: QuotaFact, room: int, *, full: bool, alone: bool, sent_at: float, sent: int, now: float
    ) -> None:
        if full:
            self._date(sent_at, now, alone=alone)
            self.drips, self.gain = 0, 0.0
            self.refills += 1
            self.spent = 1
            self.learnt_at = now
        else:
            self.gain = self._gain_shown(room, now)
            self.drips += 1
        self.floor, self.floor_at, self.cap = room, sent_at, room + sent
        self.earliest = sent_at
        self.latest = now + _reset_of(fact)
        self.not_before = sent_at + _reset_of(fact) - ROUNDED
        if full:
            self.latest = min(self.latest, self.begun_by + (self.length or self.most_length))

    def _not_over_before(self) -> float:
        """Return when the window of a clock ends at the earliest; minus infinity where its length is not known."""
        return -NEVER if self.length is None else self.begun_after + self.length * (1 - DRIFT)

    def _gain_shown(self, room: int, now: float) -> float:
        """Return requests a second: the average of a window of known length, else what came back at the least."""
        if self.length and self.limit:
            return self.limit / self.length
        gained = max(1, room - self.floor + 1) / max(now - self.floor_at, 1e-3)
        return gained if not self.gain else 0.7 * self.gain + 0.3 * gained

    def _date(self, sent_at: float, now: float, *, alone: bool) -> None:
        """Keep the interval in which the window that an answer shows must have begun."""
        length = self.length
        after, by = (sent_at if alone and not self.aligned else self.earliest), now
        if length is None:
            self._measure(now)
            self.begun_after, self.begun_by = after, by
            return
        if now < self._not_over_before():
            self.aligned = True  # sooner than a window after the request that would have opened the last one
        if self.aligned:
            after, by = self._in_step(after, by, length)
        self.begun_after, self.begun_by = after, by

    def _in_step(self, after: float, by: float, length: float) -> tuple[float, float]:
        """Return what is known of a begin from a sighting, and from the last begin and whole windows since."""
        slack = DRIFT * (by - self.begun_after)
        most = int((by - self.begun_after + slack) / length)
        known = self.begun_after + most * length - slack, self.begun_by + most * length + slack
        if most < 1 or known[1] < after:
            return after, by  # they contradict each other: begin anew
        if known[1] - length >= after:  # it may as well be the window before
            return known if known[1] - known[0] < by - after else (after, by)
        return max(after, known[0]), min(by, known[1])

    def _measure(self, now: float) -> None:
        """Narrow down how long a window of untold length is; start anew where sightings contradict each other."""
        if not self.refills:
            return
        self.most_length = min(self.most_length, now - self.begun_after)
        self.least_length = max(self.least_length, self.earliest - self.begun_by)
        if self.least_length > self.most_length:
            self.least_length, self.most_length = 0.0, NEVER

    def _next(self) -> tuple[float, float]:
        """Return the interval in which the next window begins."""
        first = max(self.earliest, self.not_before)
        if self.refills:
            first = max(first, self.begun_after + (self.length or self.least_length))
        return first, max(first, self.latest)

    def _kept(self, waiting: int, credit: int) -> int:
        """Return how many credits to keep back for scouts."""
        if waiting <= credit or self.limit is None or self.limit < SMALL_LIMIT:
            return 0
        if self.drips:
            return KEPT_DRIPPING if self.limit >= 2 * SMALL_LIMIT else KEPT_LATER
        if not self.refills:
            if self.latest - self.earliest > LONG_WINDOW:
                return min(KEPT_LONG, self.limit // SMALL_LIMIT)
            return min(self.limit - 1, max(KEPT_FIRST, self.limit // 3), KEPT_MOST)
        first, last = self._next()
        width, length = last - first, self.length or max(last - self.begun_by, DEFAULT_WINDOW)
        worth = length / 4 + 1.2 * self.round_trip if self.aligned else 1.5 * length / self.limit
        return KEPT_LATER if width > worth else 0

    def _scout_at(self, credit: int) -> float:
        first, last = self._next()
        share = 1 / 4 if self.length is not None and not self.aligned else 1 / 2
        if not self.refills:
            share = 1 / credit  # evenly; the last one goes when the reset says, which may be wrong
        return first + share * (last - first)

    def remember(self, now: float) -> None:
        """Keep, of at least the last ``limit`` requests that may have counted, the time of every n-th."""
        if self.length is None or self.limit is None:
            return
        stride = self._stride(self.limit)
        self.skipped += 1
        if self.skipped < stride:
            return
        self.skipped = 0
        self.slots.append(now)
        if (len(self.slots) - 1) * stride > self.limit:
            del self.slots[0]


def _reset_of(fact: QuotaFact) -> float:
    """Return seconds until the fact's window has surely ended."""
    if fact.reset is not None:
        return fact.reset
    return fact.window if fact.window is not None else DEFAULT_WINDOW
