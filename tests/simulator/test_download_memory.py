"""The memory of a download, measured in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from downloads import MIB, SLUG, assert_no_parts, expected, tree, world_of

from aiocircle.testing import FakeArtifact, GeneratedArtifacts, KongLimits, Simulator, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: the disk is not what is measured."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    directory = Path(f"/dev/shm/aiocircle-{os.getpid()}-{threading.get_ident()}")
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


MEASURED = """
import asyncio, json, sys
from aiocircle import Client, DownloadOptions

def memory(field):  # not what getrusage says, which counts the process that this one was started from
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

async def main(url, token, out, warm_job, job, options):
    async with Client(token, host=url) as client:
        await client.download("gh/acme/web", job=int(warm_job), to=out + "/warm")
        before = memory("VmRSS")
        options = DownloadOptions(**options)
        report = await client.download("gh/acme/web", job=int(job), to=out + "/out", options=options)
        report.raise_for_failures()
        peak = memory("VmHWM")
        told = {name: getattr(report, name) for name in ("files", "size", "planned")}
        print(json.dumps({"grown": peak - before, **told}))

asyncio.run(main(*sys.argv[1:6], json.loads(sys.argv[6])))
"""


def ample() -> KongLimits:
    """Return limits that hold nothing up: what is told need not be felt for, which takes time."""
    return KongLimits({"second": 5000})


async def measured(sim: Simulator, out: Path, job: int, **options: Any) -> dict[str, int]:
    command = [sys.executable, "-c", MEASURED, sim.url, sim.token, str(out), "1", str(job), json.dumps(options)]
    ran = await anyio.run_process(command, stderr=subprocess.PIPE, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    result: dict[str, int] = json.loads(ran.stdout)
    return result


async def test_a_file_of_512_mib_takes_less_than_60_mib_of_memory(roomy: Path) -> None:
    world = world_of(FakeArtifact("warm", size=100_000))
    world.add_job(SLUG, 2, [FakeArtifact("huge.bin", size=512 * MIB)])
    async with Simulator(world) as sim:
        result = await measured(sim, roomy, 2)
    assert result["size"] == 512 * MIB
    assert result["grown"] < 60 * MIB, result
    assert _same(roomy / "out/0/huge.bin", world, 2, "huge.bin")


def _same(file: Path, world: World, job: int, path: str) -> bool:
    content = world.artifact_content(SLUG, job, path)
    with file.open("rb") as found:
        return all(found.read(MIB) == content.read(at, at + MIB) for at in range(0, content.size, MIB))


async def test_a_listing_of_200_000_artifacts_takes_little_memory(tmp_path: Path) -> None:
    world = world_of(FakeArtifact("warm", size=100_000))
    world.add_job(SLUG, 2, GeneratedArtifacts("many", 200_000))
    async with Simulator(world, page_size=1000, log_size=0, limits=ample()) as sim:
        result = await measured(sim, tmp_path, 2, dry_run=True)
    assert result["planned"] == 200_000
    # Two hundred bytes a name: the names, to know collisions, in a table that doubles in size, and nothing else.
    assert result["grown"] < 50 * MIB, result


async def test_ten_thousand_small_files_in_one_run(roomy: Path) -> None:
    world = world_of(FakeArtifact("warm", size=100_000))
    world.add_job(SLUG, 2, [FakeArtifact(f"d{n % 100}/{n}.txt", size=n % 200) for n in range(10_000)])
    async with Simulator(world, page_size=1000, log_size=0, limits=ample()) as sim:
        result = await measured(sim, roomy, 2)
        assert sim.stats.fetches.total() == 10_001
    assert result["files"] == 10_000
    assert result["grown"] < 60 * MIB, result
    assert tree(roomy / "out") == expected(world, 2)
    assert_no_parts(roomy / "out")
