"""An export in a process of its own: killed at any moment, then run again; what independent readers find then."""

import csv
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset
import pytest
from exports import FANNED_OUT, SLUG, Key, assert_holds, generous, json_lines, truth, visible

from aiocircle.testing import Simulator, SimulatorThread, World

SCRIPT = "from aiocircle.cli.app import main; raise SystemExit(main())"
DATASETS = ("builds", "job-details", "artifacts", "tests")


def started(sim: Simulator, out: Path, *flags: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SCRIPT, "export", *DATASETS, "--project", SLUG, "-o", str(out), "--json", *flags]
    environment = {"CIRCLE_TOKEN": sim.token, "CIRCLE_HOST": sim.url, "PATH": "/usr/bin:/bin"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(sim: Simulator, out: Path, *flags: str) -> Mapping[str, Any]:
    """Run the command to its end, and return its report."""
    process = started(sim, out, *flags)
    output, errors = process.communicate(timeout=50)
    assert process.returncode == 0, errors
    report: Mapping[str, Any] = json.loads(output.splitlines()[-1])
    return report


def killed(sim: Simulator, out: Path, after: int, *flags: str) -> bool:
    """Kill the command when it has sent so many requests, and return whether that was before its end."""
    begin = sim.stats.total
    process = started(sim, out, *flags)
    while sim.stats.total - begin < after and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def read_csv(out: Path, dataset: str) -> list[dict[str, Any]]:
    table = {"job_number": int, "node_index": int, "position": int, "number": int, "parallelism": int}
    lists = {"dependencies"}
    with (out / f"{dataset}.csv").open(encoding="utf-8", newline="") as file:
        return [
            {
                name: None if text == "" else table[name](text) if name in table else json.loads(text) if name in lists
                else text
                for name, text in row.items()
            }
            for row in csv.DictReader(file)
        ]  # fmt: skip


def read_sqlite(out: Path, dataset: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(out / "export.sqlite")) as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute(f"SELECT * FROM {dataset}")]
    for row in rows:
        if "dependencies" in row:
            row["dependencies"] = json.loads(row["dependencies"])
    return rows


def read_parquet(out: Path, dataset: str) -> list[dict[str, Any]]:
    parts = pyarrow.dataset.dataset(out / dataset, format="parquet", partitioning="hive")
    return [dict(row) for row in parts.to_table().to_pylist()]


def read_duckdb(out: Path, dataset: str) -> list[dict[str, Any]]:
    with closing(duckdb.connect(str(out / "export.duckdb"), read_only=True)) as database:
        found = database.execute(f"SELECT * FROM {dataset}")
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


READERS: Mapping[str, Callable[[Path, str], list[dict[str, Any]]]] = {
    "jsonl": json_lines,
    "csv": read_csv,
    "sqlite": read_sqlite,
    "parquet": read_parquet,
    "duckdb": read_duckdb,
}


def assert_all(out: Path, held: Mapping[str, Mapping[Key, Mapping[str, Any]]], formats: Iterable[str]) -> None:
    for name in formats:
        for dataset in FANNED_OUT:
            assert_holds(READERS[name](out, dataset), dataset, held[dataset])


@pytest.mark.parametrize("name", READERS)
def test_what_comes_out_of_each_format_is_what_the_world_holds_with_kills_on_the_way(tmp_path: Path, name: str) -> None:
    world = World(pipelines=12, artifacts=4)
    held = truth(world)
    moments = random.Random(name)
    with SimulatorThread(world, limits=generous(), latency=0.004) as sim:
        kills = sum(killed(sim, tmp_path, moments.randint(1, 120), "--format", name) for _ in range(3))
        assert kills > 0
        assert visible(tmp_path) == set(), "what is not finished does not look finished"
        report = finished(sim, tmp_path, "--format", name)
    assert report["totals"]["tests"] == len(held["tests"])
    assert_all(tmp_path, held, [name])


def test_a_killed_run_does_not_ask_again_for_what_was_saved(tmp_path: Path) -> None:
    world = World(pipelines=40, artifacts=2)
    with SimulatorThread(world, limits=generous(), latency=0.002) as sim:
        finished(sim, tmp_path / "whole")
        whole = sim.stats.total
        begin = sim.stats.total
        kills = [killed(sim, tmp_path / "killed", whole // 4) for _ in range(3)]
        report = finished(sim, tmp_path / "killed")
        spent = sim.stats.total - begin
    assert kills == [True] * 3
    assert report["failed"] == 0
    # Each kill costs what was under way: the fan-out's width, not what had come before.
    assert spent < 2 * whole


@pytest.mark.parametrize("name", READERS)
def test_an_earlier_export_stays_whole_while_a_later_one_is_killed(tmp_path: Path, name: str) -> None:
    world = World(pipelines=8, artifacts=2)
    with SimulatorThread(world, limits=generous(), latency=0.004) as sim:
        finished(sim, tmp_path, "--format", name)
        before = truth(world)
        world.add_job(SLUG, name="later", tests=30)
        assert killed(sim, tmp_path, 3, "--format", name)
        assert_all(tmp_path, before, [name])
        finished(sim, tmp_path, "--format", name)
    after = truth(world)
    assert len(after["tests"]) == len(before["tests"]) + 30
    assert_all(tmp_path, after, [name])


def test_every_format_of_one_run_holds_the_same(tmp_path: Path) -> None:
    world = World(pipelines=10, artifacts=3)
    with SimulatorThread(world, limits=generous()) as sim:
        finished(sim, tmp_path, "--format", ",".join(READERS))
    assert_all(tmp_path, truth(world), READERS)


def test_a_signal_ends_an_export_with_a_sentence_and_its_status(tmp_path: Path) -> None:
    with SimulatorThread(World(pipelines=60), limits=generous(), latency=0.02) as sim:
        process = started(sim, tmp_path)
        while sim.stats.total < 20:
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 6
    assert "aiocircle: stopped; what was collected is kept" in errors
    assert "Traceback" not in errors
    report = json.loads(output.splitlines()[-1])
    assert (report["ok"], report["is_written"]) == (False, False)
    assert visible(tmp_path) == set()
