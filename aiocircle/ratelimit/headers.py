"""Response headers -> what they say about quotas.

Three families tell how many requests are left, and one answer may carry several of them:

``std``
    ``RateLimit-Limit``, ``-Remaining``, ``-Reset`` (IETF drafts 3 to 6), or draft 7's one field
    ``RateLimit: limit=100, remaining=50, reset=5``. One quota, whose window is named elsewhere.
``x``
    ``X-RateLimit-Limit-Minute`` and the like: one pair per window, as Kong sends them; or without a suffix, and then
    of an unknown window.
``policy``
    ``RateLimit-Policy: "name";q=100;w=60`` with ``RateLimit: "name";r=50;t=30`` (IETF draft 8 and later): any number of
    named quotas.

Where they overlap:

* Kong repeats the pair nearest exhaustion as the ``std`` triple; of equal pairs, the one with the longest window. So a
  triple that equals an ``x`` pair *is* that pair and gives it its reset. A triple that equals none is one more quota.
* CircleCI documents ``RateLimit-Limit`` as a limit per second, unless an ``X-RateLimit-Limit-<Time>`` header names
  another window. A policy names it too, and a reset more than a second ahead contradicts it.
* A field that is repeated, or joined by commas, is read for the worse: the smallest limit and remaining, the longest
  reset and delay.
* What is malformed counts as absent, never as zero; but a negative remaining means none.
* What is not counted in requests (``qu="content-bytes"``, ``X-RateLimit-Limit-Videos-Minute``) says nothing here.
* ``Retry-After`` speaks of the rate on 429 and 503 only: some servers send it with accepted answers.
* An answer that has aged in a cache describes a moment that is gone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import attrs

from aiocircle.ratelimit.facts import QuotaFact, RateFacts
from aiocircle.ratelimit.fields import (
    ServerClock,
    members,
    read_count,
    read_delays,
    read_item,
    read_number,
    read_remaining,
    read_text,
    read_window,
)
from aiocircle.ratelimit.names import AGE, DATE, POLICY, RATELIMIT, RETRY_AFTER, STD, Field, field_of
from aiocircle.ratelimit.usual import MOMENT, read_usual

_MAX_FIELD = 8192  # characters; nobody sends a longer rate header
SERVICE_UNAVAILABLE = 503
_REFUSALS = frozenset({429, SERVICE_UNAVAILABLE})


_NOTHING = RateFacts()
_BACKOFF = RateFacts(backoff=True)
_UNAVAILABLE = RateFacts(backoff=True, unavailable=True)


def read_rate_headers(status: int, headers: Iterable[tuple[str, str]], *, wall: float) -> RateFacts:
    """Read every rate header of one answer. Never raises.

    Args:
        status: The answer's HTTP status.
        headers: Names and values as received, in any case, repeated fields one by one.
        wall: Seconds since the epoch when the answer arrived; resets that are points in time are taken against it
            where the answer has no ``Date``.

    Returns:
        The quotas, and how long to pause. Numbers are reported as sent, however large: what to believe, and how long
        to wait, is for the caller to cap.
    """
    fields = headers if isinstance(headers, list) else list(headers)
    refused = status in _REFUSALS
    if not refused and is_silent(tuple([name for name, _ in fields])):
        return _NOTHING
    if not refused and (plain := read_usual(fields)) is not None:
        return plain
    seen: dict[Field, list[str]] = {}
    for name, value in fields:
        field = field_of(name)
        if field is not None and len(value) <= _MAX_FIELD:
            seen.setdefault(field, []).append(value)
    if not seen or (len(seen) == 1 and DATE in seen):
        return (_UNAVAILABLE if status == SERVICE_UNAVAILABLE else _BACKOFF) if refused else _NOTHING
    clock = ServerClock(seen.get(DATE, ()), wall)
    quotas = () if _is_cached(seen) else _read_quotas(seen, clock)
    if not refused:
        return RateFacts(quotas) if quotas else _NOTHING
    retry_after = _longest(read_delays(seen.get(RETRY_AFTER, ()), clock, epoch=False))
    pause = _reset_of_exhausted(quotas) if retry_after is None else retry_after
    unavailable = status == SERVICE_UNAVAILABLE
    return RateFacts(quotas, retry_after, pause, backoff=not pause, unavailable=unavailable)


def read_retry_after(headers: Iterable[tuple[str, str]], *, wall: float) -> float | None:
    """Return the seconds after which a failed request shall be repeated, whatever its status. Never raises.

    Of the rate it speaks on 429 and 503 only, where ``read_rate_headers`` reports it too.
    """
    seen: dict[Field, list[str]] = {}
    for name, value in headers:
        field = field_of(name)
        if field in {RETRY_AFTER, DATE} and len(value) <= _MAX_FIELD:
            seen.setdefault(field, []).append(value)
    clock = ServerClock(seen.get(DATE, ()), wall)
    return _longest(read_delays(seen.get(RETRY_AFTER, ()), clock, epoch=False))


@lru_cache(maxsize=256)  # a host of files sends the same few names with every answer
def is_silent(names: tuple[str, ...]) -> bool:
    """Tell that no header of an answer with these names says anything about the rate."""
    return all(field is None or field == DATE for field in map(field_of, names))


def _reset_of_exhausted(quotas: Sequence[QuotaFact]) -> float | None:
    # A refusal whose quotas name a reset and no remaining means that reset.
    unknown = all(quota.remaining is None for quota in quotas)
    return _longest(quota.reset for quota in quotas if unknown or quota.remaining == 0)


def _is_cached(seen: Mapping[Field, Sequence[str]]) -> bool:
    # RFC 9111, section 5.1; but "Age: 0" is what Varnish and Fastly put on answers that are fresh.
    return any(read_number(text) for text in seen.get(AGE, ()))


# --- quotas ----------------------------------------------------------------------------------------------------------


class _Policy(NamedTuple):
    """A limit and its window, as ``RateLimit-Policy`` lists them; those of drafts 3 to 7 have no name."""

    limit: int | None
    window: float | None
    name: str | None = None
    partition: str | None = None
    counts_requests: bool = True


class _Service(NamedTuple):
    """What is left of a named policy, as ``RateLimit`` lists it."""

    name: str | None
    partition: str | None
    remaining: int | None = None
    reset: float | None = None


def _read_quotas(seen: dict[Field, list[str]], clock: ServerClock) -> tuple[QuotaFact, ...]:
    services = list(_read_services(seen, clock)) if RATELIMIT in seen else []
    policies = list(_read_policies(seen[POLICY])) if POLICY in seen else []
    served = {service.name for service in services}
    free = [policy for policy in policies if policy.counts_requests and policy.name not in served]
    std = _read_pair(seen, clock, "std", None, free)
    suffixes = sorted({window or 0.0 for _, system, window in seen if system == "x"})
    pairs = [_read_pair(seen, clock, "x", suffix or None, free) for suffix in suffixes]
    has_x_of_no_window = bool(pairs) and not suffixes[0]
    if std or has_x_of_no_window:  # what the free policies tell is the window of that pair
        policies = [policy for policy in policies if policy.name in served]
    xs = [pair for pair in pairs if pair is not None]
    quotas = _mirror(std, xs) if std else xs
    quotas.sort(key=_by_window)
    if policies or services or has_x_of_no_window:
        quotas = _merge_same([*quotas, *_join(policies, services)])
    return tuple(quotas)


# --- limit, remaining, reset: std and x ---


def _read_pair(
    seen: Mapping[Field, Sequence[str]],
    clock: ServerClock,
    system: Literal["std", "x"],
    window: float | None,
    policies: Sequence[_Policy],
) -> QuotaFact | None:
    limit, listed = _read_limit(seen.get(("limit", system, window), ()))
    remaining = _read_remaining(seen.get(("remaining", system, window), ()))
    if limit is None and remaining is None:
        return None
    resets = seen.get(("reset", system, window))
    reset = _read_reset(resets, clock) if resets else None
    if window is None and (listed or policies):
        window = _window_by_policy(limit, [*listed, *policies])
    return _quota(system, limit, remaining, window, reset)


def _read_reset(values: Sequence[str], clock: ServerClock) -> float | None:
    if len(values) == 1 and len(values[0]) < MOMENT and values[0].isascii() and values[0].isdecimal():
        return float(values[0])  # as nearly always
    return _longest(read_delays(values, clock, epoch=True))


def _read_limit(values: Sequence[str]) -> tuple[int | None, list[_Policy]]:
    """Read a limit and what draft 3 lists behind it: ``100, 100;w=60, 10000;w=86400``."""
    if len(values) == 1 and (limit := read_count(values[0])) is not None:  # as nearly always
        return limit, []
    policies = [_numbered(item, parameters) for item, parameters in map(read_item, members(values))]
    in_force = [policy.limit for policy in policies if policy.window is None and policy.limit is not None]
    return _least(in_force or [policy.limit for policy in policies]), policies


def _read_remaining(values: Sequence[str]) -> int | None:
    if len(values) == 1 and (remaining := read_remaining(values[0])) is not None:
        return remaining
    return _least(read_remaining(member.partition(";")[0]) for member in members(values))


def _numbered(item: str, parameters: Mapping[str, str]) -> _Policy:
    window = parameters.get("w") or parameters.get("window")  # the latter in the drafts before the working group's
    return _Policy(read_count(item), read_window(window) if window else None)


def _window_by_policy(limit: int | None, policies: Iterable[_Policy]) -> float | None:
    timed = [policy for policy in policies if policy.window]
    same = [policy.window for policy in timed if policy.limit == limit]
    unnamed = [policy.window for policy in timed if policy.name is None]
    return _longest(same) if same or len(unnamed) != 1 else unnamed[0]


def _mirror(std: QuotaFact, xs: Sequence[QuotaFact]) -> list[QuotaFact]:
    """Give the triple its window, or give its reset to the pair that it repeats."""
    twins = [x for x in xs if x.limit == std.limit is not None and x.remaining == std.remaining]
    if not twins:
        return [*xs, attrs.evolve(std, window=std.window or _window_beside(std, xs))]
    twin = max(twins, key=_by_window)
    window = twin.window or std.window or _window_beside(std, xs)
    reset = std.reset if twin.reset is None else _longest([twin.reset, std.reset])
    whole = QuotaFact(twin.system, twin.limit, twin.remaining, window, reset, twin.name, twin.partition)
    return [whole if x is twin else x for x in xs]


def _window_beside(std: QuotaFact, xs: Sequence[QuotaFact]) -> float | None:
    same = [x.window for x in xs if x.window and x.limit == std.limit]
    if same:
        return _longest(same)
    reset = std.reset or 0.0
    wide_enough = [x.window for x in xs if x.window and x.window >= reset]
    per_second = 1.0 if reset <= 1.0 else None
    return min(wide_enough, default=per_second)


def _by_window(quota: QuotaFact) -> float:
    return -1.0 if quota.system == "std" else quota.window or 0.0


# --- named policies ---


def _read_policies(values: Sequence[str]) -> Iterator[_Policy]:
    for item, parameters in map(read_item, members(values)):
        policy = _numbered(item, parameters)
        name = read_text(item) if policy.limit is None else None
        if policy.limit is None and name is None:
            continue
        limit = policy.limit if name is None else read_count(parameters.get("q", ""))
        unit = read_text(parameters.get("qu", "requests"))
        yield _Policy(limit, policy.window, name, parameters.get("pk"), unit == "requests")


def _read_services(seen: dict[Field, list[str]], clock: ServerClock) -> Iterator[_Service]:
    """Yield the members of ``RateLimit``; those of a draft 7 dictionary join the fields of the ``std`` triple."""
    for item, parameters in map(read_item, members(seen[RATELIMIT])):
        key, equals, value = item.partition("=")
        field = STD.get(key.lower()) if equals else None
        if field is not None:
            seen.setdefault(field, []).append(value)
            continue
        name = read_text(item)
        if name is not None:
            reset = _longest(read_delays([parameters.get("t", "")], clock, epoch=True))
            yield _Service(name, parameters.get("pk"), read_remaining(parameters.get("r", "")), reset)


_Key = tuple[str | None, str | None, float | None]


def _join(policies: Iterable[_Policy], services: Iterable[_Service]) -> Iterator[QuotaFact]:
    """Yield a quota for each policy and partition in the order of the policies, then what has no policy."""
    listed: dict[_Key, _Policy] = {}
    for policy in policies:
        key = (policy.name, policy.partition, None if policy.name else policy.window)
        twin = listed.get(key, policy)
        listed[key] = twin._replace(limit=_least([twin.limit, policy.limit]))
    left: dict[_Key, _Service] = {}
    for service in services:
        key = (service.name, service.partition, None)
        same = left.get(key, service)
        remaining, reset = _least([same.remaining, service.remaining]), _longest([same.reset, service.reset])
        left[key] = same._replace(remaining=remaining, reset=reset)
    owners = _owners(listed, left)
    for key, policy in listed.items():
        for service in owners.pop(key, ()) or [_Service(policy.name, policy.partition)]:
            if policy.counts_requests:
                yield from _named_quota(policy, service)
    for orphan in owners.get(None, ()):
        yield from _named_quota(_Policy(None, None), orphan)


def _owners(listed: Mapping[_Key, _Policy], left: Mapping[_Key, _Service]) -> dict[_Key | None, list[_Service]]:
    partitions: dict[str | None, list[_Key]] = {}
    for key, policy in listed.items():
        partitions.setdefault(policy.name, []).append(key)
    owners: dict[_Key | None, list[_Service]] = {}
    for key, service in left.items():
        owner: _Key | None = key if key in listed else (service.name, None, None)
        if owner not in listed:  # express-rate-limit 8 sends the partition key with the policy alone
            same = partitions.get(service.name, ()) if service.partition is None else ()
            owner = same[0] if len(same) == 1 else None
        owners.setdefault(owner, []).append(service)
    return owners


def _named_quota(policy: _Policy, service: _Service) -> Iterator[QuotaFact]:
    if policy.limit is not None or service.remaining is not None:
        partition = service.partition or policy.partition
        quota = _quota("policy", policy.limit, service.remaining, policy.window, service.reset)
        yield attrs.evolve(quota, name=service.name, partition=partition)


# --- the worse of several values ---


def _quota(
    system: Literal["std", "x", "policy"],
    limit: int | None,
    remaining: int | None,
    window: float | None,
    reset: float | None,
) -> QuotaFact:
    if limit is not None and remaining is not None:
        remaining = min(remaining, limit)
    return QuotaFact(system, limit, remaining, window, reset)


def _merge_same(quotas: Iterable[QuotaFact]) -> list[QuotaFact]:
    """Make one of what turns out to be the same quota: its name told the window of one, a policy that of the other."""
    merged: dict[object, QuotaFact] = {}
    for quota in quotas:
        same = merged.get(quota.key)
        merged[quota.key] = quota if same is None else _worse(same, quota)
    return list(merged.values())


def _worse(one: QuotaFact, other: QuotaFact) -> QuotaFact:
    limit, remaining = _least([one.limit, other.limit]), _least([one.remaining, other.remaining])
    whole = _quota(one.system, limit, remaining, one.window, _longest([one.reset, other.reset]))
    return attrs.evolve(whole, name=one.name, partition=one.partition)


def _least(numbers: Iterable[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


def _longest(seconds: Iterable[float | None]) -> float | None:
    return max((duration for duration in seconds if duration is not None), default=None)
