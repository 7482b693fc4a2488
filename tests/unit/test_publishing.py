"""What outputs are told about rows that changed since they were written."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sink_rows import FIRST, rows_of

from aiocircle.export.marks import Collected
from aiocircle.export.publishing import Publisher
from aiocircle.export.sinks import open_sink
from aiocircle.export.state import State
from aiocircle.export.tables import TABLES

dataset = pytest.importorskip("pyarrow.dataset")

PIPELINES = TABLES["pipelines"]


def exported(directory: Path, rows: list[Any]) -> list[tuple[Any, ...]]:
    """Carry out a run that finds rows, and return what a reader finds: of each its id, project and date."""
    state = State(directory, origin="https://host", raw=False, now=FIRST)
    try:
        state.use([PIPELINES, TABLES["gaps"]])
        state.save(Collected(rows={PIPELINES: rows}))
        state.end_run()
        with open_sink("parquet", directory) as sink:
            Publisher(state, [PIPELINES], lambda *_: None).publish({"parquet partition=day": sink})
    finally:
        state.close()
    found = dataset.dataset(directory / "pipelines", partitioning="hive").to_table()
    columns = (found[name].to_pylist() for name in ("id", "project", "date", "created_at"))
    return sorted((one, project, str(day), at) for one, project, day, at in zip(*columns, strict=True))


def expected(rows: list[Any]) -> list[tuple[Any, ...]]:
    return sorted((row.id, row.project, str(row.created_at.date()), row.created_at) for row in rows)


@pytest.mark.parametrize("change", [{"project": "gh/acme/renamed"}, {"created_at": FIRST + timedelta(days=40)}])
def test_a_row_that_moved_to_another_partition_is_not_in_two(change: dict[str, Any], tmp_path: Path) -> None:
    rows = [row._replace(created_at=FIRST + timedelta(days=place)) for place, row in enumerate(rows_of(PIPELINES, 6))]
    assert exported(tmp_path, rows) == expected(rows)
    moved = [row._replace(**change) for row in rows[:2]]
    assert exported(tmp_path, moved) == expected([*moved, *rows[2:]])


def test_a_partition_that_somebody_removed_is_written_again_with_what_is_new(tmp_path: Path) -> None:
    rows = [row._replace(created_at=FIRST + timedelta(days=place)) for place, row in enumerate(rows_of(PIPELINES, 6))]
    assert exported(tmp_path, rows[:5]) == expected(rows[:5])
    min((tmp_path / "pipelines").rglob("*.parquet")).unlink()
    assert exported(tmp_path, rows[5:]) == expected(rows)


def test_a_row_that_names_no_owner_comes_with_what_is_new(tmp_path: Path) -> None:
    usage = TABLES["usage"]
    row, other = (one._replace(organization_id=None, job_run_date=FIRST) for one in rows_of(usage, 2))

    for rows in ([row], [other], []):
        state = State(tmp_path, origin="https://host", raw=False, now=FIRST)
        state.use([usage, TABLES["gaps"]])
        state.save(Collected(rows={usage: rows}))
        state.end_run()
        with open_sink("parquet", tmp_path) as sink:
            Publisher(state, [usage], lambda *_: None).publish({"parquet partition=day": sink})
        state.close()
    (file,) = (tmp_path / "usage").rglob("*.parquet")
    assert sorted(dataset.dataset(file).to_table()["id"].to_pylist()) == sorted([row.id, other.id])
