"""A database of SQLite has the rows, changes as a whole or not at all, and keeps what others added."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sink_rows import ALL, NAMES, by_key, in_pieces, plain, row, rows_of

from aiocircle.errors import StoreError
from aiocircle.export.sinks import open_sink
from aiocircle.export.sinks.sqlite import Sqlite
from aiocircle.export.tables import TABLES, Table, raw_table

JOBS, SCHEDULES, CONTEXTS = TABLES["jobs"], TABLES["schedules"], TABLES["contexts"]


@contextmanager
def opened(directory: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(directory / "export.sqlite")
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


def found(directory: Path, table: Table) -> list[dict[str, Any]]:
    with opened(directory) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(values) for values in connection.execute(f"SELECT {', '.join(table.names)} FROM {table.name}")]
    for column in table.columns:
        for values in rows:
            if values[column.name] is not None:
                if column.kind in {"json", "list"}:
                    values[column.name] = json.loads(values[column.name])
                elif column.kind == "boolean":
                    values[column.name] = bool(values[column.name])
    return rows


def put(directory: Path, table: Table, rows: Sequence[tuple[Any, ...]], *, whole: bool = True) -> None:
    with Sqlite(directory) as sink:
        sink.begin(table, whole=whole)
        for some in in_pieces(rows, 7):
            sink.write(some)


@pytest.mark.parametrize("table", ALL, ids=NAMES)
def test_the_rows_come_back(tmp_path: Path, table: Table) -> None:
    rows = rows_of(table)
    put(tmp_path, table, rows)
    assert by_key(table, found(tmp_path, table)) == by_key(table, plain(table, rows))
    assert [one.name for one in tmp_path.iterdir()] == ["export.sqlite"]


def test_all_tables_lie_in_one_database(tmp_path: Path) -> None:
    with open_sink("sqlite", tmp_path) as sink:
        for table in TABLES.values():
            assert not sink.has(table)
            sink.begin(table)
            sink.write(rows_of(table, 5))
    assert all(map(sink.has, TABLES.values()))
    for table in TABLES.values():
        assert len(found(tmp_path, table)) == 5


@pytest.mark.parametrize("is_old", [False, True])
def test_rows_take_the_place_of_those_of_their_key(tmp_path: Path, is_old: bool) -> None:
    old = rows_of(JOBS, 10)
    changed = [row._replace(status="changed") for row in old[:3]]
    new = rows_of(JOBS, 4, start=10)
    if is_old:
        put(tmp_path, JOBS, old)
        put(tmp_path, JOBS, [*changed, *new], whole=False)
    else:
        put(tmp_path, JOBS, [*old, *changed, *new])
    assert by_key(JOBS, found(tmp_path, JOBS)) == by_key(JOBS, plain(JOBS, [*changed, *old[3:], *new]))


def test_a_whole_table_replaces_what_there_was_and_no_other_table(tmp_path: Path) -> None:
    put(tmp_path, SCHEDULES, rows_of(SCHEDULES, 10))
    put(tmp_path, CONTEXTS, rows_of(CONTEXTS, 3))
    put(tmp_path, SCHEDULES, rows_of(SCHEDULES, 2, start=8))
    assert len(found(tmp_path, SCHEDULES)) == 2
    assert len(found(tmp_path, CONTEXTS)) == 3


def test_what_others_added_stays(tmp_path: Path) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 10))
    with opened(tmp_path) as connection:
        connection.executescript(
            "CREATE TABLE notes (job TEXT, note TEXT); INSERT INTO notes VALUES ('x', 'y');"
            "CREATE VIEW names AS SELECT name, count(*) AS n FROM jobs GROUP BY name;"
            "CREATE INDEX mine ON jobs (name); ALTER TABLE jobs ADD COLUMN mine TEXT; UPDATE jobs SET mine = 'z';"
            "DROP INDEX jobs_by_pipeline_id"
        )
    put(tmp_path, JOBS, rows_of(JOBS, 12), whole=False)
    with opened(tmp_path) as connection:
        assert connection.execute("SELECT * FROM notes").fetchall() == [("x", "y")]
        assert connection.execute("SELECT sum(n) FROM names").fetchone() == (12,)
        assert connection.execute("SELECT mine, count(*) FROM jobs GROUP BY 1 ORDER BY 1").fetchall() == [
            (None, 2),
            ("z", 10),
        ]
        indices = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert "mine" in indices
    assert "jobs_by_pipeline_id" not in indices
    assert "jobs_by_project_pipeline_created_at" in indices


def test_what_people_ask_is_found_by_an_index(tmp_path: Path) -> None:
    put(tmp_path, JOBS, [])
    with opened(tmp_path) as connection:
        for where in (
            "project = 'p' AND pipeline_created_at >= '2026-01-01'",
            "pipeline_id = 'x'",
            "workflow_id = 'x'",
        ):
            plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM jobs WHERE {where}").fetchall()
            assert all("USING INDEX" in step[3] for step in plan), plan


def test_several_tables_change_together_or_not_at_all(tmp_path: Path) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 3))
    put(tmp_path, SCHEDULES, rows_of(SCHEDULES, 3))
    with suppress(ZeroDivisionError), Sqlite(tmp_path) as sink:
        sink.begin(JOBS)
        sink.write(rows_of(JOBS, 30))
        sink.begin(SCHEDULES)
        sink.begin(CONTEXTS)
        raise ZeroDivisionError
    assert len(found(tmp_path, JOBS)) == len(found(tmp_path, SCHEDULES)) == 3
    assert not sink.has(CONTEXTS)


def test_who_reads_meanwhile_sees_what_there_was(tmp_path: Path) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 3))
    with Sqlite(tmp_path) as sink:
        sink.begin(JOBS)
        sink.write(rows_of(JOBS, 30))
        assert len(found(tmp_path, JOBS)) == 3
    assert len(found(tmp_path, JOBS)) == 30


def test_the_first_time_nothing_has_the_name_before_the_end(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), Sqlite(tmp_path) as sink:
        sink.begin(JOBS)
        sink.write(rows_of(JOBS, 30))
        assert not (tmp_path / "export.sqlite").exists()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_the_log_of_a_database_that_was_removed_does_not_come_back(tmp_path: Path) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 3))
    with opened(tmp_path) as connection:
        connection.execute("UPDATE jobs SET name = 'old'")
        connection.commit()
        log = (tmp_path / "export.sqlite-wal").read_bytes()
        assert log
    (tmp_path / "export.sqlite").unlink()
    (tmp_path / "export.sqlite-wal").write_bytes(log)
    put(tmp_path, JOBS, rows_of(JOBS, 3))
    assert by_key(JOBS, found(tmp_path, JOBS)) == by_key(JOBS, plain(JOBS, rows_of(JOBS, 3)))


@given(texts=st.lists(st.text(st.characters()), min_size=1, max_size=5, unique=True))
def test_any_text_comes_back_but_halves_of_pairs(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    directory = tmp_path_factory.mktemp("any")
    table = raw_table(JOBS)
    rows = [row(table, str(place), "p", text, None, None, None, {"x": text}) for place, text in enumerate(texts)]
    put(directory, table, rows)
    shown = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    for one in found(directory, table):
        assert one["pipeline_id"] == shown[int(one["key"])]
        assert one["json"] == {"x": shown[int(one["key"])]}


def test_numbers_beyond_64_bits_are_the_nearest_real_ones_and_exact_in_json(tmp_path: Path) -> None:
    large = rows_of(JOBS, 1)[0]._replace(job_number=2**70, requires={"n": 2**70})
    put(tmp_path, JOBS, [*rows_of(JOBS, 3, start=1), large])
    (one,) = (one for one in found(tmp_path, JOBS) if one["id"] == large.id)
    assert one["job_number"] == float(2**70)
    assert one["requires"] == {"n": 2**70}


# --- what refuses ----------------------------------------------------------------------------------------------------


def refused(directory: Path, words: str) -> None:
    before = {one: one.read_bytes() for one in directory.iterdir() if one.is_file()}
    with pytest.raises(StoreError, match=words) as caught:
        put(directory, JOBS, rows_of(JOBS, 3))
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert {one: one.read_bytes() for one in directory.iterdir() if not one.name.endswith(("-wal", "-shm"))} == before


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "export.sqlite").write_bytes(b"a table of another kind" * 100)
    refused(tmp_path, r"export\.sqlite: this is no SQLite database")
    with pytest.raises(StoreError, match="no SQLite database"):
        Sqlite(tmp_path).has(JOBS)


def test_a_directory_of_that_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "export.sqlite").mkdir()
    with pytest.raises(StoreError, match=r"export\.sqlite: it cannot be opened"):
        Sqlite(tmp_path).begin(JOBS)


@pytest.mark.parametrize(
    "shape", ["CREATE TABLE jobs (id TEXT PRIMARY KEY, name TEXT)", "CREATE VIEW jobs AS SELECT 1 AS id"]
)
def test_a_table_of_another_shape_is_left_alone(tmp_path: Path, shape: str) -> None:
    with opened(tmp_path) as connection:
        connection.executescript(f"PRAGMA journal_mode=WAL; {shape}")
    refused(tmp_path, "its table jobs has other columns")


def test_typed_rows_do_not_go_where_raw_ones_are(tmp_path: Path) -> None:
    put(tmp_path, raw_table(JOBS), rows_of(raw_table(JOBS), 3))
    refused(tmp_path, "its table jobs has other columns")


def test_a_database_that_another_program_writes_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiocircle.export.sinks.sqlite._PATIENCE", 0.05)
    put(tmp_path, JOBS, rows_of(JOBS, 3))
    with opened(tmp_path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another program is writing to it") as caught:
            put(tmp_path, JOBS, rows_of(JOBS, 3))
        assert "close whatever" in (caught.value.hint or "")
