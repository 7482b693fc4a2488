"""Where bytes go: what a store is. Nothing wrong, and nothing half, ever stands under a final name.

A store is a directory (`aiocircle.download.local_store`), one that keeps equal files once
(`aiocircle.download.content_store`), a bucket (`aiocircle.download.cloud_store`) or one archive
(`aiocircle.download.archive_store`). Which one an output's text means, `aiocircle.download.outputs` decides.

To all of them a file comes in one of two ways. A small one is *staged* whole, and *published*; the ledger is written in
between, once for many files, so that no kill can come between a file's name and its record. A large one is a *part*: a
local file that grows by ``append``, and that gets its name by ``commit``. A part may outlive its attempt and its
process, wherever the store keeps its files (`aiocircle.download.spool`).
"""

import errno
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, Self

from attrs import frozen

from aiocircle.download.parts import KeptParts, Part
from aiocircle.download.paths import SafePath
from aiocircle.errors import StoreError, UnsafePathError

Chunks = Sequence[bytes | memoryview]
Announce = Callable[[int], object]

STDOUT = "-"  # the output that is no file: a tar goes there

# Conditions that every other file would meet as well.
FATAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EPIPE})
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
    errno.EPIPE: "whoever read the archive has stopped reading",
}


@frozen
class Staged:
    """A whole file that waits for its final name.

    Attributes:
        target: The name it is going to have.
        name: Its name among the parts; empty where it lies in memory.
        inode: What is recorded until it has its name: the number of its inode, by which a later process of a local
            store tells whether it got it; 0 where there are no inodes.
        chunks: Its bytes where it lies in memory.
        sha256: Their digest, in hexadecimal.
    """

    target: SafePath
    name: str = ""
    inode: int = 0
    chunks: Chunks = ()
    sha256: str = ""


class Store(Protocol):
    """Where files go. All methods block; several threads may call them at once.

    Attributes:
        kept: The parts that can be continued.
        at_once: Calls that are worth being made at a time.
        is_remote: Whether a commit takes as long as a network does. Its part may be ``abandoned`` meanwhile.
        takes_ranges: Whether a file may come by several connections.
    """

    kept: KeptParts
    at_once: int
    is_remote: bool
    takes_ranges: bool

    def __enter__(self) -> Self:
        """Make sure that it can be written to, and that nobody else does."""
        ...

    def __exit__(self, *_: object) -> None:
        """Let go of it. What has no final name by then is none of its files."""
        ...

    @property
    def own_directory(self) -> Path:
        """The local directory of the downloader's records."""
        ...

    def finish(self) -> None:
        """Note that a run has come to its end: what becomes visible as a whole does so now."""
        ...

    def hurry(self) -> None:
        """Note that a run ends early: nobody is to wait any more for who may never go on. Waits for nothing itself."""
        ...

    def size_of(self, target: SafePath) -> int | None:
        """Return the size in bytes of the file at a final name, or ``None`` if there is none."""
        ...

    def is_named(self, target: str, size: int, inode: int, sha256: str | None) -> bool:
        """Tell whether a file got its final name that was announced by a process that was killed."""
        ...

    def holds_case(self) -> bool:
        """Tell whether names that differ in letter case only are different files here."""
        ...

    def stage(self, target: SafePath, chunks: Chunks, sha256: str = "") -> Staged:
        """Take a whole file, whose SHA-256 is known; it must be published or discarded.

        Raises:
            StoreError: It cannot be stored.
        """
        ...

    def publish(self, staged: Staged) -> None:
        """Give a staged file its final name; if that cannot be, it is discarded.

        Raises:
            StoreError: It cannot be stored.
            UnsafePathError: A link or a file stands where a directory of the path should be.
        """
        ...

    def discard_staged(self, staged: Staged) -> None:
        """Remove a staged file that is not going to be published."""
        ...

    def begin(self, part: Part) -> None:
        """Open a part; it must be committed, kept or discarded."""
        ...

    def resume(self, part: Part) -> None:
        """Open a part that was kept, to go on behind its end; it must be committed, kept or discarded."""
        ...

    def keep(self, part: Part) -> None:
        """Close a part that can be continued, for a later attempt or a later run."""
        ...

    def append(self, part: Part, target: SafePath, chunks: Chunks) -> None:
        """Write more of a part."""
        ...

    def aside(self) -> int:
        """Open a file without a name, for bytes whose turn comes later.

        Nothing is left of it when its descriptor is closed, by a kill as well.

        Raises:
            StoreError: It cannot be made.
        """
        ...

    def commit(self, part: Part, target: SafePath, size: int, announce: Announce = int) -> None:
        """Close a complete part of so many bytes and give it its final name.

        Args:
            part: What was written.
            target: The final name.
            size: Its bytes.
            announce: Called with what is to be recorded of it, as in ``Staged.inode``, before it has its name.

        Raises:
            StoreError: It cannot be stored, or there is another number of bytes than was given to it.
            UnsafePathError: A link or a file stands where a directory of the path should be.
        """
        ...

    def discard(self, part: Part) -> None:
        """Remove a part; one that was committed is left alone."""
        ...


def has_inode(path: Path, size: int, inode: int) -> bool:
    """Tell whether the file with this number, of so many bytes, stands under a name."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return (found.st_size, found.st_ino) == (size, inode)


def is_plain_file(path: Path) -> bool:
    """Tell whether a file stands under a name, and no link to one.

    Raises:
        StoreError: This user may not know, or it can be no name.
    """
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreError(f"{path}: {(error.strerror or type(error).__name__).lower()}") from None


def has_directory(path: str | Path) -> bool:
    """Tell whether a directory stands under a name. What may not be looked at is none: who opens it is told why."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


@contextmanager
def explained(what: str, *, fatal: bool = False, hints: Mapping[int, str] = HINTS) -> Iterator[None]:
    """Turn what the system refuses into a ``StoreError`` in words."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise UnsafePathError(f"{what}: a directory stands at this name") from None
        raise StoreError(
            f"{what}: {(error.strerror or type(error).__name__).lower()}",
            fatal=fatal or error.errno in FATAL,
            hint=hints.get(error.errno or 0),
        ) from None
