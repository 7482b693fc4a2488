"""What the ledger says is complete was completed, and a ledger that cannot be used says so in words."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from aiocircle.download.choice import choice_in
from aiocircle.download.ledger import BATCH, Ledger
from aiocircle.download.paths import SafePath
from aiocircle.download.records import VERSION, Failed, Records, Source, Stored
from aiocircle.download.verify import verify
from aiocircle.errors import StoreError

A = SafePath(("0", "a.txt"))
B = SafePath(("0", "b.txt"))


def stored(target: SafePath, artifact: str, size: int) -> Stored:
    return Stored(source=Source(slug="gh/acme/web", job=1, node=0, path=artifact), target=str(target), size=size)


def identity(artifact: str) -> str:
    return f"gh/acme/web#1/0/{artifact}"


def rows(directory: Path) -> list[tuple[str, str, int]]:
    connection = sqlite3.connect(directory / "ledger.sqlite")
    found = connection.execute("SELECT target, artifact, size FROM files ORDER BY target").fetchall()
    connection.close()
    return found


def test_a_completed_file_is_known_to_the_next_run_by_name_artifact_and_size(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        assert ledger.is_empty
        assert ledger.size_of(A, identity("job 1")) is None
        ledger.add(stored(A, "job 1", 5))
        ledger.add(stored(B, "job 1", 0))
    with Ledger(tmp_path) as ledger:
        assert not ledger.is_empty
        assert ledger.size_of(A, identity("job 1")) == 5
        assert ledger.size_of(B, identity("job 1")) == 0


def test_the_same_name_with_the_bytes_of_another_artifact_is_not_complete(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add(stored(A, "job 1", 5))
    with Ledger(tmp_path) as ledger:
        assert ledger.size_of(A, identity("job 2")) is None
        ledger.add(stored(A, "job 2", 7))
    with Ledger(tmp_path) as ledger:
        assert ledger.size_of(A, identity("job 1")) is None
        assert ledger.size_of(A, identity("job 2")) == 7


def test_a_row_is_there_as_soon_as_it_is_announced(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for number in range(BATCH + 1):
            ledger.add(stored(SafePath((str(number),)), "x", number))
            assert len(rows(tmp_path)) == number + 1


def own(output: Path) -> Path:
    directory = output / ".aiocircle"
    directory.mkdir(exist_ok=True)
    return directory


def test_a_kill_around_a_rename_costs_no_finished_file_and_makes_no_unfinished_one_count(tmp_path: Path) -> None:
    """The row is there before the name is; whether the rename took place is decided by the next run."""
    named, unnamed, same_size = (tmp_path / name for name in ("named", "unnamed", "same-size"))
    for file in (named, same_size):
        file.write_bytes(b"12345")
    ledger = Ledger(own(tmp_path)).__enter__()
    for file, inode in ((named, named.stat().st_ino), (unnamed, 1), (same_size, named.stat().st_ino)):
        ledger.announce([(stored(SafePath((file.name,)), file.name, 5), inode)])
    ledger._rows.close()  # as a kill would, before anything is confirmed
    with Ledger(own(tmp_path)) as ledger:
        assert ledger.size_of(SafePath(("named",)), identity("named")) == 5
        assert ledger.size_of(SafePath(("unnamed",)), identity("unnamed")) is None
        assert ledger.size_of(SafePath(("same-size",)), identity("same-size")) is None
    assert [row[0] for row in rows(own(tmp_path))] == ["named"]


def test_what_never_got_its_name_is_not_missing(tmp_path: Path) -> None:
    """A killed run announced it and did not come to the rename; what did get its name is verified nonetheless."""
    (tmp_path / "named").write_bytes(b"12345")
    ledger = Ledger(own(tmp_path)).__enter__()
    for name in ("named", "unnamed"):
        ledger.announce([(stored(SafePath((name,)), name, 5), (tmp_path / "named").stat().st_ino)])
    ledger._rows.close()
    assert [one.target for one in verify(tmp_path)] == ["named"]
    with Ledger(own(tmp_path)):
        pass
    (tmp_path / "named").unlink()
    assert [(one.target, one.status) for one in verify(tmp_path)] == [("named", "missing")]


def test_what_did_not_get_its_name_leaves_the_file_of_that_name_its_row(tmp_path: Path) -> None:
    """Killed before the rename, or refused by the disk: what stands there is what was recorded before."""
    (tmp_path / "a").write_bytes(b"12345")
    name = SafePath(("a",))
    with Ledger(own(tmp_path)) as ledger:
        ledger.add(stored(name, "first", 5))
    for attempt in range(2):
        ledger = Ledger(own(tmp_path)).__enter__()
        ledger.announce([(stored(name, f"killed-{attempt}", 7), 1)])
        ledger._rows.close()
        with Ledger(own(tmp_path)) as ledger:
            assert ledger.size_of(name, identity("first")) == 5
            with suppress(LookupError), ledger.naming(stored(name, "refused", 9)) as naming:
                naming.announce(1)
                raise LookupError
            assert ledger.size_of(name, identity("first")) == 5
    with Ledger(own(tmp_path)) as ledger, ledger.naming(stored(name, "second", 5)) as naming:
        naming.announce((tmp_path / "a").stat().st_ino)
    ledger = Ledger(own(tmp_path)).__enter__()
    ledger.announce([(stored(name, "third", 5), (tmp_path / "a").stat().st_ino)])
    ledger._rows.close()  # after the rename
    with Ledger(own(tmp_path)):
        pass
    assert rows(own(tmp_path)) == [("a", identity("third"), 5)]


def test_a_rename_that_failed_leaves_no_row_and_one_that_succeeded_is_confirmed(tmp_path: Path) -> None:
    with Ledger(own(tmp_path)) as ledger:
        with suppress(LookupError), ledger.naming(stored(A, "x", 5)) as naming:
            naming.announce(1)
            raise LookupError
        assert rows(own(tmp_path)) == []
        with ledger.naming(stored(B, "x", 5)) as naming:
            naming.announce(1)
    with Ledger(own(tmp_path)) as ledger:
        assert ledger.size_of(B, identity("x")) == 5


def test_a_failure_is_recorded_until_the_artifact_is_had(tmp_path: Path) -> None:
    source = Source(slug="gh/acme/web", job=1, node=0, path="x", address="https://host.invalid/x")
    failed = Failed(source=source, target=str(A), code="server", reason="it was down", ended=1.5, choice="{}")
    listing = Failed(source=Source(slug="gh/acme/web", job=2), target="", code="gone", reason="expired", ended=2)
    with Ledger(own(tmp_path)) as ledger:
        ledger.fail(failed)
        ledger.fail(listing)
    with Records(tmp_path) as records:
        assert list(records.failed()) == [failed, listing]
    with Ledger(own(tmp_path)) as ledger:
        ledger.fail(listing)
        ledger.add(stored(A, "x", 1))
    with Records(tmp_path) as records:
        assert list(records.failed()) == [listing]
        assert [one.source.path for one in records.stored()] == ["x"]


def first_version(directory: Path, *files: tuple[str, str, int]) -> None:
    connection = sqlite3.connect(directory / "ledger.sqlite")
    columns = "target TEXT PRIMARY KEY, artifact TEXT NOT NULL, size INTEGER NOT NULL"
    connection.execute(f"CREATE TABLE files ({columns}) WITHOUT ROWID")
    connection.executemany("INSERT INTO files VALUES (?, ?, ?)", files)
    connection.execute("PRAGMA user_version=1")
    connection.commit()
    connection.close()


def test_a_ledger_that_kept_layouts_only_is_read_as_it_is_and_adopted_by_the_next_run(tmp_path: Path) -> None:
    failed = Failed(source=Source(slug="s", job=2), target="", code="gone", reason="?", ended=2, choice="kept/{path}")
    with Ledger(own(tmp_path)) as ledger:
        ledger.fail(failed)
    connection = sqlite3.connect(own(tmp_path) / "ledger.sqlite")
    connection.executescript("ALTER TABLE failures RENAME COLUMN choice TO layout; PRAGMA user_version=2")
    connection.close()
    for _ in range(2):
        with Records(tmp_path) as records:
            assert list(records.failed()) == [failed]
        with Ledger(own(tmp_path)):
            pass
    assert choice_in(failed.choice).layout.template == "kept/{path}"


def test_a_ledger_of_the_first_version_is_read_as_it_is_and_adopted_by_the_next_run(tmp_path: Path) -> None:
    first_version(own(tmp_path), ("0/a.txt", "gh/acme/web#7/3/d/a.txt", 5), ("odd", "odd", 6))
    for _ in range(2):
        with Records(tmp_path) as records:
            found = list(records.stored())
            assert list(records.failed()) == []
        assert [(one.target, one.size, one.sha256) for one in found] == [("0/a.txt", 5, None), ("odd", 6, None)]
        assert found[0].source == Source(slug="gh/acme/web", job=7, node=3, path="d/a.txt")
        with Ledger(own(tmp_path)) as ledger:
            assert ledger.size_of(A, "gh/acme/web#7/3/d/a.txt") == 5


def test_several_threads_may_add_and_ask_at_once(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add(stored(A, "x", 1))
    failures: list[Exception] = []

    def work(thread: int) -> None:
        try:
            for number in range(500):
                ledger.add(stored(SafePath((str(thread), str(number))), "x", number))
                assert ledger.size_of(A, identity("x")) == 1
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
            ledger.add(stored(SafePath(tuple(name.split("/"))), f"{name}\0end", size))
    with Ledger(tmp_path) as ledger:
        found = [ledger.size_of(SafePath(tuple(name.split("/"))), identity(f"{name}\0end")) for name in names]
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
        ledger.add(stored(A, "x", 1))
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
            ledger.size_of(A, identity("x"))

    with pytest.raises(StoreError) as caught:
        use()
    assert str(file) in str(caught.value)
    assert caught.value.fatal
    assert "remove the file" in (caught.value.hint or "")
    if spoil in {no_sqlite, a_link}:
        assert target.read_bytes() == before
    if spoil is newer:
        assert rows(tmp_path) == [(str(A), identity("x"), 1)]


def test_a_batch_that_could_not_be_written_is_written_by_the_next_try(tmp_path: Path) -> None:
    failed = Failed(source=Source(slug="gh/acme/web", job=2), target="", code="gone", reason="expired", ended=2)
    with Ledger(own(tmp_path)) as ledger:
        other = sqlite3.connect(own(tmp_path) / "ledger.sqlite", isolation_level=None)
        # The table is away for a while, as the room for it would be on a full disk: the statement fails, half done.
        other.execute("ALTER TABLE failures RENAME TO away")
        ledger.fail(failed)
        with ledger.naming(stored(A, "x", 1)) as naming:
            naming.announce(1)
        with pytest.raises(StoreError):
            ledger.flush()
        other.execute("ALTER TABLE away RENAME TO failures")
        other.close()
    with Records(tmp_path) as records:
        assert list(records.failed()) == [failed]
    with Ledger(own(tmp_path)) as ledger:
        assert ledger.size_of(A, identity("x")) == 1
