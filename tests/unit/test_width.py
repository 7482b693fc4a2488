"""One file gets further connections while all large files together come noticeably faster by them, and no longer."""

from collections.abc import Callable
from typing import Any

import pytest

from aiocircle.download.reserve import Reserve
from aiocircle.download.width import MOST, REST, Sight, Width

MB = 1_000_000
TICK = 0.05
ENDLESS = 1000 * 1000 * MB

Rate = Callable[[int], float]


def each(rate: float) -> Rate:
    """What a host grants to each connection."""
    return lambda connections: rate * connections


def together(rate: float) -> Rate:
    """What a link carries, by however many connections."""
    return lambda _connections: rate


class Course:
    """Large files that come at a rate which depends on their connections; ``delay`` is what a connection begins in."""

    def __init__(self, rate: Rate, files: int = 1, delay: float = 0.1, **seen: Any) -> None:
        self.width = Width()
        self.rate, self.files, self.delay = rate, files, delay
        self.seen = {"left": ENDLESS, "most": MOST, "busy": False, **seen}
        self.now = self.received = 0.0
        self.flowing = files
        self.wanted_since = -60.0  # the first connection has long been there
        self.sizes = [1]

    def run(self, seconds: float) -> "Course":
        end = self.now + seconds
        while self.now < end:
            self.now += TICK
            self.received += self.rate(self.flowing) * TICK
            if self.now - self.wanted_since >= self.delay:
                self.flowing = self.files * self.width.size
            sight: dict[str, Any] = {"files": self.files, "flowing": self.flowing, **self.seen}
            if self.width.look(Sight(now=self.now, received=int(self.received), **sight)):
                self.sizes.append(self.width.size)
                self.wanted_since = self.now
        return self


def test_a_limit_of_each_connection_is_met_by_more_of_them_up_to_a_bound() -> None:
    course = Course(each(20 * MB)).run(10)
    assert course.sizes == [1, 2, 8]
    assert course.width.rate == pytest.approx(160 * MB)
    assert course.width.each == pytest.approx(20 * MB)


def test_a_link_that_is_full_is_found_out_by_one_step_which_is_taken_back() -> None:
    course = Course(together(100 * MB)).run(REST / 2)
    assert course.sizes == [1, 2, 1]


def test_growth_ends_where_the_sum_does_and_what_helped_is_kept() -> None:
    course = Course(lambda connections: min(20 * MB * connections, 45 * MB)).run(REST / 2)
    assert course.sizes == [1, 2, 8, 2]
    course = Course(lambda connections: min(20 * MB * connections, 30 * MB)).run(REST / 2)
    assert course.sizes == [1, 2, 4, 2]


def test_a_step_in_vain_is_tried_again_after_a_rest_only() -> None:
    course = Course(together(100 * MB)).run(REST - 1)
    assert course.sizes == [1, 2, 1]
    course.rate = each(100 * MB)
    assert course.run(REST).width.size == MOST


def test_the_rest_is_longer_after_each_step_in_vain() -> None:
    course = Course(together(100 * MB)).run(6.5 * REST)
    assert course.sizes == [1, 2, 1, 2, 1, 2, 1], "after one rest, and after two"


@pytest.mark.parametrize("seen", [{"busy": True}, {"left": 155 * MB}, {"most": 1}, {"files": 0}])
def test_nothing_is_tried_where_it_cannot_help(seen: dict[str, Any]) -> None:
    assert Course(each(20 * MB), **seen).run(20).sizes == [1]


def test_it_is_the_sum_that_counts_and_not_who_has_more_of_it() -> None:
    assert Course(together(80 * MB), files=4).run(REST / 2).sizes == [1, 2, 1]
    assert Course(each(20 * MB), files=4).run(REST / 2).sizes == [1, 2, 8]


def test_connections_that_take_long_to_begin_are_not_judged_before_they_had_as_long_to_come_up_to_speed() -> None:
    course = Course(each(20 * MB), delay=2.0)

    def slow_starters(connections: int) -> float:
        risen = min(1.0, max(0.0, course.now - course.wanted_since - course.delay) / 4)
        return 20 * MB * (connections / 2 + connections / 2 * risen)

    course.rate = slow_starters
    assert course.run(REST * 0.8).width.size == MOST


def test_a_step_during_which_a_file_came_or_went_is_not_judged_by_the_rate_before() -> None:
    course = Course(each(20 * MB), files=2).run(1)
    assert course.sizes == [1, 2]
    course.files = course.flowing = 1
    course.flowing = 2
    assert course.run(10).sizes == [1, 2, 4, 8], "half the rate is what one file of two brings, and no failure"


def test_few_bytes_are_no_rate() -> None:
    """Connections are told of by up to a MiB at a time: of a few MiB nobody can tell whether it became faster."""
    assert Course(each(MB)).run(4).sizes == [1]
    assert Course(each(MB)).run(60).width.size == MOST


def test_the_first_connection_keeps_as_much_as_a_step_is_judged_within() -> None:
    reserve = Reserve(lambda: 8, lambda: 0.0, lambda: 0.0)
    reserve.width.each = 10 * MB
    assert reserve.head(ENDLESS) == 30 * MB
    assert reserve.head(40 * MB) == 20 * MB, "half of it, so that something is left to the others"
