"""Files on their way: where they lie until they are complete.

They are written in ``.aiocircle/sinks/{format}`` of the directory that they go to, on the same file system, and get
their final names by renaming. A lock keeps two writers of one format from one directory; it goes with its process,
and whoever takes it next removes what a killed one left. With the last part the place itself goes.
"""

import errno
import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiocircle.errors import StoreError
from aiocircle.export.sinks.refusals import explained

OWN: Final = (".aiocircle", "sinks")
_LOCK: Final = "lock"


class Parts:
    """The place for the unfinished files of one format.

    Args:
        directory: Where the finished ones go; made if need be.
        format: The format's name.
        sync: Flush each file to the disk before it gets its name, against loss of power.
    """

    def __init__(self, directory: Path, format: str, *, sync: bool = False) -> None:  # noqa: A002 -- the field's word
        self.directory = directory
        self._components = (*OWN, format)
        self._root = directory.joinpath(*self._components)
        self._sync = sync
        self._handle = -1

    @property
    def is_open(self) -> bool:
        """Whether the place is there and ours."""
        return self._handle >= 0

    def open(self) -> None:
        """Make the place, take its lock, and remove what is in it; nothing if it is open.

        Raises:
            StoreError: It cannot be made, or another process is using it.
        """
        if self.is_open:
            return
        with explained(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            while self._handle < 0:
                self._make()
                self._handle = self._locked()
            try:
                for found in self._root.iterdir():
                    if found.name != _LOCK:
                        _remove(found)
            except BaseException:
                self.close()
                raise

    def path(self, name: str) -> Path:
        """Return where an unfinished file or directory of a name lies."""
        return self._root / name

    def publish(self, part: Path, final: Path) -> None:
        """Give a complete file its final name, in place of what has it.

        Raises:
            StoreError: The disk refused.
        """
        with explained(final):
            if self._sync:
                _flush(part)
            try:
                part.replace(final)
            except FileNotFoundError:
                final.parent.mkdir(parents=True, exist_ok=True)
                part.replace(final)
            if self._sync:
                _flush(final.parent)

    def close(self) -> None:
        """Remove what is unfinished, and the place; never fails."""
        if not self.is_open:
            return
        shutil.rmtree(self._root, ignore_errors=True)
        place = self._root.parent
        while place != self.directory:
            with suppress(OSError):
                place.rmdir()
            place = place.parent
        os.close(self._handle)
        self._handle = -1

    def _make(self) -> None:
        place = self.directory
        for component in self._components:
            place /= component
            if place.is_symlink():
                raise StoreError(f"{place}: it is a link, and might lead anywhere", fatal=True, hint="remove it")
            place.mkdir(exist_ok=True)

    def _locked(self) -> int:
        """Return the handle of the lock, or -1 if the place was removed meanwhile by whoever had it."""
        lock = self._root / _LOCK
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            return -1
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), lock.lstat()):
                return handle
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(handle)
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
            raise StoreError(
                f"another process is writing {self._components[-1]} to {self.directory}",
                fatal=True,
                hint="wait for it to end, or choose another directory",
            ) from None
        os.close(handle)
        return -1


def _remove(found: Path) -> None:
    if found.is_dir() and not found.is_symlink():
        shutil.rmtree(found)
    else:
        found.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
