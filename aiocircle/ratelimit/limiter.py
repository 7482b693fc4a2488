"""Waiting for the rate limit: one queue per bucket, first come first served, shared by all requests of a client.

All judgement is in ``bucket``; here is only time. A *lane* is a bucket with its queue. Route groups of one origin start
in one lane, because one budget behind all of them is the usual case and the safe assumption; a group moves into a lane
of its own when its first answer shows quotas of which the lane's bucket knows none. Artifact and storage hosts are
lanes that are not metered until an answer of theirs limits them.

A lane has at most one timer, set for the moment at which its bucket can grant the next token. No task runs in the
background: grants happen inside ``acquire``, ``answered`` and the timer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from attrs import define, field, frozen

from aiocircle.clock import Clock, Timer
from aiocircle.errors import WaitTooLongError
from aiocircle.events import EventHandler, LimitWaited, LimitWaiting
from aiocircle.ratelimit.bucket import NEVER, Bucket, QuotaState, Reason, Ticket
from aiocircle.ratelimit.headers import RateFacts, read_rate_headers

REFUSALS = frozenset({429, 503})
RETOLD = 1.0  # seconds by which the end of a standstill must move before it is told again


@frozen
class Route:
    """Whose budget a request draws on.

    Attributes:
        origin: ``scheme://host:port``.
        group: The route group: an operation's path template, without ids.
        metered: An API, which has a budget from the start; ``False`` for hosts that serve artifacts.
    """

    origin: str
    group: str = ""
    metered: bool = True


@frozen(kw_only=True)
class BucketSnapshot:
    """What a bucket does now, for people.

    Attributes:
        name: The origin, and the route group where it has a budget of its own.
        quotas: Each window as last known; empty while no answer has shown one.
        in_flight: Requests under way.
        waiting: Requests standing in line.
        waits_for: Why the first of them waits: ``"budget"``, ``"pause"``, ``"pace"``, ``"answer"``, or ``None``.
        ready_in: Seconds until the first of them leaves; ``None`` when only an answer can tell.
        sent: Requests sent so far.
        refused: Requests refused so far.
    """

    name: str
    quotas: tuple[QuotaState, ...]
    in_flight: int
    waiting: int
    waits_for: str | None
    ready_in: float | None
    sent: int
    refused: int


@frozen(kw_only=True)
class LimiterTotals:
    """Counts since the client was opened: requests, refusals (429 and 503), waits and seconds waited for the limit."""

    requests: int
    refusals: int
    waits: int
    waited: float


@define(eq=False)
class _Waiter:
    route: Route
    max_wait: float
    turn: asyncio.Future["Permit"]


@define(eq=False)
class Permit:
    """A granted ticket and the lane that granted it."""

    route: Route
    lane: "_Lane"
    ticket: Ticket


@define(eq=False)
class _Lane:
    name: str
    bucket: Bucket
    queue: deque[_Waiter] = field(factory=deque)
    timer: Timer | None = None
    blocked_since: float | None = None
    told_until: float = 0.0
    waits: int = 0
    waited: float = 0.0


class RateLimiter:
    """Grants requests their turn, so that no budget is overdrawn.

    Args:
        clock: Where time comes from.
        random: Returns a number in [0, 1); spreads backoffs.
        on_event: Receives ``LimitWaiting`` and ``LimitWaited``.
    """

    def __init__(self, *, clock: Clock, random: Callable[[], float], on_event: EventHandler) -> None:
        self._clock = clock
        self._random = random
        self._on_event = on_event
        self._common: dict[tuple[str, bool], _Lane] = {}
        self._own: dict[Route, _Lane] = {}
        self._settled: set[Route] = set()

    async def acquire(self, route: Route, *, max_wait: float) -> Permit:
        """Return when a request of this route may be sent.

        The permit must be given to ``answered`` or ``lost`` exactly once. Cancelling this call gives the place back.

        Args:
            route: Whose budget it draws on.
            max_wait: Seconds: the longest standstill of the bucket to sit out. Standing in a line that moves is not
                counted.

        Raises:
            WaitTooLongError: The bucket is known to stand still for longer than that. Nothing was sent.
        """
        lane = self._lane(route)
        if not lane.queue:
            now = self._clock.monotonic()
            if lane.bucket.ready_at(now, route.group)[0] <= now:
                return Permit(route, lane, lane.bucket.send(now, route.group))
        turn: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(route, max_wait, turn)
        lane.queue.append(waiter)
        try:
            self._advance(lane)
            return await turn
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def answered(self, permit: Permit, status: int, headers: Iterable[tuple[str, str]]) -> RateFacts:
        """Teach the bucket what an answer says, and return the facts read from its headers."""
        facts = read_rate_headers(status, headers, wall=self._clock.wall())
        lane = self._settle(permit, facts)
        now = self._clock.monotonic()
        lane.bucket.answer(permit.ticket, facts, now, refused=status in REFUSALS, jitter=self._random())
        self._advance(lane)
        return facts

    def lost(self, permit: Permit) -> None:
        """Record that no answer will come for this permit."""
        permit.lane.bucket.lost(permit.ticket)
        self._advance(permit.lane)

    def snapshot(self) -> tuple[BucketSnapshot, ...]:
        """Return what every bucket does now; answers "what is it waiting for"."""
        return tuple(self._snapshot_of(lane) for lane in self._lanes())

    def totals(self) -> LimiterTotals:
        """Return counts since the client was opened."""
        lanes = list(self._lanes())
        now = self._clock.monotonic()
        running = sum(now - lane.blocked_since for lane in lanes if lane.blocked_since is not None)
        return LimiterTotals(
            requests=sum(lane.bucket.answered for lane in lanes),
            refusals=sum(lane.bucket.refused for lane in lanes),
            waits=sum(lane.waits for lane in lanes),
            waited=sum(lane.waited for lane in lanes) + running,
        )

    def close(self) -> None:
        """Cancel every timer; a request that still waits is cancelled with it."""
        for lane in self._lanes():
            if lane.timer:
                lane.timer.cancel()
            for waiter in lane.queue:
                waiter.turn.cancel()

    def _lanes(self) -> Iterable[_Lane]:
        yield from self._common.values()
        yield from self._own.values()

    def _lane(self, route: Route) -> _Lane:
        if route in self._own:
            return self._own[route]
        key = (route.origin, route.metered)
        if key not in self._common:
            self._common[key] = _Lane(route.origin, Bucket(metered=route.metered))
        return self._common[key]

    def _settle(self, permit: Permit, facts: RateFacts) -> _Lane:
        """Return the lane whose bucket an answer belongs to, after giving its group a lane of its own if need be."""
        route = permit.route
        if facts.quotas and route not in self._settled:
            self._settled.add(route)
            known = {(key, quota.limit) for key, quota in permit.lane.bucket.quotas.items()}
            shown = {(fact.key, fact.limit) for fact in facts.quotas}
            if known and not known & shown:
                self._separate(route, permit.lane)
        lane = self._lane(route)
        if lane is not permit.lane:
            permit.lane.bucket.lost(permit.ticket)
            lane.bucket.adopt(permit.ticket)
            self._advance(permit.lane)
        return lane

    def _separate(self, route: Route, old: _Lane) -> None:
        lane = _Lane(f"{route.origin} {route.group}", Bucket(metered=route.metered))
        self._own[route] = lane
        lane.queue.extend(waiter for waiter in old.queue if waiter.route == route)
        old.queue = deque(waiter for waiter in old.queue if waiter.route != route)

    def _leave(self, waiter: _Waiter) -> None:
        """Give back the place of a cancelled waiter, or the permit that reached it at the same moment."""
        turn = waiter.turn
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            permit = turn.result()
            permit.lane.bucket.withdraw(permit.ticket)
            self._advance(permit.lane)
        else:
            turn.cancel()
            self._advance(self._lane(waiter.route))

    def _advance(self, lane: _Lane) -> None:
        """Grant what can be granted, then set the timer for the next grant."""
        if lane.timer:
            lane.timer.cancel()
            lane.timer = None
        now = self._clock.monotonic()
        while lane.queue:
            waiter = lane.queue[0]
            if not waiter.turn.done():
                at, reason = lane.bucket.ready_at(now, waiter.route.group)
                if at > now:
                    self._hold(lane, at, reason, now)
                    return
                waiter.turn.set_result(Permit(waiter.route, lane, lane.bucket.send(now, waiter.route.group)))
            lane.queue.popleft()
        self._resume(lane, now)

    def _hold(self, lane: _Lane, at: float, reason: Reason, now: float) -> None:
        if at == NEVER or reason == "answer":
            self._resume(lane, now)
            return
        for waiter in [waiter for waiter in lane.queue if at - now > waiter.max_wait]:
            lane.queue.remove(waiter)
            if not waiter.turn.done():
                waiter.turn.set_exception(self._too_long(lane, at - now, waiter.max_wait))
        if not lane.queue:
            self._resume(lane, now)
            return
        lane.timer = self._clock.call_later(at - now, lambda: self._advance(lane))
        if reason == "pace":
            return
        if lane.blocked_since is None:
            lane.blocked_since = now
            lane.waits += 1
        elif at - lane.told_until < RETOLD:
            return
        lane.told_until = at
        self._on_event(LimitWaiting(bucket=lane.name, seconds=at - now, until=at, reason=reason))

    def _resume(self, lane: _Lane, now: float) -> None:
        if lane.blocked_since is not None:
            lane.waited += now - lane.blocked_since
            self._on_event(LimitWaited(bucket=lane.name, seconds=now - lane.blocked_since))
            lane.blocked_since = None

    def _snapshot_of(self, lane: _Lane) -> BucketSnapshot:
        now = self._clock.monotonic()
        waits_for, ready_in = None, None
        if lane.queue:
            at, waits_for = lane.bucket.ready_at(now, lane.queue[0].route.group)
            ready_in = None if at == NEVER else max(0.0, at - now)
        return BucketSnapshot(
            name=lane.name,
            quotas=lane.bucket.states(now),
            in_flight=lane.bucket.in_flight,
            waiting=len(lane.queue),
            waits_for=waits_for,
            ready_in=ready_in,
            sent=lane.bucket.sent,
            refused=lane.bucket.refused,
        )

    def _too_long(self, lane: _Lane, wait: float, max_wait: float) -> WaitTooLongError:
        return WaitTooLongError(
            f"the rate limit of {lane.name} lets nothing through for {wait:.0f} s, "
            f"and the longest wait allowed is {max_wait:.0f} s",
            wait=wait,
            max_wait=max_wait,
            resets_at=self._clock.wall() + wait,
            hint=f"run it again in {wait:.0f} s, or allow a longer wait (--max-wait, max_wait=)",
        )
