"""What tests of downloads share: worlds of few jobs, clients that do not wait, and what lies on the disk."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiocircle import Client, RetryPolicy
from aiocircle.testing import FakeArtifact, Simulator, World

SLUG = "gh/acme/web"
KIB, MIB = 1024, 1024 * 1024


def world_of(*artifacts: FakeArtifact, number: int = 1) -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, number, artifacts)
    return world


def client_of(sim: Simulator, **settings: Any) -> Client:
    return Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.01), **settings)


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below an output, the downloader's own ones left out."""
    return {
        str(found.relative_to(root)): found.read_bytes()
        for found in root.rglob("*")
        if found.is_file() and found.relative_to(root).parts[0] != ".aiocircle"
    }


def expected(world: World, number: int, layout: str = "{node}/{path}") -> dict[str, bytes]:
    job = world.job(SLUG, number)
    assert job is not None
    return {
        layout.format(job=number, node=a.node_index, path=a.path): world.artifact_bytes(
            SLUG, number, a.path, a.node_index
        )
        for a in job.artifacts
    }


def surroundings(root: Path, but: Path) -> dict[str, tuple[int, int]]:
    return {
        str(found.relative_to(root)): (found.lstat().st_size, found.lstat().st_mtime_ns)
        for found in root.rglob("*")
        if not found.is_relative_to(but) and found.is_file()
    }


def assert_no_parts(out: Path) -> None:
    assert list((out / ".aiocircle" / "parts").iterdir()) == []


@asynccontextmanager
async def opened(world: World, **settings: Any) -> AsyncIterator[tuple[Simulator, Client]]:
    async with Simulator(world, **settings) as sim, client_of(sim) as client:
        yield sim, client
