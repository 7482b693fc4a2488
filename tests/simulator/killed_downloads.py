"""What tests of downloads that are killed or cancelled share."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from downloads import SLUG

from aiocircle import Client, DownloadOptions, Report, RetryPolicy
from aiocircle.testing import FakeArtifact, Simulator, World

KIB = 1024


def world_of(*artifacts: FakeArtifact) -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, artifacts)
    return world


def mixed(count: int) -> World:
    """Files of one write and of several, in a few directories."""
    return world_of(*[FakeArtifact(f"d{n % 5}/{n}", size=(n % 3) * 150_000 + 10 * n) for n in range(count)])


def wanted(world: World) -> dict[str, bytes]:
    job = world.job(SLUG, 1)
    assert job is not None
    return {f"0/{one.path}": world.artifact_bytes(SLUG, 1, one.path) for one in job.artifacts}


def parts_of(out: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return [found.name for found in (out / ".aiocircle" / "parts").iterdir()]
    return []


def client_of(sim: Simulator, **settings: Any) -> Client:
    return Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.001), **settings)


async def download(client: Client, out: Path, **options: Any) -> Report:
    return await client.download(SLUG, job=1, to=out, options=DownloadOptions(**{"buffer": 64 * KIB, **options}))


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.0005)
