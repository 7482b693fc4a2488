"""One tar or zip: members are appended as files complete; it gets its name when the run has come to its end.

An archive is one stream, and many files are in flight. A small one waits in memory for its turn, a large one as a local
part, in the order in which they complete. The archive grows in ``.{name}.aiocircle`` beside its final name. That
directory goes with the run, whatever ended it: a run that was cut starts anew, for what is in the middle of a stream
cannot be taken back. Items that failed do not keep the archive from being finished; the report and the exit status tell
of them. Anything that ends the run early does: cancellation, a refused token, a full disk.

To standard output (``-``) there is nothing to rename. A stream that was cut ends with a block that is no header, so
that tar fails on it, also where the cut came between two members. Its reader may stall, and nobody waits for that one
any more when the run ends early (`aiocircle.download.outlet`).

Headers say nothing of the machine: mode 0644, owner 0, and a fixed time, 1980-01-01, the first that zip knows. The same
files make the same members; only their order is that of their arrival.
"""

import errno
import os
import shutil
import sys
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol, Self

from aiocircle.download.outlet import Outlet
from aiocircle.download.parts import Part
from aiocircle.download.paths import SafePath
from aiocircle.download.spool import Spool
from aiocircle.download.stores import STDOUT, Announce, Chunks, Staged, explained
from aiocircle.errors import StoreError
from aiocircle.extras import load_zstd

MODE = 0o644
TIME = 315532800  # 1980-01-01 in seconds since the epoch
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
COPIED_AT_ONCE = 1024 * 1024
CUT = b"\xff" * tarfile.BLOCKSIZE  # what no reader takes for a header


class _Writer(Protocol):
    """Something that takes members."""

    def add(self, name: str, size: int, source: IO[bytes]) -> None: ...

    def end(self) -> None: ...

    def abandon(self) -> bytes: ...


class ArchiveStore(Spool):
    """One tar or zip file, or a tar to standard output. All methods block; several threads may call them at once.

    Args:
        output: The file; its name says which kind. ``-`` for a tar to standard output.
        sync: Flush the archive to the disk before it gets its name.

    Raises:
        ConfigurationError: The package for such a kind is not installed.
    """

    def __init__(self, output: str, *, sync: bool = False) -> None:
        self._final = None if output == STDOUT else Path(output)
        self._make = _maker(output)
        own = Path() if self._final is None else self._final.with_name(f".{self._final.name}.aiocircle")
        super().__init__("standard output" if self._final is None else output, own, sync=sync)
        self._turn = threading.Lock()
        self._finished = False
        self._broken = False

    def __enter__(self) -> Self:
        """Make the directory for parts, empty, and begin the archive.

        Raises:
            StoreError: It cannot be written, or another run is writing it.
        """
        if self._final is not None and self._final.is_dir():
            raise StoreError(
                f"{self.output}: a directory of that name is there", fatal=True, hint="choose another name"
            )
        with explained(self.output, fatal=True):
            if self._final is None:  # among the files of others, so with a name that none of them can know before
                self._own = Path(tempfile.mkdtemp(prefix=".aiocircle-"))
            elif self._own.is_symlink():
                raise StoreError(f"{self._own}: a link stands there, and might lead anywhere", hint="remove it")
        try:
            super().__enter__()
            with explained(self.output, fatal=True):
                self._clear()
                self._file = self._opened()
                self._writer = self._make(self._file)
        except BaseException:
            if self._final is None or self._lock_handle >= 0:  # else it is another run's
                shutil.rmtree(self._own, ignore_errors=True)
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        cut = b"" if self._finished else self._writer.abandon()
        try:
            if isinstance(self._file, Outlet):
                self._file.close(cut)
            else:
                with suppress(OSError):
                    self._file.close()
        finally:
            shutil.rmtree(self._own, ignore_errors=True)
            self._close()

    def finish(self) -> None:
        """End the archive and give it its name.

        Raises:
            StoreError: The disk refused.
        """
        with self._turn, explained(self.output, fatal=True):
            self._check()
            self._writer.end()
            self._file.flush()
            if self._sync and not isinstance(self._file, Outlet):
                os.fsync(self._file.fileno())
            self._file.close()
            if self._final is not None:
                (self._own / "archive").replace(self._final)
            self._finished = True

    def hurry(self) -> None:
        """Wait for a reader for a moment only."""
        if isinstance(self._file, Outlet):
            self._file.hurry()

    def size_of(self, target: SafePath) -> int | None:  # noqa: ARG002 -- whatever it is
        """Return ``None``: a new archive has no files from before."""
        return None

    def is_named(self, target: str, size: int, inode: int, sha256: str | None) -> bool:  # noqa: ARG002
        """Tell that nothing of an earlier process is in this archive."""
        return False

    def publish(self, staged: Staged) -> None:
        """Append a file.

        Raises:
            StoreError: It cannot be written; the archive is of no use then.
        """
        self._add(staged.target, sum(map(len, staged.chunks)), _Chunks(staged.chunks))

    def commit(self, part: Part, target: SafePath, size: int, announce: Announce = int) -> None:
        """Append a complete part of so many bytes.

        Raises:
            StoreError: It cannot be written, or there is another number of bytes than was given.
        """
        with explained(str(target)):
            self._sealed(part, target, size)
            announce(0)
            with self._reading(part) as descriptor, os.fdopen(os.dup(descriptor), "rb", buffering=0) as source:
                self._add(target, size, source)
        self.discard(part)

    def _add(self, target: SafePath, size: int, source: Any) -> None:
        with self._turn, explained(self.output, fatal=True):
            self._check()
            self._broken = True
            self._writer.add(str(target), size, source)
            self._broken = False

    def _check(self) -> None:
        if self._broken:
            raise StoreError(f"{self.output}: a member was cut, so the archive is of no use", fatal=True)

    def _opened(self) -> IO[bytes] | Outlet:
        if self._final is not None:
            return (self._own / "archive").open("wb")
        try:
            descriptor = sys.stdout.fileno()
        except (AttributeError, OSError, ValueError):  # none at all, a program's own object, or closed
            hint = "give the archive a name"
            raise StoreError("this process has no standard output for an archive", fatal=True, hint=hint) from None
        # One of our own: what a reader that is gone did not take shall not be flushed once more at exit.
        return Outlet(os.dup(descriptor))

    def _clear(self) -> None:
        """Remove what a killed run left but the lock, which is held."""
        for found in self._own.iterdir():
            if found.name not in {"lock", "parts"}:
                found.unlink()
        for name in os.listdir(self._parts_handle):  # noqa: PTH208 -- it is open already
            self._remove(name)
            self.kept.forget(name)


class _Compressor(Protocol):
    def compress(self, data: Any, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Tar:
    """A tar, block by block: what tarfile writes itself it also writes when it is only forgotten."""

    def __init__(self, file: IO[bytes] | Outlet, compressor: _Compressor | None = None) -> None:
        self._file = file
        self._compressor = compressor
        self._size = 0
        self._whole = 0  # the size with which the last member is

    def add(self, name: str, size: int, source: IO[bytes]) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, MODE, TIME
        head = info.tobuf(tarfile.PAX_FORMAT)
        self._whole = self._size + len(head) + size + -size % tarfile.BLOCKSIZE
        self._write(head)
        left = size
        while left:
            data = source.read(min(left, COPIED_AT_ONCE))
            if not data:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self._write(data)
            left -= len(data)
        self._write(bytes(-size % tarfile.BLOCKSIZE))

    def end(self) -> None:
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._write(bytes(-self._size % tarfile.RECORDSIZE))
        if self._compressor is not None:
            self._file.write(self._compressor.flush())

    def abandon(self) -> bytes:
        missing = self._whole - self._size  # it shall be neither what of the last member is, nor all behind it
        return CUT * (2 if 0 < missing <= len(CUT) else 1)

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        self._file.write(data if self._compressor is None else self._compressor.compress(data))


class _Zip:
    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)

    def add(self, name: str, size: int, source: IO[bytes]) -> None:
        info = zipfile.ZipInfo(name, ZIP_TIME)
        info.external_attr = (0o100000 | MODE) << 16
        info.create_system = 3  # Unix, or the mode would mean nothing
        info.compress_type = zipfile.ZIP_DEFLATED
        info.file_size = size  # from it follows whether sizes need 64 bits
        with self._zip.open(info, "w") as member:
            shutil.copyfileobj(source, member, COPIED_AT_ONCE)

    def end(self) -> None:
        self._zip.close()

    def abandon(self) -> bytes:
        self._zip.fp = None  # or it would write its end when it is forgotten
        return b""


class _Chunks:
    """Chunks, read as a file."""

    def __init__(self, chunks: Chunks) -> None:
        self._data = memoryview(b"".join(chunks))

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        taken = self._data[: size if size >= 0 else None]
        self._data = self._data[len(taken) :]
        return bytes(taken)


def _maker(output: str) -> Callable[[Any], _Writer]:
    name = output.lower()
    if name.endswith(".zip"):
        return _Zip
    if name.endswith((".tar.gz", ".tgz")):
        return lambda file: _Tar(file, zlib.compressobj(wbits=16 + zlib.MAX_WBITS))  # with gzip's header, of time 0
    if name.endswith(".tar.zst"):
        zstd = load_zstd(f"{output}: .tar.zst")
        return lambda file: _Tar(file, zstd.ZstdCompressor())
    return _Tar
