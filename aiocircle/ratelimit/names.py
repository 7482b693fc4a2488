"""The names of rate headers, in any case and with any window's suffix."""

import re
from functools import lru_cache

from aiocircle.ratelimit.fields import read_window

_DAY = 86400.0
_WINDOWS = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": _DAY,
    "week": 7 * _DAY,
    "month": 30 * _DAY,  # as Kong has it
    "year": 365 * _DAY,
}


Field = tuple[str, str, float | None]  # what it tells, the system, the window its suffix names

DATE: Field = ("date", "", None)
AGE: Field = ("age", "", None)
RETRY_AFTER: Field = ("retry-after", "", None)
POLICY: Field = ("policy", "", None)
RATELIMIT: Field = ("ratelimit", "", None)
STD: dict[str, Field] = {part: (part, "std", None) for part in ("limit", "remaining", "reset")}
_FIELDS = {
    "date": DATE,
    "age": AGE,
    "retry-after": RETRY_AFTER,
    "ratelimit-policy": POLICY,
    "ratelimit": RATELIMIT,
    **{f"ratelimit-{part}": field for part, field in STD.items()},
}
_X_NAME = re.compile(r"x-rate-?limit-(limit|remaining|reset)(?:-([a-z]+|[0-9]+))?")


@lru_cache(maxsize=256)  # a server sends the same few names with every answer
def field_of(name: str) -> Field | None:
    """Return what a header tells of the rate, if anything."""
    name = name.lower()
    match = _X_NAME.fullmatch(name)
    if match is None:
        return _FIELDS.get(name)
    part, suffix = match.groups()
    if suffix is None:
        return part, "x", None
    window = _WINDOWS.get(suffix) or read_window(suffix)
    return (part, "x", window) if window else None
