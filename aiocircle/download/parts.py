"""Files that are being written, and what a later process must know to go on with one.

A part that can be continued says all of it in its own name: ``{artifact}-{size}-{boot}-{validator}``. There is no
second file that could be missing after a kill, or be about something else. What is in it was surely written as long as
this machine has not been started anew meanwhile: a kill loses nothing of what the system has taken, a loss of power may
leave a file longer than its data. Hence the boot in the name; parts of another one are removed, as are those that have
not been touched for longer than CircleCI keeps artifacts, and those without a validator, whose names are random.
"""

import base64
import binascii
import functools
import hashlib
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from aiocircle.download.body import Hash
from aiocircle.download.resume import Kept

KEPT_SECONDS = 30 * 24 * 3600.0  # artifacts are kept for 30 days at most (docs, artifacts)
READ_AT_ONCE = 1024 * 1024
OLD_FILE = os.O_CLOEXEC | os.O_NOFOLLOW
_NAME = re.compile(r"([0-9a-f]{32})-(\d{0,18})-([0-9a-f]{8})-([A-Za-z0-9_-]+=*)")


@define(eq=False)
class Part:
    """A file to be written: its name among the parts, and its descriptor while it is open.

    It exists before its file does, so that whoever is cancelled while the file is opened has something to discard.

    Attributes:
        name: Its name.
        descriptor: Its descriptor while it is open.
        size: Bytes of it that ``digest`` has taken in.
        digest: The SHA-256 of them.
        kept: What a later request needs to continue it; ``None`` if it cannot be continued.
        abandoned: Set from another thread when nobody waits for its commit any more.
    """

    name: str = field(factory=lambda: secrets.token_hex(8))
    descriptor: int = -1
    size: int = 0
    digest: Hash = field(factory=lambda: hashlib.sha256(usedforsecurity=False))
    kept: Kept | None = None
    abandoned: bool = False

    def take(self, chunks: Iterable[bytes | memoryview]) -> None:
        """Take in bytes that have been written."""
        for chunk in chunks:
            self.digest.update(chunk)
            self.size += len(chunk)

    def close(self) -> None:
        """Close the descriptor; it is gone even if that fails."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def new_part(artifact: str, validator: str | None, size: int | None) -> Part:
    """Return a part for an artifact's bytes; with a strong validator it can be continued."""
    if validator is None:
        return Part()
    text = base64.urlsafe_b64encode(validator.encode()).decode()
    name = f"{_key(artifact)}-{'' if size is None else size}-{boot()}-{text}"
    return Part(name, kept=Kept(have=0, validator=validator, size=size))


class KeptParts:
    """The parts of an output that can be continued, by artifact."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._handle = -1

    def __bool__(self) -> bool:
        return bool(self._names)

    def take_over(self, handle: int) -> None:
        """Look through the directory of parts: what cannot be continued is removed."""
        self._handle = handle
        boot()  # here it may block
        oldest = time.time() - KEPT_SECONDS
        for name in os.listdir(handle):
            known = _parse(name)
            if known is None or os.stat(name, dir_fd=handle, follow_symlinks=False).st_mtime < oldest:
                self._remove(name)  # but for a directory, which nobody of us made
            else:
                self.keep(name)

    def keep(self, name: str) -> None:
        """Remember a part, and remove an older one of the same artifact."""
        key = name.partition("-")[0]
        before = self._names.get(key)
        self._names[key] = name
        if before not in {None, name}:
            self._remove(before)

    def forget(self, name: str) -> None:
        """Remember a part no longer, since it is complete or of no use."""
        self._names.pop(name.partition("-")[0], None)

    def drop(self, artifact: str) -> None:
        """Remove what there is of an artifact."""
        name = self._names.pop(_key(artifact), None)
        if name is not None:
            self._remove(name)

    def find(self, artifact: str) -> Part | None:
        """Return what there is of an artifact, read through for its digest and closed again."""
        name = self._names.get(_key(artifact))
        known = None if name is None else _parse(name)
        if name is None or known is None:
            return None
        part = Part(name)
        try:
            part.descriptor = os.open(name, os.O_RDONLY | OLD_FILE, dir_fd=self._handle)
            while chunk := os.read(part.descriptor, READ_AT_ONCE):
                part.take((chunk,))
        except OSError:
            part.size = 0
        finally:
            with suppress(OSError):
                part.close()
        if not part.size:
            self.drop(artifact)
            return None
        validator, size = known
        part.kept = Kept(have=part.size, validator=validator, size=size)
        return part

    def _remove(self, name: str | None) -> None:
        with suppress(OSError):
            os.unlink(name or "", dir_fd=self._handle)


@functools.cache
def boot() -> str:
    """Return what is another one each time this machine is started, eight digits of it."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        text = _macos_boot() or secrets.token_hex()  # where it cannot be known, no part is continued
    return hashlib.sha256(text.strip().encode()).hexdigest()[:8]


def _macos_boot() -> str:
    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout  # noqa: S603 -- of ours
    except (OSError, subprocess.SubprocessError):
        return ""


def _key(artifact: str) -> str:
    return hashlib.sha256(artifact.encode()).hexdigest()[:32]


def _parse(name: str) -> tuple[str, int | None] | None:
    """Return validator and size of the object that a part of this boot is the beginning of."""
    found = _NAME.fullmatch(name)
    if found is None or found[3] != boot():
        return None
    try:
        validator = base64.urlsafe_b64decode(found[4]).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return validator, int(found[2]) if found[2] else None
