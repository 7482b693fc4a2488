"""Which directory a row's file lies in, spelt as Hive does. Pure.

``jobs/project=gh%2Facme%2Fweb/date=2026-11-05/part-0.parquet``. A table without dates is divided by project alone, and
by organisation if it has no project. What has no date is in ``date=__HIVE_DEFAULT_PARTITION__``. Readers take the
columns of that name from the directories, so files do not repeat them: some readers refuse a column that is in both.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from aiocircle.export.sinks import Partition
from aiocircle.export.tables import Table, in_utc
from aiocircle.export.texts import paired

NOTHING: Final = "__HIVE_DEFAULT_PARTITION__"
PART: Final = "part-0.parquet"
EMPTY: Final = "empty.parquet"
_DATES: Final = {"day": ("date", 10), "month": ("month", 7)}
_KEPT_DAYS: Final = 10_000
# What Hive escapes: what some file system does not take, and the signs that it uses itself.
_ESCAPED: Final = re.compile(r"[\x00-\x1f\x7f\"#%'*/:=?\\{\[\]^]")

Key = tuple[str, ...]
_Row = tuple[Any, ...]


class Partitioning:
    """How a table is divided.

    Args:
        table: The table.
        partition: What has a file of its own.
    """

    def __init__(self, table: Table, partition: Partition) -> None:
        names = table.names
        self.columns: tuple[str, ...] = ()
        self._owner = self._date = self._length = -1
        self._days: dict[datetime, str] = {}
        if partition == "none":
            return
        self._owner = names.index(table.owner)
        self.columns = (table.owner,)
        if table.date is not None:
            self._date = names.index(table.date)
            column, self._length = _DATES[partition]
            self.columns += (column,)

    def divided(self, rows: Sequence[_Row]) -> Iterator[tuple[Key, list[_Row]]]:
        """Yield rows by partition, in their own order in each."""
        keys = list(map(self._key, rows))
        if keys and keys.count(keys[0]) == len(keys):
            yield keys[0], list(rows)
            return
        order = sorted(range(len(rows)), key=keys.__getitem__)
        for key, places in groupby(order, keys.__getitem__):
            yield key, [rows[place] for place in places]

    def directory(self, key: Key) -> Key:
        """Return the directories of a partition, below the table's."""
        return tuple(f"{name}={escaped(value)}" for name, value in zip(self.columns, key, strict=True))

    def is_own(self, path: Key) -> bool:
        """Tell whether a path below the table's directory, its file's name included, is of this partitioning."""
        if path == (EMPTY,):
            return True
        names = tuple(component.partition("=")[0] for component in path[:-1])
        return path[-1] == PART and bool(names) and names == self.columns

    def _key(self, row: _Row) -> Key:
        if self._owner < 0:
            return ()
        owner = row[self._owner] or ""
        return (owner,) if self._date < 0 else (owner, self._day(row[self._date]))

    def _day(self, moment: datetime | None) -> str:
        if moment is None:
            return ""
        day = self._days.get(moment)
        if day is None:
            if len(self._days) >= _KEPT_DAYS:
                self._days.clear()
            day = self._days[moment] = in_utc(moment).date().isoformat()[: self._length]
        return day


def escaped(value: str) -> str:
    """Return a value as the name of a directory has it."""
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", paired(value)) or NOTHING


def is_partitioned(path: Key) -> bool:
    """Tell whether a path below a table's directory may have come from any partitioning of here."""
    *directories, name = path
    return name in {PART, EMPTY} and len(directories) <= 2 and all("=" in one for one in directories)  # noqa: PLR2004
