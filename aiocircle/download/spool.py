"""Files while they are being written: what all stores have in common.

They lie in ``parts`` of the downloader's own directory, on the same file system as a local output. A lock keeps two
runs from one output. What a killed run left is continued by the next one, or removed (`aiocircle.download.parts`).
"""

import errno
import fcntl
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from aiocircle.download.parts import OLD_FILE, KeptParts, Part
from aiocircle.download.paths import SafePath
from aiocircle.download.stores import Chunks, Staged, explained
from aiocircle.errors import StoreError, UnsafePathError

PARTS = "parts"
MOST_CHUNKS = 512  # in one call; systems take 1024
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Spool:
    """The parts of an output, and its lock.

    Args:
        output: The output, in words.
        own: The downloader's own directory, of which ``parts`` is one.
        sync: Flush each file to the disk before it gets its name, against loss of power.
    """

    at_once = 4
    is_remote = False
    takes_ranges = False

    def __init__(self, output: str, own: Path, *, sync: bool = False) -> None:
        self.output = output
        self.kept = KeptParts()
        self._own = own
        self._sync = sync
        self._parts_handle = -1
        self._lock_handle = -1
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        """Make the directory, take the lock, and see what a killed run left.

        Raises:
            StoreError: It cannot be made or written to, or another run is using it.
        """
        with explained(self.output, fatal=True):
            self._own.mkdir(parents=True, exist_ok=True)
            own = os.open(self._own, DIRECTORY)
        try:
            with explained(self.output, fatal=True):
                self._open_parts(own)
        except BaseException:
            self._close()
            raise
        finally:
            os.close(own)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def own_directory(self) -> Path:
        """Where the downloader keeps its records."""
        return self._own

    def finish(self) -> None:
        """Note that a run has come to its end; files that have their names need nothing more."""

    def hurry(self) -> None:
        """Note that a run ends early; a disk is waited for all the same."""

    def holds_case(self) -> bool:
        """Tell that names which differ in letter case only are different files; where a disk decides, it is asked."""
        return True

    def stage(self, target: SafePath, chunks: Chunks, sha256: str = "") -> Staged:
        """Take a whole file; its bytes stay in memory until it is published."""
        return Staged(target, chunks=chunks, sha256=sha256)

    def discard_staged(self, staged: Staged) -> None:
        """Forget a file that is not going to be published."""

    def begin(self, part: Part) -> None:
        """Open a part; it must be committed, kept or discarded."""
        with explained(str(self._own)):
            part.descriptor = os.open(part.name, NEW_FILE, 0o666, dir_fd=self._parts_handle)

    def resume(self, part: Part) -> None:
        """Open a part that was kept, to go on behind its end; it must be committed, kept or discarded."""
        with explained(str(self._own)):
            part.descriptor = os.open(part.name, os.O_WRONLY | os.O_APPEND | OLD_FILE, dir_fd=self._parts_handle)

    def keep(self, part: Part) -> None:
        """Close a part that can be continued, for a later attempt or a later run."""
        with suppress(OSError):
            part.close()
        self.kept.keep(part.name)

    def append(self, part: Part, target: SafePath, chunks: Chunks) -> None:
        """Write more of a part, as many chunks with one call as the system takes, and take them into its digest."""
        with explained(str(target)):
            write_chunks(part.descriptor, chunks)
        part.take(chunks)

    def aside(self) -> int:
        """Open a file without a name, for bytes whose turn comes later.

        Raises:
            StoreError: The disk refused.
        """
        name = self._new_name()
        with explained(str(self._own)):
            descriptor = os.open(name, NEW_FILE ^ os.O_WRONLY | os.O_RDWR, 0o600, dir_fd=self._parts_handle)
        self._remove(name)
        return descriptor

    def discard(self, part: Part) -> None:
        """Remove a part; one that was committed is left alone."""
        with suppress(OSError):
            part.close()
        self._remove(part.name)
        self.kept.forget(part.name)

    def _new_name(self) -> str:
        return f"w{next(self._numbers):x}"  # the lock is ours, and what others left under such a name is gone

    def _sealed(self, part: Part, target: SafePath, size: int) -> os.stat_result:
        """Close a complete part, and return what the system says of it; raises ``OSError`` as it comes."""
        found = os.fstat(part.descriptor)
        if found.st_size != size:
            raise StoreError(f"{target}: the disk did not take all bytes", fatal=True)
        if self._sync:
            os.fsync(part.descriptor)
        part.close()
        return found

    @contextmanager
    def _reading(self, part: Part) -> Iterator[int]:
        descriptor = os.open(part.name, os.O_RDONLY | OLD_FILE, dir_fd=self._parts_handle)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._parts_handle)

    def _open_parts(self, own: int) -> None:
        self._take_lock(own)
        self._parts_handle = enter(own, PARTS, sync=self._sync)
        self.kept.take_over(self._parts_handle)

    def _take_lock(self, own: int) -> None:
        self._lock_handle = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666, dir_fd=own)
        try:
            fcntl.flock(self._lock_handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"another run is downloading to {self.output}",
                fatal=True,
                hint="wait for it to end, or choose another output (-o)",
            ) from None

    def _close(self) -> None:
        for handle in (self._parts_handle, self._lock_handle):
            if handle >= 0:
                os.close(handle)
        self._parts_handle = self._lock_handle = -1


def enter(handle: int, component: str, *, sync: bool = False) -> int:
    """Open a directory below an open one, making it if need be, and not through a link.

    Raises:
        UnsafePathError: A link or a file stands there.
        OSError: The system refused.
    """
    for _ in range(2):
        try:
            return os.open(component, DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(component, dir_fd=handle)
                if sync:
                    os.fsync(handle)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise UnsafePathError(
                    f"a link or a file stands where the directory {component!r} should be",
                    hint="remove it, or choose another output",
                ) from None
            raise
    return os.open(component, DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)


def write_chunks(descriptor: int, chunks: Chunks) -> None:
    """Write all bytes, as many chunks with one call as the system takes."""
    for start in range(0, len(chunks), MOST_CHUNKS):
        some = chunks[start : start + MOST_CHUNKS]
        written = os.writev(descriptor, some)
        for chunk in some:  # what a short write left over
            if written < len(chunk):
                _write_all(descriptor, chunk[written:] if written > 0 else chunk)
            written -= len(chunk)


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        data = data[written:]
        written = os.write(descriptor, data)
