"""What happens inside a client, as frozen values.

A client hands each event to its ``on_event`` callback, in the event loop, at the moment it happens; progress displays,
logs and metrics are built from them. Addresses in events carry no query, since a signed one is a credential.
All times are seconds, all sizes bytes.
"""

import logging
from collections.abc import Callable
from typing import Literal

from attrs import frozen

logger = logging.getLogger("aiocircle")


@frozen(kw_only=True)
class RequestSent:
    """One HTTP exchange got its answer's head, or failed before it (``status`` is ``None`` then)."""

    method: str
    url: str
    status: int | None
    seconds: float


@frozen(kw_only=True)
class LimitWaiting:
    """A bucket has requests waiting and will send none before ``until`` (monotonic seconds).

    Attributes:
        bucket: The bucket's name: an origin, and the route group where it has a budget of its own.
        seconds: From now to ``until``.
        reason: ``"budget"``: the window is used up; ``"pause"``: the host said stop.
        limit: Requests per window of the quota that binds, where one is known.
        remaining: What is left of it.
    """

    bucket: str
    seconds: float
    until: float
    reason: Literal["budget", "pause"]
    limit: int | None = None
    remaining: int | None = None


@frozen(kw_only=True)
class LimitWaited:
    """A bucket sends again after having held requests back for ``seconds``."""

    bucket: str
    seconds: float


@frozen(kw_only=True)
class LimiterStoreLost:
    """The store of a shared rate limit does not answer. This process goes on alone with a part of the budget.

    Attributes:
        store: Which.
        reason: What it said, or did not.
        parts: The part is one in so many of every window: as many as processes were last seen, two at least.
    """

    store: str
    reason: str
    parts: int


@frozen(kw_only=True)
class LimiterStoreBack:
    """The store of a shared rate limit answers again, and the budget is shared again."""

    store: str


@frozen(kw_only=True)
class Retried:
    """A request failed and is going to be repeated after ``after`` seconds (and its turn at the rate limit)."""

    operation: str
    attempt: int
    after: float
    reason: str


@frozen(kw_only=True)
class DeprecationNoticed:
    """The host announced the end of an operation (``Deprecation`` or ``Sunset`` header); sent once per operation."""

    operation: str
    deprecation: str | None
    sunset: str | None


@frozen(kw_only=True)
class PageFetched:
    """A page of a listing arrived."""

    operation: str
    number: int
    items: int


@frozen(kw_only=True)
class ItemPlanned:
    """An artifact was listed and has its place; ``total`` counts those so far, ``listing_done`` tells of the last."""

    target: str
    total: int


@frozen(kw_only=True)
class ListingEnded:
    """Every listing of a run has been read; ``total`` items were found."""

    total: int


@frozen(kw_only=True)
class TransferStarted:
    """An artifact's bytes begin to arrive; ``size`` is what the host announced, if it did."""

    target: str
    size: int | None


@frozen(kw_only=True)
class TransferProgress:
    """``received`` more bytes of an artifact arrived; negative when an attempt failed and its bytes are dropped."""

    target: str
    received: int


@frozen(kw_only=True)
class TransferEnded:
    """The outcome of one artifact: ``status`` is one of the words of ``aiocircle.ItemStatus``."""

    target: str
    status: str
    size: int
    reason: str | None


@frozen(kw_only=True)
class RowsCollected:
    """Rows of a dataset of an export came in; ``total`` counts those of this run so far."""

    dataset: str
    rows: int
    total: int


@frozen(kw_only=True)
class UsageAwaited:
    """CircleCI makes an export of usage data, and is asked about it again in ``seconds``."""

    seconds: float


@frozen(kw_only=True)
class TableWritten:
    """A table of an export is being written in a format: ``rows`` of it so far."""

    table: str
    format: str
    rows: int


Event = (
    RequestSent
    | LimitWaiting
    | LimitWaited
    | LimiterStoreLost
    | LimiterStoreBack
    | Retried
    | DeprecationNoticed
    | PageFetched
    | ItemPlanned
    | ListingEnded
    | TransferStarted
    | TransferProgress
    | TransferEnded
    | RowsCollected
    | UsageAwaited
    | TableWritten
)
EventHandler = Callable[[Event], None]


def kinds_of(handler: EventHandler) -> frozenset[type] | None:
    """Return the kinds of events that a handler looks at, its attribute ``kinds``; ``None`` where it has none: all.

    What nobody looks at need not be made, which matters for what happens with every file.
    """
    kinds = frozenset() if handler is ignore else getattr(handler, "kinds", None)
    return kinds if isinstance(kinds, frozenset) else None  # a mock, for one, has any attribute


def ignore(_event: Event) -> None:
    """Take no notice: what a client without ``on_event`` does."""


def guarded(handler: EventHandler) -> EventHandler:
    """Return a handler that logs what ``handler`` raises: who watches must not be able to break what is watched."""
    if handler is ignore:
        return handler

    def handle(event: Event) -> None:
        try:
            handler(event)
        except Exception:
            logger.exception("on_event failed for %s", type(event).__name__)

    handle.kinds = kinds_of(handler)  # type: ignore[attr-defined]
    return handle
