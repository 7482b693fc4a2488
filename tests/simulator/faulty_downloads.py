"""What tests of downloads that go wrong share."""

from pathlib import Path
from typing import Any

from downloads import SLUG

from aiocircle import Client, DownloadOptions, Report, RetryPolicy, Timeouts
from aiocircle.testing import FakeArtifact, Simulator, World

KIB, MIB = 1024, 1024 * 1024
SMALL, LARGE = 3000, 400_000  # one file of a single write, one of several


def client_of(sim: Simulator, **settings: Any) -> Client:
    defaults: dict[str, Any] = {"retry": RetryPolicy(base=0.001), "timeouts": Timeouts(stall=0.3, connect=2)}
    return Client(sim.token, host=sim.url, **{**defaults, **settings})


def world_of(*artifacts: FakeArtifact) -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, artifacts)
    return world


async def download(client: Client, out: Path, **options: Any) -> Report:
    options = {"buffer": 64 * KIB, **options}
    return await client.download(SLUG, job=1, to=out, options=DownloadOptions(**options))


GOOD = [FakeArtifact(f"good/{n}.bin", size=1000 * n) for n in range(5)]
STRUCK = [FakeArtifact("bad/small.bin", size=SMALL), FakeArtifact("bad/large.bin", size=LARGE)]


def both() -> World:
    return world_of(*GOOD[:2], *STRUCK, *GOOD[2:])
