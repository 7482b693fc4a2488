"""JSON to attrs classes, forgivingly.

The wire is not what the document says (quirks, section 3), so:

* a key may come with hyphens or underscores; a key that no field takes is kept in ``extra``;
* every field but a few has a default, for required fields may be absent or null in practice;
* enumerations stay open: they are strings with documented values, never closed types;
* a number may come as a string and is read where the field is a number; nothing else is converted, so a value of a
  wrong shape is a ``DecodeError`` that names its path instead of a surprise later.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar, get_args
from uuid import UUID

import attrs
from cattrs import Converter, transform_error
from cattrs.cols import is_mapping, is_sequence, list_structure_factory
from cattrs.errors import ClassValidationError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, override

from aiocircle.errors import DecodeError

T = TypeVar("T")

LONGEST_QUOTED = 24  # characters
LARGEST_INTEGER = 2**63 - 1  # of what databases can hold; no number of CircleCI's comes near it


@attrs.frozen(kw_only=True)
class Model:
    """The base of everything decoded from the API. ``extra`` keeps the keys that no field takes.

    ``wire_names`` are the keys to send where they are not the fields' names.
    """

    wire_names: ClassVar[Mapping[str, str]] = {}

    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)


def parse_json(text: bytes, *, what: str, hide: Callable[[str], str] = str) -> Any:
    """Return the JSON value of a body.

    Args:
        text: The body.
        what: What was asked for, for the error's message.
        hide: Takes secrets out of what the message quotes.

    Raises:
        DecodeError: It is not JSON; says what it looks like instead.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass  # what is raised here must not have the decoder's error, and with it the whole body, as its context
    start = hide(text[:4096].decode("utf-8-sig", "replace")).lstrip()
    looks_like = "an HTML page" if start.startswith("<") else repr(start[:60])
    raise DecodeError(
        f"{what}: the answer is not JSON but {looks_like}",
        hint="is the host an API of CircleCI, and is no proxy or login page in between?",
    )


def decode(cls: type[T], value: Any, *, what: str) -> T:
    """Return ``value``, as ``json.loads`` gave it, as an instance of a model class or of a list of one.

    Raises:
        DecodeError: Some part does not fit; ``problems`` names every path that does not.
    """
    try:
        return _quick.structure(value, cls)
    except (KeyError, TypeError, ValueError):
        pass  # decoded once more, more slowly, to name every path
    try:
        return _thorough.structure(value, cls)
    except (ClassValidationError, IterableValidationError, TypeError, ValueError) as error:
        problems = tuple(transform_error(error, path="$", format_exception=_in_words))
    raise DecodeError(
        f"{what}: the answer has an unexpected shape ({problems[0]})",
        problems=problems,
        hint="the host may be no API of CircleCI; if it is, this is worth a report",
    )


def _in_words(error: BaseException, _type: type | None) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)


def _expect(kind: type, name: str) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _type: Any) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"{name} expected, not {_shown(value)}")
        return value

    return structure


def _number(convert: type[int] | type[float], name: str) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _type: Any) -> Any:
        cut = isinstance(value, float) and convert is int and not value.is_integer()
        if isinstance(value, bool) or not isinstance(value, int | float | str) or cut:
            raise TypeError(f"{name} expected, not {_shown(value)}")
        try:
            number = convert(value)
        except (ValueError, OverflowError):
            raise TypeError(f"{name} expected, not {_shown(value)}") from None
        if convert is int and abs(number) > LARGEST_INTEGER:
            raise TypeError(f"{name} of 64 bits expected, not {_shown(value)}")
        return number

    return structure


def _datetime(value: Any, _type: Any) -> datetime:
    """Times come with and without fractions, always in UTC; a missing zone therefore means UTC."""
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        moment.astimezone(UTC)  # which has no date for some at the ends of the calendar
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"a time expected, not {_shown(value)}") from None
    return moment


def _uuid(value: Any, _type: Any) -> UUID:
    try:
        return UUID(value)
    except (TypeError, ValueError, AttributeError):
        raise TypeError(f"a UUID expected, not {_shown(value)}") from None


def _shown(value: Any) -> str:
    """Name a value by its kind. Quoted is only what is too short to be a token or a signed address."""
    if isinstance(value, list | dict):
        return "an array" if isinstance(value, list) else "an object"
    text = json.dumps(value)
    return text if len(text) <= LONGEST_QUOTED else f"a value of {len(text)} characters"


def _list_hook(cls: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    """Put before cattrs' own function a check: it would take a text or an object for a list of its letters or keys."""
    structure_list = list_structure_factory(cls, converter)

    def structure(value: Any, _type: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError(f"an array expected, not {_shown(value)}")
        return structure_list(value, cls)

    return structure


def _model_hook(cls: type[Model], converter: Converter) -> Callable[[Any, Any], Any]:
    """Put before cattrs' own function what makes it forgiving: both spellings, kept unknowns, null as absent."""
    structure_exactly = make_dict_structure_fn(cls, converter, extra=override(struct_hook=lambda value, _: value))
    names = {item.name for item in attrs.fields(cls)} - {"extra"}
    name_of = {name.replace("_", "-"): name for name in names} | {name: name for name in names}

    def structure(value: Any, _type: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"an object expected, not {_shown(value)}")
        given: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, item in value.items():
            name = name_of.get(key)
            if name is None:
                extra[key] = item
            elif item is not None:
                given[name] = item
        if extra:
            given["extra"] = extra
        return structure_exactly(given, cls)

    return structure


def _mapping_hook(cls: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    kind = (*get_args(cls), Any, Any)[1]

    def structure(value: Any, _type: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"an object expected, not {_shown(value)}")
        return value if kind is Any else {key: converter.structure(item, kind) for key, item in value.items()}

    return structure


def _build(*, detailed: bool) -> Converter:
    converter = Converter(detailed_validation=detailed)
    converter.register_structure_hook(str, _expect(str, "a string"))
    converter.register_structure_hook(bool, _expect(bool, "true or false"))
    converter.register_structure_hook(int, _number(int, "a whole number"))
    converter.register_structure_hook(float, _number(float, "a number"))
    converter.register_structure_hook(datetime, _datetime)
    converter.register_structure_hook(UUID, _uuid)
    converter.register_structure_hook_factory(is_sequence, lambda cls: _list_hook(cls, converter))
    converter.register_structure_hook_factory(is_mapping, lambda cls: _mapping_hook(cls, converter))
    converter.register_structure_hook_factory(
        lambda cls: isinstance(cls, type) and issubclass(cls, Model), lambda cls: _model_hook(cls, converter)
    )
    return converter


_quick, _thorough = _build(detailed=False), _build(detailed=True)
