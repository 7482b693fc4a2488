"""An archive holds every member whole under its name, and has no name of its own before its run has ended."""

import errno
import io
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from aiocircle.download.archive_store import ArchiveStore
from aiocircle.download.outputs import is_archive
from aiocircle.download.parts import Part
from aiocircle.download.paths import SafePath
from aiocircle.errors import ConfigurationError, StoreError
from aiocircle.extras import load_zstd

MIB = 1024 * 1024
NAMES = ["a.txt", "d/ü 日本 %2F.txt", "d/" + "long" * 60, "/".join(["deep" * 20] * 8), "-rf"]
FILES = {name: os.urandom(7 * number) for number, name in enumerate(NAMES)}
LARGE = os.urandom(3 * MIB) + bytes(2 * MIB)


def path(text: str) -> SafePath:
    return SafePath(tuple(text.split("/")))


def fill(store: ArchiveStore) -> None:
    for name, data in FILES.items():
        store.publish(store.stage(path(name), [data[:3], data[3:]]))
    part = Part()
    store.begin(part)
    store.append(part, path("large"), [LARGE])
    store.commit(part, path("large"), len(LARGE))


def contents(file: Path) -> dict[str, bytes]:
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            assert archive.testzip() is None
            return {name: archive.read(name) for name in archive.namelist()}
    data = file.read_bytes()
    if file.suffix.lower() == ".zst":
        data = load_zstd("this test").decompress(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {}
        for member in tar:
            taken = tar.extractfile(member)
            assert taken is not None
            found[member.name] = taken.read()
        return found


@pytest.mark.parametrize("name", ["out.tar", "out.tar.gz", "out.TGZ", "out.tar.zst", "out.zip"])
def test_every_member_is_whole_and_nothing_else_is_left(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    with ArchiveStore(str(out)) as store:
        fill(store)
        assert not out.exists()
        store.finish()
    assert contents(out) == {**FILES, "large": LARGE}
    assert [found.name for found in tmp_path.iterdir()] == [name]


def test_gnu_tar_and_unzip_read_them(tmp_path: Path) -> None:
    for name, command in (("out.tar.gz", ["tar", "xf"]), ("out.zip", [sys.executable, "-m", "zipfile", "-e"])):
        with ArchiveStore(str(tmp_path / name)) as store:
            fill(store)
            store.finish()
        where = tmp_path / f"{name}.d"
        where.mkdir()
        more = ["-C", str(where)] if command[0] == "tar" else [str(where)]
        subprocess.run([*command, str(tmp_path / name), *more], check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
        assert (where / "large").read_bytes() == LARGE
        assert (where / NAMES[1]).read_bytes() == FILES[NAMES[1]]
        assert sum(found.is_file() for found in where.rglob("*")) == len(FILES) + 1


def test_the_same_files_make_the_same_archive_whenever_and_whoever(tmp_path: Path) -> None:
    for name in ("tar", "tar.gz", "tar.zst", "zip"):
        twice = []
        for attempt in ("1", "2"):
            with ArchiveStore(str(tmp_path / f"{attempt}.{name}")) as store:
                fill(store)
                store.finish()
            twice.append((tmp_path / f"{attempt}.{name}").read_bytes())
        assert twice[0] == twice[1]
    with tarfile.open(tmp_path / "1.tar") as tar:
        assert {(one.mode, one.uid, one.gid, one.uname, one.mtime) for one in tar} == {(0o644, 0, 0, "", 315532800)}
    with zipfile.ZipFile(tmp_path / "1.zip") as archive:
        assert {stat.filemode(one.external_attr >> 16) for one in archive.infolist()} == {"-rw-r--r--"}


@pytest.mark.parametrize("name", ["out.tar", "out.zip"])
def test_without_an_end_there_is_no_archive_and_an_older_one_stays(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    out.write_bytes(b"older")
    with ArchiveStore(str(out)) as store:
        fill(store)
    assert out.read_bytes() == b"older"
    assert [found.name for found in tmp_path.iterdir()] == [name]


def test_what_a_killed_run_left_is_cleared_away_and_two_at_once_are_refused(tmp_path: Path) -> None:
    own = tmp_path / ".out.tar.aiocircle"
    (own / "parts").mkdir(parents=True)
    for left in ("archive", "ledger.sqlite", "parts/w1"):
        (own / left).write_bytes(b"left over")
    with ArchiveStore(str(tmp_path / "out.tar")) as store:
        assert sorted(found.name for found in own.rglob("*")) == ["archive", "lock", "parts"]
        with pytest.raises(StoreError, match="another run"):
            ArchiveStore(str(tmp_path / "out.tar")).__enter__()
        fill(store)
        store.finish()
    assert contents(tmp_path / "out.tar")["large"] == LARGE


def test_a_member_that_was_cut_spoils_the_archive(tmp_path: Path) -> None:
    with ArchiveStore(str(tmp_path / "out.tar")) as store:
        fill(store)
        with pytest.raises(StoreError) as caught:
            store._add(path("cut"), 10, io.BytesIO(b"short"))
        assert caught.value.fatal
        for again in (store.finish, lambda: store.publish(store.stage(path("x"), [b"x"]))):
            with pytest.raises(StoreError, match="of no use"):
                again()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_a_fatal_sentence(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("A FULL DISK IS NOT TESTED: there is no /dev/full")
    with ArchiveStore(str(tmp_path / "out.tar")) as store, Path("/dev/full").open("wb", buffering=0) as full:
        store._writer = store._make(full)
        with pytest.raises(StoreError, match="no space left") as caught:
            fill(store)
        assert caught.value.fatal


TO_STDOUT = """
import sys
from aiocircle.download.archive_store import ArchiveStore
from aiocircle.download.paths import SafePath
with ArchiveStore("-") as store:
    store.publish(store.stage(SafePath(("a",)), [b"1" * 1000]))
    if sys.argv[1] == "whole":
        store.finish()
"""


@pytest.mark.parametrize(("end", "code"), [("whole", 0), ("cut", 2)])
def test_tar_is_told_whether_a_stream_was_cut(tmp_path: Path, end: str, code: int) -> None:
    sent = subprocess.run([sys.executable, "-c", TO_STDOUT, end], check=True, capture_output=True).stdout
    done = subprocess.run(["tar", "x", "-C", tmp_path], input=sent, check=False, capture_output=True)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "a").read_bytes() == b"1" * 1000


def test_what_means_an_archive() -> None:
    assert all(map(is_archive, ["-", "a.tar", "d/b.TAR.GZ", "x.tgz", "x.zip", "x.tar.zst"]))
    assert not any(map(is_archive, ["tar", "zip", "a.tar.d", "out", "a.gz", "./-"]))


def test_a_kind_whose_package_is_missing_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    with pytest.raises(
        ConfigurationError, match=r"out\.tar\.zst: \.tar\.zst needs the package backports\.zstd"
    ) as caught:
        ArchiveStore(str(tmp_path / "out.tar.zst"))
    assert caught.value.hint == "pip install 'aiocircle[zstd]'"
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out.tar").mkdir()
    with pytest.raises(StoreError, match="a directory of that name is there"):
        ArchiveStore(str(tmp_path / "out.tar")).__enter__()


def test_nobody_who_knows_where_temporary_files_lie_can_lead_a_tar_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").write_text("kept")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / f".aiocircle-{os.getpid()}").symlink_to(mine)
    monkeypatch.setattr("tempfile.tempdir", str(shared))
    with (tmp_path / "taken").open("wb") as taken, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", taken)
        with ArchiveStore("-") as store:
            fill(store)
            store.finish()
    assert contents(tmp_path / "taken")["large"] == LARGE
    assert (mine / "precious").read_text() == "kept"
    assert len(list(shared.iterdir())) == 1


def test_a_link_in_the_place_of_the_archives_own_directory_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").write_text("kept")
    (tmp_path / ".out.tar.aiocircle").symlink_to(mine)
    with pytest.raises(StoreError, match="a link stands there"):
        ArchiveStore(str(tmp_path / "out.tar")).__enter__()
    assert (mine / "precious").read_text() == "kept"


@pytest.mark.parametrize("stdout", [None, io.StringIO()])
def test_a_program_without_a_standard_output_is_told_so_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stdout: io.StringIO | None
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", stdout)
        with pytest.raises(StoreError, match="no standard output"):
            ArchiveStore("-").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_cannot_be_begun_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = ArchiveStore(str(tmp_path / "out.tar"))
    monkeypatch.setattr(store, "_opened", full)
    with pytest.raises(StoreError, match="no space left"):
        store.__enter__()
    assert list(tmp_path.iterdir()) == []
