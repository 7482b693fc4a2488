"""What ``aiocircle api`` is to send: an operation or a method and path, with fields and a body, as one request.

Fields go where the operation has a place for them: first into its path, then into the query of what has no body, else
into the body.
"""

import difflib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from attrs import frozen

from aiocircle.api import operations
from aiocircle.auth import DEFAULT_HOST
from aiocircle.cli.exits import UsageError
from aiocircle.errors import ConfigurationError
from aiocircle.hosts import parse_host
from aiocircle.operation import IDEMPOTENT_METHODS, Operation, Pages
from aiocircle.slugs import Target, parse_target

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
BODILESS = frozenset({"GET", "DELETE"})
_PLACE = re.compile(r"\{(\w+)\}")


@frozen(kw_only=True)
class Wanted:
    """A request to the API, before anybody was asked for anything.

    Attributes:
        method: HTTP method.
        path: Quoted, below ``/api/v2`` unless it begins with ``/api/``.
        query: Parameters.
        body: A JSON value, or None.
        group: The route group whose budget it draws on; None where the path decides.
        pages: How its listing goes on, if it is known to be one.
        key: What tells the items of the listing apart.
        idempotent: Carrying it out twice does no harm.
        host: The host of an address that was pasted.
    """

    method: str
    path: str
    query: Mapping[str, Any]
    body: Any = None
    group: str | None = None
    pages: Pages | None = None
    key: tuple[str, ...] = ()
    idempotent: bool = True
    host: str | None = None


def every_operation() -> dict[str, Operation]:
    """Return the API's operations by the ids that CircleCI's document has for them."""
    found = (value for value in vars(operations).values() if isinstance(value, Operation))
    return {operation.id: operation for operation in found}


def wanted(
    name: str, values: Sequence[str], strings: Sequence[str], typed: Sequence[str], body_from: str | None
) -> Wanted:
    """Return the request that the arguments describe.

    Args:
        name: An operation's id or its name here, or an HTTP method.
        values: What goes into the operation's path, or the path itself.
        strings: Fields, ``key=value``.
        typed: Fields whose values are JSON.
        body_from: A file that holds the body, ``-`` for standard input.

    Raises:
        UsageError: They describe none.
        ConfigurationError: A value cannot be what it stands for.
    """
    fields = [*_fields(strings, str), *_fields(typed, _json_field)]
    body = None if body_from is None else _body(body_from)
    if name.upper() in METHODS:
        return _by_path(name.upper(), values, fields, body, is_whole=body_from is not None)
    return _by_operation(_operation(name), values, fields, body, is_whole=body_from is not None)


Field = tuple[str, Any]


def _by_path(method: str, values: Sequence[str], fields: Sequence[Field], body: Any, *, is_whole: bool) -> Wanted:
    if len(values) != 1:
        raise UsageError(f"{method} wants one path", hint=f"such as: aiocircle api {method} /me, or its address")
    path, host = _path_and_host(values[0])
    path, _, query_string = path.partition("?")
    own_query: dict[str, Any] = {}
    for key, value in parse_qsl(query_string, keep_blank_values=True):
        _add(own_query, key, value)
    known = _at(method, path.removeprefix("/api/v2"))
    query, sent = _placed(method, fields, body, str, is_whole=is_whole)
    return Wanted(
        method=method,
        path=path,
        query={**own_query, **query},
        body=sent,
        pages=known.pages if known else None,
        key=known.key if known else (),
        idempotent=known.idempotent if known else method in IDEMPOTENT_METHODS,
        host=host,
    )


def _path_and_host(value: str) -> tuple[str, str | None]:
    """Return a path with its query, and the host of an address, if it is not the cloud's."""
    origin = re.match(r"https?://[^/?#]*", value, re.IGNORECASE)
    if origin is None:
        return value if value.startswith("/") else f"/{value}", None
    host = parse_host(origin[0], allow_http=True)
    return value[origin.end() :] or "/", None if host == DEFAULT_HOST else host


def _by_operation(
    operation: Operation, values: Sequence[str], fields: Sequence[Field], body: Any, *, is_whole: bool
) -> Wanted:
    places = _PLACE.findall(operation.path)
    if len(values) > len(places):
        raise UsageError(f"{operation.id} has {len(places)} places in its path, and {len(values)} values were given")
    filled: dict[str, Any] = {}
    host = None
    for place, value in zip(places, values, strict=False):
        filled[place], host = _value(operation, place, value, host)
    if values and len(values) < len(places):
        filled = {**_of_address(operation, places, values[0]), **filled}
    left = []
    for key, value in fields:
        place = next((one for one in places if one not in filled and _same(key, one)), None)
        if place is None:
            left.append((key, value))
        else:
            filled[place], host = _value(operation, place, str(value), host)
    if missing := [place for place in places if place not in filled]:
        raise UsageError(
            f"{operation.id} wants a value for {', '.join(missing)}", hint=f"it is {operation.method} {operation.path}"
        )
    # The one service whose parameters have underscores.
    spelled = str if operation.path.startswith("/owner/") else _hyphenated
    query, sent = _placed(operation.method, left, body, spelled, is_whole=is_whole)
    return Wanted(
        method=operation.method,
        path=operation.fill(filled),
        query=query,
        body=sent,
        group=operation.path,
        pages=operation.pages,
        key=operation.key,
        idempotent=operation.idempotent,
        host=host,
    )


def _operation(name: str) -> Operation:
    every = every_operation()
    by_name = {spelling: one for one in every.values() for spelling in (one.id.lower(), one.call)}
    found = by_name.get(name.lower())
    if found is not None:
        return found
    alike = difflib.get_close_matches(name, [*every, *(one.call for one in every.values())], n=3)
    hint = f"is it {' or '.join(alike)}?" if alike else "aiocircle api --list names all operations"
    raise UsageError(f"there is no operation {name!r}", hint=hint)


def _at(method: str, path: str) -> Operation | None:
    """Return the operation that a path is one of; slugs have three segments."""
    for operation in every_operation().values():
        pattern = re.sub(r"\\\{slug\\\}", "[^/]+/[^/]+/[^/]+", re.escape(operation.path))
        pattern = re.sub(r"\\\{org_slug\\\}", "[^/]+/[^/]+", pattern)
        if operation.method == method and re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", pattern), path):
            return operation
    return None


# --- values in the path ----------------------------------------------------------------------------------------------


def _same(given: str, place: str) -> bool:
    """Tell whether a field's name means a place: ``project-slug`` is ``slug``, ``id`` is ``workflow_id``."""
    name = given.replace("-", "_")
    return name == place or name.endswith(f"_{place}") or (name == "id" and place.endswith("_id"))


def _value(operation: Operation, place: str, value: str, host: str | None) -> tuple[Any, str | None]:
    """Return what stands for a place, and the host of the address if it was one."""
    target = _address(value)
    if target is None:
        return value, host
    found = _part(operation, place, target)
    if found is None:
        raise ConfigurationError(f"{value!r} names no {place.replace('_', ' ')}")
    return found, target.host or host


def _of_address(operation: Operation, places: Sequence[str], value: str) -> dict[str, Any]:
    """Return what one address says about several places."""
    target = _address(value)
    parts = {} if target is None else {place: _part(operation, place, target) for place in places}
    return {place: part for place, part in parts.items() if part is not None}


def _part(operation: Operation, place: str, target: Target) -> Any:
    if place == "number":
        return target.pipeline_number if "/pipeline/" in operation.path else target.job_number
    parts = {"slug": target.slug, "workflow_id": target.workflow_id, "job_number": target.job_number}
    return parts.get(place)


def _address(value: str) -> Target | None:
    return parse_target(value) if "://" in value else None


# --- query and body --------------------------------------------------------------------------------------------------


def _placed(
    method: str, fields: Sequence[Field], body: Any, spelled: Callable[[str], str], *, is_whole: bool
) -> tuple[dict[str, Any], Any]:
    """Return the query and the body."""
    if is_whole and method in BODILESS:
        raise UsageError(f"{method} takes no body, so --input has no meaning")
    if is_whole and fields:
        raise UsageError("--input is the whole body, so fields have no place in it")
    if is_whole:
        return {}, body
    if method in BODILESS:
        query: dict[str, Any] = {}
        for key, value in fields:
            _add(query, spelled(key), value)
        return query, None
    nested: dict[str, Any] = {}
    for key, value in fields:
        _nest(nested, key, value)
    return {}, nested or None


def _add(query: dict[str, Any], key: str, value: Any) -> None:
    """Put a parameter into a query; one that comes again is an array."""
    before = query.get(key)
    query[key] = value if before is None else [*(before if isinstance(before, list) else [before]), value]


def _nest(body: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    for part in above:
        inner = body.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(f"the field {key!r} lies inside of one that is no object")
        body = inner
    if last in body:
        raise UsageError(f"the field {key!r} is given twice")
    body[last] = value


def _hyphenated(key: str) -> str:
    return key.replace("_", "-")


def _fields(given: Sequence[str], read: Callable[[str], Any]) -> Iterator[Field]:
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not all(key.split(".")):
            raise UsageError(f"a field is KEY=VALUE, and {one!r} is not")
        yield key, read(value)


def _json_field(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise UsageError(f"the value {text!r} is not JSON", hint="-f takes text as it is") from None


def _body(source: str) -> Any:
    name = "standard input" if source == "-" else source
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {(error.strerror or '?').lower()}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name} is not text in UTF-8") from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"the body in {name} is not JSON: {error}") from None
