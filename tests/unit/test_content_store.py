"""Equal files are one file with many names; nothing that rotted gets another name, whenever a run was killed."""

import errno
import hashlib
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aiocircle.download.content_store import ContentStore
from aiocircle.download.parts import Part
from aiocircle.download.paths import SafePath
from aiocircle.errors import StoreError


def path(text: str) -> SafePath:
    return SafePath(tuple(text.split("/")))


def put(store: ContentStore, name: str, data: bytes) -> int:
    staged = store.stage(path(name), [data])
    store.publish(staged)
    assert (store.root / name).stat().st_ino == staged.inode
    return staged.inode


def commit(store: ContentStore, name: str, data: bytes) -> int:
    part = Part()
    store.begin(part)
    store.append(part, path(name), [data])
    announced: list[int] = []
    store.commit(part, path(name), len(data), announced.append)
    store.discard(part)
    assert (store.root / name).stat().st_ino == announced[0]
    return announced[0]


def object_of(root: Path, data: bytes) -> Path:
    digest = hashlib.sha256(data).hexdigest()
    return root / ".aiocircle" / "objects" / digest[:2] / digest[2:]


def parts_of(root: Path) -> list[Path]:
    return list((root / ".aiocircle" / "parts").iterdir())


def test_equal_files_small_and_large_and_of_several_runs_are_one(tmp_path: Path) -> None:
    for run in range(3):
        with ContentStore(tmp_path) as store:
            for job in range(5):
                put(store, f"{run}/{job}/small", b"equal")
                commit(store, f"{run}/{job}/large", b"equal")
            put(store, f"{run}/other", b"run %d" % run)
    equal = {found.stat().st_ino for name in ("small", "large") for found in tmp_path.rglob(name)}
    assert equal == {object_of(tmp_path, b"equal").stat().st_ino}
    assert object_of(tmp_path, b"equal").stat().st_nlink == 31
    assert (tmp_path / "2/4/large").read_bytes() == b"equal"
    assert [(tmp_path / f"{run}/other").read_bytes() for run in range(3)] == [b"run 0", b"run 1", b"run 2"]
    assert parts_of(tmp_path) == []


def test_a_name_that_gets_the_same_or_other_bytes_again_leaves_no_part(tmp_path: Path) -> None:
    with ContentStore(tmp_path) as store:
        first = put(store, "x", b"old")
        assert put(store, "x", b"old") == first
        assert commit(store, "x", b"old") == first
        assert put(store, "x", b"new") != first
        assert (tmp_path / "x").read_bytes() == b"new"
        assert object_of(tmp_path, b"old").read_bytes() == b"old"
        assert parts_of(tmp_path) == []


def test_files_may_only_be_read(tmp_path: Path) -> None:
    with ContentStore(tmp_path) as store:
        put(store, "x", b"1")
        commit(store, "y", b"2")
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) & 0o222 for name in "xy"} == {0}


@pytest.mark.parametrize("damage", [b"equaL", b"equal and more", b""])
def test_a_damaged_object_gets_no_further_name_and_is_replaced(tmp_path: Path, damage: bytes) -> None:
    with ContentStore(tmp_path) as store:
        put(store, "before", b"equal")
        object_of(tmp_path, b"equal").chmod(0o644)
        object_of(tmp_path, b"equal").write_bytes(damage)
        put(store, "after", b"equal")
        commit(store, "later", b"equal")
    assert (tmp_path / "before").read_bytes() == damage
    assert (tmp_path / "after").read_bytes() == object_of(tmp_path, b"equal").read_bytes() == b"equal"
    assert (tmp_path / "after").samefile(tmp_path / "later")


def test_a_link_or_a_directory_in_place_of_an_object_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"equal")
    with ContentStore(tmp_path / "out") as store:
        shelf = object_of(tmp_path / "out", b"equal")
        shelf.parent.mkdir()
        shelf.symlink_to(tmp_path / "elsewhere")
        put(store, "x", b"equal")
        assert not (tmp_path / "out/x").is_symlink()
        assert not (tmp_path / "out/x").samefile(tmp_path / "elsewhere")


def test_an_object_with_all_the_names_it_may_have_makes_room_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def refusing(source: str, *arguments: object, **more: int) -> None:
        if len(source) == 62:  # an object's own name
            raise OSError(errno.EMLINK, "too many links")
        link(source, *arguments, **more)  # type: ignore[arg-type]

    with ContentStore(tmp_path) as store:
        first = put(store, "a", b"equal")
        with monkeypatch.context() as patched:
            patched.setattr(os, "link", refusing)
            second = put(store, "b", b"equal")
        assert second != first
        assert put(store, "c", b"equal") == second


def test_a_file_system_without_links_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "link", refusing)
    with ContentStore(tmp_path) as store, pytest.raises(StoreError, match="no hard links") as caught:
        put(store, "a", b"1")
    assert caught.value.fatal
    assert "--dedupe" in str(caught.value.hint)


CALLS = ["link", "rename", "chmod", "unlink"]
KILLED = """
import os, sys
from pathlib import Path
from aiocircle.download.content_store import ContentStore
from aiocircle.download.parts import Part, new_part
from aiocircle.download.paths import SafePath

left = int(sys.argv[2])

def deadly(function):
    def call(*arguments, **more):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return function(*arguments, **more)
    return call

with ContentStore(Path(sys.argv[1])) as store:
    for name in ("link", "rename", "chmod", "unlink"):
        setattr(os, name, deadly(getattr(os, name)))
    for number in range(4):
        store.publish(store.stage(SafePath((f"s{number}",)), [b"equal"]))
        part = new_part(f"artifact {number}", "validator", 5)
        store.begin(part)
        store.append(part, SafePath((f"l{number}",)), [b"equal"])
        store.commit(part, SafePath((f"l{number}",)), 5)
        print(number, flush=True)
"""


def test_a_kill_before_any_step_leaves_whole_names_only_and_the_next_run_completes_them(tmp_path: Path) -> None:
    """Every step of four rounds in turn: links, renames, modes and removals."""
    codes = set()
    for step in [*range(20), *random.Random(5).sample(range(20, 36), 4), 100]:
        root = tmp_path / str(step)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, root, str(step)], check=False, capture_output=True, text=True
        )
        codes.add(done.returncode)
        names = [found for found in root.iterdir() if found.is_file()]
        assert [found.read_bytes() for found in names] == [b"equal"] * len(names), step
        with ContentStore(root) as store:
            kept = [found for found in parts_of(root) if found.stat().st_nlink > 1]
            assert kept == [], step  # a part that could be continued is never an object at the same time
            for number in range(4):
                put(store, f"s{number}", b"equal")
        assert len({found.stat().st_ino for found in root.iterdir() if found.is_file()}) == 1, step
    assert codes == {0, -9}
