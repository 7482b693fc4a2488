"""A file is replaced as a whole or not at all, and what is no file is never replaced by one."""

import os
import threading
from pathlib import Path

import pytest

from aiocircle.download.replacing import check_replaceable, replacing
from aiocircle.errors import StoreError, UnsafePathError


def write(path: Path, text: bytes = b"new") -> None:
    with replacing(path) as file:
        file.write(text)


def test_a_failure_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == b"old"
    check_replaceable(path)
    write(path)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link"
    link.symlink_to("elsewhere/file")
    write(link)
    assert link.is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_bytes() == b"new"
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    write(loop)
    assert loop.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    check_replaceable(pipe)
    write(pipe)
    reader.join(10)
    assert read == [b"new"]
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("name", ["", "directory", "nowhere/file"])
def test_what_cannot_be_written_is_said_before_and_when_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    for write_or_see in (write, check_replaceable):
        with pytest.raises((StoreError, UnsafePathError), match=r"no such file|a directory stands at this name"):
            write_or_see(tmp_path / name)
    assert [one.name for one in tmp_path.iterdir()] == ["directory"]
