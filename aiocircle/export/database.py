"""The SQLite file of a state, in which everything that goes wrong is a sentence.

One process at a time: the lock is SQLite's own and ends with the process. A loss of power may cost the last commits,
never the database (``synchronous=NORMAL``).
"""

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from aiocircle.errors import StoreError
from aiocircle.export.sinks.refusals import explained

Values = Sequence[Any] | Mapping[str, Any]

_PRAGMAS: Final = """
PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=4000;
PRAGMA cache_size=-8192; PRAGMA temp_store=FILE;
"""
_REASONS: Final = {
    sqlite3.SQLITE_BUSY: "another export writes to this output",
    sqlite3.SQLITE_NOTADB: "this is not the state of an export",
    sqlite3.SQLITE_CORRUPT: "the state of this export is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
}
_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "wait for its end, or choose another output with -o",
    sqlite3.SQLITE_NOTADB: "choose another output with -o",
    sqlite3.SQLITE_CORRUPT: "keep the files that lie there, and begin anew with another output: -o",
    sqlite3.SQLITE_FULL: "free some space and run the same command again: what was collected is kept",
    sqlite3.SQLITE_IOERR: "is the disk full or broken? run the same command again when it is not",
    sqlite3.SQLITE_READONLY: "choose an output on a file system that can be written to",
    sqlite3.SQLITE_CANTOPEN: "may this user write there, and are there open files left (ulimit -n)?",
}


class Database:
    """A SQLite file that is made where there is none. Everything blocks; use it in one thread at a time.

    Args:
        path: The file.

    Raises:
        StoreError: It cannot be written, or another process uses it; so of every method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(path.parent, os.W_OK):  # SQLite would speak of the disk, or of opening a file
                number = errno.EROFS if os.statvfs(path.parent).f_flag & os.ST_RDONLY else errno.EACCES
                raise OSError(number, os.strerror(number))
            self._connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                self._connection.executescript(_PRAGMAS)
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close it."""
        with self._explained():
            self._connection.close()

    def run(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Carry out a statement, and return all rows that it gives."""
        with self._explained():
            return self._connection.execute(statement, values).fetchall()

    def many(self, statement: str, values: Iterable[Values]) -> None:
        """Carry out a statement for each of several values."""
        with self._explained():
            self._connection.executemany(statement, values)

    def parts(self, query: str, values: Values, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query, so many at a time."""
        with self._explained():
            cursor = self._connection.execute(query, values)
            while found := cursor.fetchmany(size):
                yield found

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done meanwhile, all of it or none."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # SQLite may have rolled it back itself, as on a full disk
                self.run("ROLLBACK")
            raise
        self.run("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with explained(self._path.parent):
                yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise StoreError(f"{self._path}: {_REASONS.get(code, str(error))}", hint=_HINTS.get(code)) from None
