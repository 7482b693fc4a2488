"""Values as texts that every reader takes. Pure.

What comes from the API may be what JSON allows and its readers do not. A half of a surrogate pair, which no encoding
has, becomes U+FFFD; two halves that belong together become their character. Numbers that are none (``NaN``, and
``1e999``, which Python reads as infinite) become ``null`` wherever JSON is written.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from aiocircle.export.tables import Column, as_json, in_utc, text_of

Change = Callable[[Sequence[Any]], list[Any]]
"""Changes the values of a column, one by one."""


def utf8(text: str) -> bytes:
    """Return a text's bytes."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return paired(text).encode()


def paired(text: str) -> str:
    """Return a text without halves of surrogate pairs."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def time_text(moment: datetime) -> str:
    """Return a moment as ISO 8601 text in UTC with ``Z``; one without a time zone is taken as UTC."""
    return text_of(in_utc(moment))


def json_text(value: Any) -> str:
    """Return a value as JSON, in one line and without spaces."""
    if not value and isinstance(value, (dict, list, tuple)):
        return "{}" if isinstance(value, dict) else "[]"
    try:
        return _encode(value)
    except ValueError:
        return _encode(_finite(value))


def is_finite(value: float) -> bool:
    """Tell whether a number is one."""
    return value - value == 0


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    if isinstance(value, datetime):
        return time_text(value)
    raise TypeError(f"JSON has no {type(value).__name__}")


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if is_finite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value


# --- columns ----------------------------------------------------------------------------------------------------------


def each(change: Callable[[Any], Any], none: str | None) -> Change:
    """Return what changes a column's values, and gives ``none`` for such as are not there."""
    return lambda values: [none if value is None else change(value) for value in values]


def times(change: Callable[[datetime], str], none: str | None) -> Change:
    """Return the same for moments, of which many rows have one: that of their pipeline."""

    def texts(values: Sequence[Any]) -> list[str | None]:
        known: dict[datetime | None, str | None] = {None: none}
        for value in values:
            if value not in known:
                known[value] = change(value)
        return [known[value] for value in values]

    return texts


def nested(column: Column, none: str | None) -> Change:
    """Return the same for a column of lists or mappings, which become JSON."""
    change = as_json(column)
    return each(json_text if change is None else lambda value: json_text(change(value)), none)
