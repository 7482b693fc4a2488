"""A file comes into being at once and complete, by one run at a time, without a leak of descriptors."""

import gc
import os
import resource
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from store_paths import parts_of, path, write

from aiocircle.download.local_store import KEPT_PARENTS, LocalStore
from aiocircle.download.parts import Part
from aiocircle.errors import StoreError, UnsafePathError


def descriptors() -> int:
    gc.collect()  # what other tests left is closed now, and not while a test counts
    return len(list(Path("/proc/self/fd").iterdir()))


# --- a file comes into being -----------------------------------------------------------------------------------------


def test_a_file_is_written_with_its_directories_and_leaves_no_part(tmp_path: Path) -> None:
    with LocalStore(tmp_path / "new" / "out") as store:
        write(store, path("a/b/c.txt"), [b"one ", b"", b"two"])
        write(store, path("top"), [])
        assert (store.root / "a/b/c.txt").read_bytes() == b"one two"
        assert (store.root / "top").read_bytes() == b""
        assert parts_of(store.root) == []
        assert store.size_of(path("a/b/c.txt")) == 7
        assert store.size_of(path("a/b/d.txt")) is None
        assert store.size_of(path("no/b")) is None
        assert store.size_of(path("a/b")) is None


def test_the_final_name_appears_only_when_the_part_is_committed(tmp_path: Path) -> None:
    with LocalStore(tmp_path) as store:
        part = Part()
        store.begin(part)
        os.write(part.descriptor, b"half")
        assert not (tmp_path / "x").exists()
        assert parts_of(tmp_path) == [part.name]
        os.write(part.descriptor, b" and half")
        store.commit(part, path("d/x"), 13)
        assert (tmp_path / "d/x").read_bytes() == b"half and half"
        assert parts_of(tmp_path) == []


@pytest.mark.parametrize("said", [3, 5])
def test_a_part_of_another_size_than_was_given_to_it_gets_no_name(tmp_path: Path, said: int) -> None:
    with LocalStore(tmp_path) as store:
        part = Part()
        store.begin(part)
        os.write(part.descriptor, b"four")
        with pytest.raises(StoreError, match="did not take all bytes") as caught:
            store.commit(part, path("x"), said)
        store.discard(part)
        assert caught.value.fatal
        assert not (tmp_path / "x").exists()
        assert parts_of(tmp_path) == []


def test_a_discarded_part_is_gone_with_its_descriptor_and_may_be_discarded_again(tmp_path: Path) -> None:
    with LocalStore(tmp_path) as store:
        before = descriptors()
        part = Part()
        store.discard(part)  # it was never opened
        store.begin(part)
        store.discard(part)
        store.discard(part)
        assert parts_of(tmp_path) == []
        assert descriptors() <= before


def test_a_part_whose_descriptor_was_taken_away_is_removed_all_the_same(tmp_path: Path) -> None:
    with LocalStore(tmp_path) as store:
        part = Part()
        store.begin(part)
        os.close(part.descriptor)
        store.discard(part)
        assert parts_of(tmp_path) == []


def test_discarding_a_committed_part_leaves_the_file_alone(tmp_path: Path) -> None:
    with LocalStore(tmp_path) as store:
        part = Part()
        store.begin(part)
        store.commit(part, path("x"), 0)
        store.discard(part)
        assert (tmp_path / "x").exists()


def test_an_older_file_of_the_name_is_replaced_at_once_and_never_emptied(tmp_path: Path) -> None:
    with LocalStore(tmp_path) as store:
        write(store, path("x"), [b"old"])
        with (tmp_path / "x").open("rb") as reader:
            write(store, path("x"), [b"new"])
            assert reader.read() == b"old"
        assert (tmp_path / "x").read_bytes() == b"new"


def test_files_get_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with LocalStore(tmp_path) as store:
            write(store, path("d/x"), [b"x"])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "d/x").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o750


@pytest.mark.parametrize("sync", [True, False])
def test_bytes_and_names_are_flushed_to_the_disk_if_asked_for_and_not_otherwise(tmp_path: Path, sync: bool) -> None:
    script = f"""
import os, stat, sys
from pathlib import Path
from aiocircle.download.paths import SafePath
from aiocircle.download.parts import Part
from aiocircle.download.local_store import LocalStore
flushed, flush = [], os.fsync
def counted(descriptor):
    flushed.append(os.readlink(f"/proc/self/fd/{{descriptor}}"))
    flush(descriptor)
os.fsync = counted
with LocalStore(Path({str(tmp_path)!r}) / "out", sync={sync}) as store:
    store.publish(store.stage(SafePath(("a", "b", "c")), [b"x"]))
print(*(name.rpartition("/")[2] if "parts/" not in name else "PART" for name in flushed))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # The two outermost are .aiocircle and parts; then the file's bytes, its new directories, and its name.
    assert ran.stdout.split() == (["out", ".aiocircle", "PART", "out", "a", "b"] if sync else [])


def test_a_directory_among_the_parts_is_left_alone_and_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".aiocircle" / "parts" / "strange").mkdir(parents=True)
    (tmp_path / ".aiocircle" / "parts" / "old").write_bytes(b"x")
    with LocalStore(tmp_path) as store:
        write(store, path("a"), [b"one"])
    assert [one.name for one in (tmp_path / ".aiocircle" / "parts").iterdir()] == ["strange"]


def test_the_store_tells_whether_letter_case_makes_a_difference(tmp_path: Path) -> None:
    (tmp_path / "probe").touch()
    with LocalStore(tmp_path) as store:
        assert store.holds_case() is not (tmp_path / "PROBE").exists()
        assert parts_of(tmp_path) == []


# --- one run at a time -----------------------------------------------------------------------------------------------


def test_a_second_run_is_refused_in_words_while_the_first_one_holds_the_output(tmp_path: Path) -> None:
    with LocalStore(tmp_path) as first:
        part = Part()
        first.begin(part)
        before = descriptors()
        with pytest.raises(StoreError, match=f"another run is downloading to {tmp_path}") as caught:
            LocalStore(tmp_path).__enter__()
        assert caught.value.fatal
        assert caught.value.hint
        assert descriptors() <= before
        assert parts_of(tmp_path) == [part.name], "the second run must not clean up after the first one"
        first.discard(part)
    with LocalStore(tmp_path) as second:
        write(second, path("x"), [b"x"])


def test_the_lock_is_released_with_the_process_that_held_it(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from aiocircle.download.parts import Part
from aiocircle.download.local_store import LocalStore
store = LocalStore(Path({str(tmp_path)!r})).__enter__()
for _ in range(3):
    store.begin(Part())
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    assert len(parts_of(tmp_path)) == 3
    with LocalStore(tmp_path):
        assert parts_of(tmp_path) == []


def test_the_lock_is_not_inherited_by_programs_that_are_started_meanwhile(tmp_path: Path) -> None:
    with LocalStore(tmp_path) as store:
        part = Part()
        store.begin(part)
        child = subprocess.Popen(["sleep", "30"], close_fds=False)
        store.discard(part)
    try:
        with LocalStore(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()


# --- descriptors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [1, KEPT_PARENTS])
def test_no_descriptor_leaks_over_thousands_of_writes_in_many_directories_and_threads(
    tmp_path: Path, kept: int
) -> None:
    before = descriptors()
    held: list[int] = []

    def work(number: int) -> None:
        target = path(f"d{number % 37}/e{number % 11}/{number}")
        assert store.size_of(target) is None
        if number % 10 == 0:
            part = Part()
            store.begin(part)
            store.discard(part)
        write(store, target, [b"%d" % number])
        assert store.size_of(target) == len(str(number))
        if number % 500 == 0:
            held.append(descriptors() - before)

    with LocalStore(tmp_path, kept_parents=kept) as store:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(4000)))
        # The root, our own directory, the parts, the lock; per thread the kept ones, one on the way there, and a file.
        assert max(held) <= 4 + 8 * (kept + 3)
    assert descriptors() <= before
    assert sum(1 for found in tmp_path.rglob("*") if found.is_file() and found.name.isdecimal()) == 4000
    assert all((tmp_path / f"d{n % 37}/e{n % 11}/{n}").read_bytes() == b"%d" % n for n in range(4000)), (
        "threads must not share a directory's handle by mistake"
    )


def test_no_descriptor_leaks_where_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "d/link").mkdir(parents=True)
    (tmp_path / "d/link/l").symlink_to("/")
    (tmp_path / "dir").mkdir()
    with LocalStore(tmp_path) as store:
        write(store, path("d/ok"), [b""])
        write(store, path("warm"), [b""])
        before = descriptors()
        for _ in range(100):
            for target in ("d/link/l/x", "d/ok/x", "dir"):
                with pytest.raises(UnsafePathError):
                    write(store, path(target), [b"x"])
        assert descriptors() <= before + 1
        assert parts_of(tmp_path) == []


def test_too_few_descriptors_are_an_error_in_words_that_stops_the_run(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with LocalStore(tmp_path) as store:
        opened = [os.open("/", os.O_RDONLY)]
        try:
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (max(int(found.name) for found in Path("/proc/self/fd").iterdir()) + 1, hard)
            )
            while len(opened) < soft:
                try:
                    opened.append(os.open("/", os.O_RDONLY))
                except OSError:
                    break
            with pytest.raises(StoreError) as caught:
                write(store, path("x"), [b"x"])
        finally:
            for descriptor in opened:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.fatal
    assert "ulimit -n" in (caught.value.hint or "")
