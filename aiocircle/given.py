"""What callers give, refused in words where it is of a kind that cannot be meant.

Much of it would be taken in silence: a path that is ``None`` names a directory, and a glob that is given alone, which
type checkers allow, is a sequence of its letters.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

from aiocircle.errors import ConfigurationError

_WORDS = {str: "text", int: "a whole number", bool: "True or False"}


def check_path(value: object, what: str) -> None:
    """Refuse what is no path.

    Raises:
        ConfigurationError: It is neither text nor a path.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise ConfigurationError(f"{what} is no path: {value!r}", hint="give text or a pathlib.Path")


def several(value: Iterable[str]) -> tuple[str, ...]:
    """Return texts as a tuple.

    Raises:
        ConfigurationError: It is a single text, or there is something else among them.
    """
    _check_several("what is wanted", value, str)
    return tuple(value)


def one_of(kind: type) -> Callable[[object, Any, object], None]:
    """Return a validator of an attribute that is of a kind, or ``None``."""

    def check(_instance: object, attribute: Any, value: object) -> None:
        if value is not None and not _is(value, kind):
            raise ConfigurationError(f"{attribute.name} is {_WORDS.get(kind, kind.__name__)}, and not {value!r}")

    return check


def path_or_none(_instance: object, attribute: Any, value: object) -> None:
    """Validate an attribute that is a path, or ``None``."""
    if value is not None:
        check_path(value, attribute.name)


def several_of(kind: type) -> Callable[[object, Any, object], None]:
    """Return a validator of an attribute that is a sequence of a kind."""
    return lambda _instance, attribute, value: _check_several(attribute.name, value, kind)


def _check_several(name: str, value: object, kind: type) -> None:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{name} is a list, and not {value!r}", hint=f"of a single one too: [{value!r}]")
    for one in value:
        if not _is(one, kind):
            raise ConfigurationError(f"{name} is a list of which each is {_WORDS[kind]}, and not {one!r}")


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind) and (kind is not int or not isinstance(value, bool))
