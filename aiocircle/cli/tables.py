"""Lists of things: a table on a terminal, aligned columns in a pipe, JSON Lines for programs.

A list is described once, by its columns; what a person sees is escaped as everything else that comes from outside.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import attrs

from aiocircle.cli.output import Output, fit

if TYPE_CHECKING:
    from aiocircle.pagination import Paginator

T = TypeVar("T")

GAP = "  "
NOTHING = "-"
NARROW = 60  # columns
WIDEST = 10_000  # columns, more than any table has
_MINUTE = 60
_HOUR = 3600
_STYLES = {
    **dict.fromkeys(("success", "ok", "created"), "green"),
    **dict.fromkeys(("failed", "error", "errored", "failing", "problem", "infrastructure_fail", "timedout"), "red"),
    **dict.fromkeys(("running", "on_hold", "queued", "pending", "setup"), "yellow"),
    **dict.fromkeys(("blocked", "canceled", "skipped", "not_run", "unauthorized"), "dim"),
}

Columns = Mapping[str, Callable[[T], str]]
"""Title -> what stands in the column; a title that begins with ``>`` is of a column of numbers."""


def show(output: Output, kind: str, items: Iterable[T], columns: Columns[T]) -> None:
    """Write a list.

    Args:
        output: Where to.
        kind: The ``type`` of its items in JSON.
        items: Models of the API.
        columns: What a person is to see.
    """
    if output.as_json:
        for item in items:
            output.record(kind, values_of(item, kind))
        return
    rows = [[fit(cell(item)) for cell in columns.values()] for item in items]
    if not rows:
        output.note(f"no {kind.replace('_', ' ')}")
        return
    titles = [title.lstrip(">") for title in columns]
    right = [title.startswith(">") for title in columns]
    for line in (_drawn if is_terminal() else _aligned)(titles, rows, right):
        output.data(line)


async def show_listing(
    output: Output, kind: str, listing: "Paginator[T]", columns: Columns[T], limit: int | None = None
) -> None:
    """Write a listing as ``show`` does, or its first ``limit`` items; JSON item by item, as the pages come."""
    if not output.as_json:
        show(output, kind, await listing.collect(limit), columns)
        return
    written = 0
    async with aclosing(listing.pages(ahead=limit is None)) as pages:
        async for page in pages:
            wanted = page.items if limit is None else page.items[: limit - written]
            show(output, kind, wanted, columns)
            written += len(wanted)
            if written == limit:
                return


def is_terminal() -> bool:
    """Return whether stdout is a terminal that can draw."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}


def _aligned(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> Iterable[str]:
    every = [[title.upper() for title in titles], *rows]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    for row in every:
        cells = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, right, strict=True)
        )
        yield GAP.join(cells).rstrip()


def _drawn(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> Iterable[str]:
    from rich.console import Console  # noqa: PLC0415 -- only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, len(GAP), 0, 0))
    for title, is_number in zip(titles, right, strict=True):
        table.add_column(title, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    # A row with an id is one line, which the terminal may wrap: an id folded in its column could not be copied. On a
    # narrow terminal every row is: columns of a few letters could not be read.
    console = Console(highlight=False, markup=False, emoji=False)
    if "id" in titles or console.width < NARROW:
        console.width = WIDEST
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def values_of(item: Any, kind: str) -> dict[str, Any]:
    """Return a model for programs: every field, also the unknown ones; its ``type`` gives way to that of the line."""
    values: dict[str, Any] = _plain(item)
    if "type" in values:
        values[f"{kind}_type"] = values.pop("type")
    return values


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        own = {one.name: _plain(getattr(value, one.name)) for one in attrs.fields(type(value)) if one.name != "extra"}
        return {**getattr(value, "extra", {}), **own}
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value


# --- cells -----------------------------------------------------------------------------------------------------------


def text(value: object) -> str:
    """Return a cell's text; a dash for what is not there."""
    return NOTHING if value is None or value == "" else str(value)


def moment(value: datetime | None) -> str:
    """Return a moment to the minute, in UTC."""
    return NOTHING if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def seconds(value: float | None) -> str:
    """Return a duration: ``18.4 s``, ``2 min 05 s``, ``3 h 20 min``."""
    if value is None:
        return NOTHING
    if value < _MINUTE:
        return f"{value:.3g} s"
    if value < _HOUR:
        return f"{int(value) // _MINUTE} min {int(value) % _MINUTE:02} s"
    return f"{int(value) // _HOUR} h {int(value) % _HOUR // _MINUTE:02} min"


def between(start: datetime | None, end: datetime | None) -> str:
    """Return how long something took; a dash while it is not over."""
    return seconds((end - start).total_seconds() if start and end else None)


def share(value: float | None) -> str:
    """Return a share of 1 in percent."""
    return NOTHING if value is None else f"{100 * value:.1f} %"
