"""A directory of the local disk.

A file is written as a *part* in ``.aiocircle/parts`` of the output, on the same file system, and renamed to its final
name when it is complete and checked. Renaming replaces a file or a link of that name, never what a link points to.

Final directories are opened component by component from the output's own handle, without following links, and the
rename is relative to the handle so opened: a link planted anywhere below the output leads to an error, at whatever
moment it was planted. The output directory itself may be a link; that is the user's word.
"""

import os
import secrets
import stat
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Self

from aiocircle.download.parts import Part
from aiocircle.download.paths import OWN_DIRECTORY, SafePath
from aiocircle.download.spool import DIRECTORY, NEW_FILE, Spool, enter, write_chunks
from aiocircle.download.stores import Announce, Chunks, Staged, explained, has_inode
from aiocircle.errors import StoreError, UnsafePathError

KEPT_PARENTS = 8  # open directories a thread keeps; parallel nodes take turns in a listing


class LocalStore(Spool):
    """A directory of the local disk. All methods block; several threads may call them at once.

    Args:
        root: The output directory, made if need be.
        sync: Flush each file to the disk before it gets its name, against loss of power.
        kept_parents: Directories that each thread keeps open.
    """

    takes_ranges = True

    def __init__(self, root: Path, *, sync: bool = False, kept_parents: int = KEPT_PARENTS) -> None:
        super().__init__(str(root), root / OWN_DIRECTORY, sync=sync)
        self.root = root
        self._kept_parents = kept_parents
        self._root_handle = -1
        self._open_parents = threading.local()
        self._handles: set[int] = set()

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
                own = enter(self._root_handle, OWN_DIRECTORY, sync=self._sync)
                self._handles.add(own)
                self._open_parts(own)
        except BaseException:
            self._close()
            raise
        return self

    def size_of(self, target: SafePath) -> int | None:
        """Return the size in bytes of the regular file at a final name, or ``None`` if there is none."""
        try:
            parent = self._parent(target, make=False)
            found = os.stat(target.name, dir_fd=parent, follow_symlinks=False)
        except (OSError, UnsafePathError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def is_named(self, target: str, size: int, inode: int, sha256: str | None) -> bool:  # noqa: ARG002 -- the inode tells
        """Tell whether the file with this number stands under a final name."""
        return has_inode(self.root / target, size, inode)

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

    def stage(self, target: SafePath, chunks: Chunks, sha256: str = "") -> Staged:
        """Store a whole file beside its final name; it must be published or discarded.

        Raises:
            StoreError: The disk refused.
        """
        name = self._new_name()
        try:
            descriptor = os.open(name, NEW_FILE, 0o666, dir_fd=self._parts_handle)
        except OSError:
            with explained(str(self._own)):
                raise
        try:
            try:
                if chunks:
                    write_chunks(descriptor, chunks)
                found = os.fstat(descriptor)
                if self._sync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if found.st_size != sum(map(len, chunks)):
                raise StoreError(f"{target}: the disk did not take all bytes", fatal=True)  # noqa: TRY301 -- cleaned up below
            inode = self._settled(name, found, sha256)
        except BaseException:
            self._remove(name)
            with explained(str(target)):
                raise
        return Staged(target, name, inode, sha256=sha256)

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

    def commit(self, part: Part, target: SafePath, size: int, announce: Announce = int) -> None:
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
            found = self._sealed(part, target, size)
            self._parent(target, make=True)  # a path that cannot be is no reason to announce
            name = self._new_name()  # what is complete is not to be continued, whatever happens
            os.rename(part.name, name, src_dir_fd=self._parts_handle, dst_dir_fd=self._parts_handle)
            try:
                announce(self._settled(name, found, part.digest.digest().hex()))
                self._rename(name, target)
            except BaseException:
                self._remove(name)
                raise
        self.kept.forget(part.name)

    def _settled(self, name: str, found: os.stat_result, sha256: str) -> int:  # noqa: ARG002 -- one that shares files asks
        """Decide which file is going to get the name, and return the number of its inode."""
        return found.st_ino

    def _rename(self, name: str, target: SafePath) -> None:
        parent = self._parent(target, make=True)
        os.rename(name, target.name, src_dir_fd=self._parts_handle, dst_dir_fd=parent)
        if self._sync:
            os.fsync(parent)

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
                    enter(handle, component, sync=self._sync)
                    if make
                    else os.open(component, DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
                )
                os.close(handle)
                handle = below
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _close(self) -> None:
        super()._close()
        for handle in (*self._handles, self._root_handle):
            if handle >= 0:
                os.close(handle)
        self._handles.clear()
        self._root_handle = -1
