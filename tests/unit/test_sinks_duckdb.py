"""A database of DuckDB has the rows, typed, changes as a whole or not at all, and keeps what others added."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen
from sys import executable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_rows import ALL, NAMES, by_key, in_pieces, row, rows_of

from aiocircle.errors import ConfigurationError, StoreError
from aiocircle.export.sinks import open_sink
from aiocircle.export.sinks.duckdb import DuckDB
from aiocircle.export.tables import TABLES, Table, raw_table

duckdb = pytest.importorskip("duckdb")

JOBS, SCHEDULES, CONTEXTS = TABLES["jobs"], TABLES["schedules"], TABLES["contexts"]


@contextmanager
def opened(directory: Path) -> Iterator[Any]:
    connection = duckdb.connect(str(directory / "export.duckdb"))
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def found(directory: Path, table: Table) -> list[dict[str, Any]]:
    with opened(directory) as connection:
        rows = connection.execute(f"SELECT {', '.join(table.names)} FROM {table.name}").fetchall()
    jsons = [column.kind == "json" for column in table.columns]
    return [
        {
            name: json.loads(value) if is_json and value is not None else value
            for name, is_json, value in zip(table.names, jsons, values, strict=True)
        }
        for values in rows
    ]


def typed(table: Table, rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    values = [dict(zip(table.names, one, strict=True)) for one in rows]
    for column in table.columns:
        if isinstance(column.items, tuple):
            names = [item.name for item in column.items]
            for one in values:
                one[column.name] = [dict(zip(names, item, strict=True)) for item in one[column.name]]
    return values


def same(directory: Path, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    assert by_key(table, found(directory, table)) == by_key(table, typed(table, rows))


def put(directory: Path, table: Table, rows: Sequence[tuple[Any, ...]], *, whole: bool = True) -> None:
    with DuckDB(directory) as sink:
        sink.begin(table, whole=whole)
        for some in in_pieces(rows, 7):
            sink.write(some)


@pytest.mark.parametrize("table", ALL, ids=NAMES)
def test_the_rows_come_back(tmp_path: Path, table: Table) -> None:
    rows = rows_of(table)
    put(tmp_path, table, rows)
    same(tmp_path, table, rows)
    assert [one.name for one in tmp_path.iterdir()] == ["export.duckdb"]
    put(tmp_path, table, rows[:3])
    same(tmp_path, table, rows[:3])


def test_all_tables_lie_in_one_database(tmp_path: Path) -> None:
    with open_sink("duckdb", tmp_path) as sink:
        for table in TABLES.values():
            assert not sink.has(table)
            sink.begin(table)
            sink.write(rows_of(table, 5))
    assert all(map(sink.has, TABLES.values()))
    for table in TABLES.values():
        assert len(found(tmp_path, table)) == 5


def test_columns_are_typed(tmp_path: Path) -> None:
    put(tmp_path, TABLES["job_details"], rows_of(TABLES["job_details"]))
    put(tmp_path, JOBS, rows_of(JOBS))
    with opened(tmp_path) as connection:
        types = {name: kind for name, kind, *_ in connection.execute("DESCRIBE job_details").fetchall()}
        assert types["parallel_runs"] == "STRUCT(node_index BIGINT, status VARCHAR)[]"
        assert (types["contexts"], types["queued_at"]) == ("VARCHAR[]", "TIMESTAMP WITH TIME ZONE")
        query = "SELECT count(*) FROM job_details, unnest(parallel_runs) AS _(run) WHERE run.node_index IS NOT NULL"
        assert connection.execute(query).fetchone()[0] > 0
        query = "SELECT requires->>'$.deep[0].x[1]' FROM jobs WHERE (requires->'deep') IS NOT NULL"
        assert connection.execute(query).fetchone() == ("2.5",)
        with pytest.raises(duckdb.ConstraintException):
            connection.execute("INSERT INTO jobs (id) VALUES ('x')")


@pytest.mark.parametrize("is_old", [False, True])
def test_rows_take_the_place_of_those_of_their_key(tmp_path: Path, is_old: bool) -> None:
    old = rows_of(JOBS, 10)
    between = [one._replace(status="between") for one in old[:5]]
    changed = [one._replace(status="changed") for one in old[:3]]
    new = rows_of(JOBS, 4, start=10)
    if is_old:
        put(tmp_path, JOBS, old)
        put(tmp_path, JOBS, [*between, *changed, *new], whole=False)
    else:
        put(tmp_path, JOBS, [*old, *between, *changed, *new])
    same(tmp_path, JOBS, [*changed, *between[3:], *old[5:], *new])


def test_a_whole_table_replaces_what_there_was_and_no_other_table(tmp_path: Path) -> None:
    put(tmp_path, SCHEDULES, rows_of(SCHEDULES, 10))
    put(tmp_path, CONTEXTS, rows_of(CONTEXTS, 3))
    put(tmp_path, SCHEDULES, rows_of(SCHEDULES, 2, start=8))
    same(tmp_path, SCHEDULES, rows_of(SCHEDULES, 2, start=8))
    assert len(found(tmp_path, CONTEXTS)) == 3


def test_what_others_added_stays(tmp_path: Path) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 10))
    with opened(tmp_path) as connection:
        connection.execute("CREATE TABLE notes (job TEXT, note TEXT); INSERT INTO notes VALUES ('x', 'y')")
        connection.execute("CREATE VIEW names AS SELECT name, count(*) AS n FROM jobs GROUP BY name")
        connection.execute("ALTER TABLE jobs ADD COLUMN mine TEXT")
    put(tmp_path, JOBS, rows_of(JOBS, 12), whole=False)
    with opened(tmp_path) as connection:
        assert connection.execute("SELECT * FROM notes").fetchall() == [("x", "y")]
        assert connection.execute("SELECT sum(n) FROM names").fetchone() == (12,)
        assert connection.execute("SELECT count(*) FROM jobs WHERE mine IS NULL").fetchone() == (12,)


def test_what_is_broken_off_leaves_what_was_there(tmp_path: Path) -> None:
    for expected in ([], rows_of(JOBS, 3)):
        with suppress(ZeroDivisionError), DuckDB(tmp_path) as sink:
            sink.begin(JOBS)
            sink.write(rows_of(JOBS, 30))
            sink.begin(SCHEDULES)
            raise ZeroDivisionError
        assert [one.name for one in tmp_path.iterdir()] == ["export.duckdb"] * bool(expected)
        if expected:
            same(tmp_path, JOBS, expected)
        put(tmp_path, JOBS, rows_of(JOBS, 3))


def test_who_reads_meanwhile_sees_what_there_was(tmp_path: Path) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 3))
    with DuckDB(tmp_path) as sink:
        sink.begin(JOBS)
        sink.write(rows_of(JOBS, 30))
        same(tmp_path, JOBS, rows_of(JOBS, 3))
    same(tmp_path, JOBS, rows_of(JOBS, 30))


def test_an_empty_table_has_columns(tmp_path: Path) -> None:
    put(tmp_path, JOBS, [])
    assert found(tmp_path, JOBS) == []
    assert DuckDB(tmp_path).has(JOBS)


@settings(max_examples=25)
@given(texts=st.lists(st.text(st.characters()), min_size=1, max_size=5, unique=True))
def test_any_text_comes_back_but_halves_of_pairs(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    directory = tmp_path_factory.mktemp("any")
    table = raw_table(JOBS)
    put(
        directory, table, [row(table, str(n), "p", text, None, None, None, {"x": text}) for n, text in enumerate(texts)]
    )
    shown = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    for one in found(directory, table):
        assert one["pipeline_id"] == shown[int(one["key"])]
        assert one["json"] == {"x": shown[int(one["key"])]}


def test_numbers_beyond_64_bits_are_left_out_and_exact_in_json(tmp_path: Path) -> None:
    large = rows_of(JOBS, 1)[0]._replace(job_number=2**70, requires={"n": 2**70})
    put(tmp_path, JOBS, [large])
    (one,) = found(tmp_path, JOBS)
    assert (one["job_number"], one["requires"]) == (None, {"n": 2**70})


# --- what refuses -----------------------------------------------------------------------------------------------------


def refused(directory: Path, words: str) -> None:
    before = (directory / "export.duckdb").read_bytes()
    with pytest.raises(StoreError, match=words) as caught:
        put(directory, JOBS, rows_of(JOBS, 3))
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert (directory / "export.duckdb").read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "export.duckdb").write_bytes(b"a table of another kind" * 1000)
    refused(tmp_path, r"export\.duckdb: this is no DuckDB database")


def test_values_that_do_not_fit_are_mended_or_refused(tmp_path: Path) -> None:
    odd = rows_of(JOBS, 4)
    numbers: list[Any] = [2**63, "17", 2.0, True]
    rows = [
        one._replace(job_number=number, duration_seconds=real, name=name)
        for one, number, real, name in zip(
            odd, numbers, [7, "1.5", float("inf"), None], ["\ud800 half", "\ud83c\udf89", "NULL", 5], strict=True
        )
    ]
    put(tmp_path, JOBS, rows)
    with opened(tmp_path) as connection:
        query = "SELECT job_number, duration_seconds, name FROM jobs ORDER BY rowid"
        values = connection.execute(query).fetchall()
    assert values == [
        (None, 7.0, "� half"),
        (17, 1.5, "🎉"),
        (2, float("inf"), "NULL"),
        (1, None, "5"),
    ]
    with pytest.raises(StoreError, match=r"jobs\.duration_seconds: a value is not of its kind"):
        put(tmp_path, JOBS, [odd[0]._replace(duration_seconds="long")])
    artifacts = TABLES["artifacts"]
    with pytest.raises(StoreError, match=r"artifacts\.job_number: a row has no value, or one that does not fit"):
        put(tmp_path, artifacts, [rows_of(artifacts, 1)[0]._replace(job_number=2**64)])
    with opened(tmp_path) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (4,)


def test_a_text_of_many_megabytes_comes_back(tmp_path: Path) -> None:
    tests = TABLES["tests"]
    rows = [one._replace(message=f'{number}, "quoted"\n' * 500_000) for number, one in enumerate(rows_of(tests, 3))]
    put(tmp_path, tests, rows)
    same(tmp_path, tests, rows)


@pytest.mark.parametrize("name", ["a*b", "[1]", "it's", "~", 'say "so"'])
def test_any_name_of_a_directory_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    put(Path(name), JOBS, rows_of(JOBS, 3))
    same(tmp_path / name, JOBS, rows_of(JOBS, 3))


@pytest.mark.parametrize(("name", "why"), [("what?", "question mark"), (os.fsdecode(b"\xff"), "no Unicode text")])
def test_names_that_duckdb_cannot_open_are_refused_at_once(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        DuckDB(tmp_path / name)
    assert caught.value.hint == "choose another directory"


@pytest.mark.parametrize("shape", ["TABLE jobs (id TEXT PRIMARY KEY, name TEXT)", "VIEW jobs AS SELECT 1 AS id"])
def test_a_table_of_another_shape_is_left_alone(tmp_path: Path, shape: str) -> None:
    with opened(tmp_path) as connection:
        connection.execute(f"CREATE {shape}")
    refused(tmp_path, "its table jobs has other columns")


def test_typed_rows_do_not_go_where_raw_ones_are(tmp_path: Path) -> None:
    put(tmp_path, raw_table(JOBS), rows_of(raw_table(JOBS), 3))
    refused(tmp_path, "its table jobs has other columns")


def test_a_database_that_another_program_has_open_is_one_sentence(tmp_path: Path) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 3))
    program = f"import duckdb; c = duckdb.connect({str(tmp_path / 'export.duckdb')!r}); print(flush=True); input()"
    with Popen([executable, "-c", program], stdin=PIPE, stdout=PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        refused(tmp_path, "another program has it open")
        other.stdin.write(b"\n")
    put(tmp_path, JOBS, rows_of(JOBS, 3))


def test_a_connection_of_this_program_is_told_as_well(tmp_path: Path) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 3))
    with opened(tmp_path):
        refused(tmp_path, "this program has it open")
