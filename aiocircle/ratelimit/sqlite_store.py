"""A SQLite file as the store of the processes of one host.

The host's monotonic clock is the time that they share. Every access is one short transaction in a thread of the
store's own. Nothing in the file need outlive a crash of the machine, so nothing waits for the disk.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from aiocircle.errors import ConfigurationError
from aiocircle.ratelimit.store import Kept, StoreLostError

T = TypeVar("T")

BUSY = 2.0  # seconds to wait for another process's transaction, which takes well under a millisecond
AGAIN = 0.005  # seconds between attempts to make a file that others are making too
KEEP = 3600.0  # seconds
PRIVATE = 0o600
SCHEMA = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=OFF;
CREATE TABLE IF NOT EXISTS aiocircle_budgets (
    key TEXT PRIMARY KEY, mark TEXT NOT NULL, text BLOB NOT NULL, written REAL NOT NULL
) WITHOUT ROWID;
"""
READ = "SELECT mark, text FROM aiocircle_budgets WHERE key = ?"
WRITE = "INSERT OR REPLACE INTO aiocircle_budgets VALUES (?, ?, ?, ?)"
FORGET = "DELETE FROM aiocircle_budgets WHERE written NOT BETWEEN ? AND ?"


class SQLiteStore:
    """Keeps texts in a SQLite file.

    Args:
        path: The file; made if it is not there, readable by its owner alone.
        now: The clock that all processes of the host share.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self.now = now
        self._path = path
        self._rows: sqlite3.Connection | None = None
        self._file: os.stat_result
        self._thread: ThreadPoolExecutor | None = None

    @property
    def name(self) -> str:
        """The file."""
        return f"the file {self._path}"

    async def open(self) -> None:
        """Open the file, anew if it was open.

        Raises:
            ConfigurationError: It is no SQLite file, or cannot be written.
        """
        await self._do(self._open)

    async def read(self, key: str) -> Kept:
        """Return what is kept."""
        return await self._do(lambda: self._read(self._opened(), key))

    async def swap(self, key: str, mark: str | None, new: Kept) -> Kept:
        """Keep ``new`` if what is kept bears ``mark``, and return what is kept then."""
        now = self.now()
        return await self._do(lambda: self._swap(self._opened(), key, mark, new, now))

    async def close(self) -> None:
        """Close the file and end the thread."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        closing = thread.submit(self._close)
        thread.shutdown(wait=False)  # it ends by itself after what was submitted
        await asyncio.shield(asyncio.wrap_future(closing))

    async def _do(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "aiocircle-limiter")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            raise StoreLostError(str(error)) from None

    # --- in the thread ---

    def _opened(self) -> sqlite3.Connection:
        if self._rows is None:
            raise StoreLostError("it is not open")
        try:
            found = self._path.stat()
        except FileNotFoundError:
            found = None
        if found is None or not os.path.samestat(found, self._file):
            # or we would go on in a file that nobody new can find, while the others share another
            raise StoreLostError("the file was removed")
        return self._rows

    def _open(self) -> None:
        self._close()
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
            self._file = os.fstat(file)
            os.close(file)
        except OSError as error:
            raise ConfigurationError(
                f"the limiter's file {self._path} cannot be used: {(error.strerror or '?').lower()}",
                hint="name a file that this user may write, in a folder that exists: sqlite:limits.db",
            ) from None
        rows = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(rows)
        except sqlite3.DatabaseError as error:
            rows.close()
            if "locked" in str(error):
                raise
            raise ConfigurationError(
                f"the limiter's file {self._path} cannot be used: {error}",
                hint="it must be a SQLite file in a folder that this user may write; name another, or remove it",
            ) from None
        self._rows = rows

    def _prepare(self, rows: sqlite3.Connection) -> None:
        """Make the table, and forget what is old.

        Of those who make a file's journal a WAL at the same moment SQLite refuses all but one at once, and never waits
        (a busy handler is not called where waiting might be a deadlock). So we do.
        """
        deadline = time.monotonic() + BUSY
        while True:
            try:
                rows.executescript(SCHEMA)
                rows.execute(FORGET, (self.now() - KEEP, self.now() + KEEP))
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            else:
                return
            time.sleep(AGAIN)

    def _close(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    @staticmethod
    def _read(rows: sqlite3.Connection, key: str) -> Kept:
        row = rows.execute(READ, (key,)).fetchone()
        return Kept(*row) if row else Kept()

    def _swap(self, rows: sqlite3.Connection, key: str, mark: str | None, new: Kept, now: float) -> Kept:
        rows.execute("BEGIN IMMEDIATE")
        try:
            kept = self._read(rows, key)
            if kept.mark == mark:
                rows.execute(WRITE, (key, new.mark, new.text, now))
                kept = new
            rows.execute("COMMIT")
        except BaseException:
            rows.rollback()
            raise
        return kept
