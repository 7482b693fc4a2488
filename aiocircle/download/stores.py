"""Where bytes go. Nothing wrong, and nothing half, ever stands under a final name.

A file is written as a *part* in ``.aiocircle/parts`` of the output, on the same file system, and renamed to its final
name when it is complete and checked. Renaming replaces a file or a link of that name, never what a link points to.

Final directories are opened component by component from the output's own handle, without following links, and the
rename is relative to the handle so opened: a link planted anywhere below the output leads to an error, at whatever
moment it was planted. The output directory itself may be a link; that is the user's word.

A lock keeps two runs from one output. What a killed run left in ``parts`` is continued by the next one, or removed
(`aiocircle.download.parts`).
"""

import errno
import fcntl
import itertools
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from attrs import frozen

from aiocircle.download.parts import OLD_FILE, KeptParts, Part
from aiocircle.download.paths import OWN_DIRECTORY, SafePath
from aiocircle.errors import StoreError, UnsafePathError

PARTS = "parts"
MOST_CHUNKS = 512  # in one call; systems take 1024
KEPT_PARENTS = 8  # open directories a thread keeps; parallel nodes take turns in a listing
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

# Conditions that every other file would meet as well.
FATAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE})
HINTS = {
    errno.ENOSPC: "free some space and run the same command again: what is complete is kept",
    errno.EDQUOT: "the quota is used up; free some space and run the same command again: what is complete is kept",
    errno.EACCES: "may this user write there?",
    errno.EEXIST: "it is no directory; choose another output",
    errno.ENOTDIR: "a file stands where a directory is needed; choose another output",
    errno.EROFS: "choose an output on a file system that can be written to",
    errno.EMFILE: "allow more open files (ulimit -n) or fewer at a time (--concurrency)",
    errno.EFBIG: "this system or this user's limits (ulimit -f) allow no file of that size",
    errno.EXDEV: "another file system is mounted below the output; choose another output",
    errno.ENAMETOOLONG: "this file system allows shorter names only; a flatter --layout may help",
}


@frozen
class Staged:
    """A whole file that waits for its final name.

    Attributes:
        target: The name it is going to have.
        name: Its name among the parts.
        inode: The number of its inode, by which a later process tells whether it got its name.
    """

    target: SafePath
    name: str
    inode: int


class LocalStore:
    """A directory of the local disk. All methods block; several threads may call them at once.

    Args:
        root: The output directory, made if need be.
        sync: Flush each file to the disk before it gets its name, against loss of power.
        kept_parents: Directories that each thread keeps open.
    """

    def __init__(self, root: Path, *, sync: bool = False, kept_parents: int = KEPT_PARENTS) -> None:
        self.root = root
        self._sync = sync
        self._kept_parents = kept_parents
        self._root_handle = -1
        self._parts_handle = -1
        self._lock_handle = -1
        self._open_parents = threading.local()
        self._handles: set[int] = set()
        self.kept = KeptParts()
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        """Make the directory, take its lock, and see what a killed run left.

        Raises:
            StoreError: It cannot be made or written to, or another run is using it.
        """
        with explained(str(self.root), fatal=True):
            self.root.mkdir(parents=True, exist_ok=True)
            self._root_handle = os.open(self.root, DIRECTORY)
        try:
            with explained(str(self.root), fatal=True):
                own = self._enter(self._root_handle, OWN_DIRECTORY)
                self._handles.add(own)
                self._take_lock(own)
                self._parts_handle = self._enter(own, PARTS)
                self.kept.take_over(self._parts_handle)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def own_directory(self) -> Path:
        """Where the downloader keeps its records."""
        return self.root / OWN_DIRECTORY

    def size_of(self, target: SafePath) -> int | None:
        """Return the size in bytes of the regular file at a final name, or ``None`` if there is none."""
        try:
            parent = self._parent(target, make=False)
            found = os.stat(target.name, dir_fd=parent, follow_symlinks=False)
        except (OSError, UnsafePathError):
            return None
        return found.st_size if _is_regular(found) else None

    def holds_case(self) -> bool:
        """Tell whether names that differ in letter case only are different files here."""
        name = f"case-{secrets.token_hex(4)}"
        with explained(str(self.root), fatal=True):
            os.close(os.open(name, NEW_FILE, 0o666, dir_fd=self._parts_handle))
            try:
                os.stat(name.upper(), dir_fd=self._parts_handle)
            except FileNotFoundError:
                return True
            finally:
                os.unlink(name, dir_fd=self._parts_handle)
            return False

    def stage(self, target: SafePath, chunks: Sequence[bytes | memoryview]) -> Staged:
        """Store a whole file beside its final name; it must be published or discarded.

        Raises:
            StoreError: The disk refused.
        """
        name = f"w{next(self._numbers):x}"  # the lock is ours, and what others left under such a name is gone
        try:
            descriptor = os.open(name, NEW_FILE, 0o666, dir_fd=self._parts_handle)
        except OSError:
            with explained(f"{self.root}/{OWN_DIRECTORY}"):
                raise
        try:
            try:
                if chunks:
                    _write_chunks(descriptor, chunks)
                found = os.fstat(descriptor)
                if self._sync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if found.st_size != sum(map(len, chunks)):
                raise StoreError(f"{target}: the disk did not take all bytes", fatal=True)  # noqa: TRY301 -- cleaned up below
        except BaseException:
            self._remove(name)
            with explained(str(target)):
                raise
        return Staged(target, name, found.st_ino)

    def publish(self, staged: Staged) -> None:
        """Give a staged file its final name; if that cannot be, it is discarded.

        Raises:
            StoreError: The disk refused.
            UnsafePathError: A link or a file stands where a directory of the path should be.
        """
        try:
            self._rename(staged.name, staged.target)
        except BaseException:
            self._remove(staged.name)
            with explained(str(staged.target)):
                raise

    def discard_staged(self, staged: Staged) -> None:
        """Remove a staged file that is not going to be published."""
        self._remove(staged.name)

    def begin(self, part: Part) -> None:
        """Open a part; it must be committed or discarded."""
        with explained(f"{self.root}/{OWN_DIRECTORY}"):
            part.descriptor = os.open(part.name, NEW_FILE, 0o666, dir_fd=self._parts_handle)

    def resume(self, part: Part) -> None:
        """Open a part that was kept, to go on behind its end; it must be committed, kept or discarded."""
        with explained(f"{self.root}/{OWN_DIRECTORY}"):
            part.descriptor = os.open(part.name, os.O_WRONLY | os.O_APPEND | OLD_FILE, dir_fd=self._parts_handle)

    def keep(self, part: Part) -> None:
        """Close a part that can be continued, for a later attempt or a later run."""
        with suppress(OSError):
            part.close()
        self.kept.keep(part.name)

    def append(self, part: Part, target: SafePath, chunks: Sequence[bytes | memoryview]) -> None:
        """Write more of a part, as many chunks with one call as the system takes, and take them into its digest."""
        with explained(str(target)):
            _write_chunks(part.descriptor, chunks)
        part.take(chunks)

    def commit(self, part: Part, target: SafePath, size: int, announce: Callable[[int], object] = int) -> None:
        """Close a complete part of so many bytes and give it its final name.

        Args:
            part: What was written.
            target: The final name.
            size: Its bytes.
            announce: Called with the number of the file's inode, before the rename.

        Raises:
            StoreError: The disk refused, or holds another number of bytes than it was given.
            UnsafePathError: A link or a file stands where a directory of the path should be.
        """
        with explained(str(target)):
            found = os.fstat(part.descriptor)
            if found.st_size != size:
                raise StoreError(f"{target}: the disk did not take all bytes", fatal=True)
            if self._sync:
                os.fsync(part.descriptor)
            part.close()
            self._parent(target, make=True)  # a path that cannot be is no reason to announce
            announce(found.st_ino)
            self._rename(part.name, target)
        self.kept.forget(part.name)

    def discard(self, part: Part) -> None:
        """Remove a part; one that was committed is left alone."""
        with suppress(OSError):
            part.close()
        self._remove(part.name)
        self.kept.forget(part.name)

    def _rename(self, name: str, target: SafePath) -> None:
        parent = self._parent(target, make=True)
        os.rename(name, target.name, src_dir_fd=self._parts_handle, dst_dir_fd=parent)
        if self._sync:
            os.fsync(parent)

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._parts_handle)

    def _parent(self, target: SafePath, *, make: bool) -> int:
        """Return an open handle of a target's directory. Each thread keeps its last few: neighbours come together."""
        known: OrderedDict[tuple[str, ...], int] = self._open_parents.__dict__.setdefault("known", OrderedDict())
        if target.parent in known:
            known.move_to_end(target.parent)
            return known[target.parent]
        handle = self._walk(target.parent, make=make)
        self._handles.add(handle)
        known[target.parent] = handle
        if len(known) > self._kept_parents:
            _, oldest = known.popitem(last=False)
            self._handles.remove(oldest)
            os.close(oldest)
        return handle

    def _walk(self, directories: tuple[str, ...], *, make: bool) -> int:
        handle = os.dup(self._root_handle)
        try:
            for component in directories:
                below = (
                    self._enter(handle, component)
                    if make
                    else os.open(component, DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
                )
                os.close(handle)
                handle = below
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _enter(self, handle: int, component: str) -> int:
        """Open a directory below an open one, making it if need be, and not through a link."""
        for _ in range(2):
            try:
                return os.open(component, DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
            except FileNotFoundError:
                with suppress(FileExistsError):
                    os.mkdir(component, dir_fd=handle)
                    if self._sync:
                        os.fsync(handle)
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                    raise UnsafePathError(
                        f"a link or a file stands where the directory {component!r} should be",
                        hint="remove it, or choose another output",
                    ) from None
                raise
        return os.open(component, DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)

    def _take_lock(self, own: int) -> None:
        self._lock_handle = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666, dir_fd=own)
        try:
            fcntl.flock(self._lock_handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"another run is downloading to {self.root}",
                fatal=True,
                hint="wait for it to end, or choose another output (-o)",
            ) from None

    def _close(self) -> None:
        for handle in (*self._handles, self._parts_handle, self._lock_handle, self._root_handle):
            if handle >= 0:
                os.close(handle)
        self._handles.clear()
        self._parts_handle = self._lock_handle = self._root_handle = -1


def _write_chunks(descriptor: int, chunks: Sequence[bytes | memoryview]) -> None:
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


def _is_regular(found: os.stat_result) -> bool:
    return found.st_mode & 0o170000 == 0o100000  # noqa: PLR2004 -- S_IFMT and S_IFREG


@contextmanager
def explained(what: str, *, fatal: bool = False) -> Iterator[None]:
    """Turn what the system refuses into a ``StoreError`` in words."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise UnsafePathError(f"{what}: a directory stands at this name") from None
        raise StoreError(
            f"{what}: {(error.strerror or type(error).__name__).lower()}",
            fatal=fatal or error.errno in FATAL,
            hint=HINTS.get(error.errno or 0),
        ) from None
