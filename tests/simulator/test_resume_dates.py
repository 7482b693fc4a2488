"""Where a date is all that identifies an object: gone on with if it is old enough to prove something, else anew."""

from pathlib import Path

import pytest

from aiocircle import Client, DownloadOptions, RetryPolicy
from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.testing.storage import last_modified

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
SIZE = 900_000


def world() -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("large", size=SIZE)])
    return world


@pytest.mark.parametrize(
    ("fault", "generation", "requests", "has_range"),
    [
        ("last-modified-only", 0, 2, True),  # 206: gone on with
        ("last-modified-young", 0, 2, False),  # no proof: from the beginning
        ("changed-object-modified", 1, 2, True),  # 200 of the new object
        ("changed-object-modified-206", 1, 3, True),  # a part of the new object, although If-Range was sent
    ],
)
async def test_a_half_file_of_which_only_a_date_is_known_ends_with_the_bytes_of_one_object(
    tmp_path: Path, fault: str, generation: int, requests: int, has_range: bool
) -> None:
    async with (
        Simulator(world()) as sim,
        Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.001)) as client,
    ):
        sim.faults.add(fault, cut=1)
        options = DownloadOptions(buffer=64 * 1024)
        report = await client.download(SLUG, job=1, to=tmp_path, options=options)
        asked = [one.headers for one in sim.requests if one.origin == "storage"]
        job = sim.world.job(SLUG, 1)
        assert job is not None
        content = sim.world.content(job, job.artifacts[0], generation)
        date = last_modified(sim.world.content(job, job.artifacts[0], 0))
    assert report.ok, report.failures
    assert (tmp_path / "0/large").read_bytes() == content.read(0, content.size)
    assert len(asked) == requests
    assert ["Range" in one for one in asked] == [False, has_range, False][:requests]
    assert [one.get("If-Range") for one in asked] == [None, date if has_range else None, None][:requests]
