"""The headers of nearly every answer, read at a fraction of the cost: whole numbers, each field once.

What is not so plain is left to ``headers``, which reads everything.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from aiocircle.ratelimit.facts import QuotaFact, RateFacts
from aiocircle.ratelimit.names import DATE, STD, Field, field_of

MOMENT = 9  # digits; from there on a number may be seconds since the epoch


class _Layout(NamedTuple):
    """Where the fields of an answer stand that carries each of the triple and the pairs once, and nothing else."""

    std: tuple[int, int, int] | None
    pairs: tuple[tuple[float, int, int], ...]


@lru_cache(maxsize=256)  # a server sends the same few names with every answer
def _layout(names: tuple[str, ...]) -> _Layout | None:
    places: dict[Field, int] = {}
    for place, name in enumerate(names):
        field = field_of(name)
        if field is None or field == DATE:
            continue
        if field in places or not field[1] or (field[1] == "x" and (field[2] is None or field[0] == "reset")):
            return None
        places[field] = place
    windows = sorted({window for _, system, window in places if system == "x" and window})
    pairs = [(window, places.get(("limit", "x", window)), places.get(("remaining", "x", window))) for window in windows]
    whole = [(window, limit, left) for window, limit, left in pairs if limit is not None and left is not None]
    triple = [places[STD[part]] for part in ("limit", "remaining", "reset") if STD[part] in places]
    if not whole or len(whole) < len(pairs) or len(triple) not in {0, 3}:
        return None
    return _Layout((triple[0], triple[1], triple[2]) if triple else None, tuple(whole))


def read_usual(fields: Sequence[tuple[str, str]]) -> RateFacts | None:
    """Read an accepted answer as nearly all are: whole numbers, each field once. Anything else is ``None``."""
    layout = _layout(tuple([name for name, _ in fields]))
    if layout is None:
        return None
    figures = []
    for window, at_limit, at_left in layout.pairs:
        limit, left = _number(fields[at_limit][1]), _number(fields[at_left][1])
        if limit is None or left is None:
            return None
        figures.append((limit, min(left, limit), window))
    twin, reset = _twin(layout, fields, figures)
    if twin is None:
        return None
    return RateFacts(
        tuple(
            [
                QuotaFact("x", limit, left, window, reset if place == twin else None)
                for place, (limit, left, window) in enumerate(figures)
            ]
        )
    )


def _twin(
    layout: _Layout, fields: Sequence[tuple[str, str]], figures: Sequence[tuple[int, int, float]]
) -> tuple[int | None, float | None]:
    """Return which pair the triple repeats, of equals the longest, and its reset; ``None`` where it repeats none."""
    if layout.std is None:
        return -1, None
    limit, left, reset = [_number(fields[place][1]) for place in layout.std]
    if limit is None or left is None or reset is None:
        return None, None
    for place in range(len(figures) - 1, -1, -1):
        if figures[place][0] == limit and figures[place][1] == min(left, limit):
            return place, float(reset)
    return None, None


def _number(text: str) -> int | None:
    return int(text) if len(text) < MOMENT and text.isascii() and text.isdecimal() else None
