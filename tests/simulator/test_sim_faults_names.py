"""Names from a listing, each a fault of the simulator: nothing outside of the output, and nothing lost."""

import os
from pathlib import Path

import pytest
from sim_client import listed

from aiocircle import Client, Report, RetryPolicy
from aiocircle.testing import FakeArtifact, Simulator, SimulatorThread, World

SLUG = "gh/acme/web"
FILES = [FakeArtifact(f"f{n}", size=1000 + n) for n in range(5)]
REFUSED = {"name-traversal": 1, "name-traversal-backslash": 1, "name-long": 1, "name-empty": 2}
KEPT = [
    *("name-absolute", "name-drive", "name-unc", "name-nul", "name-control", "name-reserved", "name-surrogate"),
    *("name-case", "name-unicode", "name-file-directory", "name-own"),
]


def world() -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, FILES)
    return world


async def run(out: Path, fault: str) -> tuple[World, Report]:
    async with Simulator(world()) as sim, Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.001)) as client:
        struck = sim.faults.add(fault)
        report = await client.download(SLUG, job=1, to=out)
        assert struck.struck == 1
        return sim.world, report


def surroundings(tmp_path: Path) -> set[str]:
    return {str(one) for one in tmp_path.rglob("*") if "out" not in one.relative_to(tmp_path).parts}


def contents(out: Path) -> list[bytes]:
    found = [Path(where) / name for where, _, names in os.walk(out / "0") for name in names]
    assert not any(one.is_symlink() for one in found)
    return sorted(one.read_bytes() for one in found)


@pytest.mark.anyio
@pytest.mark.parametrize("fault", KEPT)
async def test_what_can_be_placed_arrives_below_the_output_each_file_under_a_name_of_its_own(
    tmp_path: Path, fault: str
) -> None:
    out = tmp_path / "a/b/out"
    out.mkdir(parents=True)
    before = surroundings(tmp_path)
    served, report = await run(out, fault)
    assert report.ok, report.failures
    assert contents(out) == sorted(served.artifact_bytes(SLUG, 1, one.path) for one in FILES)
    assert surroundings(tmp_path) == before
    assert not Path("/tmp/absolute").exists()


@pytest.mark.anyio
@pytest.mark.parametrize("fault", REFUSED)
async def test_what_leads_outside_or_names_no_file_is_refused_in_words_and_the_others_arrive(
    tmp_path: Path, fault: str
) -> None:
    out = tmp_path / "a/b/out"
    out.mkdir(parents=True)
    before = surroundings(tmp_path)
    served, report = await run(out, fault)
    assert {one.code for one in report.failures} == {"unsafe_path"}
    assert all(one.reason and one.reason.isprintable() for one in report.failures)
    assert (report.failed, report.files) == (REFUSED[fault], len(FILES) - REFUSED[fault])
    right = [served.artifact_bytes(SLUG, 1, one.path) for one in FILES]
    assert all(one in right for one in contents(out))
    assert surroundings(tmp_path) == before


@pytest.mark.parametrize("fault", [*REFUSED, *KEPT])
def test_only_the_names_of_the_first_artifacts_are_changed(fault: str) -> None:
    with SimulatorThread(world()) as sim:
        job = sim.world.job(SLUG, 1)
        assert job is not None
        true = listed(sim, job)
        sim.faults.add(fault)
        struck = listed(sim, job)
    assert [one["url"] for one in struck] == [one["url"] for one in true]
    changed = sum(one["path"] != other["path"] for one, other in zip(struck, true, strict=True))
    assert 1 <= changed <= 2
    assert struck[2:] == true[2:]
