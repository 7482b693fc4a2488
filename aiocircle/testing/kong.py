"""Rate limiting as Kong's plugin does it (its sources, policy ``local``), and the dialects of other gateways.

The rules:

* Windows are fixed and aligned to the calendar in UTC; a month counts as 30 days and a year as 365. A new window begins
  full, so twice the limit may pass around a boundary.
* A request is rejected when any window has nothing left before it. An admitted one is charged to every window.
* Remaining counts after charging, never below 0. On rejection the exhausted window says 0 and the others are as they
  were.
* The summary triple describes the window with the least remaining; among equals the longest.
* Reset is the whole seconds to the end of that window, rounded up through ``window - floor(elapsed)``, at least 1.
* ``Retry-After`` is sent on rejection only and equals that reset.
* Rejected requests cost nothing, unless ``penalize``: that is how Kong behaves with Redis in real time.
"""

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Literal, NamedTuple, get_args

import attrs

Dialect = Literal["kong", "only_std", "old_kong", "draft6", "draft8", "epoch", "hidden"]
DIALECTS: tuple[str, ...] = get_args(Dialect)

WINDOW_SECONDS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
    "month": 30 * 86_400,
    "year": 365 * 86_400,
}
REJECTION_BODY = b'{"message":"API rate limit exceeded"}'


class Usage(NamedTuple):
    """One window as an answer reports it. ``reset`` is in whole seconds, ``ends`` in seconds since the epoch."""

    window: str
    limit: int
    remaining: int
    reset: int
    ends: int

    @property
    def seconds(self) -> int:
        """Return the window's length."""
        return WINDOW_SECONDS[self.window]


class Verdict(NamedTuple):
    """Whether a request may pass, and the headers its answer carries."""

    admitted: bool
    headers: Mapping[str, str]


@attrs.define
class _Counter:
    start: int
    used: int = 0


class KongLimits:
    """The limits of a gateway, counted per key.

    Args:
        limits: Requests per window, such as ``{"second": 20, "minute": 600}``.
        groups: Limits of their own for routes whose name begins with the group's, such as ``{"insights": {"second":
            2}}``; such routes are not charged to ``limits``. The files on the API's host are the group ``output`` and
            are limited only if they have such limits.
        headers: In which dialect the answers report: ``kong``; ``only_std`` (RateLimit-* alone); ``old_kong`` (up to
            1.5: lower-case windows, no reset, no Retry-After); ``draft6`` and ``draft8`` of the IETF's header fields;
            ``epoch`` (X-RateLimit-Reset as a point in time); ``hidden`` (none at all).
        penalize: Charge rejected requests too.
        clock: Returns seconds since the epoch.

    Raises:
        ValueError: an unknown window or dialect, or a limit that is not positive.
    """

    def __init__(
        self,
        limits: Mapping[str, int],
        *,
        groups: Mapping[str, Mapping[str, int]] | None = None,
        headers: Dialect = "kong",
        penalize: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if headers not in DIALECTS:
            message = f"no such header dialect: {headers!r}; there are {', '.join(DIALECTS)}"
            raise ValueError(message)
        self._limits = _checked(limits)
        self._groups = {name: _checked(group) for name, group in (groups or {}).items()}
        self._render = _RENDERERS[headers]
        self._penalize = penalize
        self._clock = clock
        self._counters: dict[tuple[str, str, str], _Counter] = {}

    def charge(self, key: str, route: str = "") -> Verdict:
        """Judge and count one request of ``key`` to ``route``."""
        group = next((name for name in self._groups if route.startswith(name)), "")
        if not group and route.startswith("output"):
            return Verdict(True, {})
        limits = self._groups[group] if group else self._limits
        now = self._clock()
        counters = {window: self._counter(group, key, window, now) for window in limits}
        used = {window: counter.used for window, counter in counters.items()}
        exhausted = {window for window in limits if used[window] >= limits[window]}
        admitted = not exhausted
        if admitted or self._penalize:
            for counter in counters.values():
                counter.used += 1
        usages = []
        for window, counter in counters.items():
            left = limits[window] - used[window] - (admitted or window in exhausted)
            length = WINDOW_SECONDS[window]
            reset = max(1, length - math.floor(now - counter.start))
            usages.append(Usage(window, limits[window], max(0, left), reset, counter.start + length))
        return Verdict(admitted, self._render(usages, not admitted))

    def _counter(self, group: str, key: str, window: str, now: float) -> _Counter:
        start = window_start(window, now)
        counter = self._counters.get((group, key, window))
        if counter is None or counter.start != start:
            counter = self._counters[group, key, window] = _Counter(start)
        return counter


def window_start(window: str, now: float) -> int:
    """Return when the calendar window that contains ``now`` began, in seconds since the epoch."""
    whole = math.floor(now)
    if window in {"month", "year"}:
        date = datetime.fromtimestamp(whole, UTC)
        begin = datetime(date.year, date.month if window == "month" else 1, 1, tzinfo=UTC)
        return int(begin.timestamp())
    return whole - whole % WINDOW_SECONDS[window]


def http_date(seconds_since_epoch: float) -> str:
    """Return an HTTP-date, as ``Retry-After`` may carry it."""
    return formatdate(seconds_since_epoch, usegmt=True)


def _checked(limits: Mapping[str, int]) -> dict[str, int]:
    for window, limit in limits.items():
        if window not in WINDOW_SECONDS:
            message = f"no such window: {window!r}; there are {', '.join(WINDOW_SECONDS)}"
            raise ValueError(message)
        if limit < 1:
            message = f"a limit is at least 1: {window}={limit}"
            raise ValueError(message)
    return dict(limits)


def _tightest(usages: list[Usage]) -> Usage:
    return min(usages, key=lambda usage: (usage.remaining, -usage.seconds))


def _kong(usages: list[Usage], rejected: bool) -> dict[str, str]:
    headers = {}
    for usage in usages:
        headers[f"X-RateLimit-Limit-{usage.window.capitalize()}"] = str(usage.limit)
        headers[f"X-RateLimit-Remaining-{usage.window.capitalize()}"] = str(usage.remaining)
    return headers | _only_std(usages, rejected)


def _only_std(usages: list[Usage], rejected: bool) -> dict[str, str]:
    if not usages:
        return {}
    tightest = _tightest(usages)
    headers = {
        "RateLimit-Limit": str(tightest.limit),
        "RateLimit-Remaining": str(tightest.remaining),
        "RateLimit-Reset": str(tightest.reset),
    }
    return headers | _retry_after(tightest, rejected)


def _old_kong(usages: list[Usage], _rejected: bool) -> dict[str, str]:
    headers = {}
    for usage in usages:
        headers[f"X-RateLimit-Limit-{usage.window}"] = str(usage.limit)
        headers[f"X-RateLimit-Remaining-{usage.window}"] = str(usage.remaining)
    return headers


def _draft6(usages: list[Usage], rejected: bool) -> dict[str, str]:
    policy = ", ".join(f"{usage.limit};w={usage.seconds}" for usage in usages)
    return _only_std(usages, rejected) | ({"RateLimit-Policy": policy} if policy else {})


def _draft8(usages: list[Usage], rejected: bool) -> dict[str, str]:
    if not usages:
        return {}
    tightest = _tightest(usages)
    return {
        "RateLimit-Policy": ", ".join(f'"{usage.window}";q={usage.limit};w={usage.seconds}' for usage in usages),
        "RateLimit": f'"{tightest.window}";r={tightest.remaining};t={tightest.reset}',
    } | _retry_after(tightest, rejected)


def _epoch(usages: list[Usage], _rejected: bool) -> dict[str, str]:
    if not usages:
        return {}
    tightest = _tightest(usages)
    return {
        "X-RateLimit-Limit": str(tightest.limit),
        "X-RateLimit-Remaining": str(tightest.remaining),
        "X-RateLimit-Reset": str(tightest.ends),
    }


def _hidden(_usages: list[Usage], _rejected: bool) -> dict[str, str]:
    return {}


def _retry_after(tightest: Usage, rejected: bool) -> dict[str, str]:
    return {"Retry-After": str(tightest.reset)} if rejected else {}


_RENDERERS: dict[str, Callable[[list[Usage], bool], dict[str, str]]] = {
    "kong": _kong,
    "only_std": _only_std,
    "old_kong": _old_kong,
    "draft6": _draft6,
    "draft8": _draft8,
    "epoch": _epoch,
    "hidden": _hidden,
}
