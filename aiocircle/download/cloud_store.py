"""A bucket: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``.

An object appears whole or not at all, so there is nothing to rename. A small file is one request. A large one is
received into a local part first, in the run's state directory, and sent when it is complete and checked. Why not while
it arrives: S3 takes pieces of 5 MiB at least, so that a hundred files in flight would hold a gigabyte of memory; a
piece that was sent is of no use to a later process, while a local part is continued with ``Range``; and what turns out
cut or wrong never reaches the bucket. The price is room on the local disk for the large files that are in flight.

The upload is one of several pieces, few of them in memory. If it fails, or its run is cancelled, what was sent is
removed (``AbortMultipartUpload``). A kill in the middle of an upload leaves invisible pieces behind, which the next run
removes (`aiocircle.download.leftovers`).

Each object carries its SHA-256 (``x-amz-meta-sha256``). By it the next run tells whether an object that was announced
before a kill is the one that was meant. Whether the objects of earlier runs are still there is asked directory by
directory, once.
"""

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Self

from aiocircle.download.objects import PIECE, Bucket
from aiocircle.download.parts import Part
from aiocircle.download.paths import SafePath
from aiocircle.download.spool import Spool
from aiocircle.download.stores import Announce, Staged, explained
from aiocircle.errors import StoreError

AT_ONCE = 32  # requests: a bucket answers slowly, and many at once
UPLOADS = 4  # large files that are sent at a time; with the pieces of each, what they take of memory
KEPT_LISTINGS = 64  # directories whose objects are remembered


class CloudStore(Spool):
    """A bucket, or what lies under a prefix of it. All methods block; several threads may call them at once.

    Args:
        address: ``s3://bucket/prefix`` and the like.
        own: The local directory of records and parts.
        sync: Flush parts to the local disk.

    Raises:
        ConfigurationError: It is no such address, or obstore is not installed.
    """

    at_once = AT_ONCE
    is_remote = True

    def __init__(self, address: str, own: Path, *, sync: bool = False) -> None:
        super().__init__(address, own, sync=sync)
        self._bucket = Bucket(address)
        self._leftovers = self._bucket.leftovers(own)
        # Threads of their own: what each has once used for its pieces it keeps.
        self._uploads = ThreadPoolExecutor(UPLOADS, thread_name_prefix="aiocircle-upload")
        self._listings = _Listings(lambda parent: self._bucket.sizes("/".join(parent)))

    def __enter__(self) -> Self:
        """Take the lock of the local directory, see whether the bucket answers, and end what a killed run began.

        Raises:
            StoreError: The bucket does not exist or refuses, or another run of this machine is using it.
        """
        super().__enter__()
        try:
            self._bucket.check()
            if self._leftovers is not None:
                self._leftovers.clear()
        except BaseException:
            self._close()
            raise
        return self

    def _close(self) -> None:
        self._uploads.shutdown()
        super()._close()

    def size_of(self, target: SafePath) -> int | None:
        """Return the size of an object in bytes, or ``None`` if there is none.

        Raises:
            StoreError: The bucket does not say.
        """
        return self._listings.of(target.parent).get(target.name)

    def is_named(self, target: str, size: int, inode: int, sha256: str | None) -> bool:  # noqa: ARG002 -- there is none
        """Tell whether an object is the one that was announced."""
        try:
            return self._bucket.holds(target, size, sha256)
        except StoreError:
            return False

    def publish(self, staged: Staged) -> None:
        """Store a file, with one request.

        Raises:
            StoreError: The bucket refused.
        """
        self._bucket.put(str(staged.target), b"".join(staged.chunks), staged.sha256)
        self._listings.note(staged.target, sum(map(len, staged.chunks)))

    def commit(self, part: Part, target: SafePath, size: int, announce: Announce = int) -> None:
        """Send a complete part of so many bytes; if that fails, or is abandoned, nothing of it is left in the bucket.

        Raises:
            StoreError: The bucket or the local disk refused, or there is another number of bytes than was given.
        """
        with explained(str(target)):
            self._sealed(part, target, size)
        announce(0)
        with explained(str(target)), self._reading(part) as descriptor:
            source, sha256 = _Source(descriptor, part), part.digest.digest().hex()
            try:
                self._uploads.submit(self._send, str(target), source, size, sha256).result()
            except (OSError, StoreError) as error:
                if part.abandoned:
                    raise StoreError(f"{target}: the upload was abandoned") from None
                raise (source.failed or error) from None
        self._listings.note(target, size)
        self.discard(part)

    def _send(self, key: str, source: "_Source", size: int, sha256: str) -> None:
        leftovers = self._leftovers if size > PIECE else None
        with nullcontext() if leftovers is None else leftovers.noted(key):
            self._bucket.send(key, source, size, sha256)


class _Source(io.RawIOBase):
    """A part on its way to the bucket, which ends in an error as soon as nobody wants it any more.

    Attributes:
        failed: What the system refused; obstore repeats it without its number.
    """

    def __init__(self, descriptor: int, part: Part) -> None:
        super().__init__()
        self.failed: OSError | None = None
        self._descriptor = descriptor
        self._part = part

    def read(self, size: int = -1, /) -> bytes:
        if self._part.abandoned:
            raise OSError("abandoned")
        try:
            return os.read(self._descriptor, size if size >= 0 else os.fstat(self._descriptor).st_size)
        except OSError as error:
            self.failed = error
            raise

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)


class _Listings:
    """The objects of a few directories, each listed once however many threads ask."""

    def __init__(self, listed: Callable[[tuple[str, ...]], dict[str, int]]) -> None:
        self._listed = listed
        self._known: OrderedDict[tuple[str, ...], dict[str, int]] = OrderedDict()
        self._turns: dict[tuple[str, ...], threading.Lock] = {}
        self._lock = threading.Lock()

    def of(self, parent: tuple[str, ...]) -> dict[str, int]:
        """Return the objects of a directory with their sizes."""
        with self._lock:
            turn = self._turns.setdefault(parent, threading.Lock())
        with turn:
            with self._lock:
                if parent in self._known:
                    self._known.move_to_end(parent)
                    return self._known[parent]
            found = self._listed(parent)
            with self._lock:
                self._known[parent] = found
                if len(self._known) > KEPT_LISTINGS:
                    oldest, _ = self._known.popitem(last=False)
                    self._turns.pop(oldest, None)
            return found

    def note(self, target: SafePath, size: int) -> None:
        """Note an object that is new in a directory which is known."""
        with self._lock:
            if target.parent in self._known:
                self._known[target.parent][target.name] = size
