"""Parquet files have the rows, typed; a day is replaced at once, and readers agree on what there is."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_rows import ALL, FIRST, NAMES, by_key, in_pieces, row, rows_of

from aiocircle.errors import ConfigurationError, StoreError
from aiocircle.export.sinks import Partition
from aiocircle.export.sinks.arrow import ArrowRows
from aiocircle.export.sinks.parquet import Parquet
from aiocircle.export.sinks.partitions import escaped
from aiocircle.export.tables import TABLES, Column, Table, raw_table

duckdb = pytest.importorskip("duckdb")
pa = pytest.importorskip("pyarrow")
dataset = pytest.importorskip("pyarrow.dataset")
parquet = pytest.importorskip("pyarrow.parquet")

JOBS, SCHEDULES, CONTEXTS = TABLES["jobs"], TABLES["schedules"], TABLES["contexts"]


def put(
    directory: Path,
    table: Table,
    rows: Sequence[tuple[Any, ...]],
    *,
    whole: bool = True,
    partition: Partition = "day",
    pieces: int = 7,
) -> None:
    with Parquet(directory, partition=partition) as sink:
        sink.begin(table, whole=whole)
        for some in in_pieces(rows, pieces):
            sink.write(some)


def typed(table: Table, rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return rows as readers of typed columns give them."""
    return [
        {column.name: _typed(column, value) for column, value in zip(table.columns, values, strict=True)}
        for values in rows
    ]


def _typed(column: Column, value: Any) -> Any:
    if value is not None and isinstance(column.items, tuple):
        names = [item.name for item in column.items]
        return [dict(zip(names, one, strict=True)) for one in value]
    return value


def parsed(table: Table, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    jsons = [column.name for column in table.columns if column.kind == "json"]
    return [
        {
            name: json.loads(value) if name in jsons and value is not None else value
            for name, value in one.items()
            if name in table.names
        }
        for one in found
    ]


def by_duckdb(directory: Path, table: Table) -> list[dict[str, Any]]:
    """Return rows as DuckDB reads them: the reader that did not write them."""
    glob = directory / table.name / "**/*.parquet"
    if not (directory / table.name).exists():
        glob = directory / f"{table.name}.parquet"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        read = connection.execute(f"SELECT * FROM read_parquet('{glob}', hive_partitioning = true)")
        names = [about[0] for about in read.description]
        return parsed(table, [dict(zip(names, values, strict=True)) for values in read.fetchall()])


def by_arrow(directory: Path, table: Table) -> list[dict[str, Any]]:
    found = dataset.dataset(directory / table.name, partitioning="hive").to_table()
    return parsed(table, found.to_pylist())


def same(table: Table, found: list[dict[str, Any]], rows: Sequence[tuple[Any, ...]]) -> None:
    assert by_key(table, found) == by_key(table, typed(table, rows))


def files(directory: Path) -> list[str]:
    return sorted(str(one.relative_to(directory)) for one in directory.rglob("*") if one.is_file())


@pytest.mark.parametrize("table", ALL, ids=NAMES)
def test_every_reader_finds_the_rows(tmp_path: Path, table: Table) -> None:
    rows = rows_of(table)
    put(tmp_path, table, rows)
    same(table, by_duckdb(tmp_path, table), rows)
    same(table, by_arrow(tmp_path, table), rows)
    pandas_reads_this_way = parquet.read_table(tmp_path / table.name)
    same(table, parsed(table, pandas_reads_this_way.to_pylist()), rows)
    assert [one.name for one in tmp_path.iterdir()] == [table.name]


@pytest.mark.parametrize("partition", ["day", "month", "none"])
def test_a_file_is_a_day_a_month_or_all_of_a_project(tmp_path: Path, partition: Partition) -> None:
    days = [FIRST, FIRST + timedelta(days=1), FIRST + timedelta(days=4), None]
    rows = [
        one._replace(project=project, pipeline_created_at=day)
        for day in days
        for project in ("gh/acme/web", "gh/acme/api")
        for one in rows_of(JOBS, 2)
    ]
    put(tmp_path, JOBS, rows, partition=partition)
    projects = ["project=gh%2Facme%2Fapi", "project=gh%2Facme%2Fweb"]
    nothing = "__HIVE_DEFAULT_PARTITION__"
    dates = {
        "day": ["date=2026-02-27", "date=2026-02-28", "date=2026-03-03", f"date={nothing}"],
        "month": ["month=2026-02", "month=2026-03", f"month={nothing}"],
    }
    expected = [f"jobs/{one}/{when}/part-0.parquet" for one in projects for when in dates.get(partition, [])]
    assert files(tmp_path) == (expected or ["jobs.parquet"])
    assert len(by_duckdb(tmp_path, JOBS)) == len(rows)
    assert Parquet(tmp_path, partition=partition).grain == {"none": "table"}.get(partition, partition)
    assert Parquet(tmp_path, partition=partition).has(JOBS)
    for other in {"day", "month", "none"} - {partition}:
        assert not Parquet(tmp_path, partition=other).has(JOBS)  # type: ignore[arg-type]


def test_readers_tell_the_types(tmp_path: Path) -> None:
    put(tmp_path, TABLES["job_details"], rows_of(TABLES["job_details"]))
    with duckdb.connect() as connection:
        glob = tmp_path / "job_details/**/*.parquet"
        about = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{glob}')").fetchall()
    types = {name: kind for name, kind, *_ in about}
    assert types["contexts"] == "VARCHAR[]"
    assert types["parallel_runs"] == "STRUCT(node_index BIGINT, status VARCHAR)[]"
    assert types["queued_at"] == "TIMESTAMP WITH TIME ZONE"
    assert (types["job_number"], types["queue_seconds"], types["project"]) == ("BIGINT", "DOUBLE", "VARCHAR")
    assert types["date"] == "DATE"


def test_columns_say_their_units(tmp_path: Path) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 3))
    schema = parquet.read_schema(next(tmp_path.rglob("*.parquet")))
    assert schema.field("duration_seconds").metadata[b"unit"] == b"seconds"
    assert schema.field("requires").metadata[b"content"] == b"json"
    assert schema.metadata[b"key"] == b"workflow_id,id"
    assert b"A job of a workflow" in schema.metadata[b"description"]


@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_rows_in_any_order_make_one_file_of_each_day(
    tmp_path: Path, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiocircle.export.sinks.parquet._WAITING_BYTES", 5000)
    monkeypatch.setattr("aiocircle.export.sinks.parquet._OPEN_FILES", 2)
    rows = [one for turn in range(7) for one in rows_of(JOBS, 90)[turn::7]]
    put(tmp_path, JOBS, rows, pieces=pieces)
    same(JOBS, by_duckdb(tmp_path, JOBS), rows)
    assert all(one.endswith("/part-0.parquet") for one in files(tmp_path))


def test_row_groups_are_bounded_by_rows_and_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiocircle.export.sinks.parquet._GROUP_ROWS", 100)
    monkeypatch.setattr("aiocircle.export.sinks.parquet._ROWS_AT_ONCE", 50)
    put(tmp_path, CONTEXTS, [row(CONTEXTS, "o", str(n), None, None) for n in range(1050)], pieces=77)
    (file,) = tmp_path.rglob("*.parquet")
    about = parquet.ParquetFile(file).metadata
    assert about.num_rows == 1050
    assert max(about.row_group(one).num_rows for one in range(about.num_row_groups)) <= 150
    column = about.row_group(0).column(0)
    assert column.compression == "ZSTD"
    assert "RLE_DICTIONARY" in column.encodings
    monkeypatch.setattr("aiocircle.export.sinks.parquet._GROUP_BYTES", 20_000)
    put(tmp_path, CONTEXTS, [row(CONTEXTS, "o", str(n), "x" * 1000, None) for n in range(100)], pieces=10)
    assert parquet.ParquetFile(file).metadata.num_row_groups >= 4


def test_only_the_days_that_come_are_replaced(tmp_path: Path) -> None:
    old = [one._replace(project="p/q/r") for one in rows_of(JOBS, 60)]
    put(tmp_path, JOBS, old)
    untouched = {one: one.stat().st_ino for one in tmp_path.rglob("*.parquet")}
    changed_day = old[30].pipeline_created_at.date()
    new = [one._replace(status="new") for one in old if (at := one.pipeline_created_at) and at.date() == changed_day]
    put(tmp_path, JOBS, new[1:], whole=False)
    expected = [*(one for one in old if one.pipeline_created_at is None), *new[1:]]
    expected += [one for one in old if (at := one.pipeline_created_at) and at.date() != changed_day]
    same(JOBS, by_duckdb(tmp_path, JOBS), expected)
    moved = [one for one, inode in untouched.items() if one.stat().st_ino != inode]
    assert [one.parent.name for one in moved] == [f"date={changed_day}"]


def test_a_whole_table_leaves_nothing_of_what_was_there(tmp_path: Path) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 60))
    (tmp_path / "jobs" / "mine.txt").write_text("a user's")
    put(tmp_path, JOBS, rows_of(JOBS, 1))
    assert len(files(tmp_path)) == 2
    same(JOBS, by_duckdb(tmp_path, JOBS), rows_of(JOBS, 1))


@pytest.mark.parametrize(("before", "after"), [("day", "month"), ("none", "day"), ("month", "none")])
def test_dividing_otherwise_leaves_no_row_twice(tmp_path: Path, before: Partition, after: Partition) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 30), partition=before)
    if after != "none":
        with pytest.raises(StoreError, match="divided otherwise") as caught:
            put(tmp_path, JOBS, rows_of(JOBS, 30), partition=after, whole=False)
        assert caught.value.hint
    put(tmp_path, JOBS, rows_of(JOBS, 30), partition=after)
    same(JOBS, by_duckdb(tmp_path, JOBS), rows_of(JOBS, 30))
    assert (tmp_path / "jobs").exists() is (after != "none")
    assert (tmp_path / "jobs.parquet").exists() is (after == "none")


@pytest.mark.parametrize("table", ALL, ids=NAMES)
@pytest.mark.parametrize("partition", ["day", "month", "none"])
def test_a_table_without_rows_has_its_columns_until_there_are_any(
    tmp_path: Path, table: Table, partition: Partition
) -> None:
    put(tmp_path, table, [], partition=partition)
    (file,) = files(tmp_path)
    assert by_duckdb(tmp_path, table) == []
    assert set(table.names) <= set(dataset.dataset(tmp_path / file, partitioning="hive").schema.names)
    assert Parquet(tmp_path, partition=partition).has(table)
    put(tmp_path, table, rows_of(table, 3), partition=partition, whole=partition == "none")
    assert (file in files(tmp_path)) is (partition == "none")
    same(table, by_duckdb(tmp_path, table), rows_of(table, 3))


def test_other_columns_are_not_put_beside(tmp_path: Path) -> None:
    put(tmp_path, raw_table(JOBS), rows_of(raw_table(JOBS)))
    with pytest.raises(StoreError, match="other columns") as caught:
        put(tmp_path, JOBS, rows_of(JOBS), whole=False)
    assert caught.value.hint
    put(tmp_path, JOBS, rows_of(JOBS))
    same(JOBS, by_duckdb(tmp_path, JOBS), rows_of(JOBS))


def test_a_file_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    put(tmp_path, JOBS, rows_of(JOBS, 1))
    (file,) = tmp_path.rglob("*.parquet")
    file.write_bytes(b"not one" * 100)
    with pytest.raises(StoreError) as caught:
        put(tmp_path, JOBS, rows_of(JOBS), whole=False)
    assert "\n" not in str(caught.value)


@settings(max_examples=40)
@given(texts=st.lists(st.text(st.characters()), min_size=1, max_size=5, unique=True))
def test_any_text_comes_back_but_halves_of_pairs(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    directory = tmp_path_factory.mktemp("any")
    table = raw_table(SCHEDULES)
    rows = [row(table, str(place), f"p{text}", text, None, None, None, {"x": text}) for place, text in enumerate(texts)]
    put(directory, table, rows, partition="none")
    shown = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    for one in by_duckdb(directory, table):
        text = shown[int(one["key"])]
        assert (one["project"], one["pipeline_id"], one["json"]) == (f"p{text}", text, {"x": text})


@settings(max_examples=40)
@given(slug=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_any_project_comes_back_from_its_directory(tmp_path_factory: pytest.TempPathFactory, slug: str) -> None:
    directory = tmp_path_factory.mktemp("any")
    table = raw_table(JOBS)
    slug = f"gh/{slug}"
    put(directory, table, [row(table, "k", slug, None, FIRST, None, None, {})])
    assert [one["project"] for one in by_arrow(directory, table)] == [slug]
    assert [one["project"] for one in by_duckdb(directory, table)] == [slug]


def test_a_project_is_spelt_as_hive_spells_it() -> None:
    assert escaped("gh/acme/web") == "gh%2Facme%2Fweb"
    assert escaped("a=b c%é") == "a%3Db c%25é"
    assert escaped("") == "__HIVE_DEFAULT_PARTITION__"


# --- Arrow ------------------------------------------------------------------------------------------------------------


def test_numbers_beyond_64_bits_are_left_out_where_they_may(tmp_path: Path) -> None:
    large = rows_of(JOBS, 1)[0]._replace(job_number=2**70, requires={"n": 2**70})
    put(tmp_path, JOBS, [large])
    (found,) = by_duckdb(tmp_path, JOBS)
    assert (found["job_number"], found["requires"]) == (None, {"n": 2**70})
    table = TABLES["artifacts"]
    with pytest.raises(StoreError, match=r"artifacts\.job_number: a row has no value, or one that does not fit"):
        put(tmp_path, table, [rows_of(table, 1)[0]._replace(job_number=2**70)])
    hours = row(SCHEDULES, "p", *(None for _ in SCHEDULES.names[1:]))
    lists = {"hours_of_day": [1, 2**70], "days_of_month": [], "days_of_week": ["\ud800"], "months": []}
    batch = ArrowRows(SCHEDULES).batch([hours._replace(id="i", parameters={}, **lists)])
    assert batch.column("hours_of_day").to_pylist() == [[1, None]]
    assert batch.column("days_of_week").to_pylist() == [["�"]]


def test_what_comes_out_of_sqlite_fits_as_well() -> None:
    batch = ArrowRows(JOBS).batch([rows_of(JOBS, 1)[0]._replace(job_number=1.5e30, duration_seconds=2)])
    assert batch.column("job_number").to_pylist() == [None]
    assert batch.column("duration_seconds").to_pylist() == [2.0]


def test_times_are_in_utc_wherever_they_come_from() -> None:
    moments = [
        datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        datetime(2026, 1, 2, 5, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 1, 2, 3, 4, 5, 678901),  # noqa: DTZ001 -- a user's
    ]
    for moment in moments:
        batch = ArrowRows(CONTEXTS).batch([row(CONTEXTS, "o", "i", None, moment)])
        assert batch.column("created_at").to_pylist() == [moments[0]]


def test_a_day_is_one_in_utc(tmp_path: Path) -> None:
    late = datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=3)))
    put(tmp_path, JOBS, [rows_of(JOBS, 1)[0]._replace(pipeline_created_at=late)])
    (file,) = tmp_path.rglob("*.parquet")
    assert file.parent.name == f"date={date(2026, 2, 28)}"


@pytest.mark.parametrize("table", ALL, ids=NAMES)
def test_a_batch_has_the_rows(table: Table) -> None:
    rows = rows_of(table, 50)
    batch = ArrowRows(table).batch(rows)
    batch.validate(full=True)
    assert parsed(table, batch.to_pylist()) == typed(table, rows)
    assert ArrowRows(table).batch([]).num_rows == 0


def test_what_is_no_partition_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no partition"):
        Parquet(tmp_path, partition="hour")  # type: ignore[arg-type]
