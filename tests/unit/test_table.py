"""A table of numbers is a dict of numbers in less memory."""

import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from aiocircle.download.table import NumberTable

KEYS = st.integers(0, 2**63 - 1) | st.integers(0, 40) | st.integers(0, 40).map(lambda key: key << 12)


@given(st.lists(st.tuples(KEYS, st.integers(-(2**63), 2**63 - 1)), max_size=400))
def test_it_holds_what_a_dict_holds(pairs: list[tuple[int, int]]) -> None:
    table, model = NumberTable(), dict(pairs)
    for key, value in pairs:
        table[key] = value
    assert len(table) == len(model)
    for key in (*model, 7, 8 << 12, 2**62):
        assert table.get(key) == model.get(key)
        assert table.get(key, -5) == model.get(key, -5)


def test_fifty_thousand_numbers_take_less_than_50_bytes_each() -> None:
    draw = random.Random(1)
    tracemalloc.start()
    try:
        table = NumberTable()
        for _ in range(50_000):
            table[draw.getrandbits(60)] = draw.getrandbits(60)
        used, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000 * 50
    assert used > 50_000 * 16
