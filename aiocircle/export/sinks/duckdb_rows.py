"""Rows as DuckDB takes them in: a file of CSV, read by a query that leaves nothing to be guessed.

Python's rows come into DuckDB by Arrow, whose package alone takes 30 MiB of memory, or by files. The reader of JSON
takes 32 MiB for any file, that of CSV as much as it is told to.

A field without a value is empty; a text stands in quotes, even an empty one. Lists are JSON in a text and become
DuckDB's by ``from_json``.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiocircle.errors import StoreError
from aiocircle.export.records import quoted
from aiocircle.export.tables import Column, Kind, Table, in_utc
from aiocircle.export.texts import Change, each, json_text, nested, times, utf8

_TYPES: Final[Mapping[Kind, str]] = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "real": "DOUBLE",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMP WITH TIME ZONE",
    "json": "JSON",
}
_OPTIONS: Final = (
    "auto_detect = false, header = false, delim = ',', quote = '\"', escape = '\"', new_line = '\\n', "
    "allow_quoted_nulls = false, parallel = false"
)
_LEAST: Final = 64 * 1024  # bytes of a buffer

_Row = tuple[Any, ...]


def type_of(column: Column) -> str:
    """Return a column's type."""
    if isinstance(column.items, tuple):
        return f"STRUCT({', '.join(f'{quoted(item.name)} {type_of(item)}' for item in column.items)})[]"
    if column.items is not None:
        return f"{type_of(column.items)}[]"
    return _TYPES[column.kind]


class CsvRows:
    """Makes CSV of a table's rows, and the query that reads it.

    Args:
        table: The table.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._changes = [_change(column) for column in table.columns]
        self._selected = ", ".join(map(_selected, table.columns))
        self._types = ", ".join(f"{_literal(one.name)}: {_literal(_type_in_file(one))}" for one in table.columns)

    def text(self, rows: Sequence[_Row]) -> bytes:
        """Return rows as lines.

        Raises:
            StoreError: A value does not fit into its column, which may not be without one.
        """
        columns = []
        for column, change, values in zip(self._table.columns, self._changes, zip(*rows, strict=True), strict=True):
            try:
                texts = change(values)
            except (TypeError, ValueError, OverflowError):
                what = "a value is not of its kind"
                raise StoreError(f"{self._table.name}.{column.name}: {what}", fatal=True) from None
            if not column.optional and "" in texts:
                what = "a row has no value, or one that does not fit"
                raise StoreError(f"{self._table.name}.{column.name}: {what}", fatal=True)
            columns.append(texts)
        return utf8("".join([",".join(row) + "\n" for row in zip(*columns, strict=True)]))

    def query(self, path: Path, size: int) -> str:
        """Return what selects the rows of a file of so many bytes, in the order of the table's columns."""
        name = re.sub(r"[*?\[]", r"[\g<0>]", str(path.absolute()))  # or it would be a pattern
        room = max(size, _LEAST)  # for the longest line that there can be
        return (
            f"SELECT {self._selected} FROM read_csv({_literal(name)}, columns = {{{self._types}}}, "  # noqa: S608 -- names of ours
            f"buffer_size = {room}, max_line_size = {room}, {_OPTIONS})"
        )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _type_in_file(column: Column) -> str:
    return "VARCHAR" if column.items is not None else type_of(column)


def _selected(column: Column) -> str:
    if column.items is None:
        return quoted(column.name)
    return f"from_json({quoted(column.name)}, {_literal(json_text(_structure(column)))})"


def _structure(column: Column) -> Any:
    if isinstance(column.items, tuple):
        return [{item.name: _structure(item) for item in column.items}]
    return [_structure(column.items)] if column.items is not None else _TYPES[column.kind]


def _change(column: Column) -> Change:
    if column.kind not in {"json", "list"}:
        return _CHANGES[column.kind]
    as_json = nested(column, None)
    return lambda values: _in_quotes(as_json(values))


def _in_quotes(values: Sequence[Any]) -> list[str]:
    return ["" if value is None else f'"{str(value).replace(_QUOTE, _TWO)}"' for value in values]


def _integer(value: float | str) -> str:
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return ""
    return str(number) if -(2**63) <= number < 2**63 else ""


_QUOTE, _TWO = '"', '""'
_CHANGES: Final[Mapping[Kind, Change]] = {
    "text": _in_quotes,
    "integer": each(_integer, ""),
    "real": each(lambda value: repr(float(value)), ""),
    "boolean": each(lambda value: "true" if value else "false", ""),
    "time": times(lambda moment: in_utc(moment).isoformat(), ""),
}
