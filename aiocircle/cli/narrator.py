"""What ``-v`` shows: requests, repetitions and waits as lines; with ``-vv`` pages and transfers as well.

Somebody who watches is told without it why nothing happens: that a try failed, or that a long wait begins.
"""

from collections.abc import Callable
from typing import Any

from aiocircle.cli.output import Output, binary
from aiocircle.events import (
    DeprecationNoticed,
    Event,
    LimiterStoreBack,
    LimiterStoreLost,
    LimitWaited,
    LimitWaiting,
    ListingEnded,
    PageFetched,
    RequestSent,
    Retried,
    TransferEnded,
    TransferStarted,
)

LONG = 5.0  # seconds; whoever watches wonders about a longer silence

_REASONS = {"budget": "its budget is used up", "pause": "paused by the host"}


class Narrator:
    """Writes events as lines.

    Args:
        output: Where to.
        level: 0: only what is going to be removed from the API, and a shared limit that is lost; 1 and 2 as above.
        watched: Somebody does, and sees nothing else.
    """

    def __init__(self, output: Output, level: int, *, watched: bool = False) -> None:
        self._output = output
        self._sentences: dict[type, Callable[[Any], str | None]] = dict(_WATCHED) if watched else {}
        for sentences in (_ALWAYS, _VERBOSE, _VERY_VERBOSE)[: level + 1]:
            self._sentences.update(sentences)

    @property
    def kinds(self) -> frozenset[type]:
        """The events that have a line at this level."""
        return frozenset(self._sentences)

    def __call__(self, event: Event) -> None:
        """Write the event, if it is one of this level."""
        sentence = self._sentences.get(type(event))
        line = sentence(event) if sentence else None
        if line is not None:
            self._output.note(line)


def spent(event: LimitWaiting) -> str | None:
    """Return what is used of the budget that is waited for: ``budget 812/1,000``; ``None`` where nobody knows."""
    if event.limit is None or event.remaining is None:
        return None
    return f"budget {max(0, event.limit - event.remaining):,}/{event.limit:,}"


def _request(event: RequestSent) -> str:
    return f"{event.method} {event.url}: {event.status or 'no answer'}, {event.seconds:.3f} s"


def _retried(event: Retried) -> str:
    reason = event.reason.removeprefix(f"{event.operation}: ")
    return f"{event.operation}: try {event.attempt} failed ({reason}), again in {event.after:.1f} s"


def _waiting(event: LimitWaiting) -> str:
    budget = spent(event) if event.reason == "budget" else None
    why = f"{budget} used" if budget else _REASONS[event.reason]
    return f"waiting for the rate limit of {event.bucket}, {event.seconds:.1f} s: {why}"


def _long_wait(event: LimitWaiting) -> str | None:
    return _waiting(event) if event.seconds >= LONG else None


def _waited(event: LimitWaited) -> str:
    return f"waited for the rate limit of {event.bucket}, {event.seconds:.1f} s"


def _deprecated(event: DeprecationNoticed) -> str:
    dates = f"deprecation: {event.deprecation or '?'}, sunset: {event.sunset or '?'}"
    return f"the host is going to remove '{event.operation}' ({dates}); is there a newer aiocircle?"


def _page(event: PageFetched) -> str:
    return f"{event.operation}: page {event.number}, {event.items} items"


def _listed(event: ListingEnded) -> str:
    return f"everything is listed: {event.total:,} files"


def _started(event: TransferStarted) -> str:
    return f"{event.target}: {'size unknown' if event.size is None else binary(event.size)}"


def _ended(event: TransferEnded) -> str:
    told = event.reason or binary(event.size)
    return f"{event.target or '(no name)'}: {event.status}, {told}"


def _store_lost(event: LimiterStoreLost) -> str:
    return (
        f"the shared rate limit in {event.store} does not answer ({event.reason}): "
        f"going on alone with 1/{event.parts} of the budget until it does"
    )


def _store_back(event: LimiterStoreBack) -> str:
    return f"the shared rate limit in {event.store} answers again"


_WATCHED: dict[type, Callable[[Any], str | None]] = {Retried: _retried, LimitWaiting: _long_wait}
_ALWAYS: dict[type, Callable[[Any], str]] = {
    DeprecationNoticed: _deprecated,
    LimiterStoreLost: _store_lost,
    LimiterStoreBack: _store_back,
}
_VERBOSE: dict[type, Callable[[Any], str]] = {
    RequestSent: _request,
    Retried: _retried,
    LimitWaiting: _waiting,
    LimitWaited: _waited,
}
_VERY_VERBOSE: dict[type, Callable[[Any], str]] = {
    PageFetched: _page,
    ListingEnded: _listed,
    TransferStarted: _started,
    TransferEnded: _ended,
}
