"""What an export costs: ``python -m benchmarks.export``.

Three questions, each to a simulator in a process of its own:

* *speed*: pipelines, workflows and jobs of a project over a host that takes 50 ms for every answer and has no limit,
  beside a plain sequential loop (`naive_export.py`) and pycircleci (`naive_pycircleci_export.py`);
* *budget*: how much of a known limit is used, and how many requests are refused;
* *million*: peak memory and time of a million rows, the tests of many jobs.

The peers run in turn, in another random order each round; figures are medians. Seconds are wall time of the whole
process. It fails if a peer does not bring every row, if a request is refused, or above ``--most`` MiB.
"""

import argparse
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from aiocircle.testing import DEFAULT_TOKEN

HERE = Path(__file__).resolve().parent
MIB = 1024 * 1024
LATENCY = 0.05  # seconds
SERVE = """
import asyncio, json, sys
from aiocircle.testing import Simulator, World
from aiocircle.testing.kong import KongLimits

async def main(settings):
    world = World(pipelines=settings["pipelines"])
    for _ in range(settings["jobs"]):
        world.add_job("gh/acme/web", name="test", tests=settings["tests"])
    limits = KongLimits({"second": settings["limit"]}) if settings["limit"] else None
    sim = Simulator(world, latency=settings["latency"], limits=limits, page_size=settings["page_size"])
    async with sim:
        jobs = [run.jobs for one in world.pipelines("gh/acme/web") for run in one.workflows]
        rows = len(list(world.pipelines("gh/acme/web"))) + len(jobs) + sum(map(len, jobs))
        print(json.dumps({"url": sim.url, "rows": rows}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(json.dumps({"requests": sim.stats.total, "refused": sim.stats.limited}), flush=True)

asyncio.run(main(json.loads(sys.argv[1])))
"""
USUAL: Mapping[str, Any] = {"pipelines": 0, "jobs": 0, "tests": 0, "limit": 0, "latency": 0.0, "page_size": 20}


class Served:
    """A simulator in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        told = self._told()
        self.url: str = told["url"]
        self.rows: int = told["rows"]

    def end(self) -> Mapping[str, Any]:
        """End it and return what it counted."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._told()

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told


@contextlib.contextmanager
def served(**settings: Any) -> Iterator[Served]:
    command = [sys.executable, "-c", SERVE, json.dumps({**USUAL, **settings})]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Served(process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def timed(work: Path, command: list[str], host: Served) -> tuple[float, float, float]:
    """Run a command, and return its wall and CPU seconds and its peak MiB."""
    result = work / "result"
    environment = {"CIRCLE_TOKEN": DEFAULT_TOKEN, "CIRCLE_HOST": host.url, "PATH": "/usr/bin:/bin"}
    watch = [sys.executable, str(HERE / "stopwatch.py"), str(result), "1800", *command]
    subprocess.run(watch, env=environment, check=True, stdout=(work / "stdout").open("w"))
    status, wall, cpu, peak = result.read_text().split()
    if int(status):
        sys.exit(f"{' '.join(command[:3])} ended with status {status}")
    return float(wall), float(cpu), int(peak) / 1024


def export(out: Path, *datasets: str, flags: tuple[str, ...] = ()) -> list[str]:
    script = "from aiocircle.cli.app import main; raise SystemExit(main())"
    project = ["--project", "gh/acme/web", "-o", str(out), "--json", "--quiet"]
    return [sys.executable, "-c", script, "export", *datasets, *project, *flags]


def lines_in(place: Path) -> int:
    files = [place] if place.is_file() else [one for one in place.glob("*.jsonl") if one.stem != "gaps"]
    return sum(file.read_bytes().count(b"\n") for file in files)


def speed(work: Path, rounds: int, pipelines: int) -> None:
    """Compare rows a second over a slow host without a limit that anybody would meet."""
    runs: dict[str, list[tuple[float, float, float]]] = {}
    rows = 0
    for limit, ours in ((0, "aiocircle, no limit told"), (100_000, "aiocircle, a wide limit told")):
        peers = {ours: export(work / "out", "builds")}
        if not limit:
            for name, script in (("plain loop", "naive_export.py"), ("pycircleci", "naive_pycircleci_export.py")):
                peers[name] = [sys.executable, str(HERE / script)]
        for _ in range(rounds):
            for name in random.sample(list(peers), len(peers)):
                with served(pipelines=pipelines, latency=LATENCY, limit=limit) as host:
                    shutil.rmtree(work / "out", ignore_errors=True)
                    (work / "rows").unlink(missing_ok=True)
                    command = peers[name]
                    if name != ours:
                        url = host.url + ("/api" if name == "pycircleci" else "")
                        command = [*command, url, DEFAULT_TOKEN, str(work / "rows")]
                    runs.setdefault(name, []).append(timed(work, command, host))
                    rows = host.rows
                    found = lines_in(work / "out" if name == ours else work / "rows")
                    if found != rows:
                        sys.exit(f"{name} brought {found} of {rows} rows")
    print(f"\nspeed: {rows:,} rows (pipelines, workflows, jobs), {LATENCY * 1000:.0f} ms an answer\n")
    print("| peer | median s | rows/s | x plain loop | CPU s | peak MiB |\n|--|--:|--:|--:|--:|--:|")
    plain = median(run[0] for run in runs["plain loop"])
    for name, measured in runs.items():
        wall, cpu, peak = (median(run[place] for run in measured) for place in range(3))
        print(f"| {name} | {wall:.2f} | {rows / wall:,.0f} | {plain / wall:.1f} | {cpu:.2f} | {peak:.0f} |")


def budget(work: Path, rounds: int, limit: int) -> None:
    """Measure how much of a limit is used while an export runs."""
    shares, refused, seconds = [], 0, 0.0
    for _ in range(rounds):
        with served(pipelines=4 * limit, limit=limit, latency=0.02) as host:
            shutil.rmtree(work / "out", ignore_errors=True)
            timed(work, export(work / "out", "builds", "job-details"), host)
            counted = host.end()
        report = json.loads((work / "stdout").read_text().splitlines()[-1])
        refused += counted["refused"]
        seconds = report["seconds"]
        shares.append(counted["requests"] / (limit * seconds))
    print(f"\nbudget: a limit of {limit} requests a second, 20 ms an answer\n")
    print(f"{median(shares):.1%} of it used (median of {rounds} runs of {seconds:.0f} s), {refused} refusals")
    if refused:
        sys.exit("requests were refused")


def million(work: Path, rows: int, most: int) -> None:
    """Measure what many rows take of memory."""
    print(f"\nmillion: {rows:,} rows of tests\n")
    print("| format | s | rows/s | CPU s | peak MiB |\n|--|--:|--:|--:|--:|")
    too_much = []
    for name in ("jsonl", "sqlite", "parquet", "duckdb"):
        with served(jobs=rows // 5000, tests=5000, page_size=500, limit=100_000) as host:
            shutil.rmtree(work / "out", ignore_errors=True)
            wall, cpu, peak = timed(work, export(work / "out", "tests", flags=("--format", name)), host)
        report = json.loads((work / "stdout").read_text().splitlines()[-1])
        if report["totals"]["tests"] != rows // 5000 * 5000:
            sys.exit(f"{report['totals']['tests']} rows came out")
        print(f"| {name} | {wall:.1f} | {rows / wall:,.0f} | {cpu:.1f} | {peak:.0f} |", flush=True)
        too_much += [name] if peak > most else []
    if too_much:
        sys.exit(f"more than {most} MiB: {', '.join(too_much)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("speed", "budget", "million"), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pipelines", type=int, default=150, help="of the project, for speed")
    parser.add_argument("--limit", type=int, default=100, help="requests a second, for budget")
    parser.add_argument("--rows", type=int, default=1_000_000, help="for million")
    parser.add_argument("--most", type=int, default=150, help="MiB")
    chosen = parser.parse_args()
    only = chosen.only or ("speed", "budget", "million")
    with tempfile.TemporaryDirectory(prefix="aiocircle-") as directory:
        work = Path(directory)
        if "speed" in only:
            speed(work, chosen.rounds, chosen.pipelines)
        if "budget" in only:
            budget(work, chosen.rounds, chosen.limit)
        if "million" in only:
            million(work, chosen.rows, chosen.most)


if __name__ == "__main__":
    main()
