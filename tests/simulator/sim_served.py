"""Simulators that tests of its answers ask."""

from collections.abc import Iterator

import pytest
from sim_client import listed

from aiocircle.testing import FakeArtifact, GeneratedArtifacts, Simulator, SimulatorThread, World

SLUG = "gh/acme/web"


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    """A simulator of a small world, for tests that only look."""
    world = World(pipelines=45)
    world.add_job(SLUG, 9000, [FakeArtifact("a b+c/é.txt", size=1000), FakeArtifact("../../x", 1, body=b"traversal")])
    world.add_job(SLUG, 9001, GeneratedArtifacts("many", 45, 3), tests=45)
    with SimulatorThread(world) as running:
        yield running


@pytest.fixture
def fresh() -> Iterator[Simulator]:
    """A simulator of its own, for tests that count."""
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=300_000), FakeArtifact("empty", body=b"")])
    with SimulatorThread(world) as running:
        yield running


def first_url(sim: Simulator) -> str:
    job = sim.world.job(SLUG, 1)
    assert job is not None
    url: str = listed(sim, job)[0]["url"]
    return url
