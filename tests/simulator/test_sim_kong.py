"""Rate limiting against figures computed by hand from Kong's rules."""

import attrs
import pytest

from aiocircle.testing import KongLimits
from aiocircle.testing.kong import DIALECTS, Verdict, http_date, window_start

# 2023-11-14 22:13:20 UTC: 20 s into the minute, 800 s into the hour, 80,000 s into the day.
NOON = 1_700_000_000


@attrs.define
class Clock:
    now: float = NOON

    def __call__(self) -> float:
        return self.now


def charges(limits: KongLimits, count: int, key: str = "k", route: str = "me") -> list[Verdict]:
    return [limits.charge(key, route) for _ in range(count)]


def test_the_headers_of_an_admitted_request() -> None:
    verdict = KongLimits({"second": 20, "minute": 600}, clock=Clock(NOON + 0.25)).charge("k")
    assert verdict.admitted
    assert verdict.headers == {
        "X-RateLimit-Limit-Second": "20",
        "X-RateLimit-Remaining-Second": "19",
        "X-RateLimit-Limit-Minute": "600",
        "X-RateLimit-Remaining-Minute": "599",
        "RateLimit-Limit": "20",
        "RateLimit-Remaining": "19",
        "RateLimit-Reset": "1",
    }


def test_two_windows_step_by_step() -> None:
    clock = Clock(NOON + 0.25)
    limits = KongLimits({"second": 2, "minute": 3}, clock=clock)
    first, second, third = charges(limits, 3)
    assert (first.admitted, second.admitted, third.admitted) == (True, True, False)
    assert second.headers["X-RateLimit-Remaining-Second"] == "0"
    assert second.headers["X-RateLimit-Remaining-Minute"] == "1"
    assert "Retry-After" not in second.headers
    # Rejected by the second: that one says 0, the minute is as it was.
    assert third.headers["X-RateLimit-Remaining-Second"] == "0"
    assert third.headers["X-RateLimit-Remaining-Minute"] == "1"
    assert third.headers["Retry-After"] == third.headers["RateLimit-Reset"] == "1"
    clock.now = NOON + 1
    fourth, fifth = charges(limits, 2)
    assert fourth.admitted
    # Now the minute has the least left: 21 of its 60 seconds are over.
    assert (fourth.headers["RateLimit-Limit"], fourth.headers["RateLimit-Remaining"]) == ("3", "0")
    assert fourth.headers["RateLimit-Reset"] == "39"
    assert not fifth.admitted
    assert fifth.headers["Retry-After"] == "39"
    assert fifth.headers["X-RateLimit-Remaining-Second"] == "1"
    clock.now = NOON + 40
    assert limits.charge("k").admitted


def test_ties_go_to_the_longest_window() -> None:
    verdict = KongLimits({"hour": 5, "second": 5, "minute": 5}, clock=Clock()).charge("k")
    assert verdict.headers["RateLimit-Reset"] == "2800"


def test_several_exhausted_windows_report_the_longest() -> None:
    limits = KongLimits({"second": 1, "minute": 1}, clock=Clock())
    _, rejected = charges(limits, 2)
    assert rejected.headers["Retry-After"] == "40"
    assert rejected.headers["RateLimit-Limit"] == "1"


def test_twice_the_limit_passes_around_a_boundary() -> None:
    clock = Clock(NOON + 39.999)
    limits = KongLimits({"minute": 10}, clock=clock)
    before = charges(limits, 11)
    clock.now = NOON + 40
    after = charges(limits, 11)
    assert [v.admitted for v in before] == [v.admitted for v in after] == [True] * 10 + [False]
    assert before[-1].headers["Retry-After"] == "1"
    assert after[-1].headers["Retry-After"] == "60"


@pytest.mark.parametrize(
    ("elapsed", "reset"), [(0, "60"), (0.999, "60"), (1, "59"), (30.5, "30"), (59, "1"), (59.999, "1")]
)
def test_reset_rounds_the_elapsed_time_down_and_is_at_least_one(elapsed: float, reset: str) -> None:
    start = NOON - 20
    verdict = KongLimits({"minute": 5}, clock=Clock(start + elapsed)).charge("k")
    assert verdict.headers["RateLimit-Reset"] == reset


@pytest.mark.parametrize(
    ("window", "moment", "start"),
    [
        ("second", NOON + 0.9, NOON),
        ("minute", NOON, NOON - 20),
        ("hour", NOON, NOON - 800),
        ("day", NOON, NOON - 80_000),
        ("month", NOON, 1_698_796_800),  # 2023-11-01
        ("year", NOON, 1_672_531_200),  # 2023-01-01
    ],
)
def test_windows_are_aligned_to_the_calendar_in_utc(window: str, moment: float, start: int) -> None:
    assert window_start(window, moment) == start


def test_a_month_counts_as_thirty_days_and_a_year_as_365() -> None:
    last_of_october = 1_698_796_800 - 3600
    verdict = KongLimits({"month": 5}, clock=Clock(last_of_october)).charge("k")
    assert verdict.headers["RateLimit-Reset"] == "1"
    verdict = KongLimits({"year": 5}, clock=Clock(1_672_531_200 + 86_400)).charge("k")
    assert verdict.headers["RateLimit-Reset"] == str(364 * 86_400)


def test_rejected_requests_are_free() -> None:
    clock = Clock()
    limits = KongLimits({"second": 1, "minute": 3}, clock=clock)
    charges(limits, 50)
    clock.now += 1
    assert limits.charge("k").headers["X-RateLimit-Remaining-Minute"] == "1"


def test_with_penalize_rejected_requests_burn_the_other_windows() -> None:
    clock = Clock()
    limits = KongLimits({"second": 1, "minute": 3}, penalize=True, clock=clock)
    charges(limits, 3)
    clock.now += 1
    rejected = limits.charge("k")
    assert not rejected.admitted
    assert rejected.headers["Retry-After"] == "39"


def test_keys_have_limits_of_their_own() -> None:
    limits = KongLimits({"minute": 1}, clock=Clock())
    assert limits.charge("a").admitted
    assert limits.charge("b").admitted
    assert not limits.charge("a").admitted


def test_a_group_of_routes_has_limits_of_its_own() -> None:
    limits = KongLimits({"minute": 5}, groups={"insights": {"minute": 1}}, clock=Clock())
    first, second = charges(limits, 2, route="insights.workflows")
    assert (first.admitted, second.admitted) == (True, False)
    assert limits.charge("k", "me").headers["RateLimit-Remaining"] == "4"


def test_files_are_limited_only_by_a_group_of_their_own() -> None:
    limits = KongLimits({"minute": 1}, clock=Clock())
    assert all(verdict == Verdict(True, {}) for verdict in charges(limits, 5, route="output"))
    limits = KongLimits({"minute": 9}, groups={"output": {"minute": 1}}, clock=Clock())
    assert [v.admitted for v in charges(limits, 2, route="output")] == [True, False]


EXPECTED = {
    "kong": {
        "X-RateLimit-Limit-Second": "1",
        "X-RateLimit-Remaining-Second": "0",
        "X-RateLimit-Limit-Minute": "9",
        "X-RateLimit-Remaining-Minute": "8",
        "RateLimit-Limit": "1",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "1",
        "Retry-After": "1",
    },
    "only_std": {"RateLimit-Limit": "1", "RateLimit-Remaining": "0", "RateLimit-Reset": "1", "Retry-After": "1"},
    "old_kong": {
        "X-RateLimit-Limit-second": "1",
        "X-RateLimit-Remaining-second": "0",
        "X-RateLimit-Limit-minute": "9",
        "X-RateLimit-Remaining-minute": "8",
    },
    "draft6": {
        "RateLimit-Limit": "1",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "1",
        "RateLimit-Policy": "1;w=1, 9;w=60",
        "Retry-After": "1",
    },
    "draft8": {
        "RateLimit-Policy": '"second";q=1;w=1, "minute";q=9;w=60',
        "RateLimit": '"second";r=0;t=1',
        "Retry-After": "1",
    },
    "epoch": {"X-RateLimit-Limit": "1", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOON + 1)},
    "hidden": {},
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect_reports_a_rejection_in_its_own_headers(dialect: str) -> None:
    limits = KongLimits({"second": 1, "minute": 9}, headers=dialect, clock=Clock())  # type: ignore[arg-type]
    _, rejected = charges(limits, 2)
    assert not rejected.admitted
    assert rejected.headers == EXPECTED[dialect]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"limits": {"fortnight": 1}}, "no such window: 'fortnight'"),
        ({"limits": {"second": 0}}, "at least 1: second=0"),
        ({"limits": {}, "groups": {"me": {"eon": 1}}}, "no such window: 'eon'"),
        ({"limits": {}, "headers": "smoke"}, "no such header dialect: 'smoke'"),
    ],
)
def test_nonsense_is_refused_in_words(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KongLimits(**arguments)  # type: ignore[arg-type]


def test_an_http_date() -> None:
    assert http_date(NOON) == "Tue, 14 Nov 2023 22:13:20 GMT"
