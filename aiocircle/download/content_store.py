"""A directory that keeps equal files once, however many names they have: re-runs produce the same artifacts again.

A file lies under its SHA-256 in ``.aiocircle/objects/ab/cdef...``, and each of its names is a hard link to that. The
digest is known when all bytes have arrived, so a part is linked among the objects first and gets its name by the rename
that all local files get it by: whatever is killed in between leaves an object without names, and never a name without
its bytes. What stands under a digest already is read again before it gets one more name: a file that rotted, or that
somebody wrote to, is replaced by the bytes at hand, and its older names are left for ``verify`` to name.

Names share their bytes. So objects may only be read (0444): whoever edits one name by writing into the file would edit
all of them. A file has 65,000 names at most on ext4; then the bytes at hand become the object that gets the next ones.
"""

import errno
import hashlib
import os
import stat
from contextlib import suppress
from typing import Self

from aiocircle.download.local_store import LocalStore
from aiocircle.download.parts import OLD_FILE
from aiocircle.download.paths import SafePath
from aiocircle.download.spool import enter
from aiocircle.download.stores import Chunks, Staged, explained
from aiocircle.errors import StoreError

OBJECTS = "objects"
READ_AT_ONCE = 1024 * 1024
NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class ContentStore(LocalStore):
    """A directory of the local disk in which equal files are one file."""

    _objects_handle = -1

    def __enter__(self) -> Self:
        """Make the directory, take its lock, and see what a killed run left.

        Raises:
            StoreError: It cannot be made or written to, or another run is using it.
        """
        super().__enter__()
        try:
            with explained(self.output, fatal=True):
                own = os.open(self._own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    self._objects_handle = enter(own, OBJECTS, sync=self._sync)
                finally:
                    os.close(own)
        except BaseException:
            self._close()
            raise
        return self

    def stage(self, target: SafePath, chunks: Chunks, sha256: str = "") -> Staged:
        """Store a whole file beside its final name, or find the one that is equal; it must be published or discarded.

        Raises:
            StoreError: The disk refused.
        """
        if not sha256:
            digest = hashlib.sha256(usedforsecurity=False)
            for chunk in chunks:
                digest.update(chunk)
            sha256 = digest.hexdigest()
        return super().stage(target, chunks, sha256)

    def _settled(self, name: str, found: os.stat_result, sha256: str) -> int:
        """Link the file among the objects; if an equal one is there, that one takes the file's place."""
        os.chmod(name, stat.S_IMODE(found.st_mode) & 0o444, dir_fd=self._parts_handle)
        shelf = enter(self._objects_handle, sha256[:2], sync=self._sync)
        try:
            try:
                os.link(name, sha256[2:], src_dir_fd=self._parts_handle, dst_dir_fd=shelf, follow_symlinks=False)
            except FileExistsError:
                return self._shared(name, found, shelf, sha256)
            except OSError as error:
                if error.errno in NO_LINKS:
                    hint = "leave out --dedupe, or choose an output on another file system"
                    raise StoreError(
                        f"{self.output}: this file system has no hard links", fatal=True, hint=hint
                    ) from None
                raise
            if self._sync:
                os.fsync(shelf)
            return found.st_ino
        finally:
            os.close(shelf)

    def _shared(self, name: str, found: os.stat_result, shelf: int, sha256: str) -> int:
        twin = self._new_name()
        inode = _inode_if_right(shelf, sha256, found.st_size)
        if inode is not None:
            try:
                os.link(sha256[2:], twin, src_dir_fd=shelf, dst_dir_fd=self._parts_handle, follow_symlinks=False)
            except OSError as error:
                if error.errno != errno.EMLINK:
                    raise
            else:
                os.rename(twin, name, src_dir_fd=self._parts_handle, dst_dir_fd=self._parts_handle)
                return inode
        os.link(name, twin, src_dir_fd=self._parts_handle, dst_dir_fd=self._parts_handle)
        os.rename(twin, sha256[2:], src_dir_fd=self._parts_handle, dst_dir_fd=shelf)
        return found.st_ino

    def _rename(self, name: str, target: SafePath) -> None:
        super()._rename(name, target)
        self._remove(name)  # a rename between two names of one file does nothing

    def _close(self) -> None:
        super()._close()
        if self._objects_handle >= 0:
            os.close(self._objects_handle)
            self._objects_handle = -1


def _inode_if_right(shelf: int, sha256: str, size: int) -> int | None:
    """Return the number of an object's inode if it is what its name says, read through."""
    with suppress(OSError):
        descriptor = os.open(sha256[2:], os.O_RDONLY | OLD_FILE | os.O_NONBLOCK, dir_fd=shelf)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size != size:
                return None
            digest = hashlib.sha256(usedforsecurity=False)
            while chunk := os.read(descriptor, READ_AT_ONCE):
                digest.update(chunk)
            return found.st_ino if digest.hexdigest() == sha256 else None
        finally:
            os.close(descriptor)
    return None
