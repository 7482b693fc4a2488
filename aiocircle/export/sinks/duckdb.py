"""DuckDB: a database ``export.duckdb``, of which each finish changes all tables in one transaction, or none.

Rows are gathered in a database of their own beside the final one. The first time it gets the name; later a single
transaction takes the rows over from it, each in place of the one of its key. So the final database is open for as long
as that takes and no longer: DuckDB lets no other process read meanwhile. What others have added to it stays: tables,
views, indices, and further columns.

Keys are kept by this module and are not declared: DuckDB holds the index of a primary key in memory as a whole, some
200 bytes for each of our rows whenever any is written. Without it, and with DuckDB's limit of memory, a table may be
larger than the memory.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from aiocircle.errors import ConfigurationError, StoreError
from aiocircle.export.records import quoted
from aiocircle.export.sinks import Finishing, Grain
from aiocircle.export.sinks.duckdb_rows import CsvRows, type_of
from aiocircle.export.sinks.parts import Parts
from aiocircle.export.sinks.refusals import explained
from aiocircle.export.tables import Table
from aiocircle.extras import load_extra

DATABASE: Final = "export.duckdb"
MEMORY_MIB: Final = 16
_TIMES_MORE: Final = (1, 2, 4, 8, 16, 64)  # memory for what cannot be done in less
_ROWS_AT_ONCE: Final = 1000  # as text they are about half a MiB
_WAITING_BYTES: Final = 2 * 1024 * 1024  # of text

_Row = tuple[Any, ...]
_Result = TypeVar("_Result")


class _Database:
    """A database, opened again with more memory when there is too little."""

    def __init__(self, duckdb: Any, path: Path, spilled: Path, memory_mib: int) -> None:
        self._duckdb = duckdb
        self._path = path
        self._settings = {
            "threads": "1",  # each takes memory of its own
            "temp_directory": str(spilled),
            "autoinstall_known_extensions": "false",  # nothing here needs any, and none shall be fetched
            "autoload_known_extensions": "false",
        }
        self._limits = [times * memory_mib for times in _TIMES_MORE]
        self._connection: Any = None

    def run(self, work: Callable[[Any], _Result], *, read_only: bool = False) -> _Result:
        """Do something with a connection, which is undone by closing it."""
        while True:
            if self._connection is None:
                settings = {**self._settings, "memory_limit": f"{self._limits[0]}MiB"}
                path = str(self._path.absolute())  # or a tilde would lead to a home
                self._connection = self._duckdb.connect(path, read_only=read_only, config=settings)
            try:
                return work(self._connection)
            except self._duckdb.Error as error:
                # Also where it is a transaction that could not be committed. What was deleted in one is not always
                # there again after a rollback, only in another connection.
                if len(self._limits) == 1 or "memory limit" not in str(error).lower():
                    raise
                self.close()
                del self._limits[0]

    def close(self) -> None:
        """Close it; never fails."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(self._duckdb.Error):
                connection.close()


class DuckDB(Finishing):
    """A database ``export.duckdb``.

    Args:
        directory: Where it goes; made if need be.
        memory_mib: MiB that DuckDB may use for itself. What does not fit goes to the disk; where that does not help,
            it is tried again with more.
        sync: Flush the first database to the disk before it gets its name; DuckDB does that by itself for changes.

    Raises:
        ConfigurationError: The package is not installed, or DuckDB could not open a file of that name.
    """

    grain: Grain = "row"

    def __init__(self, directory: str | Path, *, memory_mib: int = MEMORY_MIB, sync: bool = False) -> None:
        self._duckdb = load_extra("duckdb", what="writing a DuckDB database", extra="duckdb")
        whole = str(Path(directory).absolute())
        is_text = whole == whole.encode(errors="replace").decode()
        if "?" in whole or not is_text:
            what = "has a question mark" if is_text else "is no Unicode text"
            raise ConfigurationError(
                f"{directory}: DuckDB opens no file whose path {what}", hint="choose another directory"
            )
        self._parts = Parts(Path(directory), "duckdb", sync=sync)
        self._path = Path(directory) / DATABASE
        self._memory_mib = memory_mib
        self._gathered = self._database(self._parts.path(DATABASE))
        self._begun: list[tuple[Table, bool]] = []
        self._rows: CsvRows | None = None
        self._waiting: list[bytes] = []
        self._size = 0

    def has(self, table: Table, parts: Iterable[tuple[str, ...]] = ()) -> bool:  # noqa: ARG002 -- it has no parts
        """Return whether the database has a table.

        Raises:
            StoreError: It cannot be read, or another program has it open.
        """
        return bool(self._columns(table))

    def begin(self, table: Table, *, whole: bool = True) -> None:
        """Go on with a table.

        Raises:
            StoreError: The database cannot be written, or has another table of that name.
        """
        self._flush()
        self._parts.open()
        known = self._columns(table)
        with self._explained():
            self._gathered.run(lambda connection: connection.execute(_creation(table)))
            wanted = self._gathered.run(lambda connection: _columns(connection, table))
        if known and any(known.get(name) != type_ for name, type_ in wanted.items()):
            raise StoreError(
                f"{self._path}: its table {table.name} has other columns than these rows",
                fatal=True,
                hint="rename or drop that table, or choose another directory",
            )
        self._begun.append((table, whole))
        self._rows = CsvRows(table)

    def write(self, rows: Sequence[_Row]) -> None:
        """Take rows of the table begun last; each takes the place of the one of its key.

        Raises:
            StoreError: They cannot be written.
        """
        if self._rows is None:
            raise ValueError("no table was begun")
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            text = self._rows.text(rows[start : start + _ROWS_AT_ONCE])
            self._waiting.append(text)
            self._size += len(text)
            if self._size >= _WAITING_BYTES:
                self._flush()

    def finish(self) -> None:
        """Make everything visible.

        Raises:
            StoreError: It cannot be written; everything is as it was before.
        """
        if not self._begun:
            return
        try:
            self._flush()
            with self._explained():
                for table, _ in self._begun:
                    self._gathered.run(lambda connection, table=table: _single_out(connection, table))  # type: ignore[misc]
                self._gathered.run(lambda connection: connection.execute("CHECKPOINT"))
            self._gathered.close()
            if self._path.exists():
                self._merge()
            else:
                with explained(self._path):
                    self._path.with_name(f"{DATABASE}.wal").unlink(missing_ok=True)  # of one that was removed
                self._parts.publish(self._parts.path(DATABASE), self._path)
        finally:
            self.abort()

    def abort(self) -> None:
        """Leave everything as it was before."""
        self._gathered.close()
        self._gathered = self._database(self._parts.path(DATABASE))
        self._rows = None
        self._waiting, self._size = [], 0
        self._begun.clear()
        self._parts.close()

    def _flush(self) -> None:
        """Insert what waits."""
        if not self._waiting:
            return
        assert self._rows is not None
        table, _ = self._begun[-1]
        file = self._parts.path(f"{table.name}.csv")
        with explained(self._path), file.open("wb", buffering=0) as stream:
            stream.writelines(self._waiting)
        statement = f"INSERT INTO {quoted(table.name)} {self._rows.query(file, self._size)}"
        with self._explained():
            # Not in a transaction of many, which would keep all of their rows in memory until its end.
            self._gathered.run(lambda connection: connection.execute(statement))
        self._waiting, self._size = [], 0

    def _merge(self) -> None:
        """Take all rows over, in one transaction."""
        statements = [one for table, whole in self._begun for one in _takeover(table, whole=whole)]
        gathered = str(self._parts.path(DATABASE).absolute()).replace("'", "''")

        def merge(connection: Any) -> None:
            connection.execute(f"ATTACH '{gathered}' AS _gathered (READ_ONLY)")
            connection.execute("BEGIN")
            for statement in statements:
                connection.execute(statement)
            connection.execute("COMMIT")

        final = self._database(self._path)
        try:
            with self._explained():
                final.run(merge)
        finally:
            final.close()

    def _columns(self, table: Table) -> dict[str, str]:
        """Return the types of a table's columns in the final database; none if it is not there."""
        if not self._path.exists():
            return {}
        final = self._database(self._path)
        try:
            with self._explained():
                return final.run(lambda connection: _columns(connection, table), read_only=True)
        finally:
            final.close()

    def _database(self, path: Path) -> _Database:
        return _Database(self._duckdb, path, self._parts.path("spilled"), self._memory_mib)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with explained(self._path):
                yield
        except self._duckdb.Error as error:
            raise _unusable(self._path, str(error)) from None


def _columns(connection: Any, table: Table) -> dict[str, str]:
    query = (
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = 'main' AND table_name = ?"
    )
    return dict(connection.execute(query, [table.name]).fetchall())


def _creation(table: Table) -> str:
    columns = [f"{quoted(one.name)} {type_of(one)}{'' if one.optional else ' NOT NULL'}" for one in table.columns]
    return f"CREATE TABLE IF NOT EXISTS {quoted(table.name)} ({', '.join(columns)})"


def _takeover(table: Table, *, whole: bool) -> Iterator[str]:
    """Yield the statements that take a table's rows over from the database in which they were gathered."""
    name, gathered = quoted(table.name), f"_gathered.{quoted(table.name)}"
    yield _creation(table)
    if whole:
        yield f"DELETE FROM {name}"  # noqa: S608 -- names of ours
    else:
        same = " AND ".join(f"{name}.{quoted(one)} = _new.{quoted(one)}" for one in table.key)
        yield f"DELETE FROM {name} USING {gathered} AS _new WHERE {same}"  # noqa: S608
    columns = ", ".join(map(quoted, table.names))
    yield f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {gathered}"  # noqa: S608


def _single_out(connection: Any, table: Table) -> None:
    """Remove all but the last of rows with the same key."""
    name, key = quoted(table.name), ", ".join(map(quoted, table.key))
    # Digests first, since keys are long and those that come twice are few.
    twice = f"SELECT hash({key}) FROM {name} GROUP BY 1 HAVING count(*) > 1"  # noqa: S608 -- names of ours
    connection.execute(f"CREATE OR REPLACE TEMP TABLE _twice AS {twice}")
    if connection.execute("SELECT count(*) FROM _twice").fetchone()[0]:
        numbered = (
            f"SELECT rowid, row_number() OVER (PARTITION BY {key} ORDER BY rowid DESC) AS place "  # noqa: S608
            f"FROM {name} WHERE hash({key}) IN (FROM _twice)"
        )
        earlier = f"SELECT rowid FROM ({numbered}) WHERE place > 1"  # noqa: S608
        connection.execute(f"DELETE FROM {name} WHERE rowid IN ({earlier})")  # noqa: S608


_REASONS: Final = (
    ("could not set lock", "another program has it open", "close whatever has it open, and try again"),
    ("different configuration", "this program has it open", "close that connection first"),
    ("not a valid duckdb", "this is no DuckDB database", "move the file away, or choose another directory"),
    ("no space left", "no space left on device", "free some space and try again: what was there before is kept"),
    ("read-only file system", "read-only file system", "choose a directory on a file system that can be written to"),
    ("permission denied", "permission denied", "may this user write there?"),
    ("memory limit", "DuckDB's limit of memory does not suffice", "give it more with memory_mib"),
)


def _unusable(path: Path, words: str) -> StoreError:
    for sign, reason, hint in _REASONS:
        if sign in words.lower():
            return StoreError(f"{path}: {reason}", fatal=True, hint=hint)
    reason = re.sub(r"^.*? Error: ", "", words.strip().splitlines()[0])
    hint = "move the file away to begin anew, or choose another directory"
    return StoreError(f"{path}: {reason}", fatal=True, hint=hint)
