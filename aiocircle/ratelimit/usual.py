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
    xs = []
    for window, at_limit, at_remaining in layout.pairs:
        limit, remaining = _number(fields[at_limit][1]), _number(fields[at_remaining][1])
        if limit is None or remaining is None:
            return None
        xs.append(QuotaFact("x", limit, min(remaining, limit), window))
    if layout.std is None:
        return RateFacts(tuple(xs))
    limit, remaining, reset = [_number(fields[place][1]) for place in layout.std]
    if limit is None or remaining is None or reset is None:
        return None
    for place in range(len(xs) - 1, -1, -1):  # the triple repeats the longest of equal pairs
        twin = xs[place]
        if twin.limit == limit and twin.remaining == min(remaining, limit):
            xs[place] = QuotaFact("x", limit, twin.remaining, twin.window, float(reset))
            return RateFacts(tuple(xs))
    return None


@lru_cache(maxsize=4096)
def _number(text: str) -> int | None:
    return int(text) if len(text) < MOMENT and text.isascii() and text.isdecimal() else None
