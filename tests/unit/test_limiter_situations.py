"""Where headers suffice: no refusal, no burst before the first answer, nothing lost. In virtual time."""

import pytest
from attrs import evolve

from benchmarks.limits.clients import AioCircle
from benchmarks.limits.measure import measure
from benchmarks.limits.situations import Situation
from benchmarks.limits.table import SITUATIONS
from benchmarks.limits.trial import hold

USABLE = [situation for situation in SITUATIONS if "usable" in situation.tags]


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
