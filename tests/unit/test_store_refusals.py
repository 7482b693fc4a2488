"""What stands in the way of a file, and what the disk refuses."""

import errno
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from refusing_machine import tiny_disk, without_privileges
from store_paths import parts_of, path, write

from aiocircle.download.local_store import LocalStore
from aiocircle.download.parts import Part
from aiocircle.download.stores import explained
from aiocircle.errors import StoreError, UnsafePathError

MIB = 1024 * 1024


# --- what stands in the way ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_where_a_directory_should_be_is_refused_at_any_depth(tmp_path: Path, depth: int, dangling: bool) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    if not dangling:
        (elsewhere / "d/d/d/d").mkdir(parents=True)
    above = out.joinpath(*["d"] * depth)
    above.mkdir(parents=True)
    (above / "d").symlink_to(elsewhere, target_is_directory=True)
    with LocalStore(out) as store:
        with pytest.raises(
            UnsafePathError, match="a link or a file stands where the directory 'd' should be"
        ) as caught:
            write(store, path("d/d/d/d/x"), [b"x"])
        assert caught.value.hint
        assert store.size_of(path("d/d/d/d/x")) is None
        assert parts_of(out) == []
        write(store, path("other/x"), [b"x"])
    assert [found for found in elsewhere.rglob("*") if found.is_file()] == []


def test_a_file_behind_a_link_does_not_count_as_there(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_bytes(b"x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "d").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out" / "x").symlink_to(tmp_path / "elsewhere" / "x")
    with LocalStore(tmp_path / "out") as store:
        assert store.size_of(path("d/x")) is None
        assert store.size_of(path("x")) is None


def test_a_link_planted_while_a_file_is_being_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with LocalStore(tmp_path / "out") as store:
        part = Part()
        store.begin(part)
        (tmp_path / "out" / "d").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UnsafePathError):
            store.commit(part, path("d/x"), 0)
        store.discard(part)
        assert parts_of(store.root) == []
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_at_the_final_name_is_replaced_and_its_target_untouched(tmp_path: Path, dangling: bool) -> None:
    secret = tmp_path / "secret"
    if not dangling:
        secret.write_bytes(b"keep")
    with LocalStore(tmp_path / "out") as store:
        (store.root / "x").symlink_to(secret)
        write(store, path("x"), [b"new"])
        assert not (store.root / "x").is_symlink()
        assert (store.root / "x").read_bytes() == b"new"
    assert secret.exists() is not dangling
    assert dangling or secret.read_bytes() == b"keep"


@pytest.mark.parametrize("filled", [True, False])
def test_a_directory_at_the_final_name_is_refused_in_words(tmp_path: Path, filled: bool) -> None:
    with LocalStore(tmp_path) as store:
        (tmp_path / "x" / ("y" if filled else "")).mkdir(parents=True)
        with pytest.raises(UnsafePathError, match="x: a directory stands at this name"):
            write(store, path("x"), [b"new"])
        assert (tmp_path / "x").is_dir()
        assert parts_of(tmp_path) == []


@pytest.mark.parametrize("target", ["x/y", "x/y/z", "d/x/y"])
def test_a_file_where_a_directory_is_needed_is_refused_in_words(tmp_path: Path, target: str) -> None:
    with LocalStore(tmp_path) as store:
        write(store, path("x"), [b"keep"])
        write(store, path("d/x"), [b"keep"])
        with pytest.raises(UnsafePathError, match="a link or a file stands where the directory 'x' should be"):
            write(store, path(target), [b"new"])
        assert (tmp_path / "x").read_bytes() == b"keep"
        assert parts_of(tmp_path) == []


def test_the_output_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    with LocalStore(tmp_path / "out") as store:
        write(store, path("x"), [b"x"])
    assert (tmp_path / "real" / "x").read_bytes() == b"x"


@pytest.mark.parametrize("planted", [".aiocircle", ".aiocircle/parts"])
def test_the_downloaders_own_directories_are_no_links_either(tmp_path: Path, planted: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    link = tmp_path / "out" / planted
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(UnsafePathError, match="a link or a file"):
        LocalStore(tmp_path / "out").__enter__()
    assert [found.name for found in elsewhere.iterdir()] == ["precious"]


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".aiocircle").mkdir()
    (tmp_path / ".aiocircle" / "lock").symlink_to(tmp_path / "created")
    with pytest.raises(StoreError):
        LocalStore(tmp_path).__enter__()
    assert not (tmp_path / "created").exists()


@pytest.mark.parametrize("place", ["out", "out/below"])
def test_an_output_that_is_a_file_is_refused_in_words(tmp_path: Path, place: str) -> None:
    (tmp_path / "out").write_bytes(b"keep")
    with pytest.raises(StoreError, match=f"{tmp_path / place}: ") as caught:
        LocalStore(tmp_path / place).__enter__()
    assert caught.value.fatal
    assert "another output" in (caught.value.hint or "")
    assert (tmp_path / "out").read_bytes() == b"keep"


# --- the disk refuses ------------------------------------------------------------------------------------------------


def test_a_full_disk_is_an_error_in_words_that_stops_the_run_and_leaves_nothing_half(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as disk, LocalStore(disk / "out") as store:
        write(store, path("small"), [b"x" * 1000])
        with pytest.raises(StoreError, match="big: no space left on device") as caught:
            write(store, path("big"), [b"x" * MIB] * 2)
        assert caught.value.fatal
        assert "free some space" in (caught.value.hint or "")
        assert sorted(found.name for found in store.root.iterdir()) == [".aiocircle", "small"]
        assert parts_of(store.root) == []
        write(store, path("after"), [b"x" * 1000])


def test_writing_into_a_directory_that_may_not_be_written_is_refused_in_words_and_others_go_on(tmp_path: Path) -> None:
    with LocalStore(tmp_path) as store:
        (tmp_path / "d").mkdir(mode=0o555)
        with without_privileges(tmp_path, tmp_path / "d", tmp_path / ".aiocircle/parts"):
            with pytest.raises(StoreError, match="d/x: permission denied") as caught:
                write(store, path("d/x"), [b"x"])
            write(store, path("x"), [b"x"])
        assert not caught.value.fatal
        assert "may this user write there" in (caught.value.hint or "")
        assert parts_of(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "fatal"),
    [
        (errno.ENOSPC, True),
        (errno.EDQUOT, True),
        (errno.EROFS, True),
        (errno.EIO, True),
        (errno.EMFILE, True),
        (errno.EACCES, False),
        (errno.ENAMETOOLONG, False),
    ],
)
def test_only_what_every_other_file_would_meet_as_well_stops_the_run(number: int, fatal: bool) -> None:
    with pytest.raises(StoreError) as caught, explained("x"):
        raise OSError(number, os.strerror(number))
    assert caught.value.fatal is fatal
    assert str(caught.value) == f"x: {os.strerror(number).lower()}"
    assert caught.value.__cause__ is None


def test_an_output_on_a_read_only_file_system_is_refused_in_words(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(StoreError, match="read-only file system") as caught:
            LocalStore(disk / "out").__enter__()
        assert caught.value.fatal
        assert caught.value.hint


def test_a_store_may_be_used_by_many_threads_at_once_for_the_same_new_directory(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        write(store, path(f"a/b/c/d/{number}"), [b"x"])

    with LocalStore(tmp_path) as store, ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert len(list((tmp_path / "a/b/c/d").iterdir())) == 8
