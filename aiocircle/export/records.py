"""Tables of an export in SQLite: what the state of an export and the SQLite sink have in common.

SQLite has four kinds of values. Times are ISO 8601 texts in UTC with ``Z``, which its date functions take and which
sort as the times do; truths are 0 and 1; lists and mappings are JSON texts, for its JSON functions.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from aiocircle.export.tables import Column, Kind, Table, as_json
from aiocircle.export.texts import json_text, paired, time_text

_TYPES: Final[Mapping[Kind, str]] = {
    "text": "TEXT",
    "integer": "INTEGER",
    "real": "REAL",
    "boolean": "INTEGER",
    "time": "TEXT",
    "json": "TEXT",
    "list": "TEXT",
}

_Row = tuple[Any, ...]


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def of_key(table: Table, column: str) -> str:
    """Return the expression of a column; of a raw table also of one that its key is made of."""
    return quoted(column) if column in table.names else f"json_extract(\"key\", '$[{table.made_of.index(column)}]')"


def creation(table: Table, *more: str) -> str:
    """Return the statement that creates a table, with further columns if given, unless it is there."""
    columns = [f"{quoted(one.name)} {_TYPES[one.kind]}{'' if one.optional else ' NOT NULL'}" for one in table.columns]
    key = ", ".join(map(quoted, table.key))
    return f"CREATE TABLE IF NOT EXISTS {quoted(table.name)} ({', '.join([*columns, *more])}, PRIMARY KEY ({key}))"


def upsertion(table: Table, *more: str) -> str:
    """Return the statement that adds a row or takes the place of the one of its key, which keeps its place."""
    names = [quoted(name) for name in (*table.names, *more)]
    key = [quoted(name) for name in table.key]
    updated = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    places = ", ".join("?" * len(names))
    return (
        f"INSERT INTO {quoted(table.name)} ({', '.join(names)}) VALUES ({places}) "  # noqa: S608 -- names of ours
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {updated}"
    )


def encoder(table: Table) -> Callable[[Iterable[_Row]], list[list[Any]]]:
    """Return what turns rows into parameters of statements."""
    return _mapper(table, {"time": lambda _: time_text, "json": lambda _: json_text, "list": _list_encoder})


def decoder(table: Table) -> Callable[[Iterable[_Row]], list[list[Any]]]:
    """Return what turns the results of queries back into rows' values; rows in lists are bare tuples."""
    return _mapper(
        table,
        {
            "time": lambda _: datetime.fromisoformat,
            "boolean": lambda _: bool,
            "json": lambda _: json.loads,
            "list": _list_decoder,
        },
    )


def _list_encoder(column: Column) -> Callable[[Any], str]:
    change = as_json(column)
    return json_text if change is None else lambda value: json_text(change(value))


def _list_decoder(column: Column) -> Callable[[str], Any]:
    if not isinstance(column.items, tuple):
        return json.loads
    names = [item.name for item in column.items]
    return lambda text: [tuple(item.get(name) for name in names) for item in json.loads(text)]


def _mapper(
    table: Table, of_kind: Mapping[Kind, Callable[[Column], Callable[[Any], Any]]]
) -> Callable[[Iterable[_Row]], list[list[Any]]]:
    changes = [
        (place, of_kind[column.kind](column)) for place, column in enumerate(table.columns) if column.kind in of_kind
    ]

    def mapped(rows: Iterable[_Row]) -> list[list[Any]]:
        values = [list(row) for row in rows]
        for place, change in changes:
            for row in values:
                if row[place] is not None:
                    row[place] = change(row[place])
        return values

    return mapped


def storable(values: Iterable[Any]) -> list[Any]:
    """Return values that SQLite takes in place of such as it does not.

    JSON may have halves of surrogate pairs, which no encoding has, and whole numbers of more than 64 bits. The first
    become replacement characters, the second texts of their digits.
    """
    return [_storable(value) for value in values]


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else paired(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value
