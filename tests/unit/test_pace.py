"""Feeling the way where headers tell nothing: plain values, no clock."""

import pytest

from aiocircle.ratelimit.pace import BEYOND, RISK, START, Pace
from aiocircle.ratelimit.quota import NEVER


def accept(pace: Pace, begin: float, seconds: float, count: int, in_flight: int = 0) -> None:
    for number in range(count):
        pace.accept(begin + seconds * number / count, in_flight)


def struck(accepted: int = 20) -> Pace:
    """A pace that was struck once, at 4 s."""
    pace = Pace(100.0)
    accept(pace, 3.0, 1.0, accepted)
    pace.strike(4.0, until=5.0)
    return pace


def test_the_fewer_are_at_stake_the_faster_the_rate_grows() -> None:
    grown = []
    for in_flight in (0, RISK // 2, RISK - 1):
        pace = Pace(100.0)
        accept(pace, 0.0, 1.0, 100, in_flight)
        grown.append(pace.rate)
    assert grown == sorted(grown, reverse=True)
    assert len(set(grown)) == 3


def test_once_many_are_at_stake_a_second_has_so_many_more_than_the_one_before_and_no_more() -> None:
    pace = Pace(300.0)
    accept(pace, 0.0, 1.0, 300, RISK)
    assert 300 < pace.rate <= 300 + RISK


def test_who_sends_little_has_tried_little() -> None:
    pace = Pace()
    for second in range(1000):
        accept(pace, float(second), 1.0, 2)
    assert pace.rate <= START + 4


def test_the_first_strike_falls_far_and_what_follows_nears_the_limit_slowly() -> None:
    pace = struck()
    fallen = pace.rate
    assert fallen < 0.8 * 20
    accept(pace, 5.0, 1.0, 15)
    assert fallen < pace.rate < 1.05 * fallen


def test_before_a_second_has_passed_a_strike_does_not_end_the_search_for_others_may_have_had_a_part() -> None:
    pace = Pace()
    accept(pace, 0.0, 0.1, 2)
    pace.strike(0.2, until=1.0)
    assert pace.rate < 2
    begin = 1.0
    while pace.rate < 20 and begin < 20:
        accept(pace, begin, 1.0, round(pace.rate))
        begin += 1
    assert 20 <= pace.rate < 40, "more than was accepted, by little"
    assert begin < 10


def test_the_second_strike_stays_just_below_what_was_accepted_and_holds_it() -> None:
    pace = struck()
    for second in range(5, 25):
        accept(pace, float(second), 1.0, 20)
    pace.strike(25.0, until=26.0)
    held = pace.rate
    assert 0.85 * 20 <= held < 20
    accept(pace, 26.0, 100.0, 1700)
    assert pace.rate == held
    accept(pace, 300.0, 10.0, 170)
    assert held < pace.rate < 1.5 * held


def test_each_further_strike_holds_for_longer() -> None:
    pace, held = struck(), []
    for begin in (10.0, 20.0, 30.0):
        accept(pace, begin, 1.0, 20)
        pace.strike(begin + 1, until=begin + 2)
        held.append(pace.held_until - begin)
    assert held[0] < held[1] < held[2]


@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_a_refused_probe_after_a_pause_teaches_no_lower_rate(pause: float) -> None:
    pace = struck()
    rate = pace.rate
    pace.strike(5.0, until=5.0 + pause)
    assert pace.rate == rate


def windowed() -> Pace:
    """A pace that was told twice to wait for long: 50 in a window of 60 s that began at 100 s."""
    pace = Pace(10.0)
    accept(pace, 0.0, 3.0, 30)
    pace.strike(3.1, until=40.0)  # it had begun in the middle of a window
    accept(pace, 40.0, 5.0, 50)
    pace.strike(45.0, until=100.0)
    return pace


def test_beyond_what_a_hidden_window_surely_grants_few_go_at_a_time() -> None:
    pace = Pace(10.0)
    accept(pace, 0.0, 3.0, 30)
    pace.strike(3.1, until=40.0)
    accept(pace, 40.0, 1.0, 29)
    assert pace.ready_at(BEYOND - 1) < NEVER
    assert pace.ready_at(BEYOND) == NEVER


def test_two_long_pauses_tell_a_hidden_window_and_its_quota() -> None:
    pace = windowed()
    assert (pace.window.quota, pace.window.period) == (50, 60.0)
    accept(pace, 100.0, 5.0, 50)
    assert pace.ready_at(0) == 160.0  # used up: the next window, without a refusal
    pace.accept(160.1, 0)
    assert pace.ready_at(5) < 161.0


def test_a_used_up_window_says_nothing_of_the_rate() -> None:
    pace = Pace(10.0)
    accept(pace, 0.0, 3.0, 30)
    rate = pace.rate
    pace.strike(3.1, until=40.0)
    assert pace.rate == rate


def test_a_window_that_was_not_over_yet_is_longer_and_its_short_pause_lowers_no_rate() -> None:
    pace = windowed()
    accept(pace, 100.0, 5.0, 50)
    rate = pace.rate
    pace.strike(160.1, until=161.1)
    assert pace.rate == rate
    assert pace.window.quota == 50
    assert pace.window.period == pytest.approx(61.1)
    accept(pace, 161.2, 5.0, 50)
    assert pace.ready_at(0) == pytest.approx(161.1 + 61.1)


def test_a_window_that_became_smaller_is_believed() -> None:
    pace = windowed()
    accept(pace, 100.0, 2.0, 20)
    pace.strike(102.1, until=160.0)
    assert (pace.window.quota, pace.window.period) == (20, 60.0)


def test_a_refusal_before_anything_was_accepted_tells_nothing_of_a_window() -> None:
    pace = Pace(10.0)
    accept(pace, 0.0, 3.0, 30)
    for begin in (3.1, 10.0, 17.0):  # whoever refuses everything for a while asks for a pause each time
        pace.strike(begin, until=begin + 5)
    accept(pace, 24.0, 1.0, 29)
    assert pace.window.period == 0
    assert pace.ready_at(0) < 30.0


def test_now_and_then_a_window_is_asked_for_more_and_the_less_often_the_oftener_it_refuses() -> None:
    pace, begin, trials = windowed(), 100.0, []
    for window in range(20):
        accept(pace, begin, 5.0, 50)
        if pace.ready_at(0) < begin + 59:
            trials.append(window)
            pace.strike(begin + 6.0, until=begin + 60)
        begin += 60
    assert trials == [1, 3, 7, 15]


def test_a_window_of_which_others_used_a_part_is_used_whole_again() -> None:
    pace = windowed()
    accept(pace, 100.0, 1.0, 3)
    pace.strike(101.1, until=160.0)
    accept(pace, 160.0, 1.0, 3)
    assert pace.ready_at(0) < 162.0
    accept(pace, 161.5, 10.0, 47)
    pace.strike(172.0, until=220.0)
    assert (pace.window.quota, pace.window.period) == (50, 60.0)


def test_a_lull_is_not_saved_up_into_a_burst() -> None:
    pace = Pace(10.0)
    left = 0
    while pace.ready_at(0) <= 60.0:
        pace.spend(60.0)
        left += 1
    assert left <= 2
