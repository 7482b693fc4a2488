"""Download the same artifacts with aiocircle and with what a user would pick instead, side by side.

``python benchmarks/download.py --quick`` takes seconds; without ``--quick``, minutes. See README.md beside this file.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import asdict, define, field

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peers import PEERS, Peer, Task
from benchmarks.tables import Row, Run, table, verdict
from benchmarks.world import FULL, KIB, MIB, QUICK, Origins, Workload, find_nginx, published, reached, served

ROOT = Path(__file__).resolve().parent.parent
SECONDS_PER_RUN = 900


@define
class Contestant:
    """A peer in the course of one workload."""

    peer: Peer
    runs: list[Run] = field(factory=list)
    problem: str = ""

    @property
    def row(self) -> Row:
        """Its line of the table."""
        version = "" if self.peer.missing() else self.peer.version()
        return Row(self.peer.name, version, self.runs, self.problem)


def compete(workload: Workload, peers: Sequence[Peer], rounds: int, measure: Callable[[Peer], Run]) -> list[Row]:
    """Let peers run in turn, in another order each round; one that fails is out."""
    contestants = [
        Contestant(peer, problem=f"not installed: {lacks}" if (lacks := peer.missing()) else "") for peer in peers
    ]
    for number in range(rounds):
        running = [contestant for contestant in contestants if not contestant.problem]
        random.shuffle(running)
        for contestant in running:
            try:
                contestant.runs.append(measure(contestant.peer))
            except FailedRunError as failure:
                contestant.problem = f"failed: {failure}"
            _progress(f"{workload.name}, round {number + 1} of {rounds}: {contestant.peer.name}")
    return [contestant.row for contestant in contestants]


class FailedRunError(Exception):
    """A peer did not bring every file."""


def run(peer: Peer, workload: Workload, origin: str, certificate: Path, directory: Path) -> Run:
    """Run a peer once, in a directory that is new before and gone after, and check what it brought."""
    output = directory / "output"
    output.mkdir(parents=True)
    try:
        status, result = _timed(peer, Task(origin, workload.job, output, certificate), directory)
        count, total = _brought(output)
        if status or (count, total) != (workload.count, workload.total):
            last = (directory / "said.txt").read_text(errors="replace").strip().rsplit("\n", 1)[-1]
            said = f" ({last[:100]})" if status and last else ""
            raise FailedRunError(f"exit {status}, {count:,} files of {workload.count:,}, {total:,} bytes{said}")
        return result
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _timed(peer: Peer, task: Task, directory: Path) -> tuple[int, Run]:
    stopwatch = [sys.executable, "-I", "-S", str(ROOT / "benchmarks" / "stopwatch.py")]
    command = [*stopwatch, str(directory / "cost.txt"), str(SECONDS_PER_RUN), *peer.command(task)]
    environment = _environment(directory) | task.environment
    with (
        (directory / "said.txt").open("wb") as said,
        subprocess.Popen(command, env=environment, cwd=directory, stdout=said, stderr=said) as process,
    ):
        try:
            process.wait()
        except BaseException:
            process.terminate()
            raise
    status, wall, cpu, peak = (directory / "cost.txt").read_text().split()
    return int(status), Run(float(wall), float(cpu), int(peak) * KIB)


def _environment(home: Path) -> dict[str, str]:
    """No proxies, and no settings of the person who runs this."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}


def _brought(output: Path) -> tuple[int, int]:
    """Count files and bytes; what aiocircle records about a download is no artifact."""
    count = total = 0
    for parent, directories, names in os.walk(output):
        if parent == str(output):
            directories[:] = [name for name in directories if name != ".aiocircle"]
        count += len(names)
        total += sum(Path(parent, name).stat().st_size for name in names)
    return count, total


def _roomy(needed: int) -> Path:
    """Return a place in memory if one holds the artifacts twice: then no disk is measured."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > needed:
        return memory
    return Path(tempfile.gettempdir())


def _use_once(directory: Path, size: int) -> None:
    """Write and remove so many bytes, lest the first peers pay for memory that a virtual machine has never used."""
    _progress("making memory warm")
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(size // MIB):
            file.write(bytes(MIB))


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _names(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(allowed):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choose from {', '.join(allowed)}")
        return names

    return parse


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [workload.name for workload in FULL]
    parser.add_argument("--quick", action="store_true", help="a tenth of the files and one round, to see that it works")
    parser.add_argument("--rounds", type=int, help="how often each peer runs (5; with --quick 1)")
    parser.add_argument("--only", type=_names(sizes), default=sizes, help="workloads: " + ",".join(sizes))
    parser.add_argument("--peers", type=_names(list(PEERS)), default=list(PEERS), help="peers: " + ",".join(PEERS))
    parser.add_argument("--page-size", type=int, default=0, help="artifacts per page of the listing (all on one page)")
    parser.add_argument("--workdir", type=Path, help="where files are made and stored (/dev/shm if it has room)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single run there")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: nginx ends and the files go
    nginx = find_nginx()
    if nginx is None:
        print("This benchmark serves the artifacts with nginx: apt-get install nginx", file=sys.stderr)
        return 2
    workloads = [workload for workload in (QUICK if arguments.quick else FULL) if workload.name in arguments.only]
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    peers = [PEERS[name] for name in arguments.peers]
    needed = 3 * max(workload.total for workload in workloads)
    results: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory(prefix="aiocircle-", dir=arguments.workdir or _roomy(needed)) as directory:
        prefix = Path(directory, "nginx")
        prefix.mkdir()
        _use_once(prefix, needed)
        with served(nginx, prefix) as origins:
            for workload in workloads:
                results[workload.name] = rows = _benchmark(
                    workload, peers, rounds, prefix, origins, arguments.page_size
                )
                _progress("")
                print(table(workload, rows), verdict(workload, rows), "", sep="\n\n", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(_raw(results, rounds), indent=1))
    return int(any(row.problem.startswith("failed") for rows in results.values() for row in rows))


def _benchmark(
    workload: Workload, peers: Sequence[Peer], rounds: int, prefix: Path, origins: Origins, page_size: int
) -> list[Row]:
    peers = [peer for peer in peers if workload.is_slow or not peer.is_for_slow_links]
    directory, certificate = prefix.parent / "run", origins.certificate
    with reached(workload, origins) as origin, published(workload, prefix, origin, page_size):
        return compete(workload, peers, rounds, lambda peer: run(peer, workload, origin, certificate, directory))


def _raw(results: dict[str, list[Row]], rounds: int) -> dict[str, object]:
    machine = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    return {
        "machine": machine,
        "rounds": rounds,
        "workloads": {name: [asdict(row) for row in rows] for name, rows in results.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
