"""Waiting in line for one origin's budget, first come first served in each route group.

All judgement is in ``budget``; here is only order and time. Groups that wait at the same time take turns, so that one
that asks for much does not hold up the others. A request that was refused comes back with the number it had, and so to
the head of its group.

A lane has at most one timer, set for the moment at which its budget can grant the next token. No task runs in the
background: grants happen when somebody asks, when an answer arrives, and by the timer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from math import ceil

from attrs import define, field

from aiocircle.clock import Clock, Timer
from aiocircle.errors import WaitTooLongError, closed_in_use
from aiocircle.events import EventHandler, LimitWaited, LimitWaiting
from aiocircle.ratelimit.bucket import Bucket, Reason, Ticket
from aiocircle.ratelimit.budget import Budget
from aiocircle.ratelimit.facts import RateFacts
from aiocircle.ratelimit.quota import NEVER
from aiocircle.ratelimit.snapshot import BucketSnapshot, Sharer

RETOLD = 1.0  # seconds by which the end of a standstill must move before it is told again
AFTER_YOU = 0.005  # seconds for which a line that had its part of a shared budget leaves the rest to the others


@define(eq=False)
class Waiter:
    """One request in line. ``number`` is its place, which it keeps when it comes back."""

    group: str
    number: int
    max_wait: float
    turn: "asyncio.Future[Ticket]"
    since: float


@define(eq=False)
class Hold:
    """Why the first of a route group's line does not go: not before ``at``, for this reason."""

    group: str
    bucket: int
    at: float
    reason: Reason


@define(eq=False)
class _Standstill:
    since: float
    told_until: float


@define(eq=False)
class Lane:
    """The line before one origin's budget, which this process has to itself."""

    name: str
    budget: Budget
    clock: Clock
    random: Callable[[], float]
    on_event: EventHandler
    waits: int = 0
    waited: float = 0.0
    _lines: dict[str, deque[Waiter]] = field(factory=dict)
    _numbers: int = 0
    _waiting: int = 0
    _patience: float = NEVER
    _timer: Timer | None = None
    _timer_at: float = NEVER
    _standstills: dict[int, _Standstill] = field(factory=dict)
    _paced: Bucket | None = None  # the bucket whose pace alone holds the line

    def now(self) -> float:
        """Return the time that the budget lives in."""
        return self.clock.monotonic()

    async def acquire(self, group: str, max_wait: float, number: int | None = None) -> tuple[Ticket, int]:
        """Return a ticket and its place in the order, which a refused request gives again."""
        now = self.now()
        if number is None:
            self._numbers += 1
            number = self._numbers
        if not self._waiting:
            ticket = self._at_once(group, now)
            if ticket is not None:
                return ticket, number
        turn: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        waiter = Waiter(group, number, max_wait, turn, now)
        settled = self._enqueue(waiter)
        try:
            if not settled:
                self.advance()
            return await turn, number
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def free(self) -> tuple[Ticket, int] | None:
        """Return what ``acquire`` does, without its wait, if nobody stands in line and the request may go at once."""
        budget = self.budget
        group, bucket = budget.groups.get(""), budget.buckets.get(0)
        if self._waiting or group is None or bucket is None or len(budget.buckets) > 1 or not bucket.is_unlimited:
            return None
        self._numbers += 1
        now = self.now()
        ticket = Ticket("", 0, now, bucket.answered, False, {})
        group.sent += 1
        bucket.sent += 1
        bucket.last_sent_at = now
        return ticket, self._numbers

    def answered_free(self, ticket: Ticket) -> bool:
        """Count an answer that says nothing about the rate, if nothing else hangs on it."""
        budget = self.budget
        bucket = budget.buckets.get(ticket.bucket)
        if bucket is None or len(budget.groups) > 1 or self._waiting or not bucket.is_unlimited:
            return False
        budget.groups[ticket.group].answered += 1
        bucket.answered += 1
        return True

    def answered(self, ticket: Ticket, facts: RateFacts, *, refused: bool) -> None:
        """Teach the budget what an answer says."""
        self.budget.answer(ticket, facts, self.now(), refused=refused, jitter=self.random())
        if refused or self._paced is None or self._paced.pace is None:
            self.advance()  # elsewise its next place in time is known, and no answer brings it nearer

    def lost(self, ticket: Ticket) -> None:
        """Record that no answer will come."""
        self.budget.lost(ticket, self.now())
        self.advance()

    def close(self) -> None:
        """Cancel the timer, and fail every request that still waits: its task was not cancelled, only its client."""
        self._set_timer(NEVER)
        for waiter in [waiter for line in self._lines.values() for waiter in line]:
            self._remove(waiter)
            if not waiter.turn.done():
                waiter.turn.set_exception(closed_in_use())

    async def finish(self) -> None:
        """Close, and take leave of those who share the budget: here, nobody."""
        self.close()

    async def refresh(self) -> None:
        """Read what others know of the budget: here, nothing."""

    def advance(self) -> None:
        """Grant what can be granted, then set the timer for the next grant."""
        now = self.now()
        if not self._waiting:
            if self._standstills:
                self._go_on({}, now)
            self._set_timer(NEVER)
            self._paced = None
            return
        granted, holds = self.grants(self.budget, now)
        if granted:
            self._deliver(granted)
        self._hold(holds, now)

    def grants(
        self, budget: Budget, now: float, *, parts: int = 1, elsewhere: int = 0
    ) -> tuple[list[tuple[Waiter, Ticket]], list[Hold]]:
        """Return who may go now, with tickets taken from ``budget``, and why the others may not. Changes no line.

        Args:
            budget: Whose tickets.
            now: The time it lives in.
            parts: Take one part in so many of what each bucket could grant, since so many lines wait for it.
            elsewhere: How many wait in the other lines.
        """
        granted: list[tuple[Waiter, Ticket]] = []
        holds: list[Hold] = []
        if parts == 1 and len(self._lines) == 1:
            return self._grants_of_one(budget, now, elsewhere)
        lines = deque((group, iter(line)) for group, line in self._lines.items() if line)
        left = {group: self._waiting_on(budget, group) + elsewhere for group, _ in lines}
        shares: dict[int, int] = {}
        while lines:
            group, line = lines.popleft()
            waiter = next((waiter for waiter in line if not waiter.turn.done()), None)
            if waiter is None:
                continue
            at, reason = budget.ready_at(now, group, left[group])
            if parts > 1 and at <= now and not self._has_share(shares, budget.bucket_of(group), parts):
                at, reason = now + AFTER_YOU, "pace"
            if at > now:
                holds.append(Hold(group, budget.bucket_of(group).number, at, reason))
                continue
            granted.append((waiter, budget.send(now, group)))
            left[group] -= 1
            lines.append((group, line))
        return granted, holds

    def _grants_of_one(
        self, budget: Budget, now: float, elsewhere: int
    ) -> tuple[list[tuple[Waiter, Ticket]], list[Hold]]:
        """Return what ``grants`` does where there is but one line, as nearly always, and for a fraction of the cost."""
        ((group, line),) = self._lines.items()
        bucket = budget.bucket_of(group)
        left = self._waiting + elsewhere
        granted: list[tuple[Waiter, Ticket]] = []
        for waiter in line:
            if waiter.turn.done():
                continue
            at, reason = bucket.ready_at(now, group, left)
            if at > now:
                return granted, [Hold(group, bucket.number, at, reason)]
            granted.append((waiter, budget.send(now, group)))
            left -= 1
        return granted, []

    @staticmethod
    def _has_share(shares: dict[int, int], bucket: Bucket, parts: int) -> bool:
        """Take one of this line's part of what a bucket can grant now, if any of it is left."""
        if bucket.number not in shares:
            shares[bucket.number] = max(1, ceil(_room(bucket) / parts))
        shares[bucket.number] -= 1
        return shares[bucket.number] >= 0

    def snapshot(self) -> Iterator[BucketSnapshot]:
        """Yield what every bucket does now."""
        yield from self._snapshots(self.budget)

    def totals(self) -> tuple[int, int, int, float]:
        """Return requests answered, refusals, waits, and seconds waited."""
        now = self.now()
        running = sum(now - standstill.since for standstill in self._standstills.values())
        buckets = self.budget.buckets.values()
        answered = sum(group.answered for group in self.budget.groups.values())
        return answered, sum(bucket.refused for bucket in buckets), self.waits, self.waited + running

    # --- the line ---

    def _at_once(self, group: str, now: float) -> Ticket | None:
        return self.budget.send(now, group) if self.budget.ready_at(now, group)[0] <= now else None

    def _withdraw(self, ticket: Ticket) -> None:
        self.budget.withdraw(ticket)

    def _enqueue(self, waiter: Waiter) -> bool:
        """Put a request in its place, and tell whether it changes nothing for anybody: it is one more at the end."""
        line = self._lines.get(waiter.group)
        if line is None:
            line = self._lines[waiter.group] = deque()
        place = len(line)
        if line and line[-1].number > waiter.number:
            place = next(at for at, other in enumerate(line) if other.number > waiter.number)
            line.insert(place, waiter)
        else:
            line.append(waiter)
        self._waiting += 1
        settled = 0 < place == self._waiting - 1 and waiter.max_wait >= self._patience
        self._patience = min(self._patience, waiter.max_wait)
        return settled

    def _waiting_on(self, budget: Budget, group: str) -> int:
        if len(budget.buckets) <= 1:
            return self._waiting
        bucket = budget.bucket_of(group).number
        return sum(len(line) for name, line in self._lines.items() if budget.bucket_of(name).number == bucket)

    def _leave(self, waiter: Waiter) -> None:
        """Give back the place of a cancelled waiter, or the ticket that reached it at the same moment."""
        turn = waiter.turn
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self._withdraw(turn.result())
        else:
            turn.cancel()
            self._remove(waiter)
        self.advance()

    def _remove(self, waiter: Waiter) -> None:
        line = self._lines.get(waiter.group, deque())
        if waiter in line:
            line.remove(waiter)
            self._waiting -= 1

    def _deliver(self, granted: list[tuple[Waiter, Ticket]]) -> None:
        for waiter, ticket in granted:
            line = self._lines[waiter.group]
            if line and line[0] is waiter:
                line.popleft()
                self._waiting -= 1
            else:
                self._remove(waiter)
            self._lines[waiter.group] = self._lines.pop(waiter.group)  # to the end: the next turn is another group's
            if waiter.turn.done():
                self._withdraw(ticket)
            else:
                waiter.turn.set_result(ticket)

    # --- time ---

    def _set_timer(self, at: float) -> None:
        if at == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = at
        if at < NEVER:
            self._timer = self.clock.call_later(at - self.now(), self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_at = None, NEVER
        self.advance()

    def _hold(self, holds: list[Hold], now: float) -> None:
        only = holds[0] if len(holds) == 1 and not self._standstills else None
        if only is not None and only.reason == "pace" and only.at - now <= self._patience:
            self._set_timer(only.at)  # the rhythm of a pace, which nobody needs to be told
            self._paced = self.budget.buckets.get(only.bucket) if len(self.budget.buckets) == 1 else None
            return
        standing: dict[int, Hold] = {}
        next_at = NEVER
        for hold in holds:
            if hold.reason == "answer":
                next_at = min(next_at, hold.at)  # should the answer not come until then
                continue
            if hold.at - now > self._patience:
                self._send_away(hold, now)
            if self._lines[hold.group]:
                next_at = min(next_at, hold.at)
                if hold.reason != "pace":
                    standing.setdefault(hold.bucket, hold)
        self._set_timer(next_at)
        self._paced = None
        if standing or self._standstills:
            self._go_on(standing, now)

    def _send_away(self, hold: Hold, now: float) -> None:
        """Tell those who would not wait so long, and keep the shortest patience of the others."""
        wait = hold.at - now
        for waiter in [waiter for waiter in self._lines[hold.group] if wait > waiter.max_wait]:
            self._remove(waiter)
            if not waiter.turn.done():
                waiter.turn.set_exception(self._too_long(wait, waiter.max_wait))
        self._patience = min((waiter.max_wait for line in self._lines.values() for waiter in line), default=NEVER)

    def _go_on(self, standing: dict[int, Hold], now: float) -> None:
        """Tell which buckets go on, and which stand still."""
        for number in [number for number in self._standstills if number not in standing]:
            standstill = self._standstills.pop(number)
            self.waited += now - standstill.since
            self.on_event(LimitWaited(bucket=self._bucket_name(number), seconds=now - standstill.since))
        for number, hold in standing.items():
            known = self._standstills.get(number)
            if known is None:
                self._standstills[number] = known = _Standstill(now, -NEVER)
                self.waits += 1
            if abs(hold.at - known.told_until) >= RETOLD:
                known.told_until = hold.at
                self.on_event(self._waiting_event(hold, now))

    def _waiting_event(self, hold: Hold, now: float) -> LimitWaiting:
        bucket = self.budget.bucket_of(hold.group)
        limited = [state for state in bucket.states(now) if state.limit is not None]
        binding = min(limited, key=lambda state: (state.remaining, -state.resets_in), default=None)
        return LimitWaiting(
            bucket=self._bucket_name(hold.bucket),
            seconds=hold.at - now,
            until=self.clock.monotonic() + hold.at - now,
            reason="pause" if hold.reason == "pause" else "budget",
            limit=binding.limit if binding else None,
            remaining=binding.remaining if binding else None,
        )

    def _bucket_name(self, number: int) -> str:
        if len(self.budget.buckets) <= 1:
            return self.name
        groups = sorted(name for name, group in self.budget.groups.items() if group.bucket == number)
        return f"{self.name} {', '.join(groups)}".rstrip()

    def _snapshots(self, budget: Budget, sharers: tuple[Sharer, ...] = ()) -> Iterator[BucketSnapshot]:
        now = self.now()
        for bucket in list(budget.buckets.values()):
            groups = sorted(name for name, group in budget.groups.items() if group.bucket == bucket.number)
            mine = {name: line for name, line in self._lines.items() if budget.bucket_of(name) is bucket and line}
            waiting = sum(len(line) for line in mine.values())
            ready = [bucket.ready_at(now, name, waiting) for name in mine]
            at, reason = min(ready, default=(NEVER, None))
            yield BucketSnapshot(
                name=self._bucket_name(bucket.number),
                groups=tuple(groups),
                quotas=bucket.states(now),
                in_flight=bucket.in_flight,
                waiting=waiting,
                waits_for=reason,
                ready_in=None if at == NEVER else max(0.0, at - now),
                sent=bucket.sent,
                refused=bucket.refused,
                processes=max(1, len(sharers)),
                sharers=sharers,
            )

    def _too_long(self, wait: float, max_wait: float) -> WaitTooLongError:
        return WaitTooLongError(
            f"the rate limit of {self.name} lets nothing through for {wait:.0f} s, "
            f"and the longest wait allowed is {max_wait:.0f} s",
            wait=wait,
            max_wait=max_wait,
            resets_at=self.clock.wall() + wait,
            hint=f"run it again in {wait:.0f} s, or allow a longer wait (--max-wait, max_wait=)",
        )


def _room(bucket: Bucket) -> float:
    """Return how many requests a bucket could grant now, as far as it knows."""
    width = bucket.width - bucket.in_flight
    return min([width, *(quota.credit(bucket.sent) for quota in bucket.quotas.values())])
