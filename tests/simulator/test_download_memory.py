"""The memory of a download, measured in a process of its own."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from downloads import MIB, SLUG, assert_no_parts, expected, tree, world_of
from measured_downloads import measured
from object_servers import Server

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


def ample() -> KongLimits:
    """Return limits that hold nothing up: what is told need not be felt for, which takes time."""
    return KongLimits({"second": 5000})


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


async def test_an_upload_takes_the_same_memory_whatever_the_size_and_number_of_files(roomy: Path, s3: Server) -> None:
    """Four large files are sent at a time, each in pieces of 5 MiB, of which a few are in memory."""
    world = world_of(FakeArtifact("warm", size=100_000))
    world.add_job(
        SLUG, 2, [FakeArtifact("huge", size=200 * MIB), *(FakeArtifact(str(n), size=20 * MIB) for n in range(6))]
    )
    world.add_job(SLUG, 3, [FakeArtifact(f"small/{n}", size=250_000) for n in range(600)])
    environ = {**s3.environ, "XDG_STATE_HOME": str(roomy)}
    async with Simulator(world, log_size=0, limits=ample()) as sim:
        large = await measured(sim, f"{s3.address}/{roomy.name}", 2, environ)
        small = await measured(sim, f"{s3.address}/{roomy.name}", 3, environ)
    assert large["size"] == 320 * MIB
    assert large["grown"] < 200 * MIB, large
    assert small["files"] == 600
    assert small["grown"] < 120 * MIB, small
    jobs = [job for job in (world.job(SLUG, 2), world.job(SLUG, 3)) if job is not None]
    assert s3.sizes(f"{roomy.name}/out/0/") == {one.path: one.length for job in jobs for one in job.artifacts}
