"""``aiocircle api``: anything that the API offers, under the same rate limit, retries and errors."""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from attrs import frozen
from cyclopts import Parameter

from aiocircle.cli import tables
from aiocircle.cli.asking import answered
from aiocircle.cli.exits import ExitCode, UsageError
from aiocircle.cli.operations import Wanted, every_operation, wanted
from aiocircle.cli.output import Output
from aiocircle.cli.settings import CHOICE, FLAT, USUAL_CONNECTION, USUAL_DISPLAY, Connection, Display, find_access
from aiocircle.errors import DecodeError
from aiocircle.operation import Operation

if TYPE_CHECKING:
    import aiocircle
    from aiocircle.pagination import Paginator

SECRET_HEADERS = ("cookie", "authorization", "token", "secret", "signature")
HIDDEN_QUERY = ("location", "link")

OPERATIONS: tables.Columns[Operation] = {
    "operation": lambda one: one.id,
    "method": lambda one: one.method,
    "path": lambda one: one.path,
    "name here": lambda one: one.call,
}


def _request(text: str, **more: Any) -> Parameter:
    return Parameter(help=text, group=CHOICE, **more)


@frozen(kw_only=True)
class Sending:
    """What to send, and what to show of the answer.

    Attributes:
        field: ``key=value``, a string.
        json_field: ``key=value``, the value in JSON.
        input: A file with the whole body.
        paginate: Follow all pages.
        jsonl: One item on each line.
        include: Show status and headers.
        dry_run: Show the request instead of sending it.
        list: Name all operations.
    """

    field: Annotated[tuple[str, ...], _request("A string; repeatable.", alias="-f", metavar="KEY=VALUE")] = ()
    json_field: Annotated[tuple[str, ...], _request("A JSON value; repeatable.", alias="-F", metavar="KEY=JSON")] = ()
    input: Annotated[
        str | None, _request("The whole body, as JSON; -: stdin.", metavar="FILE", allow_leading_hyphen=True)
    ] = None
    paginate: Annotated[bool, _request("All pages, an item on each line.")] = False
    jsonl: Annotated[bool, _request("An item on each line.")] = False
    include: Annotated[bool, _request("Status and headers, to stderr.", alias="-i")] = False
    dry_run: Annotated[bool, _request("Print the request, send nothing.")] = False
    list: Annotated[bool, _request("Print all operations.")] = False


PLAIN = Sending()


def api(
    operation: Annotated[str | None, Parameter(show=False)] = None,
    /,
    *values: Annotated[str, Parameter(show=False)],
    sending: Annotated[Sending, FLAT] = PLAIN,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Ask the API for anything."""
    if sending.list:
        tables.show(Output(as_json=display.as_json), "operation", every_operation().values(), OPERATIONS)
        return ExitCode.OK
    if operation is None:
        raise UsageError("which operation?", hint="'aiocircle api --list' names all; or give a method and a path")
    what = wanted(operation, values, sending.field, sending.json_field, sending.input)
    if sending.paginate and what.method != "GET":
        raise UsageError(f"only what is read has pages, and this is {what.method}")
    if sending.dry_run:
        return _print_request(what, find_access(connection, what.host).host, display)

    async def ask(client: "aiocircle.Client", output: Output) -> None:
        if sending.paginate:
            async for item in _listing(client, what, output, show_headers=sending.include):
                output.json(item)
            return
        value = (await _sent(client, what, {}, output, show_headers=sending.include)).value
        for one in _items(value) if sending.jsonl else [value]:
            output.json(one, pretty=tables.is_terminal() and not sending.jsonl and not output.as_json)

    return answered(ask, connection, display, host=what.host)


def _print_request(what: Wanted, host: str, display: Display) -> ExitCode:
    """Print what would be sent, apart from the token."""
    from aiocircle.wire import query_text  # noqa: PLC0415 -- loaded with the client, which --help does without

    root = "" if what.path.startswith("/api/") else "/api/v2"
    url = f"{host}{root}{what.path}{query_text(what.query)}"
    output = Output(as_json=display.as_json)
    if output.as_json:
        output.record("request", {"method": what.method, "url": url, "body": what.body})
        return ExitCode.OK
    output.data(f"{what.method} {url}")
    if what.body is not None:
        output.data(json.dumps(what.body, indent=2))
    return ExitCode.OK


async def _sent(
    client: "aiocircle.Client", what: Wanted, more: Mapping[str, Any], output: Output, *, show_headers: bool
) -> "aiocircle.Response[Any]":
    answer = await client.request(
        what.method,
        what.path,
        query={**what.query, **more},
        body=what.body,
        group=what.group,
        idempotent=what.idempotent,
    )
    if show_headers:
        _show_head(answer, output)
    return answer


def _show_head(answer: "aiocircle.Response[Any]", output: Output) -> None:
    from aiocircle.auth import HIDDEN  # noqa: PLC0415
    from aiocircle.redaction import safe_url  # noqa: PLC0415

    output.note(f"HTTP {answer.status}")
    for name, value in answer.headers.items():
        shown = safe_url(value) if name.lower() in HIDDEN_QUERY else value
        is_secret = any(word in name.lower() for word in SECRET_HEADERS)
        output.note(f"{name}: {HIDDEN if is_secret else shown}")


# --- pages -----------------------------------------------------------------------------------------------------------


def _listing(client: "aiocircle.Client", what: Wanted, output: Output, *, show_headers: bool) -> "Paginator[Any]":
    """Return the items of all pages, however the listing goes on."""
    from aiocircle.pagination import Paginator  # noqa: PLC0415

    by_offset = what.pages == "offset"

    async def fetch(token: str | None) -> tuple[Sequence[Any], str | None]:
        more = {} if token is None else {"offset" if by_offset else "page-token": token}
        value = (await _sent(client, what, more, output, show_headers=show_headers)).value
        items = value.get("items") if isinstance(value, dict) else value
        if not isinstance(items, list):
            raise DecodeError(f"{what.method} {what.path}: the answer is not a list of items, so it has no pages")
        if by_offset:
            return items, str(int(token or 0) + len(items)) if items else None
        return items, value.get("next_page_token") if isinstance(value, dict) else None

    begin = what.query.get("offset" if by_offset else "page-token")
    return Paginator(fetch, key=lambda item: _key(item, what.key), page_token=begin, what=f"{what.method} {what.path}")


def _key(item: Any, names: Sequence[str]) -> Hashable:
    """Return what tells an item apart, or None where nothing does."""
    if not names or not isinstance(item, dict):
        return None
    values = tuple(item.get(name, item.get(name.replace("_", "-"))) for name in names)
    return None if None in values else tuple(map(str, values))


def _items(value: Any) -> Sequence[Any]:
    """Return the items of an answer; one that is no list is its only item."""
    items = value.get("items") if isinstance(value, dict) else value
    return items if isinstance(items, list) else [value]
