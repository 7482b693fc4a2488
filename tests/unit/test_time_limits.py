"""Which time limits a client takes."""

import math

import pytest

from aiocircle import Timeouts


@pytest.mark.xfail(
    strict=True,
    reason="aiohttp makes an OverflowError of it at the first request: aiocircle.transport.Timeouts takes it",
)
def test_a_time_limit_without_an_end_is_refused_where_none_can_be_kept() -> None:
    with pytest.raises(ValueError, match="connect"):
        Timeouts(connect=math.inf)
