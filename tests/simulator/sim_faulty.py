"""A simulator whose every fault can be asked for."""

from collections.abc import Iterator

import pytest
from sim_client import listed

from aiocircle.testing import FakeArtifact, GeneratedArtifacts, Simulator, SimulatorThread, World

SLUG = "gh/acme/web"
SIZE = 600_000
LISTING = f"/project/{SLUG}/2/artifacts"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=SIZE)])
    world.add_job(SLUG, 2, GeneratedArtifacts("many", 45, 3))
    with SimulatorThread(world) as running:
        yield running


def file_url(sim: Simulator) -> str:
    job = sim.world.job(SLUG, 1)
    assert job is not None
    url: str = listed(sim, job)[0]["url"]
    return url
