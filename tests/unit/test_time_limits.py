"""Which time limits a client takes."""

import math

import pytest

from aiocircle import Timeouts


@pytest.mark.parametrize("field", ["connect", "stall", "min_rate", "total"])
@pytest.mark.parametrize("value", [math.inf, math.nan, -1.0])
def test_a_time_limit_that_none_can_keep_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Timeouts(**{field: value})
