"""A database that is only read, and what SQL does for the report: bins of time and percentiles.

An export may have millions of rows, so figures are computed where the rows lie; what comes back is bounded by the
number of bins and groups. SQLite sorts in files where memory does not suffice.
"""

import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Self

from attrs import frozen

from aiocircle.errors import StoreError
from aiocircle.report.amounts import DAY, HOUR

Row = tuple[Any, ...]
_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "an export or a download is being made there: wait for its end",
    sqlite3.SQLITE_CANTOPEN: "of a run that was cut off, only where it may be written to: copy the directory there",
}
_MONDAY: Final = 4 * DAY  # 1970-01-05, from which weeks are counted
_HOURS_UNTIL = 3 * DAY
_DAYS_UNTIL = 120 * DAY
ENOUGH = 20  # values in a bin, for percentiles of them to be more than chance


class Database:
    """A SQLite file, opened for reading. Use it as a context manager; whatever is wrong with it is a ``StoreError``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        # Without a log beside it the file is whole by itself, and can be read where nothing may be written.
        mode = "mode=ro" if self.path.with_name(f"{self.path.name}-wal").exists() else "mode=ro&immutable=1"
        with self._explained():
            self._connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?{mode}", uri=True)
            try:
                self._connection.text_factory = lambda text: text.decode("utf-8", "replace")
                self._connection.execute("PRAGMA cache_size=-32768")
                self._columns = self._read_columns()
            except BaseException:
                self._connection.close()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def has(self, table: str, *columns: str) -> bool:
        """Tell whether a table is there, with these columns and with a row."""
        known = self._columns.get(table, ())
        return bool(known) and set(columns) <= set(known) and bool(self.all(f'SELECT 1 FROM "{table}" LIMIT 1'))

    def columns(self, table: str) -> tuple[str, ...]:
        """Return the columns of a table; none if it is not there."""
        return self._columns.get(table, ())

    def rows(self, query: str, *values: Any) -> Iterator[Row]:
        """Yield the rows of a query as they are read."""
        with self._explained(), closing(self._connection.execute(query, values)) as rows:
            yield from rows

    def all(self, query: str, *values: Any) -> list[Row]:
        """Return the rows of a query."""
        return list(self.rows(query, *values))

    def one(self, query: str, *values: Any) -> Row:
        """Return the only row of a query."""
        (row,) = self.rows(query, *values)
        return row

    def percentiles(self, source: str, groups: str, *ranks: int) -> Iterator[Row]:
        """Yield, by groups of a query, how many values ``value`` has and each percentile of them.

        A percentile is a value that occurred: the smallest one that so many in a hundred do not exceed (nearest rank).
        Infinite values, such as JSON's ``1e999``, are left out as those are that are not there.
        SQLite sorts, where it has room; here lie the values of one group at a time. Its window functions give the same
        and took 1.7 to 1.9 times the processor's time (two million values in two thousand groups).
        """
        query = f"SELECT {groups}, value FROM ({source}) WHERE abs(value) < 9e999 ORDER BY {groups}, value"
        for key, rows in groupby(self.rows(query), key=lambda row: row[:-1]):
            values = array("d", (row[-1] for row in rows))
            yield *key, len(values), *(values[(len(values) * rank + 99) // 100 - 1] for rank in ranks)

    def derive(self, name: str, query: str) -> None:
        """Keep the rows of a query in a temporary table, which lies beside the file and not in it."""
        with self._explained():
            self._connection.execute(f'CREATE TEMP TABLE "{name}" AS {query}')
            self._columns[name] = tuple(row[1] for row in self._connection.execute(f'PRAGMA temp.table_info("{name}")'))

    def _read_columns(self) -> dict[str, tuple[str, ...]]:
        tables = [row[0] for row in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {}
        for table in tables:
            quoted = table.replace('"', '""')
            found[table] = tuple(row[1] for row in self._connection.execute(f'PRAGMA table_info("{quoted}")'))
        return found

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise StoreError(f"{self.path}: {error}", hint=_HINTS.get(code)) from None


@frozen
class Bins:
    """Equal stretches of time: hours, days or weeks that begin on Mondays, in UTC.

    Attributes:
        start: Seconds since the epoch at which the first begins.
        width: Seconds of each.
        number: How many there are.
    """

    start: int
    width: int
    number: int

    @property
    def word(self) -> str:
        """What one of them is."""
        return {HOUR: "hour", DAY: "day"}.get(self.width, "week")

    @property
    def starts(self) -> Sequence[int]:
        """When each begins."""
        return range(self.start, self.start + self.width * self.number, self.width)

    def of(self, epoch: str) -> str:
        """Return the SQL expression of the bin of a time in seconds."""
        return f"(({epoch} - {self.start}) / {self.width})"

    def data(self) -> dict[str, int]:
        """Return them for the page's script."""
        return {"start": self.start, "step": self.width, "number": self.number}


def bins_between(first: int, last: int, number: int | None = None) -> Bins:
    """Return the bins that a span is best seen in.

    Args:
        first: Seconds since the epoch.
        last: The same.
        number: How many values there are, if too few in a bin would say nothing, as of percentiles.
    """
    span = last - first
    width = next(
        (
            one
            for one, most in ((HOUR, _HOURS_UNTIL), (DAY, _DAYS_UNTIL))
            if span <= most and (number is None or number * one >= span * ENOUGH)
        ),
        7 * DAY,
    )
    if span <= 7 * DAY and width == 7 * DAY:
        width = DAY
    offset = _MONDAY if width == 7 * DAY else 0
    start = (first - offset) // width * width + offset
    return Bins(start, width, (last - start) // width + 1)


def bins_of(database: Database, source: str, epoch: str, *, enough: bool = False) -> Bins | None:
    """Return the bins of a table's span, with enough in each for percentiles if asked for; ``None`` without times."""
    first, last, number = database.one(f"SELECT MIN({epoch}), MAX({epoch}), COUNT(*) FROM {source}")
    return None if first is None else bins_between(first, last, number if enough else None)


def epoch_of(column: str) -> str:
    """Return the SQL expression of a time in whole seconds since the epoch."""
    return f"CAST(strftime('%s', {column}) AS INTEGER)"


def exactly(column: str) -> str:
    """Return the SQL expression of a time in seconds since the epoch, with their fractions."""
    return f"((julianday({column}) - 2440587.5) * 86400.0)"
