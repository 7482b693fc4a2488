"""What the ledger says is complete was completed, and a ledger that cannot be used says so in words."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocircle.download.ledger import BATCH, VERSION, Ledger
from aiocircle.download.paths import SafePath
from aiocircle.errors import StoreError

A = SafePath(("0", "a.txt"))
B = SafePath(("0", "b.txt"))


def rows(directory: Path) -> list[tuple[str, str, int]]:
    connection = sqlite3.connect(directory / "ledger.sqlite")
    found = connection.execute("SELECT target, artifact, size FROM files ORDER BY target").fetchall()
    connection.close()
    return found


def test_a_completed_file_is_known_to_the_next_run_by_name_artifact_and_size(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        assert ledger.is_empty
        assert ledger.size_of(A, "job 1") is None
        ledger.add(A, "job 1", 5)
        ledger.add(B, "job 1", 0)
    with Ledger(tmp_path) as ledger:
        assert not ledger.is_empty
        assert ledger.size_of(A, "job 1") == 5
        assert ledger.size_of(B, "job 1") == 0


def test_the_same_name_with_the_bytes_of_another_artifact_is_not_complete(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add(A, "job 1", 5)
    with Ledger(tmp_path) as ledger:
        assert ledger.size_of(A, "job 2") is None
        ledger.add(A, "job 2", 7)
    with Ledger(tmp_path) as ledger:
        assert ledger.size_of(A, "job 1") is None
        assert ledger.size_of(A, "job 2") == 7


def test_rows_are_written_in_batches_so_that_a_kill_loses_less_than_one(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for number in range(BATCH - 1):
            ledger.add(SafePath((str(number),)), "x", number)
        assert rows(tmp_path) == []
        ledger.add(A, "x", 1)
        assert len(rows(tmp_path)) == BATCH
        ledger.add(B, "x", 1)
        assert len(rows(tmp_path)) == BATCH
        ledger.flush()
        assert len(rows(tmp_path)) == BATCH + 1


def test_several_threads_may_add_and_ask_at_once(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add(A, "x", 1)
    failures: list[Exception] = []

    def work(thread: int) -> None:
        try:
            for number in range(500):
                ledger.add(SafePath((str(thread), str(number))), "x", number)
                assert ledger.size_of(A, "x") == 1
        except Exception as error:  # noqa: BLE001 -- told to the test's own thread
            failures.append(error)

    with Ledger(tmp_path) as ledger:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(rows(tmp_path)) == 6 * 500 + 1


def test_names_of_every_script_and_with_odd_characters_are_kept_apart(tmp_path: Path) -> None:
    names = ["día/日本語", "a'b\"c", "%00", "a", "A", "é", "e\u0301", "🎉"]
    with Ledger(tmp_path) as ledger:
        for size, name in enumerate(names):
            ledger.add(SafePath(tuple(name.split("/"))), f"{name}\0end", size)
    with Ledger(tmp_path) as ledger:
        found = [ledger.size_of(SafePath(tuple(name.split("/"))), f"{name}\0end") for name in names]
    assert found == list(range(len(names)))


def no_sqlite(file: Path) -> None:
    file.write_bytes(b"this is no database, and never was one\n" * 100)


def other_table(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE files (something TEXT)")
    connection.execute("INSERT INTO files VALUES ('else')")
    connection.commit()
    connection.close()


def newer(file: Path) -> None:
    with Ledger(file.parent) as ledger:
        ledger.add(A, "x", 1)
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA user_version={VERSION + 1}")
    connection.close()


def a_directory(file: Path) -> None:
    file.mkdir()


def a_link(file: Path) -> None:
    elsewhere = file.parent / "elsewhere.sqlite"
    sqlite3.connect(elsewhere).close()
    file.symlink_to(elsewhere)


@pytest.mark.parametrize("spoil", [no_sqlite, other_table, newer, a_directory, a_link])
def test_a_file_that_is_no_ledger_of_ours_is_an_error_in_words_and_is_left_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    file = tmp_path / "ledger.sqlite"
    spoil(file)
    target = file.resolve()
    before = target.read_bytes() if target.is_file() else None

    def use() -> None:
        with Ledger(tmp_path) as ledger:
            ledger.size_of(A, "x")

    with pytest.raises(StoreError) as caught:
        use()
    assert str(file) in str(caught.value)
    assert caught.value.fatal
    assert "remove the file" in (caught.value.hint or "")
    if spoil in {no_sqlite, a_link}:
        assert target.read_bytes() == before
    if spoil is newer:
        assert rows(tmp_path) == [(str(A), "x", 1)]


def test_a_batch_that_could_not_be_written_is_written_by_the_next_try(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
        # The table is away for a while, as the room for it would be on a full disk: the statement fails, half done.
        other.execute("ALTER TABLE files RENAME TO away")
        ledger.add(A, "x", 1)
        with pytest.raises(StoreError):
            ledger.flush()
        other.execute("ALTER TABLE away RENAME TO files")
        other.close()
        ledger.add(B, "x", 2)
    assert rows(tmp_path) == [(str(A), "x", 1), (str(B), "x", 2)]


def test_neither_an_address_nor_a_token_is_recorded(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add(A, "gh/acme/web#1/0/a.txt", 1)
    columns = sqlite3.connect(tmp_path / "ledger.sqlite")
    assert [row[1] for row in columns.execute("PRAGMA table_info(files)")] == ["target", "artifact", "size"]
    columns.close()
