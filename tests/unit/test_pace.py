"""Feeling the way where headers tell nothing: plain values, no clock."""

from aiocircle.ratelimit.pace import FAST_WIDTH, Pace
from aiocircle.ratelimit.quota import NEVER


def test_growth_is_fast_only_while_few_are_under_way() -> None:
    pace = Pace(10.0, 2.0, since=0.0)
    assert pace.ready_at(FAST_WIDTH - 1) < NEVER
    assert pace.ready_at(FAST_WIDTH) == NEVER  # the round trip binds from here on
    for at in range(8):
        pace.accept(1.0 + at / 10)
    pace.spend(1.9)
    assert not pace.fast
    assert pace.rate <= 8  # what was accepted in the last second, and not what it had grown to
    assert pace.ready_at(FAST_WIDTH) < NEVER


def test_a_strike_puts_the_rate_below_what_was_accepted_and_holds_it_there() -> None:
    pace = Pace(10.0, 2.0, since=0.0)
    for at in range(20):
        pace.accept(3.0 + at / 20)
    pace.strike(4.0, until=5.0)
    assert pace.rate < 20
    assert pace.rate_at(100.0) == pace.rate
    assert pace.rate_at(4000.0) > pace.rate


def test_a_refused_probe_after_a_pause_teaches_no_lower_rate() -> None:
    pace = Pace(10.0, 2.0, since=0.0)
    for at in range(20):
        pace.accept(3.0 + at / 20)
    pace.strike(4.0, until=5.0)
    rate = pace.rate
    pace.strike(5.0, until=6.0)
    assert pace.rate == rate


def test_two_long_pauses_tell_a_hidden_window_and_its_quota() -> None:
    pace = Pace(10.0, 2.0, since=0.0)
    for at in range(30):
        pace.accept(at / 10)
    pace.strike(3.1, until=40.0)  # it had begun in the middle of a window
    for at in range(50):
        assert pace.ready_at(0) < NEVER
        pace.accept(40.0 + at / 10)
    assert pace.ready_at(1) == NEVER  # beyond what is known to be granted, one at a time
    pace.strike(45.0, until=100.0)
    assert (pace.quota, pace.period) == (50, 60.0)
    for at in range(50):
        pace.accept(100.0 + at / 10)
    assert pace.ready_at(0) == 160.0  # used up: the next window, without a refusal
    pace.accept(160.1)
    assert pace.ready_at(5) < 161.0


def test_a_lull_is_not_saved_up_into_a_burst() -> None:
    pace = Pace(10.0, 1.0, since=0.0)
    pace.next_at = 0.0
    left = 0
    while pace.ready_at(0) <= 60.0:
        pace.spend(60.0)
        left += 1
    assert left <= 2
