"""The line before a budget that several processes share.

What this process wants to tell (answers, losses, tickets given back) goes to an *outbox*. One task at a time empties
it: it reads the record, counts dead processes' tickets as lost, applies the outbox in order, takes tickets for those
who may go, and swaps the record. If another process was faster, the same is computed again from what that one wrote.
Only after the swap anybody hears of a ticket. Nothing runs while there is nothing to tell and nobody waits.

* **Tickets that the record does not know** (this process was taken for dead, the store lost its memory) are
  counted anew as under way; their answers prove nothing then, and can only lower.
* **Fairness.** While others wait, a line takes at most its part of what a bucket can grant, and leaves the rest to them
  for a few milliseconds.
* **Whose answer?** Where only another process's answer can tell, there is nobody to call us: the record is read again
  after an eighth of the time that the youngest of their requests is under way, 3 to 50 ms. No other time is polled.
* **A lost store.** The last known record becomes this process's own, with one part in so many of every window. From
  time to time the store is asked again.

Times are the store's.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from itertools import chain

from attrs import define, field, frozen

from aiocircle.clock import Timer
from aiocircle.errors import ConfigurationError
from aiocircle.events import LimiterStoreBack, LimiterStoreLost
from aiocircle.ratelimit.bucket import Ticket
from aiocircle.ratelimit.budget import Budget
from aiocircle.ratelimit.facts import RateFacts
from aiocircle.ratelimit.lane import Hold, Lane, Waiter
from aiocircle.ratelimit.quota import NEVER
from aiocircle.ratelimit.record import UNSEEN, Held, Member, Record, dump, load
from aiocircle.ratelimit.snapshot import BucketSnapshot, Sharer
from aiocircle.ratelimit.store import Kept, Store, StoreLostError

HEARTBEAT = 0.5  # seconds between signs of life while there is anything under way or in line
SOONEST, LATEST = 0.003, 0.05  # seconds between looks for another process's answer
ATTEMPTS, PATIENT_ATTEMPTS = 60, 6  # swaps before the store counts as lost; without a pause between them
RETRY_FIRST, RETRY_MOST = 1.0, 30.0  # seconds between attempts to find a lost store again
CLOSING = 2.0  # seconds for the last word to the store
JUMP = 0.5  # seconds by which the store's time must have moved against ours to be another time

LOST = (StoreLostError, ConfigurationError)  # the latter: its password was changed, the file is no longer ours


@frozen
class _Word:
    """Something to tell the budget about a ticket."""

    key: str
    group: str
    tell: Callable[[Budget, Ticket, float], None]


@frozen
class _Outcome:
    """What a step came to: how much of the outbox it took, who may go and why the others may not."""

    words: int
    granted: list[tuple[Waiter, Ticket]]
    keys: list[str]
    holds: list[Hold]
    now: float


@define(eq=False, kw_only=True)
class SharedLane(Lane):
    """The line before a budget whose record lies in a store.

    Args:
        store: Where it lies; open.
        key: Under what.
        me: This process's id, unique to this lane.
        label: What people call this process.
        new_id: Returns an id that nobody else returns.
    """

    store: Store
    key: str
    me: str
    label: str
    new_id: Callable[[], str]
    _outbox: list[_Word] = field(factory=list)
    _keys: dict[Ticket, str] = field(factory=dict)
    _pump: "asyncio.Task[None] | None" = None
    _due: bool = False
    _closed: bool = False
    _kept: Kept = field(factory=Kept)
    _record: Record | None = None
    _members: list[Member] = field(factory=list)
    _alone: Record | None = None
    _parts: int = 1
    _stepping: bool = False
    _retry_in: float = RETRY_FIRST
    _beat: Timer | None = None
    _offset: float | None = None
    _counts: list[int] = field(factory=lambda: [0, 0])

    def now(self) -> float:
        """Return the store's time."""
        return self.store.now()

    def answered(self, ticket: Ticket, facts: RateFacts, *, refused: bool) -> None:
        """Teach the budget what an answer says."""
        jitter = self.random()
        self._counts[0] += 1
        self._counts[1] += refused
        self._say(ticket, lambda budget, mine, now: budget.answer(mine, facts, now, refused=refused, jitter=jitter))
        self.advance()

    def lost(self, ticket: Ticket) -> None:
        """Record that no answer will come."""
        self._counts[0] += 1
        self._say(ticket, lambda budget, mine, now: budget.lost(mine, now))
        self.advance()

    def advance(self) -> None:
        """See to it that what is to be told is told, and that who may go goes."""
        if self._closed:
            return
        if not self._waiting and not self._outbox:
            if self._standstills:
                self._go_on({}, self.now())
            self._set_timer(NEVER)
            return
        self._kick()

    async def refresh(self) -> None:
        """Read the record, and send nothing."""
        if not self._is_idle():
            return
        try:
            kept = await self.store.read(self.key)
        except LOST as error:
            self._lose(error)
            return
        if self._is_idle() and kept.mark != self._kept.mark:
            self._know(kept, load(kept.text, self.now()))

    def snapshot(self) -> Iterator[BucketSnapshot]:
        """Yield what every bucket does now, as far as this process knows."""
        now = self.now()
        alive = [member for member in self._members if member.seen_at >= now - UNSEEN]
        sharers = tuple(Sharer(one.label, one.waiting, max(0.0, now - one.seen_at)) for one in alive)
        yield from self._snapshots(self.budget, sharers)

    def totals(self) -> tuple[int, int, int, float]:
        """Return this process's requests answered, refusals, waits, and seconds waited."""
        _, _, waits, waited = super().totals()
        return self._counts[0], self._counts[1], waits, waited

    def close(self) -> None:
        """Cancel the timers, and fail every request that still waits."""
        self._closed = True
        self._disarm()
        super().close()

    async def finish(self) -> None:
        """Close, and take leave of the store, within a short time."""
        self.close()
        pump = self._pump
        try:
            async with asyncio.timeout(CLOSING):
                if pump is not None:
                    await asyncio.wait([pump])
                if self._alone is None and self._kept.text is not None:
                    await self._transact(self._farewell)
        except (TimeoutError, *LOST):
            pass  # the others find out in a few seconds
        finally:
            if pump is not None and not pump.done():
                pump.cancel()
                await asyncio.wait([pump])

    # --- steps ---

    def _is_idle(self) -> bool:
        return self._pump is None and self._alone is None

    def _at_once(self, group: str, now: float) -> Ticket | None:
        """Grant nothing outside a step."""
        del group, now
        return None

    def _withdraw(self, ticket: Ticket) -> None:
        self._say(ticket, lambda budget, mine, _: budget.withdraw(mine))
        self._due = True

    def _say(self, ticket: Ticket, tell: Callable[[Budget, Ticket, float], None]) -> None:
        key = self._keys.pop(ticket, None)
        if key is not None:
            self._outbox.append(_Word(key, ticket.group, tell))

    def _kick(self) -> None:
        self._due = True
        if self._alone is not None:
            self._step_alone(self._alone)
        elif self._pump is None:
            self._start(self._work())

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._pump = asyncio.get_running_loop().create_task(work, name=f"aiocircle limiter of {self.name}")

    async def _work(self) -> None:
        """Take steps as long as there is reason for one."""
        try:
            while self._due and not self._closed:
                self._due = False
                outcome = await self._transact(self._step)
                self._settle(outcome)
        except LOST as error:
            self._lose(error)
        except Exception as error:
            self._fail(error)
            raise
        finally:
            self._pump = None

    def _step_alone(self, record: Record) -> None:
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._due:
                self._due = False
                record.divide(self._parts)
                outcome, _ = self._step(record, max(self.now(), record.updated_at))
                self._settle(outcome)
        finally:
            self._stepping = False

    async def _transact(self, change: Callable[[Record, float], tuple[_Outcome, bool]]) -> _Outcome:
        """Change the record, as often as it takes until nobody was faster, and return what the change came to."""
        by_myself = self._record is not None and len(self._members) <= 1
        kept = self._kept if by_myself else await self.store.read(self.key)
        for attempt in range(ATTEMPTS):
            known = self._record if kept.mark == self._kept.mark else None
            if known is not None and not known.is_current(self.now()):
                known = None
            self._record = None  # from here on it is somebody's opinion, until the swap
            record = load(kept.text, self.now()) if known is None else known
            now = max(self.now(), record.updated_at)
            outcome, worth_writing = change(record, now)
            if not worth_writing:
                self._know(kept, record)
                return outcome
            record.updated_at = now
            new = Kept(self.new_id(), dump(record))
            kept = await self.store.swap(self.key, kept.mark, new)
            if kept.mark == new.mark:
                self._know(new, record)
                return outcome
            if attempt >= PATIENT_ATTEMPTS:
                await self.clock.sleep(LATEST * self.random())
        raise StoreLostError("it is too busy")

    def _step(self, record: Record, now: float) -> tuple[_Outcome, bool]:
        """Bring the record up to date, and tell whether it is worth writing."""
        changed = record.reap(now) | self._adopt(record, now)
        words = len(self._outbox)
        for word in self._outbox:
            held = record.tickets.pop(word.key, None)
            if held is not None:
                word.tell(record.budget, held.ticket, now)
        queues = [member.waiting for member in record.others(self.me) if member.waiting]
        granted, holds = self.grants(record.budget, now, parts=len(queues) + 1, elsewhere=sum(queues))
        keys = [self.new_id() for _ in granted]
        for (_, ticket), key in zip(granted, keys, strict=True):
            record.tickets[key] = Held(self.me, ticket)
        changed |= bool(words or granted)
        changed = self._sign(record, now, self._waiting - len(granted), changed=changed)
        return _Outcome(words, granted, keys, holds, now), changed

    def _adopt(self, record: Record, now: float) -> bool:
        """Count as under way what this process has under way and the record does not know."""
        out = ((key, ticket.group) for ticket, key in self._keys.items())
        told = ((word.key, word.group) for word in self._outbox)
        unknown = [(key, group) for key, group in chain(out, told) if key not in record.tickets]
        for key, group in unknown:
            ticket = record.budget.send(now, group)
            ticket.marks, ticket.answered_at_send, ticket.alone = {}, 0, False
            record.tickets[key] = Held(self.me, ticket)
        return bool(unknown)

    def _sign(self, record: Record, now: float, waiting: int, *, changed: bool) -> bool:
        """Enter this process if anything is to be written or the others must hear of it, and tell whether so."""
        known = record.members.get(self.me)
        if known is None:
            changed = changed or bool(waiting or self._keys)
        else:
            changed = changed or now - known.seen_at >= HEARTBEAT or bool(known.waiting) != bool(waiting)
        if changed:
            record.members[self.me] = Member(self.label, now, waiting)
        return changed

    def _farewell(self, record: Record, now: float) -> tuple[_Outcome, bool]:
        outcome, changed = self._step(record, now)
        known = self.me in record.members
        record.drop(self.me, now)
        return outcome, changed or known

    def _know(self, kept: Kept, record: Record) -> None:
        self._kept, self._record = kept, record
        self.budget, self._members = record.budget, list(record.members.values())

    def _settle(self, outcome: _Outcome) -> None:
        """Hand out what a step granted, and wait for the next reason to take one."""
        del self._outbox[: outcome.words]
        self._rebase()
        for (_, ticket), key in zip(outcome.granted, outcome.keys, strict=True):
            self._keys[ticket] = key
        self._deliver(outcome.granted)
        self._hold(outcome.holds, outcome.now)
        if self._keys or self._waiting or self._alone is not None:
            self._arm(self._retry_in if self._alone is not None else HEARTBEAT)

    def _hold(self, holds: list[Hold], now: float) -> None:
        super()._hold(holds, now)
        record = self._record
        if record is None or not any(hold.reason == "answer" for hold in holds):
            return
        sent = max((held.ticket.sent_at for held in record.tickets.values() if held.owner != self.me), default=None)
        if sent is not None:
            self._set_timer(min(self._timer_at, now + min(max((now - sent) / 8, SOONEST), LATEST)))

    def _rebase(self) -> None:
        """Move what is measured in the store's time when that becomes another: it was found, or its clock was set."""
        offset = self.now() - self.clock.monotonic()
        before, self._offset = self._offset, offset
        if before is None or abs(offset - before) < JUMP:
            return
        for standstill in self._standstills.values():
            standstill.since += offset - before
        self._set_timer(NEVER)

    def _fail(self, error: Exception) -> None:
        """Let nobody wait for what will never come: this is a defect."""
        for waiter in [waiter for line in self._lines.values() for waiter in line if not waiter.turn.done()]:
            self._remove(waiter)
            waiter.turn.set_exception(error)

    # --- signs of life, and a lost store ---

    def _arm(self, seconds: float) -> None:
        if self._beat is None and not self._closed:
            self._beat = self.clock.call_later(seconds, self._on_beat)

    def _disarm(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def _on_beat(self) -> None:
        self._beat = None
        if self._alone is None:
            if self._keys or self._waiting:
                self._kick()
        elif self._pump is None:
            self._start(self._come_back())

    def _lose(self, error: Exception) -> None:
        """Go on alone, if this is news."""
        if self._alone is None and not self._closed:
            self._go_alone(error)

    def _go_alone(self, error: Exception) -> None:
        """Make the last known record this process's own, with a cautious part of the budget."""
        now = self.now()
        record = load(self._kept.text, now)
        self._parts = max(2, len(record.alive(now)))
        record.isolate(self.me, {*self._keys.values(), *(word.key for word in self._outbox)}, now)
        self._record, self._alone, self.budget, self._members = None, record, record.budget, []
        self.on_event(LimiterStoreLost(store=self.store.name, reason=str(error), parts=self._parts))
        self._disarm()
        self._retry_in = RETRY_FIRST
        self._arm(self._retry_in)
        self._kick()

    async def _come_back(self) -> None:
        """Look for the lost store once."""
        try:
            await self.store.open()
            await self.store.read(self.key)
        except LOST:
            self._retry_in = min(RETRY_MOST, 2 * self._retry_in)
            self._arm(self._retry_in)
            return
        finally:
            self._pump = None
        alone, self._alone = self._alone, None
        if alone is not None:
            self._kept = Kept(None, dump(alone))  # should it be lost again at once
        self._disarm()
        self.on_event(LimiterStoreBack(store=self.store.name))
        if not self._closed:
            self._rebase()
            self._kick()
