"""The durable record of what lies complete in an output, so that the same command again fetches only the rest.

One SQLite file, ``.aiocircle/ledger.sqlite``; a row per final name: whose bytes these are, and how many. A file
counts as complete when its row names the same artifact and its size on disk is the one recorded. Rows are written in
batches behind the renames, so a kill may lose the last of them: those files are fetched again, which is safe.
No address, token or signature is recorded.
"""

import sqlite3
import threading
from pathlib import Path
from typing import Self

from aiocircle.download.paths import SafePath
from aiocircle.errors import StoreError

VERSION = 1
BATCH = 200
SCHEMA = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS files (target TEXT PRIMARY KEY, artifact TEXT NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;
"""


class Ledger:
    """The record of one output directory. All methods block; several threads may call them at once.

    Raises:
        StoreError: The file is not a ledger, or cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "ledger.sqlite"
        self._pending: list[tuple[str, str, int]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._path.is_symlink():
            raise self._unusable("it is a link, and might lead anywhere")
        try:
            self._rows = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        try:
            self._rows.executescript(SCHEMA)
            (version,) = self._rows.execute("PRAGMA user_version").fetchone()
            self._empty = self._rows.execute("SELECT 1 FROM files LIMIT 1").fetchone() is None
            self._rows.execute(f"PRAGMA user_version={max(version, VERSION)}")
        except sqlite3.Error as error:
            self._rows.close()
            raise self._unusable(error) from None
        if version > VERSION:
            self._rows.close()
            raise self._unusable("it was written by a newer version of aiocircle")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.flush()
        finally:
            self._rows.close()

    @property
    def was_empty(self) -> bool:
        """Whether nothing was recorded when it was opened: then nothing needs to be looked up."""
        return self._empty

    @property
    def is_empty(self) -> bool:
        """Whether it had no rows when it was opened, so that nothing need be looked up."""
        return self._empty

    def size_of(self, target: SafePath, artifact: str) -> int | None:
        """Return the bytes that an artifact has at a final name if it was completed there, else ``None``."""
        if self._empty:
            return None
        query = "SELECT size FROM files WHERE target = ? AND artifact = ?"
        try:
            with self._lock:
                row = self._rows.execute(query, (str(target), artifact)).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        return None if row is None else int(row[0])

    def add(self, target: SafePath, artifact: str, size: int) -> None:
        """Record a file that now stands complete under its final name."""
        with self._lock:
            self._pending.append((str(target), artifact, size))
            if len(self._pending) >= BATCH:
                self._flush()

    def flush(self) -> None:
        """Write what is pending."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        try:
            self._rows.execute("BEGIN")
            self._rows.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", self._pending)
            self._rows.execute("COMMIT")
        except sqlite3.Error as error:
            self._rows.rollback()
            raise self._unusable(error) from None
        self._pending.clear()

    def _unusable(self, why: object) -> StoreError:
        hint = "remove the file to begin anew, or choose another output (-o)"
        return StoreError(f"{self._path}: {why}", fatal=True, hint=hint)
