"""What each sink takes for a million rows of jobs, beside what one would write without it: rows/s and peak MiB.

Each runs in a process of its own. Seconds are those of the processor, since others may be using it as well, and without
those in which the rows are made; peak MiB are of the whole process, the interpreter's included, as in the first row.
"""

import csv
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time
from typing import Any

from aiocircle.export.rows import JobRow
from aiocircle.export.sinks import open_sink
from aiocircle.export.tables import TABLES, as_json

TABLE = TABLES["jobs"]
BATCH = 2000
STATES = ("success", "success", "success", "failed", "canceled")
PROJECTS = ("gh/acme/api", "gh/acme/web")

Rows = Iterator[Sequence[tuple[Any, ...]]]

making = 0.0  # seconds in which rows were made


def rows(count: int) -> Rows:
    """Yield batches of rows, and count the seconds that they take to be made."""
    global making  # noqa: PLW0603 -- one measurement in a process
    began = process_time()
    for batch in _made(count):
        making += process_time() - began
        yield batch
        began = process_time()


def _made(count: int) -> Rows:
    """Yield rows by project and day as an export does: a pipeline has ten jobs in two workflows."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    half = max(count // len(PROJECTS), 1)
    batch: list[tuple[Any, ...]] = []
    for number in range(count):
        pipeline, workflow = number // 10, number // 5
        created = first + timedelta(seconds=(pipeline % max(half // 10, 1)) * 150)
        batch.append(
            JobRow(
                project=PROJECTS[min(number // half, 1)],
                pipeline_id=_id(1, pipeline),
                pipeline_number=pipeline,
                pipeline_created_at=created,
                branch="main" if pipeline % 3 else f"feature/{pipeline}",
                workflow_id=_id(2, workflow),
                workflow_name="build-and-test" if workflow % 2 else "deploy",
                id=_id(3, number),
                job_number=number,
                name=f"test-{number % 5}",
                type="build",
                status=STATES[number % 5],
                started_at=created + timedelta(seconds=number % 60, microseconds=number % 1000 * 1000),
                stopped_at=created + timedelta(seconds=60 + number % 600),
                duration_seconds=60.5 + number % 600,
                dependencies=[_id(3, number - 1)] if number % 5 else [],
                requires={},
                approved_by=None,
                approval_request_id=None,
                canceled_by=None,
            )
        )
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _id(kind: int, number: int) -> str:
    mixed = (number * 0x9E3779B97F4A7C15 + kind) & (2**64 - 1)  # spread like those of the host, which follow no order
    return f"{mixed >> 32:08x}-{mixed >> 16 & 0xFFFF:04x}-4{kind:03x}-8000-{mixed & 0xFFFF:04x}{number:08x}"


def nothing(count: int, _: Path) -> None:
    for _batch in rows(count):
        pass


def ours(format: str, **settings: Any) -> Callable[[int, Path], None]:  # noqa: A002 -- the field's word
    def run(count: int, directory: Path) -> None:
        with open_sink(format, directory, **settings) as sink:
            sink.begin(TABLE)
            for batch in rows(count):
                sink.write(batch)

    return run


def by_hand(batch: Sequence[tuple[Any, ...]], *, nested: bool) -> list[dict[str, Any]]:
    changes = [(column.name, as_json(column)) for column in TABLE.columns]
    nest = {"dependencies", "requires"} if nested else set()
    return [
        {
            name: json.dumps(value) if name in nest else value if value is None or change is None else change(value)
            for (name, change), value in zip(changes, row, strict=True)
        }
        for row in batch
    ]


def json_dumps(count: int, directory: Path) -> None:
    with (directory / "jobs.jsonl").open("w") as file:
        for batch in rows(count):
            for row in by_hand(batch, nested=False):
                file.write(json.dumps(row) + "\n")


def dict_writer(count: int, directory: Path) -> None:
    with (directory / "jobs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, TABLE.names)
        writer.writeheader()
        for batch in rows(count):
            for row in by_hand(batch, nested=True):
                writer.writerow(row)


def executemany(count: int, directory: Path) -> None:
    connection = sqlite3.connect(directory / "jobs.sqlite")
    connection.execute(f"CREATE TABLE jobs ({', '.join(TABLE.names)}, PRIMARY KEY (workflow_id, id))")
    places = ", ".join("?" * len(TABLE.names))
    for batch in rows(count):
        values = [tuple(row.values()) for row in by_hand(batch, nested=True)]
        connection.executemany(f"INSERT OR REPLACE INTO jobs VALUES ({places})", values)
    connection.commit()
    connection.close()


def from_pylist(count: int, directory: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    everything = [row for batch in rows(count) for row in by_hand(batch, nested=False)]
    for row in everything:
        row["requires"] = json.dumps(row["requires"])
    pq.write_table(pa.Table.from_pylist(everything), directory / "jobs.parquet")


def duckdb_reads_json(count: int, directory: Path) -> None:
    import duckdb  # noqa: PLC0415

    json_dumps(count, directory)
    with duckdb.connect(str(directory / "jobs.duckdb")) as connection:
        connection.execute(f"CREATE TABLE jobs AS SELECT * FROM read_json('{directory / 'jobs.jsonl'}')")


WRITERS: dict[str, Callable[[int, Path], None]] = {
    "nothing": nothing,
    "jsonl": ours("jsonl"),
    "jsonl gzip": ours("jsonl", compression="gzip"),
    "jsonl zstd": ours("jsonl", compression="zstd"),
    "  a loop of json.dumps": json_dumps,
    "csv": ours("csv"),
    "csv gzip": ours("csv", compression="gzip"),
    "csv zstd": ours("csv", compression="zstd"),
    "  a loop of csv.DictWriter": dict_writer,
    "sqlite": ours("sqlite"),
    "  a loop of executemany": executemany,
    "parquet by day": ours("parquet"),
    "parquet by month": ours("parquet", partition="month"),
    "parquet in one": ours("parquet", partition="none"),
    "  pyarrow, from_pylist": from_pylist,
    "duckdb": ours("duckdb"),
    "  json.dumps, read_json": duckdb_reads_json,
}


def measured(name: str, count: int, place: Path) -> tuple[float, float, float]:
    """Return seconds, peak MiB of the process, and MiB on the disk."""
    with tempfile.TemporaryDirectory(dir=place) as directory:
        result = Path(directory) / "result"
        out = Path(directory) / "out"
        out.mkdir()
        command = [sys.executable, __file__, "--one", name, "--rows", str(count), "--workdir", str(out)]
        stopwatch = [sys.executable, str(Path(__file__).with_name("stopwatch.py")), str(result), "3600"]
        said = subprocess.run([*stopwatch, *command], check=True, capture_output=True, text=True)
        status, _, _, peak = result.read_text().split()
        if status != "0":
            raise SystemExit(f"{name}: {said.stderr}")
        size = sum(one.stat().st_size for one in out.rglob("*") if one.is_file())
        return float(said.stdout), int(peak) / 1024, size / 2**20


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="formats whose names have this in them")
    parser.add_argument("--workdir", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--one", help="only write, and print the seconds")
    options = parser.parse_args()
    if options.one:
        began = process_time()
        WRITERS[options.one](options.rows, options.workdir)
        print(process_time() - began - making)
        return
    print(f"{options.rows:,} rows of jobs, {os.cpu_count()} cores\n")
    print(f"{'':28}{'rows/s':>12}{'seconds':>10}{'peak MiB':>10}{'MiB written':>13}")
    for name in WRITERS:
        if name == "nothing" or options.only in name:
            seconds, peak, size = measured(name, options.rows, options.workdir)
            speed = "-" if name == "nothing" else f"{options.rows / seconds:,.0f}"
            print(f"{name:28}{speed:>12}{seconds:>10.1f}{peak:>10.0f}{size:>13.0f}", flush=True)


if __name__ == "__main__":
    main()
