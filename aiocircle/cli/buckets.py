"""A budget of the host in words: its windows, what is used of them, and who waits for more."""

import time
from collections.abc import Iterator, Sequence
from math import inf
from textwrap import wrap
from typing import Any

from attrs import asdict, field, frozen

from aiocircle.cli import tables
from aiocircle.cli.output import counted
from aiocircle.ratelimit.bucket import QuotaState, name_of
from aiocircle.ratelimit.facts import QuotaFact
from aiocircle.ratelimit.snapshot import BucketSnapshot

FAMILIES = {"std": "RateLimit-*", "x": "X-RateLimit-*", "policy": "RateLimit-Policy"}
WINDOWS = {
    1: "second",
    60: "minute",
    3600: "hour",
    86_400: "day",
    7 * 86_400: "week",
    30 * 86_400: "month",
    365 * 86_400: "year",
}
NOTHING_TOLD = "nothing about a limit; it is felt for carefully"
REASONS = {
    "budget": "for the budget",
    "pause": "the host said stop",
    "pace": "feeling the way up",
    "answer": "for an answer that tells more",
}
SCARCE = 0.2  # of a limit: less than that is left
SHOWN_SHARERS = 10
LABEL = 32  # columns
NAME, NUMBER, RESET = 16, 8, 13  # columns
INDENT = 13  # columns, of what stands behind a name
TABLE = 77  # columns that a table may take

Line = tuple[str, str]
"""A line and its style."""


@frozen
class Window:
    """One quota as it is shown. ``None`` is what the host did not say.

    ``at_most``: the host did not say when it resets, but its length does, at the latest.
    """

    name: str
    limit: int | None
    used: int | None
    remaining: int | None
    window: float | None
    resets_in: float | None
    at_most: bool
    told_by: str

    @classmethod
    def of_state(cls, state: QuotaState, fact: QuotaFact | None) -> "Window":
        """Return a quota that answers have shown. What was used is gone with the window it was used in."""
        begun = state.resets_in > 0
        used = None if state.limit is None or not begun else max(0, state.limit - state.remaining)
        return cls(
            name=_name(state.name, state.window),
            limit=state.limit,
            used=used,
            remaining=state.remaining if begun else None,
            window=state.window,
            resets_in=state.resets_in if state.resets_in < inf else None,
            at_most=fact is not None and fact.reset is None,
            told_by=_family(state.name),
        )

    @classmethod
    def of_fact(cls, fact: QuotaFact) -> "Window":
        """Return a quota of which the host named the limit, and not what is left of it."""
        name = name_of(fact)
        return cls(_name(name, fact.window), fact.limit, None, None, fact.window, fact.reset, False, _family(name))

    def line(self) -> Line:
        """Return it as a row of a table."""
        figures = "".join(f" {_number(value):>{NUMBER}}" for value in (self.limit, self.used, self.remaining))
        name = f"{self.name[: NAME - 1]:{NAME}}"
        return f"  {name}{figures}  {self._reset:{RESET}} {self.told_by}", self._style

    def sentence(self) -> Line:
        """Return what matters most of it, which may be wrapped."""
        limit = "" if self.limit is None else f" of {self.limit:,}"
        parts = [f"limit{limit.removeprefix(' of')}" if self.remaining is None else f"{self.remaining:,}{limit} left"]
        if self.resets_in is not None:
            parts.append(f"resets {'' if self.resets_in <= 0 else 'in '}{self._reset}")
        return f"  {self.name:{INDENT - 3}} {', '.join(parts)}", self._style

    @property
    def _reset(self) -> str:
        return f"{'< ' if self.at_most and self.resets_in else ''}{_until(self.resets_in)}"

    @property
    def _style(self) -> str:
        if not self.limit or self.remaining is None:
            return ""
        return "red" if not self.remaining else "yellow" if self.remaining < SCARCE * self.limit else "green"


HEADING = (
    f"  {'WINDOW':{NAME}} {'LIMIT':>{NUMBER}} {'USED':>{NUMBER}} {'LEFT':>{NUMBER}}  {'RESETS IN':{RESET}} TOLD BY",
    "bold",
)


@frozen
class Told:
    """A bucket, and what the last answer said about it."""

    bucket: BucketSnapshot
    facts: Sequence[QuotaFact] = field(default=())

    @property
    def windows(self) -> list[Window]:
        """Every quota that the host named, the shortest window first."""
        facts = {name_of(fact): fact for fact in self.facts}
        windows = [Window.of_state(state, facts.pop(state.name, None)) for state in self.bucket.quotas]
        windows += map(Window.of_fact, facts.values())
        return sorted(windows, key=lambda one: one.window or 0)

    @property
    def families(self) -> list[str]:
        """The families of headers that told of them."""
        return list(dict.fromkeys(window.told_by for window in self.windows))

    def values(self) -> dict[str, Any]:
        """Return everything for programs."""
        windows = [asdict(window) for window in self.windows]
        return {**asdict(self.bucket), "quotas": windows, "told_by": self.families}

    def lines(self, wall: float, columns: int = TABLE) -> Iterator[Line]:
        """Yield everything for people in so many columns."""
        for text, style in self._lines(wall, narrow=columns < TABLE):
            for line in wrap(text, max(columns, 2 * INDENT), subsequent_indent=" " * INDENT):
                yield line, style

    def _lines(self, wall: float, *, narrow: bool) -> Iterator[Line]:
        yield self.bucket.name, "bold"
        windows = self.windows
        if windows and not narrow:
            yield HEADING
        for window in windows:
            yield window.sentence() if narrow else window.line()
        if not windows:
            yield f"  {'host says':11}{NOTHING_TOLD}", ""
        bucket = self.bucket
        requests = f"{bucket.sent:,} sent, {bucket.in_flight:,} under way, {counted(bucket.refused, 'refusal')}"
        yield f"  {'requests':11}{requests}", "yellow" if bucket.refused else ""
        yield f"  {'waiting':11}{self._waiting(wall)}", "yellow" if bucket.waiting else ""
        yield from self._sharers()

    def _waiting(self, wall: float) -> str:
        bucket = self.bucket
        if not bucket.waiting:
            return "nobody in this process" if bucket.sharers else "nobody"
        reason = REASONS.get(bucket.waits_for or "", "")
        text = f"{counted(bucket.waiting, 'request')}, {reason}".rstrip(", ")
        if bucket.ready_in is None:
            return text
        until = time.strftime("%H:%M:%S", time.localtime(wall + bucket.ready_in))
        return f"{text}, until {until} ({_until(bucket.ready_in)})"

    def _sharers(self) -> Iterator[Line]:
        """Yield the processes that share the budget, those with the longest lines first."""
        sharers = sorted(self.bucket.sharers, key=lambda one: (-one.waiting, one.label))
        if not sharers:
            return
        yield f"  {'shared by':11}{counted(len(sharers), 'process', 'processes')}", ""
        for one in sharers[:SHOWN_SHARERS]:
            seen = f"seen {_ago(one.seen_ago)}"
            yield f"    {one.label[:LABEL]:{LABEL}}  {one.waiting:>7,} waiting  {seen}", "yellow" if one.waiting else ""
        if len(sharers) > SHOWN_SHARERS:
            yield f"    and {len(sharers) - SHOWN_SHARERS:,} more", ""


def _family(name: str) -> str:
    system = name.partition("#")[0].partition("/")[0]
    return FAMILIES.get(system, system)


def _name(quota: str, window: float | None) -> str:
    """Return a quota's name in plain words; ``quota`` is ``system/window/policy/partition#limit``."""
    policy = quota.split("/", 2)[2] if quota.count("/") > 1 else ""
    length = "per window" if window is None else f"per {WINDOWS.get(round(window), f'{window:g} s')}"
    return f"{length} ({policy})" if policy and policy != WINDOWS.get(round(window or 0)) else length


def _number(value: int | None) -> str:
    return tables.NOTHING if value is None else f"{value:,}"


def _ago(seconds: float) -> str:
    return f"{tables.seconds(round(seconds))} ago" if seconds >= 1 else "now"


def _until(seconds: float | None) -> str:
    if seconds is None:
        return tables.NOTHING
    return tables.seconds(max(1, round(seconds))) if seconds > 0 else "now"
