"""The rate limiter of a client: a lane for each origin, shared by all of the client's requests.

The API's origin is metered from the start. Artifact and storage hosts are lanes that are not, until an answer of theirs
limits them.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from uuid import uuid4

from attrs import define, frozen

from aiocircle.clock import Clock
from aiocircle.errors import closed_in_use
from aiocircle.events import EventHandler
from aiocircle.ratelimit.bucket import QuotaState, Ticket
from aiocircle.ratelimit.budget import Budget
from aiocircle.ratelimit.facts import RateFacts
from aiocircle.ratelimit.headers import is_silent, read_rate_headers
from aiocircle.ratelimit.lane import Lane
from aiocircle.ratelimit.snapshot import BucketSnapshot, Sharer
from aiocircle.ratelimit.store import Store, StoreLostError

__all__ = ["BucketSnapshot", "LimiterTotals", "Permit", "QuotaState", "RateLimiter", "Route", "Sharer"]

TOO_MANY_REQUESTS = 429
SERVICE_UNAVAILABLE = 503


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


FIRST_REFUSAL = 400
NOTHING = RateFacts()
FILES = Route("", metered=False)


@frozen(kw_only=True)
class LimiterTotals:
    """Counts since the client was opened: requests, refusals (429 and 503), waits and seconds waited for the limit."""

    requests: int
    refusals: int
    waits: int
    waited: float


@define(eq=False)
class Permit:
    """A granted ticket, the lane that granted it, and the place in line that it had."""

    route: Route
    lane: Lane
    ticket: Ticket
    number: int


class RateLimiter:
    """Grants requests their turn, so that no budget is overdrawn.

    Args:
        clock: Where time comes from.
        random: Returns a number in [0, 1); spreads backoffs.
        on_event: Receives ``LimitWaiting`` and ``LimitWaited``, and what becomes of the store.
        store: Where the budgets of APIs lie, for all who share them; without one they are this process's own.
        identity: Whose budgets; in a store only those who give the same share them.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        random: Callable[[], float],
        on_event: EventHandler,
        store: Store | None = None,
        identity: str = "",
    ) -> None:
        self._store = store
        self._identity = identity
        self._clock = clock
        self._random = random
        self._on_event = on_event
        self._lanes: dict[tuple[str, bool], Lane] = {}
        self._closed = False

    async def acquire(self, route: Route, *, max_wait: float, again: Permit | None = None) -> Permit:
        """Return when a request of this route may be sent.

        The permit must be given to ``answered`` or ``lost`` exactly once. Cancelling this call gives the place back.

        Args:
            route: Whose budget it draws on.
            max_wait: Seconds: the longest standstill of the bucket to sit out. Standing in a line that moves is not
                counted.
            again: The permit with which the same request was refused; it comes back to the place it had.

        Raises:
            WaitTooLongError: The bucket is known to stand still for longer than that. Nothing was sent.
            ConfigurationError: The client was closed.
        """
        if self._closed:
            raise closed_in_use()
        lane = self._lane(route)
        number = again.number if again is not None and again.lane is lane else None
        ticket, number = await lane.acquire(route.group, max_wait, number)
        return Permit(route, lane, ticket, number)

    def free(self, origin: str) -> Permit | None:
        """Return a permit for a host of files that limits nobody, where nobody waits; else ``None``: ``acquire``."""
        lane = self._lanes.get((origin, False))
        granted = None if lane is None else lane.free()
        return None if lane is None or granted is None else Permit(FILES, lane, *granted)

    def answered(self, permit: Permit, status: int, headers: Iterable[tuple[str, str]]) -> RateFacts:
        """Teach the bucket what an answer says, and return the facts read from its headers."""
        if status < FIRST_REFUSAL and not permit.route.metered:
            headers = list(headers)
            if is_silent(tuple([name for name, _ in headers])) and permit.lane.answered_free(permit.ticket):
                return NOTHING
        facts = read_rate_headers(status, headers, wall=self._clock.wall())
        permit.lane.answered(permit.ticket, facts, refused=_is_refusal(status, facts, permit.route))
        return facts

    def lost(self, permit: Permit) -> None:
        """Record that no answer will come for this permit."""
        permit.lane.lost(permit.ticket)

    def snapshot(self) -> tuple[BucketSnapshot, ...]:
        """Return what every bucket does now; answers "what is it waiting for"."""
        return tuple(self._snapshots())

    def totals(self) -> LimiterTotals:
        """Return counts since the client was opened."""
        requests, refusals, waits, waited = 0, 0, 0, 0.0
        for lane in self._lanes.values():
            counts = lane.totals()
            requests, refusals = requests + counts[0], refusals + counts[1]
            waits, waited = waits + counts[2], waited + counts[3]
        return LimiterTotals(requests=requests, refusals=refusals, waits=waits, waited=waited)

    async def open(self) -> None:
        """Make the store usable, if there is one. One that does not answer now may do so later.

        Raises:
            ConfigurationError: It can never work as it was named.
        """
        if self._store is not None:
            with suppress(StoreLostError):
                await self._store.open()

    async def refresh(self, *origins: str) -> None:
        """Read what others who share the store know of these origins and of those in use, and send nothing.

        Raises:
            ConfigurationError: The client was closed.
        """
        if self._closed:
            raise closed_in_use()
        for origin in origins:
            self._lane(Route(origin))
        for lane in list(self._lanes.values()):
            await lane.refresh()

    def close(self) -> None:
        """Cancel every timer; a request that still waits fails, and so does one that comes later."""
        self._closed = True
        for lane in self._lanes.values():
            lane.close()

    async def aclose(self) -> None:
        """Close, take leave of those who share the store, and let go of it; within a few seconds."""
        self.close()
        if self._store is None:
            return
        try:
            await asyncio.gather(*(lane.finish() for lane in self._lanes.values()))
        finally:
            await self._store.close()

    def _snapshots(self) -> Iterator[BucketSnapshot]:
        for lane in self._lanes.values():
            yield from lane.snapshot()

    def _lane(self, route: Route) -> Lane:
        key = (route.origin, route.metered)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = self._new_lane(route)
        return lane

    def _new_lane(self, route: Route) -> Lane:
        budget = Budget(metered=route.metered)
        if self._store is None or not route.metered:
            return Lane(route.origin, budget, self._clock, self._random, self._on_event)
        from aiocircle.ratelimit.record import VERSION  # noqa: PLC0415 -- most clients share nothing
        from aiocircle.ratelimit.shared import SharedLane  # noqa: PLC0415 -- the same

        return SharedLane(
            route.origin,
            budget,
            self._clock,
            self._random,
            self._on_event,
            store=self._store,
            key=f"aiocircle:{VERSION}:{self._identity}:{route.origin}",
            me=new_id(),
            label=f"{socket.gethostname()} {os.getpid()}",
            new_id=new_id,
        )


def new_id() -> str:
    """Return an id that nobody else has."""
    return uuid4().hex


def _is_refusal(status: int, facts: RateFacts, route: Route) -> bool:
    """Tell whether an answer is about the budget. A bare 503 of a file's host is about that file, as a rule."""
    if status == SERVICE_UNAVAILABLE:
        return route.metered or facts.retry_after is not None
    return status == TOO_MANY_REQUESTS
