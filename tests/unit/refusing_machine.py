"""A machine that refuses: a disk that is full, a user who may not."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@contextmanager
def tiny_disk(where: Path, size: str = "1m") -> Iterator[Path]:
    """A file system of its own with so little room that it is soon used up."""
    where.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("A FULL DISK IS NOT TESTED: only root can mount one")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"A FULL DISK IS NOT TESTED: mounting one failed: {mounted.stderr.decode().strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@contextmanager
def without_privileges(*owned: Path) -> Iterator[None]:
    """Let root be nobody for a while, and own these."""
    if os.geteuid() != 0:
        yield
        return
    for one in owned:
        os.chown(one, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
