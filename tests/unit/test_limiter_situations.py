"""Where headers suffice nothing is refused or lost; where none are shown, little is refused. In virtual time."""

from bisect import bisect_left
from collections import Counter
from functools import partial
from random import Random
from typing import Any

import pytest
from attrs import evolve

from aiocircle.ratelimit.pace import RISK
from benchmarks.limits import optimum
from benchmarks.limits.clients import AioCircle
from benchmarks.limits.dialects import Render, draft6, epoch, hidden, kong, refusals_only
from benchmarks.limits.measure import measure
from benchmarks.limits.policies import Server, silent_after
from benchmarks.limits.situations import (
    ROUTE,
    WORKERS,
    Counters,
    Situation,
    fixed,
    once,
    one,
    sliding_counter,
    sliding_log,
    token_bucket,
)
from benchmarks.limits.situations import situation as situation_of
from benchmarks.limits.table import SITUATIONS
from benchmarks.limits.trial import hold

USABLE = [situation for situation in SITUATIONS if "usable" in situation.tags]
NEAREST = [situation for situation in SITUATIONS if "nearest shown" in situation.name]


def shortened(situation: Situation, most: int = 400) -> Situation:
    share = min(1.0, most / situation.requests)
    loads = tuple(evolve(load, requests=max(1, round(load.requests * share))) for load in situation.loads)
    return evolve(situation, loads=loads)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("situation", USABLE, ids=[situation.name for situation in USABLE])
def test_nothing_is_refused_where_headers_suffice(situation: Situation, seed: int) -> None:
    figures = measure(hold(shortened(situation), seed, AioCircle))
    assert (figures.refusals, figures.lost, figures.stalled) == (0, 0, "")
    assert figures.first <= 2


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("render", [hidden, refusals_only(kong), refusals_only(draft6)], ids=["", "told", "draft6"])
@pytest.mark.parametrize(
    ("counters", "rate", "requests"),
    [
        (fixed((10, 1.0)), 10, 400),
        (fixed((40, 1.0)), 40, 1600),
        (fixed((100, 1.0)), 100, 4000),
        (sliding_log(40, 1.0), 40, 1600),
        (fixed((600, 60.0)), 10, 2400),
    ],
    ids=["10/s", "40/s", "100/s", "40/s, sliding", "600/min"],
)
def test_a_limit_that_nobody_shows_costs_few_refusals_and_is_used_then(
    counters: Counters, rate: float, requests: int, render: Render, seed: int
) -> None:
    situation = situation_of("hidden", "hidden", one(counters, render), requests, 1, rtt=0.05)
    trial = hold(situation, seed, AioCircle)
    assert sum(attempt.status == 429 for attempt in trial.tries) <= 2 * RISK
    accepted = sorted(attempt.arrived for attempt in trial.tries if attempt.status == 200)
    later = accepted[requests // 2 :]
    assert len(accepted) == requests
    assert len(later) / (later[-1] - later[0]) >= 0.8 * rate


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("limit", "window", "requests"), [(50, 1.0, 1500), (1000, 60.0, 3500)])
def test_a_host_that_stops_showing_its_limits_is_asked_no_more_slowly_than_one_that_never_did(
    limit: int, window: float, requests: int, seed: int
) -> None:
    build = one(fixed((limit, window)), tamper=silent_after(100))
    figures = measure(hold(situation_of("silent", "", build, requests, window, rtt=0.15), seed, AioCircle))
    assert figures.speed >= 0.7
    assert figures.refusals <= 4 * RISK


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("taken", [10, 15, 19])
def test_what_others_had_of_the_first_window_is_not_taken_for_the_limit(taken: int, seed: int) -> None:
    build = one(fixed((20, 1.0)), hidden, foreign=once(taken, 1.0, 0))
    figures = measure(hold(situation_of("hidden", "hidden", build, 590, 1), seed, AioCircle))
    assert figures.speed >= 0.65
    assert figures.refusals <= RISK


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("render", [hidden, refusals_only(kong)], ids=["", "told"])
@pytest.mark.parametrize("rate", [5, 20, 100])
def test_a_host_of_files_that_shows_no_limit_before_it_is_met_loses_none(rate: int, render: Render, seed: int) -> None:
    situation = situation_of("files", "hidden", one(fixed((rate, 1.0)), render), 40 * rate, 1, rtt=0.1)
    figures = measure(hold(situation, seed, partial(AioCircle, metered=False)))
    assert (figures.lost, figures.stalled) == (0, "")
    assert figures.refusals <= 2 * WORKERS
    assert figures.speed >= 0.5


@pytest.mark.parametrize("situation", NEAREST, ids=[situation.name for situation in NEAREST])
def test_policies_that_are_not_nearest_exhaustion_slow_nothing_down(situation: Situation) -> None:
    assert measure(hold(situation, 0, AioCircle)).speed >= 0.95


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("window", [1.0, 2.0])
def test_windows_of_untold_length_that_begin_by_a_clock_cost_one_refusal(window: float, seed: int) -> None:
    situation = situation_of("clock", "", one(fixed((20, window)), epoch), 600, window)
    figures = measure(hold(situation, seed, AioCircle))
    assert figures.refusals <= 1
    assert figures.speed >= 0.9


# The judge itself.


def accepted(server: Server, seconds: float, per_second: int) -> list[float]:
    moments = [1000.0 + n / per_second for n in range(round(seconds * per_second))]
    return [moment for moment in moments if server.judge(moment, ROUTE).accepted]


def most_within(times: list[float], window: float) -> int:
    return max(bisect_left(times, time + window - 1e-9) - index for index, time in enumerate(times))


def served(counters: Counters, **more: Any) -> Server:
    return one(counters, **more)(1000.0, Random(0))


def test_an_aligned_window_takes_its_limit_and_no_more() -> None:
    times = accepted(served(fixed((20, 1.0))), 10, 100)
    assert Counter(int(time) for time in times) == dict.fromkeys(range(1000, 1010), 20)


def test_a_window_that_is_opened_by_a_request_begins_with_it() -> None:
    server = served(fixed((2, 10.0), aligned=False))
    moments = (1003.0, 1004.0, 1012.9, 1013.1)
    assert [server.judge(moment, ROUTE).accepted for moment in moments] == [True, True, False, True]


def test_no_span_of_a_sliding_log_holds_more_than_the_limit() -> None:
    assert most_within(accepted(served(sliding_log(20, 1.0)), 10, 97), 1.0) == 20


def test_a_sliding_counter_weighs_the_window_before() -> None:
    server = served(sliding_counter(10, 10.0))
    assert [server.judge(1009.0, ROUTE).accepted for _ in range(11)] == [True] * 10 + [False]
    assert [server.judge(1015.0, ROUTE).accepted for _ in range(6)] == [True] * 5 + [False]


def test_where_refusals_count_a_storm_keeps_the_window_shut() -> None:
    assert len(accepted(served(sliding_counter(10, 10.0), penalised=True), 60, 10)) < 15
    assert len(accepted(served(sliding_counter(10, 10.0)), 60, 10)) > 50


def test_a_token_bucket_gives_its_capacity_and_then_its_rate() -> None:
    assert len(accepted(served(token_bucket(20, 10.0)), 10, 200)) == 20 + 99


@pytest.mark.parametrize("situation", SITUATIONS, ids=[situation.name for situation in SITUATIONS])
def test_nobody_is_faster_than_the_optimum(situation: Situation) -> None:
    small = shortened(situation, 100)
    answers = optimum.answers(small, 0)
    assert len(answers) == small.requests
    assert answers[-1] <= measure(hold(small, 0, AioCircle)).seconds + 2 * small.mean_rtt


@pytest.mark.parametrize(
    "counters", [fixed((20, 1.0)), fixed((20, 1.0), aligned=False), sliding_log(20, 1.0), token_bucket(20, 10.0)]
)
def test_a_moment_before_an_opening_nothing_is_accepted(counters: Counters) -> None:
    moment = 1000.3
    for _ in range(100):
        server, replay = served(counters), served(counters)
        assert server.judge(moment, ROUTE).accepted
        assert replay.judge(moment, ROUTE).accepted
        while server.opening(moment, ROUTE) == moment:
            assert server.judge(moment, ROUTE).accepted == replay.judge(moment, ROUTE).accepted
        opening = server.opening(moment, ROUTE)
        assert not replay.judge(opening - 1e-4, ROUTE).accepted
        assert server.judge(opening, ROUTE).accepted
        moment = opening
