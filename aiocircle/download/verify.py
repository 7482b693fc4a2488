"""Whether what lies in an output is what was fetched: every file is read again. Asks nobody but the ledger."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Literal

from attrs import frozen

from aiocircle.download.outputs import is_bucket
from aiocircle.download.paths import SafePath
from aiocircle.download.records import Records, Stored
from aiocircle.download.spool import DIRECTORY
from aiocircle.download.stores import explained
from aiocircle.errors import UnsafePathError

FileStatus = Literal["right", "unhashed", "missing", "differs", "failed"]
"""``right``: the bytes have the digest recorded; ``unhashed``: an older version recorded no digest, and the size is
right; ``missing``: no file of that name; ``differs``; ``failed``: it could not be had when it was asked for."""

READ_AT_ONCE = 1024 * 1024
AT_ONCE = 512  # files that are looked at before their outcomes are handed out
READERS = 4
Read = Callable[[Stored], tuple[int, str]]


@frozen(kw_only=True)
class Verified:
    """What became of a file.

    Attributes:
        target: Its name below the output.
        status: One of ``FileStatus``.
        size: Bytes that were read.
        reason: What is wrong with it, in words.
    """

    target: str
    status: FileStatus
    size: int = 0
    reason: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.status in {"right", "unhashed"}


def verify(output: str | Path, state: Path | None = None) -> Iterator[Verified]:
    """Yield the outcome of every file and every failure of a ledger, in its order; blocks.

    Raises:
        StoreError: There is no ledger, or it cannot be read.
    """
    stopped = Event()
    with (
        Records(output, state) as records,
        _reader(str(output), stopped) as read,
        ThreadPoolExecutor(READERS, thread_name_prefix="aiocircle-verify") as readers,
        ExitStack() as leaving,
    ):
        leaving.callback(stopped.set)  # or whoever goes away would wait until large files are read to their ends
        stored, unsettled = records.stored(), records.unsettled()
        while batch := list(islice(stored, AT_ONCE)):
            for found in readers.map(lambda one: _verified(read, one), batch):
                if found.ok or found.target not in unsettled:  # else it never got its name
                    yield found
        for failed in records.failed():
            source = failed.source
            name = f"the listing of {source.identity}" if source.path is None else source.path or source.identity
            yield Verified(target=failed.target or name, status="failed", reason=failed.reason)


@contextmanager
def _reader(output: str, stopped: Event) -> Iterator[Read]:
    """Lend what reads a file again, and returns its size and its SHA-256, which may be empty if none was recorded."""
    if is_bucket(output):
        from aiocircle.download.objects import Bucket  # noqa: PLC0415 -- what few need costs a start

        bucket = Bucket(output)
        yield lambda stored: bucket.digest_of(stored.target)
        return
    with explained(output, fatal=True):
        root = os.open(output, DIRECTORY)
    try:
        yield lambda stored: _read(root, SafePath(tuple(stored.target.split("/"))), stored.sha256 is not None, stopped)
    finally:
        os.close(root)


def _verified(read: Read, stored: Stored) -> Verified:
    status: FileStatus = "differs"
    size = 0
    try:
        size, digest = read(stored)
    except UnsafePathError as error:  # only whoever has edited the ledger can have brought such a name into it
        reason: str | None = str(error)
    except FileNotFoundError:
        status, reason = "missing", "there is no such file"
    except OSError as error:
        reason = "a link or something else than a file stands there" if _is_link(error) else str(error.strerror).lower()
    else:
        if size != stored.size:
            reason = f"{size} bytes, {stored.size} were fetched"
        elif stored.sha256 is not None and digest != stored.sha256:
            reason = "other bytes than were fetched"
        else:
            status, reason = "right" if stored.sha256 else "unhashed", None
    return Verified(target=stored.target, status=status, size=size, reason=reason)


def _read(root: int, path: SafePath, hashed: bool, stopped: Event) -> tuple[int, str]:
    """Return size and SHA-256 of a file below an open directory, which no link is followed to."""
    handle = os.dup(root)
    try:
        for component in path.parent:
            below = os.open(component, DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = below
        file = os.open(path.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
    finally:
        os.close(handle)
    try:
        size = os.fstat(file).st_size
        if not hashed:
            return size, ""
        digest = hashlib.sha256(usedforsecurity=False)
        size = 0
        while not stopped.is_set() and (chunk := os.read(file, READ_AT_ONCE)):
            digest.update(chunk)
            size += len(chunk)
        return size, digest.hexdigest()
    finally:
        with suppress(OSError):
            os.close(file)


def _is_link(error: OSError) -> bool:
    return isinstance(error, NotADirectoryError | IsADirectoryError) or error.errno == errno.ELOOP
