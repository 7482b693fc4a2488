"""What becomes of a download under each fault of the simulator: ``python -m benchmarks.faults [NAME ...]``.

One job of five files is fetched for each fault twice: once it strikes one request, and once all of them. Faults of
files strike one large file, those of the API the listing. A row says what became of the struck file, whether its second
request asked for its missing end only, and how many bytes of it were sent more than once. Every byte that stands under
a final name is compared, and so are the other files: the program ends with status 1 if one of them is wrong or missing.

Bytes are those that the simulator handed to the system: what was on the way when a connection broke is among them.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from attrs import frozen

from aiocircle import Client, DownloadOptions, ItemOutcome, RetryPolicy, Timeouts
from aiocircle.errors import AioCircleError
from aiocircle.testing import FAULTS, FakeArtifact, Simulator, World
from aiocircle.testing.faults import FaultKind

SLUG = "gh/acme/web"
STRUCK = FakeArtifact("struck/large.bin", size=900_000)
OTHERS = [FakeArtifact(f"others/{n}.bin", size=1000 * n) for n in range(4)]
PATIENCE = 6.0  # seconds for a run; what takes longer is cancelled, as Ctrl-C would
# Figures that bring a fault about within seconds; the rest is as the simulator has it.
SETTINGS: dict[str, dict[str, float]] = {
    "slow-drip": {"rate": 20, "part": 0.5},
    "endless-drip": {"seconds": 0.05},
    "endless-hints": {"seconds": 0.05},
    "slow-head": {"seconds": 0.05},
    "json-bomb": {"mib": 70},
    "last-modified-only": {"cut": 1},
    "last-modified-young": {"cut": 1},
    "changed-object-modified": {"cut": 1},
    "changed-object-modified-206": {"cut": 1},
}
# Faults of a request for the rest of a file: the request before it has to break off.
OF_RANGES = frozenset(
    {"range-refused", "range-unsatisfiable", "wrong-content-range", "changed-object", "changed-object-206"}
)


# Whoever signs the listing decides which host has the file: bytes of another one are that host's word.
FOREIGN = b"This is a foreign origin.\n"


@frozen
class Result:
    """What became of a run.

    Attributes:
        outcome: Of the struck file, in words.
        resumed: Whether it was asked for the rest of it.
        twice: Bytes of it that were sent more than once; ``None`` where it did not arrive.
        wrong: What is not as it must be.
    """

    outcome: str
    resumed: bool
    twice: int | None
    wrong: str = ""


async def run(kind: FaultKind, out: Path, *, times: int | None) -> Result:
    """Fetch the job under a fault."""
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [*OTHERS[:2], STRUCK, *OTHERS[2:]])
    outcomes: list[ItemOutcome] = []
    async with (
        Simulator(world, page_size=2) as sim,
        Client(
            sim.token,
            host=sim.url,
            timeouts=Timeouts(stall=0.5, min_rate=1000, connect=2),
            retry=RetryPolicy(base=0.001, attempts=3, refusals=2),
            max_wait=3,
        ) as client,
    ):
        in_api = kind.places[0] == "api"
        if kind.name in OF_RANGES:
            sim.faults.add("cut-body", 1, match="/struck/")
        sim.faults.add(kind.name, times, match=None if in_api else "/struck/", **SETTINGS.get(kind.name, {}))  # type: ignore[arg-type]
        download = client.download(
            SLUG, job=1, to=out, options=DownloadOptions(buffer=64 * 1024), on_outcome=outcomes.append
        )
        stopped = ""
        try:
            async with asyncio.timeout(PATIENCE):
                stopped = _words((await download.run()).stopped_by)
        except TimeoutError:
            stopped = f"cancelled after {PATIENCE:g} s"
        except AioCircleError as error:
            stopped = _words(error)
        resumed = any("Range" in one.headers for one in sim.requests if "/struck/" in one.path)
        changed = kind.name.startswith("changed-object")
        return _judged(world, out, outcomes, stopped, resumed, sim.stats.artifact_bytes, changed=changed)


def _words(error: AioCircleError | None) -> str:
    return "" if error is None else f"run ends: {error.code}"


def _judged(
    world: World,
    out: Path,
    outcomes: list[ItemOutcome],
    stopped: str,
    resumed: bool,
    sent: int,
    *,
    changed: bool,
) -> Result:
    job = world.job(SLUG, 1)
    assert job is not None
    arrived, wrong = set(), []
    for one in job.artifacts:
        file = out / "0" / one.path
        if not file.exists():
            continue
        arrived.add(one.path)
        allowed = [
            FOREIGN,
            *(world.content(job, one, generation).read(0, one.length) for generation in range(1 + changed)),
        ]
        if file.read_bytes() not in allowed:
            wrong.append(f"WRONG BYTES in {one.path}")
    if not stopped:
        wrong += [
            f"{one.path} is MISSING" for one in OTHERS if one.path not in arrived and one.path in _paths(outcomes)
        ]
    ended = next((one for one in outcomes if one.path == STRUCK.path), None)
    if STRUCK.path in arrived:
        foreign = (out / "0" / STRUCK.path).read_bytes() == FOREIGN
        outcome = "the other host's" if foreign else "right bytes"
    elif ended is not None:
        outcome = f"{ended.status}: {ended.code}"
    else:
        outcome = stopped or "; ".join(
            f"listing {one.status}: {one.code}" for one in outcomes if one.status == "failed"
        )
    right = sum(one.length for one in job.artifacts if one.path in arrived)
    return Result(outcome, resumed, max(0, sent - right) if STRUCK.path in arrived else None, "; ".join(wrong))


def _paths(outcomes: list[ItemOutcome]) -> set[str | None]:
    return {one.path for one in outcomes}


async def table(names: list[str]) -> int:
    """Print a row for each fault and return the program's exit status."""
    wrong = 0
    print(f"{'fault':28} {'where':9} {'store':6} {'strikes once':26} {'resumed':8} {'sent twice':>10}  strikes always")
    for kind in FAULTS.values():
        if names and kind.name not in names:
            continue
        with tempfile.TemporaryDirectory() as directory:
            once = await run(kind, Path(directory) / "once", times=1)
            always = await run(kind, Path(directory) / "always", times=None)
        twice = "-" if once.twice is None else f"{once.twice:,}"
        resumed = "yes" if once.resumed else "-"
        row = f"{kind.name:28} {kind.places[0]:9} {'local':6} {once.outcome:26} {resumed:8} {twice:>10}"
        print(f"{row}  {always.outcome}", flush=True)
        for problem in filter(None, (once.wrong, always.wrong)):
            print(f"  {problem}")
            wrong += 1
    print(f"{len(names) or len(FAULTS)} faults, {wrong} with wrong or missing files")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(table(sys.argv[1:])))
