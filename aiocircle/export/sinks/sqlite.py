"""SQLite: a database ``export.sqlite``, of which each finish changes all tables in one transaction, or none.

Rows take the place of those of their key. The first time the database is built beside its name, without a journal;
later it is changed in place, with a write-ahead log: who reads it meanwhile sees what was there before. What others
have added to it stays: tables, views, indices, and further columns.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from aiocircle.errors import StoreError
from aiocircle.export.records import creation, encoder, quoted, storable, upsertion
from aiocircle.export.sinks import Finishing, Grain
from aiocircle.export.sinks.parts import Parts
from aiocircle.export.sinks.refusals import explained, unusable
from aiocircle.export.tables import Table

DATABASE: Final = "export.sqlite"
_PATIENCE: Final = 5.0  # seconds to wait for another program's transaction
_ROWS_AT_ONCE: Final = 2000
_IN_PLACE: Final = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-32768;"
_BESIDE: Final = "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-24576;"

# What rows are looked up by, beside their key: of a table what it has of these.
_INDICES: Final = (("pipeline_id",), ("workflow_id",), ("project", "job_number"), ("project", "workflow_name"))

_Row = tuple[Any, ...]


class Sqlite(Finishing):
    """A database ``export.sqlite``.

    Args:
        directory: Where it goes; made if need be.
        sync: Flush it to the disk before it gets its name, and each transaction, against loss of power.
    """

    grain: Grain = "row"

    def __init__(self, directory: str | Path, *, sync: bool = False) -> None:
        self._parts = Parts(Path(directory), "sqlite", sync=sync)
        self._path = Path(directory) / DATABASE
        self._sync = sync
        self._connection: sqlite3.Connection | None = None
        self._is_new = False
        self._created: list[Table] = []
        self._put: Callable[[Sequence[_Row]], None] | None = None

    def has(self, table: Table, parts: Iterable[tuple[str, ...]] = ()) -> bool:  # noqa: ARG002 -- it has no parts
        """Return whether the database has a table.

        Raises:
            StoreError: It cannot be read.
        """
        if not self._path.is_file():
            return False
        with self._explained():
            connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)
            try:
                return bool(_columns(connection, table.name))
            finally:
                connection.close()

    def begin(self, table: Table, *, whole: bool = True) -> None:
        """Go on with a table.

        Raises:
            StoreError: The database cannot be written, or has another table of that name.
        """
        with self._explained():
            run = self._opened().execute
            self._adopt(table)
            if whole and not self._is_new:
                run(f"DELETE FROM {quoted(table.name)}")  # noqa: S608 -- names of ours
        self._put = self._putter(table)

    def write(self, rows: Sequence[_Row]) -> None:
        """Take rows of the table begun last; each takes the place of the one of its key.

        Raises:
            StoreError: They cannot be written.
        """
        if self._put is None:
            raise ValueError("no table was begun")
        with self._explained():
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                self._put(rows[start : start + _ROWS_AT_ONCE])

    def finish(self) -> None:
        """Commit everything.

        Raises:
            StoreError: It cannot be written; everything is as it was before.
        """
        if self._connection is None:
            return
        try:
            with self._explained():
                for table in self._created:
                    for statement in _indices(table):
                        self._connection.execute(statement)
                self._connection.execute("COMMIT")
                if self._is_new:
                    self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.close()
            if self._is_new:
                self._clear()
                self._parts.publish(self._parts.path(DATABASE), self._path)
        finally:
            self.abort()

    def abort(self) -> None:
        """Leave everything as it was before."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        self._put = None
        self._created.clear()
        self._parts.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._parts.open()
            if self._path.is_symlink() and not self._path.exists():
                raise StoreError(f"{self._path}: it is a link that leads nowhere", fatal=True, hint="remove it")
            self._is_new = not self._path.exists()
            path = self._parts.path(DATABASE) if self._is_new else self._path
            self._connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            self._connection.executescript(_BESIDE if self._is_new else _IN_PLACE)
            if self._sync and not self._is_new:
                self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def _adopt(self, table: Table) -> None:
        """Make a table, or see that the one that is there can take the rows."""
        connection = self._opened()
        found = _columns(connection, table.name)
        if not found:
            connection.execute(creation(table))
            self._created.append(table)
            return
        with _memory() as model:
            model.execute(creation(table))
            wanted = _columns(model, table.name)
        if any(found.get(name) != about for name, about in wanted.items()) or _key(found) != _key(wanted):
            raise StoreError(
                f"{self._path}: its table {table.name} has other columns than these rows",
                fatal=True,
                hint="rename or drop that table, or choose another directory",
            )

    def _clear(self) -> None:
        """Remove the logs of a database that is gone: of another one SQLite would take them for its own."""
        with explained(self._path):
            for suffix in ("-wal", "-shm", "-journal"):
                self._path.with_name(DATABASE + suffix).unlink(missing_ok=True)

    def _putter(self, table: Table) -> Callable[[Sequence[_Row]], None]:
        put = self._opened().executemany
        statement, encoded = upsertion(table), encoder(table)

        def run(rows: Sequence[_Row]) -> None:
            values = encoded(rows)
            try:
                put(statement, values)
            except (UnicodeEncodeError, OverflowError):
                put(statement, map(storable, values))

        return run

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with explained(self._path):
                yield
        except sqlite3.Error as error:
            raise unusable(self._path, error) from None


@contextmanager
def _memory() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    try:
        yield connection
    finally:
        connection.close()


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, tuple[Any, ...]]:
    """Return a table's columns: of each the type, whether it may be null, and its place in the key."""
    found = connection.execute(f"PRAGMA table_info({quoted(table)})")
    return {name: (type_, not_null, place) for _, name, type_, not_null, _, place in found}


def _key(columns: dict[str, tuple[Any, ...]]) -> list[str]:
    return [name for name, (_, _, place) in columns.items() if place]


def _indices(table: Table) -> Iterable[str]:
    names = table.names
    wanted = [columns for columns in _INDICES if set(columns) <= set(names)]
    if table.date is not None:
        wanted.append((table.owner, table.date))
    for columns in wanted:
        if columns != table.key[: len(columns)]:
            name = quoted("_".join((table.name, "by", *columns)))
            yield f"CREATE INDEX IF NOT EXISTS {name} ON {quoted(table.name)} ({', '.join(map(quoted, columns))})"
