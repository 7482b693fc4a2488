"""What disks and formats refuse, in words."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from aiocircle.download import stores
from aiocircle.errors import StoreError

_ELSE: Final = "move the file away to begin anew, or choose another directory"


@contextmanager
def explained(what: Path) -> Iterator[None]:
    """Turn what the system refuses into a ``StoreError`` of one sentence."""
    with stores.explained(str(what), fatal=True, hints=_SYSTEM_HINTS):
        yield


def unusable(path: Path, error: sqlite3.Error) -> StoreError:
    """Return the error of an SQLite database, in words."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # what lies above it says more than is needed
    return StoreError(f"{path}: {_REASONS.get(code, error)}", fatal=True, hint=_HINTS.get(code, _ELSE))


_SYSTEM_HINTS: Final = {
    **stores.HINTS,
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENAMETOOLONG: "this file system allows shorter names only; choose another output",
}
_REASONS: Final = {
    sqlite3.SQLITE_BUSY: "another program is writing to it",
    sqlite3.SQLITE_NOTADB: "this is no SQLite database",
    sqlite3.SQLITE_CORRUPT: "this database is damaged",
    sqlite3.SQLITE_FULL: "no space left on device",
    sqlite3.SQLITE_READONLY: "it may not be written to",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
}
_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "close whatever has it open, and try again",
    sqlite3.SQLITE_FULL: "free some space and try again: what was there before is kept",
    sqlite3.SQLITE_IOERR: "is the disk full or broken? try again when it is not",
    sqlite3.SQLITE_READONLY: "may this user write there, and is the file system writable?",
    sqlite3.SQLITE_CANTOPEN: "may this user write there, and are there open files left (ulimit -n)?",
}
