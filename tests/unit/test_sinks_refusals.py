"""What disks refuse is one sentence, what is missing as well, and a sink takes no more memory for more rows."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from refusing_machine import tiny_disk, without_privileges
from sink_rows import rows_of

from aiocircle.errors import ConfigurationError, StoreError
from aiocircle.export.sinks import FORMATS, open_sink
from aiocircle.export.state import State
from aiocircle.export.tables import TABLES
from aiocircle.extras import load_zstd

JOBS = TABLES["jobs"]


def put(kind: str, directory: Path, count: int) -> None:
    with open_sink(kind, directory) as sink:
        sink.begin(JOBS)
        for start in range(0, count, 500):
            sink.write(rows_of(JOBS, min(count, 500), start=start))


def sentence(error: StoreError) -> None:
    assert error.hint
    assert "\n" not in str(error)
    assert error.__cause__ is None
    assert error.fatal


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("had_one", [False, True])
def test_a_full_disk_is_one_sentence_and_what_was_there_stays(tmp_path: Path, kind: str, had_one: bool) -> None:
    with tiny_disk(tmp_path / "disk", "3m") as disk:
        if had_one:
            put(kind, disk / "out", 3)
        before = {one: one.read_bytes() for one in (disk / "out").rglob("*") if one.is_file()}
        with pytest.raises(StoreError, match="no space left on device") as caught:
            put(kind, disk / "out", 20_000)
        sentence(caught.value)
        after = {one: one.read_bytes() for one in (disk / "out").rglob("*") if one.is_file()}
        if kind == "parquet":  # of which some days may be new already
            after = {one: data for one, data in after.items() if one in before}
        assert {one: data for one, data in after.items() if not one.name.endswith(("-wal", "-shm"))} == before
        put(kind, disk / "out", 5)


@pytest.mark.parametrize("kind", FORMATS)
def test_who_may_not_write_there_is_told_so(tmp_path: Path, kind: str) -> None:
    with open_sink(kind, tmp_path / "elsewhere") as sink:
        sink.begin(JOBS)  # what is imported only when it is needed is imported now
    (tmp_path / "out").mkdir(mode=0o555)
    with without_privileges(tmp_path, tmp_path / "out"), pytest.raises(StoreError, match="permission denied") as caught:
        put(kind, tmp_path / "out", 5)
    sentence(caught.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_read_only_disk_is_one_sentence(tmp_path: Path, kind: str) -> None:
    with tiny_disk(tmp_path / "disk") as disk:
        put(kind, disk / "out", 5)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(StoreError, match="read-only file system") as caught:
            put(kind, disk / "out", 5)
        sentence(caught.value)


def test_the_state_of_an_export_on_a_read_only_disk_says_that_the_disk_is(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as disk:
        State(disk, origin="https://host", raw=False, now=datetime.now(UTC)).close()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(StoreError, match="read-only file system") as caught:
            State(disk, origin="https://host", raw=False, now=datetime.now(UTC))
        sentence(caught.value)
        assert "file system" in (caught.value.hint or "")


@pytest.mark.parametrize("kind", FORMATS)
def test_what_a_hint_names_is_an_option_of_exports(tmp_path: Path, kind: str) -> None:
    with pytest.raises(StoreError, match="file name too long") as caught:
        put(kind, tmp_path / ("x" * 300), 5)
    sentence(caught.value)
    assert caught.value.hint is not None
    assert "--layout" not in caught.value.hint


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_where_the_directory_should_be_is_one_sentence(tmp_path: Path, kind: str) -> None:
    (tmp_path / "out").write_text("a user's")
    with pytest.raises(StoreError) as caught:
        put(kind, tmp_path / "out", 5)
    sentence(caught.value)
    assert (tmp_path / "out").read_text() == "a user's"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_link_where_unfinished_files_lie_is_not_followed(tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere" / kind).mkdir(parents=True)
    (tmp_path / "elsewhere" / kind / "precious").touch()
    (tmp_path / "out" / ".aiocircle").mkdir(parents=True)
    (tmp_path / "out" / ".aiocircle" / "sinks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="it is a link") as caught:
        put(kind, tmp_path / "out", 5)
    sentence(caught.value)
    assert (tmp_path / "elsewhere" / kind / "precious").exists()


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [("parquet", "pyarrow", "parquet"), ("duckdb", "duckdb", "duckdb")],
)
def test_a_missing_package_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=f"needs the package {package}, which is not installed") as caught:
        open_sink(kind, tmp_path)
    assert caught.value.hint == f"pip install 'aiocircle[{extra}]'"


def test_duckdb_needs_no_other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    put("duckdb", tmp_path, 3)


def test_without_a_module_for_zstd_only_its_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_zstd("this test").compress(b"")
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r"needs the package backports\.zstd") as caught:
        open_sink("csv", tmp_path, compression="zstd")
    assert caught.value.hint == "pip install 'aiocircle[zstd]'"
    put("csv", tmp_path, 3)


def test_packages_are_loaded_when_a_sink_needs_them() -> None:
    program = (
        "import sys, aiocircle.export.sinks, aiocircle.export.sinks.parquet, aiocircle.export.sinks.duckdb, "
        "aiocircle.export.sinks.arrow, aiocircle.download.archive_store\n"
        "assert not {'pyarrow', 'duckdb', 'backports', 'rich', 'cyclopts'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# --- memory -----------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
sys.path.insert(0, "tests/unit")
from aiocircle.export.sinks import open_sink
from aiocircle.export.state import State
from aiocircle.export.tables import TABLES
from benchmarks.sinks import rows
kind, directory, count, order = sys.argv[1:]
with open_sink(kind, directory) as sink:
    sink.begin(TABLES["jobs"])
    for batch in rows(int(count)):
        if order == "shuffled":
            batch = [row._replace(pipeline_created_at=row.pipeline_created_at.replace(month=1 + n % 12, day=1 + n % 28))
                     for n, row in enumerate(batch)]
        sink.write(batch)
with open("/proc/self/status") as lines:
    print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="MEMORY IS NOT TESTED: only Linux tells its peak")
@pytest.mark.parametrize(
    ("kind", "order", "most"),
    [
        ("jsonl", "ordered", 20),
        ("csv", "ordered", 20),
        ("sqlite", "ordered", 70),
        ("parquet", "ordered", 80),
        ("parquet", "shuffled", 100),
        ("duckdb", "ordered", 35),
    ],
)
def test_two_hundred_thousand_rows_take_little_memory(tmp_path: Path, kind: str, order: str, most: int) -> None:
    """More than twenty do: how much of a library counts depends on what else has been using it."""

    def peak(rows: int) -> int:
        command = [sys.executable, "-c", PROGRAM, kind, str(tmp_path / str(rows)), str(rows), order]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        return int(done.stdout)

    few, many = peak(20), peak(200_000)
    assert many - few < most, (few, many)
