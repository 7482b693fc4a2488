"""A kill at any moment leaves what was there before, or what came, of each file, and the next run repairs the rest."""

import csv
import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sink_killed
from sink_rows import rows_of

from aiocircle.export.sinks import FORMATS, open_sink
from aiocircle.export.tables import TABLES

duckdb = pytest.importorskip("duckdb")

OLD, NEW = 0, 1000
Keys = set[str]


def of_jsonl(directory: Path, name: str) -> Keys | None:
    file = directory / f"{name}.jsonl"
    return {json.loads(line)["id"] for line in file.read_text().split("\n")[:-1]} if file.exists() else None


def of_csv(directory: Path, name: str) -> Keys | None:
    file = directory / f"{name}.csv"
    if not file.exists():
        return None
    with file.open(newline="") as lines:
        return {row["id"] for row in csv.DictReader(lines)}


def of_sqlite(directory: Path, name: str) -> Keys | None:
    if not (directory / "export.sqlite").exists():
        return None
    connection = sqlite3.connect(directory / "export.sqlite")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {key for (key,) in connection.execute(f"SELECT id FROM {name}")}
    finally:
        connection.close()


def of_duckdb(directory: Path, name: str) -> Keys | None:
    if not (directory / "export.duckdb").exists():
        return None
    with duckdb.connect(str(directory / "export.duckdb")) as connection:
        return {key for (key,) in connection.execute(f"SELECT id FROM {name}").fetchall()}


def of_parquet(directory: Path, name: str) -> Keys | None:
    """Return what all partitions have; that each is whole is seen in that they are read, and counted by the test."""
    files = list((directory / name).rglob("*.parquet"))
    if not files:
        return None
    query = f"SELECT id FROM read_parquet('{directory / name}/**/*.parquet')"
    with duckdb.connect() as connection:
        keys = [key for (key,) in connection.execute(query).fetchall()]
    assert len(keys) == len(set(keys))
    return set(keys)


READERS: dict[str, Callable[[Path, str], Keys | None]] = {
    "jsonl": of_jsonl,
    "csv": of_csv,
    "sqlite": of_sqlite,
    "parquet": of_parquet,
    "duckdb": of_duckdb,
}


def keys_of(name: str, start: int) -> Keys:
    place = TABLES[name].names.index("id")
    return {row[place] for row in rows_of(TABLES[name], sink_killed.COUNT, start=start)}


def run(kind: str, directory: Path, point: str, start: int) -> str | None:
    """Return what it said at its end, if it came to that."""
    command = [sys.executable, sink_killed.__file__, kind, str(directory), point, str(start)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, -signal.SIGKILL, -signal.SIGALRM}, done.stderr
    return done.stdout or None


def put(kind: str, directory: Path, start: int) -> None:
    with open_sink(kind, directory) as sink:
        for name in sink_killed.NAMES:
            sink.begin(TABLES[name])
            sink.write(rows_of(TABLES[name], sink_killed.COUNT, start=start))


def is_sound(kind: str, directory: Path, *, had_old: bool) -> None:
    """See that each table, or each partition, is the old one or the new one."""
    for name in sink_killed.NAMES:
        found = READERS[kind](directory, name)
        old, new = keys_of(name, OLD) if had_old else set(), keys_of(name, NEW)
        if kind == "parquet":
            assert (found or set()) <= old | new
        else:
            assert found in ([old, new] if had_old else [None, new])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("had_old", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_kill_leaves_nothing_that_looks_finished(tmp_path: Path, kind: str, had_old: bool) -> None:
    if had_old:
        put(kind, tmp_path / "count", OLD)
    count = int(run(kind, tmp_path / "count", "count", NEW) or 0)
    chosen = random.Random(f"{kind}{had_old}")
    calls = chosen.sample(range(1, count + 1), min(count, 6))
    moments = [chosen.uniform(0.0, 0.4) for _ in range(3 if kind in {"sqlite", "duckdb"} else 0)]
    for point in ["write", *map(str, calls), *map("{:.6f}".format, moments)]:
        directory = tmp_path / point
        if had_old:
            put(kind, directory, OLD)
        ended = run(kind, directory, point, NEW) is not None
        assert not ended or "." in point
        is_sound(kind, directory, had_old=had_old)
        put(kind, directory, NEW)
        for name in sink_killed.NAMES:
            assert READERS[kind](directory, name) == keys_of(name, NEW)
        assert not (directory / ".aiocircle").exists()
