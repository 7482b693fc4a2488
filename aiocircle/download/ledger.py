"""The durable record of a download: what lies complete in an output, where it comes from, and what could not be had.

One SQLite file, ``.aiocircle/ledger.sqlite``. A row of ``files`` per final name: whose bytes these are, how many, their
SHA-256, the host's validator, and when. A row of ``failures`` per artifact that could not be had, until it is.
No query of an address, no token and no signature is recorded.

A kill must not cost a finished file, nor may it make a file count that is not finished. So the row comes first, with
the number of the inode that is about to be renamed (`Ledger.announce`); after the rename the number is cleared, in
batches, since that may be lost. Whoever opens the ledger next finds rows with a number: if the file under that name is
that inode the rename took place, and else the row is removed. If it had come in the place of another one, that one is
there again, since its file still has the name; triggers see to it. A row costs 20 µs in SQLite's write-ahead log, which
survives a kill; against a loss of power it is no older than the file (``synchronous=NORMAL``).

A file counts as complete when its row names the same artifact and its size on disk is the one recorded.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from aiocircle.download.paths import SafePath
from aiocircle.download.records import (
    FIRST_VERSION,
    LAYOUTS_ONLY,
    LEDGER,
    SCHEMA,
    SOURCE_COLUMNS,
    VERSION,
    Failed,
    Source,
    Stored,
    values_of,
)
from aiocircle.download.stores import has_inode
from aiocircle.errors import ConfigurationError, StoreError

BATCH = 200
IsNamed = Callable[[str, int, int, str | None], bool]
PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=4000;"


def _insertion(table: str, key: str, *more: str) -> str:
    columns = [key, *more, *SOURCE_COLUMNS]
    updated = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
    places = ", ".join("?" * len(columns))
    # The row keeps its place, unlike with REPLACE: the order is that in which things were first seen.
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) ON CONFLICT ({key}) DO UPDATE SET {updated}"  # noqa: S608 -- names of ours


ADD_FILE = _insertion("files", "target", "artifact", "size", "validator", "sha256", "began", "ended", "inode")
ADD_FAILURE = _insertion("failures", "artifact", "target", "code", "reason", "ended", "choice")


# The file is as it should be, and what it lies on refuses: it shall not be removed.
HINTS = {
    sqlite3.SQLITE_FULL: "free some space and run the same command again: what is complete is kept",
    sqlite3.SQLITE_IOERR: "is the disk full or broken? run the same command again when it is not",
    sqlite3.SQLITE_READONLY: "choose an output on a file system that can be written to",
    sqlite3.SQLITE_CANTOPEN: "may this user write there, and are there open files left (ulimit -n)?",
}


class Ledger:
    """The record of one output directory. Several threads may use it at once. All but ``fail`` and ``resolve`` block.

    Args:
        directory: Where it lies: the downloader's own directory, in the output if that is a directory.
        is_named: Tells whether a file got its name, given that, its size, the inode announced and its SHA-256; by
            default a file below the parent of ``directory``.

    Raises:
        StoreError: The file is not a ledger, or cannot be written.
    """

    def __init__(self, directory: Path, is_named: IsNamed | None = None) -> None:
        self._path = directory / LEDGER
        self._is_named = is_named or _below(directory.parent)
        self._confirmed: list[str] = []
        self._failed: deque[Failed] = deque()
        self._resolved: deque[str] = deque()
        self._has_failures = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._path.is_symlink():
            raise self._unusable("it is a link, and might lead anywhere")
        if self._path.is_dir():
            raise self._unusable("it is a directory")
        with self._explained():
            self._rows = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            with self._explained():
                self._prepare()
                self._settle()
                self._empty = self._rows.execute("SELECT 1 FROM files LIMIT 1").fetchone() is None
                self._has_failures = self._rows.execute("SELECT 1 FROM failures LIMIT 1").fetchone() is not None
        except BaseException:
            self._rows.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.flush()
        finally:
            self._rows.close()

    @property
    def is_empty(self) -> bool:
        """Whether it had no rows when it was opened, so that nothing need be looked up."""
        return self._empty

    def size_of(self, target: SafePath, artifact: str) -> int | None:
        """Return the bytes that an artifact has at a final name if it was completed there, else ``None``."""
        if self._empty:
            return None
        query = "SELECT size FROM files WHERE target = ? AND artifact = ? AND inode IS NULL"
        with self._lock, self._explained():
            row = self._rows.execute(query, (str(target), artifact)).fetchone()
        return None if row is None else int(row[0])

    def begin(self, origin: str, intent: str) -> None:
        """Record what a run fetches from one API: another one's jobs of the same numbers would be taken for its own.

        Raises:
            ConfigurationError: It has files of another one.
        """
        with self._lock, self._explained():
            row = self._rows.execute("SELECT value FROM about WHERE name = 'origin'").fetchone()
            if row is not None and row[0] != origin and self._empty:
                self._rows.execute("DELETE FROM failures")  # of whom was asked by mistake, say
                self._has_failures = False
        if row is not None and row[0] != origin and not self._empty:
            what = f"{self._path.parent} holds records of files of {row[0]}, and this download is of {origin}"
            raise ConfigurationError(what, hint="choose a new output with -o")
        self.about(origin=origin, finished="no", intent=intent)

    def about(self, **values: str) -> None:
        """Record something of the download as a whole."""
        with self._lock, self._explained():
            self._rows.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", values.items())

    @contextmanager
    def naming(self, stored: Stored) -> "Iterator[Naming]":
        """Record a file around the moment in which it gets its name, so that no kill can come in between.

        What is yielded must be ``announce``d before the rename. If the body raises, nothing is recorded.
        """
        naming = Naming(self, stored)
        try:
            yield naming
        except BaseException:
            if naming.announced:
                self.withdraw([stored.target])
            raise
        self.confirm([stored.target])

    def add(self, stored: Stored) -> None:
        """Record a file that stands complete under its final name already."""
        self.announce([(stored, None)])

    def fail(self, failed: Failed) -> None:
        """Note what could not be had; waits for nothing, and is written with the next batch."""
        self._failed.append(failed)

    def resolve(self, *keys: str) -> None:
        """Note that what failed once has been had; waits for nothing either."""
        if self._has_failures:
            self._resolved.extend(keys)

    def flush(self) -> None:
        """Write what is pending."""
        with self._lock:
            self._flush()

    def announce(self, files: Sequence[tuple[Stored, int | None]]) -> None:
        """Record files in one transaction; those with the number of an inode are still to be renamed."""
        rows = [
            (
                *(stored.target, stored.source.identity, stored.size, stored.validator, stored.sha256),
                *(stored.began, stored.ended, inode),
                *values_of(stored.source),
            )
            for stored, inode in files
        ]
        with self._lock, self._explained(), self._rows:
            self._rows.execute("BEGIN IMMEDIATE")
            self._rows.executemany(ADD_FILE, rows)
            if self._has_failures:
                self._rows.executemany("DELETE FROM failures WHERE artifact = ?", [(row[1],) for row in rows])

    def confirm(self, targets: Iterable[str]) -> None:
        """Note that files have their names; it is written with the next batch."""
        with self._lock:
            self._confirmed.extend(targets)
            if len(self._confirmed) >= BATCH:
                self._flush()

    def withdraw(self, targets: Sequence[str]) -> None:
        """Record that announced files did not get their names."""
        if targets:
            with self._lock, self._explained():
                statement = "DELETE FROM files WHERE target = ? AND inode IS NOT NULL"
                self._rows.executemany(statement, [(target,) for target in targets])

    def _flush(self) -> None:
        failed = [self._failed.popleft() for _ in range(len(self._failed))]
        resolved = [self._resolved.popleft() for _ in range(len(self._resolved))]
        if not self._confirmed and not failed and not resolved:
            return
        try:
            self._rows.execute("BEGIN IMMEDIATE")
            self._rows.executemany(
                "UPDATE files SET inode = NULL WHERE target = ?", [(one,) for one in self._confirmed]
            )
            self._rows.executemany("DELETE FROM failures WHERE artifact = ?", [(one,) for one in resolved])
            self._rows.executemany(ADD_FAILURE, map(_failure_row, failed))
            self._rows.execute("COMMIT")
        except sqlite3.Error as error:
            self._rows.rollback()
            self._failed.extendleft(reversed(failed))
            self._resolved.extendleft(resolved)
            raise self._unusable(error) from None
        self._has_failures = self._has_failures or bool(failed)
        self._confirmed.clear()

    def _prepare(self) -> None:
        """Make the tables, or bring those of an older version into today's form; a newer one is left alone."""
        (version,) = self._rows.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise self._unusable("it was written by a newer version of aiocircle")
        columns = tuple(row[1] for row in self._rows.execute("PRAGMA table_info(files)"))
        self._rows.executescript(PRAGMAS)
        if columns == FIRST_VERSION:
            self._adopt()
        else:
            if version == LAYOUTS_ONLY:
                self._rows.execute("ALTER TABLE failures RENAME COLUMN layout TO choice")
            self._rows.executescript(SCHEMA)
            self._rows.execute("SELECT artifact, inode FROM files LIMIT 1")  # or these are other tables of these names
        self._rows.execute(f"PRAGMA user_version={VERSION}")

    def _adopt(self) -> None:
        rows = self._rows.execute("SELECT target, artifact, size FROM files ORDER BY target").fetchall()
        self._rows.executescript(f"BEGIN IMMEDIATE; DROP TABLE files; {SCHEMA}")
        try:
            for target, artifact, size in rows:
                values = target, artifact, size, None, None, None, None, None
                self._rows.execute(ADD_FILE, (*values, *values_of(Source.of_identity(artifact))))
            self._rows.execute("COMMIT")
        except sqlite3.Error:
            self._rows.rollback()
            raise

    def _settle(self) -> None:
        """Decide on the files of a killed run that were about to get their names."""
        query = "SELECT target, size, inode, sha256 FROM files WHERE inode IS NOT NULL"
        self._rows.execute("BEGIN IMMEDIATE")
        for target, *announced in self._rows.execute(query).fetchall():
            if self._is_named(target, *announced):
                self._rows.execute("UPDATE files SET inode = NULL WHERE target = ?", (target,))
            else:
                self._rows.execute("DELETE FROM files WHERE target = ?", (target,))
        self._rows.execute("DELETE FROM replaced")
        self._rows.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, why: object) -> StoreError:
        code = getattr(why, "sqlite_errorcode", 0) & 0xFF  # what lies above it says more than is needed
        hint = HINTS.get(code, "remove the file to begin anew, or choose another output (-o)")
        return StoreError(f"{self._path}: {why}", fatal=True, hint=hint)


class Naming:
    """A file that is about to get its name."""

    def __init__(self, ledger: Ledger, stored: Stored) -> None:
        self._ledger = ledger
        self._stored = stored
        self.announced = False

    def announce(self, inode: int) -> None:
        """Record it, before the rename of the file with this number."""
        self._ledger.announce([(self._stored, inode)])
        self.announced = True


def _failure_row(failed: Failed) -> tuple[object, ...]:
    return failed.key, failed.target, failed.code, failed.reason, failed.ended, failed.choice, *values_of(failed.source)


def _below(root: Path) -> IsNamed:
    return lambda target, size, inode, _sha256: has_inode(root / target, size, inode)
