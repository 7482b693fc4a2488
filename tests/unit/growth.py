"""Whether work grows with its input as it should: a ratio, since seconds say nothing on a busy machine."""

from collections.abc import Callable
from time import process_time

NOISE = 0.05  # seconds of a processor below which nothing is worth a judgement


def is_linear(work: Callable[[int], object], size: int) -> bool:
    """Tell whether four times the size takes less than ten times as long: linear work takes four, quadratic sixteen."""
    large = _least(work, 4 * size)
    return large < NOISE or large < 10 * _least(work, size)


def _least(work: Callable[[int], object], size: int) -> float:
    def once() -> float:
        began = process_time()
        work(size)
        return process_time() - began

    return min(once() for _ in range(3))
