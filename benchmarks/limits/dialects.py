"""The headers in which servers tell their counters."""

import math
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import lru_cache

from benchmarks.limits.counters import Counter

__all__ = [
    "Headers",
    "Render",
    "draft6",
    "draft7",
    "draft8",
    "epoch",
    "hidden",
    "kong",
    "late_epoch",
    "nearest",
    "old_kong",
    "refusals_only",
    "triple",
    "two_systems",
]

Headers = list[tuple[str, str]]
Render = Callable[[Sequence[Counter], float, bool], Headers]

_NAMES = {1: "Second", 60: "Minute", 3600: "Hour", 86_400: "Day"}


def kong(counters: Sequence[Counter], now: float, refused: bool) -> Headers:
    """Kong's: a pair per window, and the tightest window (tie: the longest) as a triple with its reset."""
    headers = []
    for counter in counters:
        name = _NAMES.get(round(counter.window), f"{counter.window:g}")
        headers.append((f"X-RateLimit-Limit-{name}", str(counter.limit(now))))
        headers.append((f"X-RateLimit-Remaining-{name}", str(counter.left(now))))
    return headers + triple(counters, now, refused)


def triple(counters: Sequence[Counter], now: float, refused: bool) -> Headers:
    """Only the triple ``RateLimit-Limit``, ``-Remaining``, ``-Reset`` of the tightest window; Kong's whole seconds."""
    tightest = _tightest(counters, now)
    reset = str(max(1, math.ceil(tightest.window) - math.floor(tightest.elapsed(now))))
    headers = [
        ("RateLimit-Limit", str(tightest.limit(now))),
        ("RateLimit-Remaining", str(tightest.left(now))),
        ("RateLimit-Reset", reset),
    ]
    return [*headers, ("Retry-After", reset)] if refused else headers


def old_kong(counters: Sequence[Counter], now: float, refused: bool) -> Headers:  # noqa: ARG001 - says no more
    """Kong's before 2.0: lower-case windows, neither resets nor ``Retry-After``."""
    headers = []
    for counter in counters:
        name = _NAMES[round(counter.window)].lower()
        headers.append((f"X-RateLimit-Limit-{name}", str(counter.limit(now))))
        headers.append((f"X-RateLimit-Remaining-{name}", str(counter.left(now))))
    return headers


def draft6(counters: Sequence[Counter], now: float, refused: bool) -> Headers:
    """express-rate-limit's ``draft-6``: policy and triple; the reset is left out when it is 0."""
    tightest = _tightest(counters, now)
    reset = math.ceil(tightest.reset(now))
    headers = [
        ("RateLimit-Policy", ", ".join(f"{counter.limit(now)};w={math.ceil(counter.window)}" for counter in counters)),
        ("RateLimit-Limit", str(tightest.limit(now))),
        ("RateLimit-Remaining", str(tightest.left(now))),
    ]
    if reset:
        headers.append(("RateLimit-Reset", str(reset)))
    return headers + _retry_after(reset, refused)


def draft7(counters: Sequence[Counter], now: float, refused: bool) -> Headers:
    """express-rate-limit's ``draft-7``: policy and one combined field."""
    tightest = _tightest(counters, now)
    limit, left, reset = tightest.limit(now), tightest.left(now), math.ceil(tightest.reset(now))
    return [
        ("RateLimit-Policy", f"{limit};w={math.ceil(tightest.window)}"),
        ("RateLimit", f"limit={limit}, remaining={left}, reset={reset}"),
        *_retry_after(reset, refused),
    ]


def draft8(counters: Sequence[Counter], now: float, refused: bool) -> Headers:
    """express-rate-limit's ``draft-8``: named policies and what is left of each."""
    policies, quotas, longest = [], [], 0
    for counter in counters:
        limit, window, reset = counter.limit(now), math.ceil(counter.window), math.ceil(counter.reset(now))
        name = f'"{limit}-in-{window}sec"'
        policies.append(f"{name}; q={limit}; w={window}; pk=:MTI3LjAuMC4x:")
        quotas.append(f"{name}; r={counter.left(now)}; t={reset}")
        longest = max(longest, reset if counter.left(now) == 0 else 0)
    return [
        ("RateLimit-Policy", ", ".join(policies)),
        ("RateLimit", ", ".join(quotas)),
        *_retry_after(longest, refused),
    ]


def nearest(counters: Sequence[Counter], now: float, refused: bool) -> Headers:
    """All policies, and what is left of the one nearest exhaustion, as the draft's appendix B.3.1 has it."""
    tightest = _tightest(counters, now)
    reset = math.ceil(tightest.reset(now))
    policies = [f'"{counter.window:g}s";q={counter.limit(now)};w={counter.window:g}' for counter in counters]
    return [
        ("RateLimit-Policy", ", ".join(policies)),
        ("RateLimit", f'"{tightest.window:g}s";r={tightest.left(now)};t={reset}'),
        *_retry_after(reset, refused),
    ]


def epoch(counters: Sequence[Counter], now: float, refused: bool) -> Headers:
    """express-rate-limit's legacy: ``X-RateLimit-*`` without a window; the reset as epoch seconds, rounded up."""
    tightest = _tightest(counters, now)
    reset = tightest.reset(now)
    return [
        ("X-RateLimit-Limit", str(tightest.limit(now))),
        ("X-RateLimit-Remaining", str(tightest.left(now))),
        ("Date", _date(math.floor(now))),
        ("X-RateLimit-Reset", str(math.ceil(now + reset))),
        *_retry_after(math.ceil(reset), refused),
    ]


def late_epoch(counters: Sequence[Counter], now: float, refused: bool) -> Headers:  # noqa: ARG001 - always says it
    """slowapi's: as the legacy one, but the reset one to two seconds late, and ``Retry-After`` on every answer."""
    tightest = _tightest(counters, now)
    reset = int(now + tightest.reset(now)) + 2
    return [
        ("X-RateLimit-Limit", str(tightest.limit(now))),
        ("X-RateLimit-Remaining", str(tightest.left(now))),
        ("X-RateLimit-Reset", str(reset)),
        ("Retry-After", str(int(reset - now))),
    ]


def hidden(counters: Sequence[Counter], now: float, refused: bool) -> Headers:
    """Nothing but ``Retry-After`` on a refusal."""
    return _retry_after(math.ceil(_tightest(counters, now).reset(now)), refused)


def refusals_only(render: Render) -> Render:
    """Return what tells the same as another, on refusals only."""

    def of_refusal(counters: Sequence[Counter], now: float, refused: bool) -> Headers:
        return render(counters, now, refused) if refused else []

    return of_refusal


def two_systems(counters: Sequence[Counter], now: float, refused: bool) -> Headers:
    """A gateway before a service: the first counter as a triple with its policy, the second in ``X-RateLimit-*``."""
    gateway, service = counters[:1], counters[1:]
    headers = [header for header in draft6(gateway, now, False) + epoch(service, now, False) if header[0] != "Date"]
    return headers + _retry_after(math.ceil(_tightest(counters, now).reset(now)), refused)


def _tightest(counters: Sequence[Counter], now: float) -> Counter:
    return min(counters, key=lambda counter: (counter.left(now), -counter.window))


def _retry_after(seconds: int, refused: bool) -> Headers:
    return [("Retry-After", str(max(1, seconds)))] if refused else []


@lru_cache(maxsize=8)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
