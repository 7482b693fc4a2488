"""Python values as they go on the wire: the query of an address, and JSON bodies.

Times are sent in UTC as RFC 3339 has it, and must be aware: a naive one would mean another moment on another machine.
Models are sent with the keys that the document spells, without what is ``None`` or was left at its default.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import attrs

from aiocircle.codec import Model
from aiocircle.errors import ConfigurationError
from aiocircle.slugs import ProjectSlug
from aiocircle.unset import UNSET

_TEXTS = (str, bytes, bytearray, memoryview)  # whose parts are nothing to send


def query_text(query: Mapping[str, Any]) -> str:
    """Return a query with its question mark, or nothing. ``None`` is left out; an array repeats its key."""
    pairs = [(key, _text(item)) for key, value in query.items() for item in _items(value)]
    # A page token may hold whatever JSON can, half a surrogate pair included.
    return f"?{urlencode(pairs, quote_via=quote, errors='surrogatepass')}" if pairs else ""


def json_value(value: Any) -> Any:
    """Return what ``json.dumps`` takes for a value, models, times and UUIDs in it included.

    Raises:
        ConfigurationError: A time has no zone, a number is not finite, or a value is nothing that can be sent.
    """
    match value:
        case Model():
            return _json_object(value)
        case Mapping():
            return {key: json_value(item) for key, item in value.items() if item is not UNSET}
        case float() if not isfinite(value):
            raise ConfigurationError(f"{value} cannot be sent to the API, since JSON has no such number")
        case None | bool() | int() | float():
            return value
        case Sequence() if not isinstance(value, _TEXTS):
            return [json_value(item) for item in value]
        case _:
            return _text(value)


def timestamp(moment: datetime) -> str:
    """Return a moment as RFC 3339 spells it, in UTC.

    Raises:
        ConfigurationError: It has no zone.
    """
    if moment.tzinfo is None:
        raise ConfigurationError(
            f"the time {moment.isoformat()} has no zone", hint="make it aware: datetime(..., tzinfo=UTC)"
        )
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _json_object(model: Model) -> dict[str, Any]:
    spelled = model.wire_names
    known = {
        spelled.get(item.name, item.name): json_value(value)
        for item in attrs.fields(type(model))
        if item.name != "extra" and not _is_left_out(value := getattr(model, item.name), item)
    }
    return {**model.extra, **known}


def _is_left_out(value: Any, item: "attrs.Attribute[Any]") -> bool:
    return value is None or (item.default is not attrs.NOTHING and value is item.default) or value == {}


def _items(value: Any) -> Iterable[Any]:
    if value is None or value is UNSET:
        return ()
    return value if isinstance(value, Sequence) and not isinstance(value, _TEXTS) else (value,)


def _text(value: Any) -> str:
    match value:
        case str():
            return str.__str__(value)  # a member of an enumeration would give its name
        case bool():
            return "true" if value else "false"
        case datetime():
            return timestamp(value)
        case int() | float() | UUID() | ProjectSlug():
            return str(value)
    raise ConfigurationError(f"a value of type {type(value).__name__} cannot be sent to the API")
