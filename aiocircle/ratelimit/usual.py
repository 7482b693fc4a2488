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
    """Where limits and remainders stand, by windows, and behind them the triple, if there is one; nothing else does."""

    windows: tuple[float, ...]
    places: tuple[int, ...]


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
    pairs = [places.get((part, "x", window)) for window in windows for part in ("limit", "remaining")]
    triple = [places[STD[part]] for part in ("limit", "remaining", "reset") if STD[part] in places]
    whole = [place for place in pairs if place is not None]
    if not whole or len(whole) < len(pairs) or len(triple) not in {0, 3}:
        return None
    return _Layout(tuple(windows), (*whole, *triple))


def read_usual(fields: Sequence[tuple[str, str]]) -> RateFacts | None:
    """Read an accepted answer as nearly all are: whole numbers, each field once. Anything else is ``None``."""
    layout = _layout(tuple([name for name, _ in fields]))
    if layout is None:
        return None
    return _read(layout.windows, tuple([fields[place][1] for place in layout.places]))


@lru_cache(maxsize=2048)  # of a window of seconds the same few figures recur
def _read(windows: tuple[float, ...], texts: tuple[str, ...]) -> RateFacts | None:
    numbers = [int(text) for text in texts if len(text) < MOMENT and text.isascii() and text.isdecimal()]
    if len(numbers) < len(texts):
        return None
    pairs = [(numbers[2 * at], min(numbers[2 * at], numbers[2 * at + 1])) for at in range(len(windows))]
    twin, reset = -1, None
    if triple := numbers[2 * len(windows) :]:  # it repeats a pair, of equal ones the longest, and tells its reset
        repeated = triple[0], min(triple[0], triple[1])
        if repeated not in pairs:
            return None
        twin, reset = max(at for at, pair in enumerate(pairs) if pair == repeated), float(triple[2])
    return RateFacts(
        tuple(
            [
                QuotaFact("x", limit, left, windows[at], reset if at == twin else None)
                for at, (limit, left) in enumerate(pairs)
            ]
        )
    )
