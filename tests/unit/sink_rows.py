"""Rows of every table and every kind of column, with what untrusted texts may hold, and what readers shall find."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from aiocircle.export.tables import TABLES, Column, Table, as_json, raw_table

ALL = [*TABLES.values(), *map(raw_table, TABLES.values())]
NAMES = [f"{table.name}{'-raw' if table.names[0] == 'key' else ''}" for table in ALL]
FIRST = datetime(2026, 2, 27, 22, 30, tzinfo=UTC)
PROJECTS = ("gh/acme/web", "circleci/8e4z1Akd74woxagxnvLT5q/V29Cenkg=x", "bb/ü & co/a:b%2F*?")
TEXTS = (
    "plain",
    "",
    "quotes \" and ''",
    "lines\nof\r\nthree\rkinds, and a comma; tab\t|",
    '=HYPERLINK("http://x")',
    "emoji 🎉 日本 ü \u2028 \x85 \ufeff",
    "nothing \x00 in between \x1b[31m",
    "\\backslash\\ %s {} $x",
    "x" * 5000,
)
JSONS: tuple[Any, ...] = (
    {},
    {"a": [], "b": {}, "c": None},
    {"deep": [{"x": [1, 2.5, True, None, 'ü\n"🎉\x00']}], "": "empty key"},
    {"huge": 2**80, "negative": -(2**70)},
)
LISTS: dict[str, tuple[Sequence[Any], ...]] = {
    "text": ([], ["a"], ["", "two\nlines", "🎉"]),
    "integer": ([], [0], [1, -5, 2**53 + 1]),
}


def rows_of(table: Table, count: int = 20, *, start: int = 0) -> list[Any]:
    """Return rows, ordered by project and day, that tell everything apart by ``start``."""
    rows = [_row(table, number) for number in range(start, start + count)]
    owner = table.names.index(table.owner)
    at = None if table.date is None else table.names.index(table.date)
    return sorted(rows, key=lambda row: (row[owner], str(at is not None and day_of(row[at]))))


def row(table: Table, *values: Any, **named: Any) -> Any:
    make: Any = table.row
    return make(*values, **named)


def day_of(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _row(table: Table, number: int) -> tuple[Any, ...]:
    return table.row(*(_value(table, column, place, number) for place, column in enumerate(table.columns)))


def _value(table: Table, column: Column, place: int, number: int) -> Any:
    if column.name == table.owner:
        return PROJECTS[number % 3]
    if column.name == table.date and not column.optional:
        return FIRST + timedelta(hours=number)
    if column.name in table.key:
        return f"{number:06}-{TEXTS[number % 6]}" if column.kind == "text" else number
    turn = number + place
    if column.optional and turn % 5 == 0:
        return None
    return _plain(column, turn)


def _plain(column: Column, turn: int) -> Any:
    if column.kind == "list":
        return _list(column, turn)
    some = {
        "text": TEXTS,
        "integer": (turn, 0, -turn, 2**63 - 1, -(2**63)),
        "real": (0.1 * turn, 1e300, -0.0, 3),
        "boolean": (True, False),
        "time": (FIRST + timedelta(hours=turn * 3, microseconds=(turn % 3) * 489_001),),
        "json": JSONS,
    }[column.kind]
    return some[turn % len(some)]


def _list(column: Column, turn: int) -> Sequence[Any]:
    items = column.items
    if not isinstance(items, tuple):
        assert items is not None
        some = LISTS[items.kind]
        return some[turn % len(some)]
    return [
        tuple(None if item.optional and (turn + one) % 3 == 0 else _plain(item, turn + one) for item in items)
        for one in range(turn % 4)
    ]


def plain(table: Table, rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return rows as JSON has them: times as texts, rows in lists as objects."""
    changes = [as_json(column) for column in table.columns]
    return [
        {
            name: value if value is None or change is None else change(value)
            for name, change, value in zip(table.names, changes, row, strict=True)
        }
        for row in rows
    ]


def by_key(table: Table, found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in the order of their keys."""
    return sorted(found, key=lambda row: [json.dumps(row[name], default=str) for name in table.key])


def in_pieces(rows: Sequence[tuple[Any, ...]], size: int) -> Iterator[Sequence[tuple[Any, ...]]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
