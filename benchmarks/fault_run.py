"""One download under one fault, judged byte by byte.

One job of five files is fetched. Faults of files strike one large file, those of the API the listing. Then the fault is
switched off, and the same job is fetched to the same output once more, which has to bring what is missing.

Bytes are those that the simulator handed to the system: what was on the way when a connection broke is among them.
"""

import asyncio

from attrs import frozen

from aiocircle import Client, DownloadOptions, ItemOutcome, RetryPolicy, Timeouts
from aiocircle.errors import AioCircleError
from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.testing.faults import FaultKind
from benchmarks.fault_stores import FaultStore

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
        wrong: What is not as it must be, after this run or after the next one.
    """

    outcome: str
    resumed: bool
    twice: int | None
    wrong: str = ""


@frozen
class Scene:
    """A job, and what may be found of it in an output.

    Attributes:
        world: Where the job is.
        store: Where it goes.
        changes: Whether the struck file becomes another one in mid-run.
    """

    world: World
    store: FaultStore
    changes: bool

    def arrived(self) -> tuple[set[str], list[str]]:
        """Return the paths of the files that arrived, and in words what is wrong with them."""
        found, wrong = self.store.files() or {}, [*self.store.faults()]
        arrived = {one.path for one in [*OTHERS, STRUCK] if f"0/{one.path}" in found}
        wrong += [f"WRONG BYTES in {path}" for path in arrived if found[f"0/{path}"] not in self.allowed(path)]
        return arrived, wrong

    def allowed(self, path: str) -> list[bytes]:
        """Return what a file may be."""
        job = self.world.job(SLUG, 1)
        assert job is not None
        one = next(one for one in job.artifacts if one.path == path)
        generations = range(1 + self.changes)
        return [FOREIGN, *(self.world.content(job, one, number).read(0, one.length) for number in generations)]

    def is_foreign(self) -> bool:
        """Tell whether the struck file is what another host made of it."""
        return (self.store.files() or {}).get(f"0/{STRUCK.path}") == FOREIGN


async def run(kind: FaultKind, store: FaultStore, *, times: int | None) -> Result:
    """Fetch the job under a fault, and then without one."""
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [*OTHERS[:2], STRUCK, *OTHERS[2:]])
    scene = Scene(world, store, kind.name.startswith("changed-object"))
    outcomes: list[ItemOutcome] = []
    async with Simulator(world, page_size=2) as sim:
        if kind.name in OF_RANGES:
            sim.faults.add("cut-body", 1, match="/struck/")
        match = None if kind.places[0] == "api" else "/struck/"
        sim.faults.add(kind.name, times, match=match, **SETTINGS.get(kind.name, {}))  # type: ignore[arg-type]
        stopped = await _download(sim, store, outcomes)
        resumed = any("Range" in one.headers for one in sim.requests if "/struck/" in one.path)
        result = _judged(scene, outcomes, stopped, resumed, sim.stats.artifact_bytes)
        sim.faults.clear()
        return _with_next(result, scene, await _download(sim, store, []))


async def _download(sim: Simulator, store: FaultStore, outcomes: list[ItemOutcome]) -> str:
    """Run once, and return in words what ended the run early, if anything did."""
    options = store.options(DownloadOptions(buffer=64 * 1024))
    timeouts = Timeouts(stall=0.5, min_rate=1000, connect=2)
    retry = RetryPolicy(base=0.001, attempts=3, refusals=2)
    async with Client(sim.token, host=sim.url, timeouts=timeouts, retry=retry, max_wait=3) as client:
        download = client.download(SLUG, job=1, to=store.output, options=options, on_outcome=outcomes.append)
        try:
            async with asyncio.timeout(PATIENCE):
                report = await download.run()
        except TimeoutError:
            return f"cancelled after {PATIENCE:g} s"
        except AioCircleError as error:
            return f"run ends: {error.code}"
    return "" if report.stopped_by is None else f"run ends: {report.stopped_by.code}"


def _judged(scene: Scene, outcomes: list[ItemOutcome], stopped: str, resumed: bool, sent: int) -> Result:
    arrived, wrong = scene.arrived()
    told = {one.path for one in outcomes}
    if not stopped:
        wrong += [f"{one.path} is MISSING" for one in OTHERS if one.path not in arrived and one.path in told]
    ended = next((one for one in outcomes if one.path == STRUCK.path), None)
    if STRUCK.path in arrived:
        outcome = "the other host's" if scene.is_foreign() else "right bytes"
    elif ended is not None and ended.status != "stored":
        outcome = f"{ended.status}: {ended.code}"
    else:
        failed = [f"listing {one.status}: {one.code}" for one in outcomes if one.status == "failed"]
        outcome = stopped or "; ".join(failed)
    if ended is not None and ended.status == "stored" and STRUCK.path not in arrived and not stopped:
        wrong.append(f"{STRUCK.path} is TOLD AND MISSING")
    right = sum(one.length for one in [*OTHERS, STRUCK] if one.path in arrived)
    return Result(outcome, resumed, max(0, sent - right) if STRUCK.path in arrived else None, "; ".join(wrong))


def _with_next(result: Result, scene: Scene, stopped: str) -> Result:
    """Add what is wrong after a run that met no fault."""
    arrived, wrong = scene.arrived()
    wrong += [f"{one.path} is MISSING" for one in [*OTHERS, STRUCK] if one.path not in arrived]
    wrong += filter(None, [stopped])
    after = f"after the next run: {'; '.join(wrong)}" if wrong else ""
    return Result(result.outcome, result.resumed, result.twice, "; ".join(filter(None, [result.wrong, after])))
