"""What an export cannot have: it says so, leaves no hole, and gets it with a later run where that is possible."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from exports import NO_LOOK_BACK, SLUG, assert_holds, client_of, export, gaps, generous, json_lines, truth, visible

from aiocircle.errors import NotFoundError, PartialExportError
from aiocircle.testing import Simulator, World

pytestmark = pytest.mark.anyio


async def test_what_has_expired_is_a_gap_and_no_failure(tmp_path: Path) -> None:
    world = World(pipelines=12)
    gone = next(one for one in world.pipelines(SLUG) if one.workflows)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        sim.faults.add("expired-404", match=f"/pipeline/{gone.id}/workflow", place="api")
        report = await export(client, tmp_path, "builds")
        report.raise_for_failures()
        again = await export(client, tmp_path, "builds", look_back=NO_LOOK_BACK)
    assert report.expired == 1
    assert [(row["code"], row["pipeline_id"], row["dataset"]) for row in gaps(tmp_path)] == [
        ("expired", gone.id, "workflows")
    ]
    assert again.failed == 0
    assert gone.id in {row["id"] for row in json_lines(tmp_path, "pipelines")}


async def test_what_failed_is_a_gap_until_the_next_run_has_it(tmp_path: Path) -> None:
    world = World(pipelines=12)
    broken = next(run for one in world.pipelines(SLUG) for run in one.workflows if run.status == "success")
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        sim.faults.add("500", match=f"/workflow/{broken.id}/job", place="api")
        report = await export(client, tmp_path, "builds")
        with pytest.raises(PartialExportError, match="1 listing failed"):
            report.raise_for_failures()
        assert [(row["code"], row["workflow_id"], row["dataset"]) for row in gaps(tmp_path)] == [
            ("server", broken.id, "jobs")
        ]
        assert len(json_lines(tmp_path, "jobs")) == len(truth(world)["jobs"]) - len(broken.jobs)
        sim.faults.clear()
        again = await export(client, tmp_path, "builds", look_back=NO_LOOK_BACK)
    assert (again.failed, gaps(tmp_path)) == (0, [])
    assert_holds(json_lines(tmp_path, "jobs"), "jobs", truth(world)["jobs"])


async def test_a_page_of_pipelines_that_fails_leaves_no_hole(tmp_path: Path) -> None:
    world = World(pipelines=100)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        sim.faults.add("500", match=f"/project/{SLUG}/pipeline", after=2, place="api")
        report = await export(client, tmp_path, "pipelines")
        assert report.failed == 1
        assert 20 <= report.totals["pipelines"] < 100
        sim.faults.clear()
        sim.stats.requests.clear()
        await export(client, tmp_path, "pipelines", look_back=NO_LOOK_BACK)
        assert sim.stats.requests["project.pipelines"] <= 4, "it went on where it had stopped, and saw what is new"
    assert_holds(json_lines(tmp_path, "pipelines"), "pipelines", truth(world)["pipelines"])
    assert gaps(tmp_path) == []


async def test_a_page_token_that_is_refused_later_costs_pages_and_nothing_else(tmp_path: Path) -> None:
    world = World(pipelines=100)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        sim.faults.add("500", match=f"/project/{SLUG}/pipeline", after=2, place="api")
        assert (await export(client, tmp_path, "pipelines", "workflows")).failed == 1
        sim.faults.clear()
        with closing(sqlite3.connect(tmp_path / ".aiocircle" / "export.sqlite")) as state:
            state.execute("UPDATE _sweeps SET token = 'nonsense'")
            state.commit()
        sim.stats.requests.clear()
        report = await export(client, tmp_path, "pipelines", "workflows", look_back=NO_LOOK_BACK)
        assert report.failed == 0
        assert sim.stats.requests["pipeline.workflows"] < 80
    held = truth(world)
    assert_holds(json_lines(tmp_path, "workflows"), "workflows", held["workflows"])


@pytest.mark.parametrize("datasets", ["builds", "contexts", "insights_runs"])
async def test_a_project_that_there_is_not_is_a_failure_and_costs_the_others_nothing(
    tmp_path: Path, datasets: str
) -> None:
    async with Simulator(World(pipelines=2), limits=generous()) as sim, client_of(sim) as client:
        with pytest.raises(NotFoundError):
            await export(client, tmp_path, projects="gh/nobody/nothing")
        assert visible(tmp_path) == set()
        report = await export(client, tmp_path, "pipelines", datasets, projects=[SLUG, "gh/nobody/nothing"])
    words = "pipelines" if datasets == "builds" else datasets.replace("_", " ")
    assert any(one.startswith(f"{words} of gh/nobody") and "404" in one for one in report.failures)
    assert report.expired == 0
    assert len(json_lines(tmp_path, "pipelines")) == 2


async def test_an_organisation_that_there_is_not_is_a_failure_of_its_usage(tmp_path: Path) -> None:
    async with Simulator(World(pipelines=2), limits=generous()) as sim, client_of(sim) as client:
        report = await export(client, tmp_path, "usage", projects=["gh/nobody/nothing", "gh/noone/nothing"])
    assert report.expired == 0
    assert len(report.failures) == 2
    assert all("404" in one for one in report.failures)


async def test_an_empty_project_has_files_without_rows(tmp_path: Path) -> None:
    async with Simulator(World(pipelines=0), limits=generous()) as sim, client_of(sim) as client:
        report = await export(client, tmp_path, formats=("jsonl", "csv", "sqlite"))
    assert report.is_written
    assert json_lines(tmp_path, "jobs") == []
    assert (tmp_path / "jobs.csv").read_text().startswith("project,")
