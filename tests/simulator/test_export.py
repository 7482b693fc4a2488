"""Exports: what a world holds comes out of them once, whatever happens on the way, and is asked for once."""

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio.to_thread
import attrs
import pyarrow.dataset
import pytest
from exports import FANNED_OUT, SLUG, assert_holds, client_of, generous, json_lines, truth, visible

from aiocircle import Client, ExportOptions, ExportReport
from aiocircle.errors import AuthenticationError, ConfigurationError, NotFoundError, PartialExportError, StoreError
from aiocircle.export.datasets import NAMES
from aiocircle.testing import Simulator, World
from aiocircle.testing.kong import KongLimits

pytestmark = pytest.mark.anyio

NO_LOOK_BACK = timedelta()
APP = "circleci/9YytKzouJxzu4TjCRFqAoD/2LNgBUj3Ezt1hNtvrGcDtW"


async def export(client: Client, out: Path, *datasets: str, projects: Any = SLUG, **options: Any) -> ExportReport:
    return await client.export.run(projects, datasets or FANNED_OUT, to=out, options=ExportOptions(**options))


def gaps(out: Path) -> list[dict[str, Any]]:
    return json_lines(out, "gaps")


async def test_what_a_world_holds_comes_out_once(tmp_path: Path) -> None:
    world = World(pipelines=45)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        report = await export(client, tmp_path)
    held = truth(world)
    for name in FANNED_OUT:
        assert_holds(json_lines(tmp_path, name), name, held[name])
        assert report.rows[name] == report.totals[name] == len(held[name])
    assert (report.failed, report.expired, report.is_written, gaps(tmp_path)) == (0, 0, True, [])
    assert len(held["tests"]) > 1000


async def test_several_datasets_of_one_crawl_cost_one_crawl(tmp_path: Path) -> None:
    world = World(pipelines=30)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        await export(client, tmp_path / "one", "jobs")
        alone = sim.stats.requests.copy()
        sim.stats.requests.clear()
        await export(client, tmp_path / "all", "pipelines", "workflows", "jobs")
        assert sim.stats.requests == alone
        sim.stats.requests.clear()
        await export(client, tmp_path / "outer", "pipelines")
        assert set(sim.stats.requests) == {"project.pipelines"}
        sim.stats.requests.clear()
        await export(client, tmp_path / "middle", "workflows")
        assert set(sim.stats.requests) == {"project.pipelines", "pipeline.workflows"}


async def test_the_same_again_asks_only_for_what_may_be_new(tmp_path: Path) -> None:
    world = World(pipelines=60)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        first = await export(client, tmp_path, "builds", "tests", look_back=NO_LOOK_BACK)
        before = {
            name: (tmp_path / f"{name}.jsonl").read_bytes() for name in ("pipelines", "workflows", "jobs", "tests")
        }
        sim.stats.requests.clear()
        again = await export(client, tmp_path, "builds", "tests", look_back=NO_LOOK_BACK)
        held = [one for one in world.pipelines(SLUG) if any(run.status == "on_hold" for run in one.workflows)]
        # One page, the newest pipeline's workflows, and all of what is on hold.
        assert sim.stats.requests["project.pipelines"] == 1
        assert sim.stats.requests["pipeline.workflows"] <= len(held) + 1
        assert sim.stats.requests["workflow.jobs"] == len(held)
    assert len(held) > 3
    assert again.totals == first.totals
    for name, content in before.items():
        assert sorted((tmp_path / f"{name}.jsonl").read_bytes().splitlines()) == sorted(content.splitlines())


async def test_new_pipelines_and_reruns_within_the_look_back_are_found(tmp_path: Path) -> None:
    world = World(pipelines=40)
    async with Simulator(world, limits=generous(), speed=1e6) as sim, client_of(sim) as client:
        await export(client, tmp_path, "builds")
        failed = next(
            run.id
            for pipeline in world.pipelines(SLUG)
            for run in pipeline.workflows
            if run.status == "failed" and pipeline.created_at > world.plan.newest - timedelta(days=1)
        )
        assert failed is not None
        await client.workflows.rerun(failed, from_failed=True)
        world.trigger(SLUG, branch="main")
        await anyio.sleep(0.05)  # a day of the world's
        await export(client, tmp_path, "builds")
    held = truth(world)
    for name in ("pipelines", "workflows", "jobs"):
        assert_holds(json_lines(tmp_path, name), name, held[name])


async def test_a_run_that_finds_nothing_new_says_so_of_each_dataset(tmp_path: Path) -> None:
    async with Simulator(World(pipelines=2, oddities=()), limits=generous()) as sim, client_of(sim) as client:
        first = await export(client, tmp_path, "builds", "tests", look_back=NO_LOOK_BACK)
        again = await export(client, tmp_path, "builds", "tests", look_back=NO_LOOK_BACK)
    assert again.rows.keys() == first.rows.keys()
    assert again.rows["tests"] == 0


async def test_of_a_job_that_has_run_without_a_date_of_its_end_all_there_is_is_asked_for(tmp_path: Path) -> None:
    world = World(pipelines=0)
    number = world.add_job(SLUG, tests=3).number
    (pipeline,) = world.pipelines(SLUG)
    (workflow,) = pipeline.workflows
    jobs = tuple(attrs.evolve(job, stopped_at=None) for job in workflow.jobs)
    workflow = attrs.evolve(workflow, jobs=jobs)
    world._placed[SLUG][pipeline.number] = attrs.evolve(pipeline, workflows=(workflow,))
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        await export(client, tmp_path)
    assert [row["job_number"] for row in json_lines(tmp_path, "job_details")] == [number]
    assert len(json_lines(tmp_path, "tests")) == 3


async def test_what_became_of_a_pipeline_that_was_being_set_up_is_seen(tmp_path: Path) -> None:
    world = World(pipelines=3)
    now = 0.0
    async with Simulator(world, limits=generous(), clock=lambda: now) as sim, client_of(sim) as client:
        world.trigger(SLUG, branch="main")
        now = 0.1
        world.trigger(SLUG, branch="main")
        await export(client, tmp_path, "pipelines")
        assert [row["state"] for row in json_lines(tmp_path, "pipelines")].count("pending") == 2
        now = 3600.0
        world.trigger(SLUG, branch="main")
        await export(client, tmp_path, "pipelines")
    assert_holds(json_lines(tmp_path, "pipelines"), "pipelines", truth(world)["pipelines"])


async def test_a_rerun_of_a_pipeline_older_than_the_look_back_is_found_by_looking_back_further(tmp_path: Path) -> None:
    world = World(pipelines=40)
    async with Simulator(world, limits=generous(), speed=1e6) as sim, client_of(sim) as client:
        await export(client, tmp_path, "builds", "insights_runs")
        old = [run.id for one in world.pipelines(SLUG) for run in one.workflows if run.status == "failed"][-1]
        assert old is not None
        await client.workflows.rerun(old, from_failed=True)
        await anyio.sleep(0.05)
        await export(client, tmp_path, "builds", "insights_runs", look_back=NO_LOOK_BACK)
        runs, workflows = ({row["id"] for row in json_lines(tmp_path, name)} for name in ("insights_runs", "workflows"))
        assert len(runs - workflows) == 1, "it is not seen, which another dataset tells"
        await export(client, tmp_path, "builds", look_back=timedelta(days=90))
    held = truth(world)
    for name in ("pipelines", "workflows", "jobs"):
        assert_holds(json_lines(tmp_path, name), name, held[name])


async def test_a_workflow_that_had_not_ended_is_looked_at_again_whatever_its_age(tmp_path: Path) -> None:
    world = World(pipelines=40)
    async with Simulator(world, limits=generous(), speed=1e6) as sim, client_of(sim) as client:
        await export(client, tmp_path, "builds", "job_details", look_back=NO_LOOK_BACK)
        oldest = [run for one in world.pipelines(SLUG) for run in one.workflows if run.status == "on_hold"][-1]
        await approve(client, oldest)
        await export(client, tmp_path, "builds", "job_details", look_back=NO_LOOK_BACK)
    rows = {row["id"]: row for row in json_lines(tmp_path, "workflows")}
    assert rows[oldest.id]["status"] == "success"
    held = truth(world)
    for name in ("workflows", "jobs", "job_details"):
        assert_holds(json_lines(tmp_path, name), name, held[name])


async def approve(client: Client, run: Any) -> None:
    """Approve what a workflow of a world waits for, and wait until it has come to its end."""
    place = next(place for place, job in enumerate(run.jobs) if job.type == "approval")
    approval = (await client.jobs.list(run.id).collect())[place].approval_request_id
    assert approval is not None
    await client.workflows.approve(run.id, approval)
    await anyio.sleep(0.05)


async def test_of_a_workflow_on_hold_jobs_that_have_ended_are_asked_about_once(tmp_path: Path) -> None:
    world = World(pipelines=40)
    datasets = ("builds", "job_details", "artifacts", "tests")
    async with Simulator(world, limits=generous(), speed=1e6) as sim, client_of(sim) as client:
        held = [run for one in world.pipelines(SLUG) for run in one.workflows if run.status == "on_hold"]
        broken = next(job for job in held[-1].jobs if job.number is not None)
        sim.faults.add("500", match=f"/project/{SLUG}/{broken.number}/artifacts", place="api")
        first = await export(client, tmp_path, *datasets, look_back=NO_LOOK_BACK)
        sim.faults.clear()
        asked = []
        for _ in range(2):
            sim.stats.requests.clear()
            await export(client, tmp_path, *datasets, look_back=NO_LOOK_BACK)
            assert sim.stats.requests["workflow.jobs"] == len(held)
            asked.append(
                [sim.stats.requests[name] for name in ("project.job", "project.job.artifacts", "project.job.tests")]
            )
        assert first.failed == 1
        assert asked == [[1, 1, 1], [0, 0, 0]], "only what had failed is asked for again"
        await approve(client, held[0])
        sim.stats.requests.clear()
        await export(client, tmp_path, *datasets, look_back=NO_LOOK_BACK)
        assert sim.stats.requests["project.job"] == sum(job.number is not None for job in held[0].jobs)
    assert len(held) > 3
    content = truth(world)
    for name in FANNED_OUT:
        assert_holds(json_lines(tmp_path, name), name, content[name])
    assert gaps(tmp_path) == []


async def test_a_run_of_some_datasets_leaves_open_what_others_still_lack(tmp_path: Path) -> None:
    world = World(pipelines=40)
    async with Simulator(world, limits=generous(), speed=1e6) as sim, client_of(sim) as client:
        broken = [job for one in world.pipelines(SLUG) for run in one.workflows for job in run.jobs if job.tests][-1]
        sim.faults.add("500", match=f"/project/{SLUG}/{broken.number}/tests", place="api")
        assert (await export(client, tmp_path, "builds", "tests", look_back=NO_LOOK_BACK)).failed == 1
        sim.faults.clear()
        oldest = [run for one in world.pipelines(SLUG) for run in one.workflows if run.status == "on_hold"][-1]
        await approve(client, oldest)
        await export(client, tmp_path, "builds", look_back=NO_LOOK_BACK)
        assert [row["job_number"] for row in gaps(tmp_path)] == [broken.number], "it was not looked for"
        await export(client, tmp_path, "builds", "tests", look_back=NO_LOOK_BACK)
    assert gaps(tmp_path) == []
    held = truth(world)
    for name in ("workflows", "jobs", "tests"):
        assert_holds(json_lines(tmp_path, name), name, held[name])


async def test_a_run_of_one_project_keeps_the_gaps_of_another(tmp_path: Path) -> None:
    datasets = ("pipelines", "insights_runs", "schedules")
    async with Simulator(World(pipelines=10), limits=generous()) as sim, client_of(sim) as client:
        for path in (f"/project/{SLUG}/pipeline", "/insights/.*/workflows/", f"/project/{SLUG}/schedule"):
            sim.faults.add("500", match=path, place="api")
        await export(client, tmp_path, *datasets, projects=[SLUG, APP])
        both = {(row["project"], row["dataset"]) for row in gaps(tmp_path)}
        assert both == {(SLUG, name) for name in datasets} | {(APP, "insights_runs")}
        sim.faults.clear()
        await export(client, tmp_path, "pipelines", "insights_runs", projects=APP)
        left = {(row["project"], row["dataset"]) for row in gaps(tmp_path)}
        assert left == both - {(APP, "insights_runs")}
        await export(client, tmp_path, *datasets)
    assert gaps(tmp_path) == []


async def test_a_part_of_a_history_and_then_more_of_it(tmp_path: Path) -> None:
    world = World(pipelines=80)
    since = world.plan.newest - timedelta(hours=12)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        await export(client, tmp_path, "pipelines", "jobs", since=since)
        recent = {row["id"] for row in json_lines(tmp_path, "pipelines")}
        assert recent == {one.id for one in world.pipelines(SLUG) if one.created_at >= since}
        sim.stats.requests.clear()
        await export(client, tmp_path, "pipelines", "jobs", look_back=NO_LOOK_BACK)
        asked = sim.stats.requests["pipeline.workflows"]
    held = truth(world)
    assert_holds(json_lines(tmp_path, "pipelines"), "pipelines", held["pipelines"])
    assert_holds(json_lines(tmp_path, "jobs"), "jobs", held["jobs"])
    assert 0 < len(recent) < 80
    assert asked < 80, "what is complete costs nothing more than its page"


async def test_only_pipelines_of_a_branch_and_before_a_moment(tmp_path: Path) -> None:
    world = World(pipelines=60)
    until = world.plan.newest - timedelta(hours=5)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        await export(client, tmp_path, "pipelines", branch="main", until=until)
    expected = {one.id for one in world.pipelines(SLUG) if one.branch == "main" and one.created_at < until}
    assert {row["id"] for row in json_lines(tmp_path, "pipelines")} == expected


async def test_several_projects_in_one_export(tmp_path: Path) -> None:
    world = World(pipelines=15)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        await export(client, tmp_path, "builds", projects=[SLUG, APP])
    held = truth(world, SLUG, APP)
    for name in ("pipelines", "workflows", "jobs"):
        assert_holds(json_lines(tmp_path, name), name, held[name])


async def test_insights_schedules_and_contexts_of_projects(tmp_path: Path) -> None:
    world = World(pipelines=20)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        await export(client, tmp_path, "insights", "schedules", "contexts", projects=[SLUG, APP])
        runs = {run.id for slug in (SLUG, APP) for one in world.pipelines(slug) for run in one.workflows}
        assert {row["id"] for row in json_lines(tmp_path, "insights_runs")} == runs
        for slug in (SLUG, APP):
            metrics = await client.insights.workflows(slug, all_branches=True).collect()
            rows = [row for row in json_lines(tmp_path, "insights_workflows") if row["project"] == slug]
            assert [row["total_runs"] for row in rows] == [one.metrics and one.metrics.total_runs for one in metrics]
        owned = await client.contexts.list(owner_slug="gh/acme").collect()
        mine = {row["id"] for row in json_lines(tmp_path, "contexts") if row["organization"] == "gh/acme"}
        assert mine == {str(one.id) for one in owned}


async def test_of_many_projects_a_few_streams_are_followed_at_once(tmp_path: Path) -> None:
    world = World(slugs=[f"gh/acme/p{number}" for number in range(80)], pipelines=1)
    most, tasks = 0, len(asyncio.all_tasks())

    def watch(_event: object) -> None:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()) - tasks)

    async with Simulator(world, limits=generous()) as sim, client_of(sim, on_event=watch) as client:
        report = await export(client, tmp_path, "pipelines", "insights", "schedules", projects=list(world.projects))
    assert report.rows["pipelines"] == report.rows["insights_workflows"] == 80
    assert most < 200  # a stream for each project and dataset would be more than 560 tasks


@pytest.mark.parametrize("raw", [False, True], ids=["typed", "raw"])
async def test_metrics_of_another_branch_or_window_lie_beside_those_that_are_there(tmp_path: Path, raw: bool) -> None:
    datasets = ("insights_workflows", "insights_jobs", "insights_summary")
    async with Simulator(World(pipelines=40), limits=generous()) as sim, client_of(sim) as client:
        asked: list[dict[str, Any]] = [{}, {"branch": "main"}, {"reporting_window": "last-7-days"}]
        found = []
        for which in asked:
            await export(client, tmp_path, *datasets, raw=raw, **which)
            found.append({name: len(json_lines(tmp_path, name)) for name in datasets})
        summary = "insights_summary"  # which knows branches and no windows
        assert all(0 < before[name] < after[name] for before, after in pairwise(found) for name in datasets[:2])
        assert 0 < found[0][summary] < found[1][summary] == found[2][summary]
        table, key = "insights_workflows", "key" if raw else "workflow_name"
        with closing(sqlite3.connect(tmp_path / ".aiocircle" / "export.sqlite")) as state:
            name = json.dumps([SLUG, "", "last-90-days", "no more"], separators=(",", ":")) if raw else "no more"
            columns = [row[1] for row in state.execute(f"PRAGMA table_info({table})") if row[1] not in {key, "_run"}]
            state.execute(
                f"INSERT INTO {table} ({', '.join([*columns, key, '_run'])}) "
                f"SELECT {', '.join(columns)}, ?, 1 FROM {table} WHERE rowid = 1",
                (name,),
            )
            state.commit()
        await export(client, tmp_path, *datasets, raw=raw, branch="main")
        assert len(json_lines(tmp_path, table)) == found[2][table] + 1, "it is not what was asked for"
        await export(client, tmp_path, *datasets, raw=raw)
        assert len(json_lines(tmp_path, table)) == found[2][table]


# --- what cannot be had ----------------------------------------------------------------------------------------------


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


# --- one output ------------------------------------------------------------------------------------------------------


async def test_items_as_the_host_gave_them(tmp_path: Path) -> None:
    world = World(pipelines=5)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        await export(client, tmp_path, raw=True)
        page = (await client.request("GET", f"/project/{SLUG}/pipeline")).json
        rows = json_lines(tmp_path, "pipelines")
        assert [row["json"] for row in rows] == page["items"]
        details = json_lines(tmp_path, "job_details")[0]
        answer = await client.request("GET", f"/project/{SLUG}/job/{details['job_number']}")
        assert details["json"] == answer.json
    held = truth(world)
    assert {name: len(json_lines(tmp_path, name)) for name in held} == {name: len(rows) for name, rows in held.items()}


async def test_items_of_every_dataset_come_back_from_parquet(tmp_path: Path) -> None:
    datasets = [name for name in NAMES if name != "usage"]
    async with Simulator(World(pipelines=20), limits=generous()) as sim, client_of(sim) as client:
        report = await export(client, tmp_path, *datasets, raw=True, formats="parquet")
    for name in datasets:
        rows = pyarrow.dataset.dataset(tmp_path / name, format="parquet", partitioning="hive").to_table()
        assert rows.num_rows == report.totals[name] > 0


async def test_an_output_holds_rows_of_one_host_and_one_kind(tmp_path: Path) -> None:
    async with Simulator(World(pipelines=2), limits=generous()) as sim, client_of(sim) as client:
        await export(client, tmp_path, "pipelines")
        with pytest.raises(ConfigurationError, match="holds typed rows and cannot take raw ones"):
            await export(client, tmp_path, "pipelines", raw=True)
    async with Simulator(World(pipelines=2), limits=generous()) as other, client_of(other) as client:
        with pytest.raises(ConfigurationError, match="holds an export of http"):
            await export(client, tmp_path, "pipelines")


async def test_a_host_that_refused_everything_is_not_the_one_whose_rows_an_output_holds(tmp_path: Path) -> None:
    async with Simulator(World(pipelines=2), limits=generous()) as other, Client("wrong", host=other.url) as client:
        with pytest.raises(AuthenticationError):
            await export(client, tmp_path, "pipelines")
    async with Simulator(World(pipelines=2), limits=generous()) as sim, client_of(sim) as client:
        assert (await export(client, tmp_path, "pipelines")).totals["pipelines"] == 2


async def test_two_exports_to_one_output_at_once_are_refused(tmp_path: Path) -> None:
    async with (
        Simulator(World(pipelines=20), limits=generous(), latency=0.05) as sim,
        client_of(sim) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(export, client, tmp_path, "builds")
        while not sim.stats.requests["project.pipelines"]:
            await anyio.sleep(0.01)
        with pytest.raises(StoreError, match="another export writes to this output"):
            await export(client, tmp_path, "builds")
    assert len(json_lines(tmp_path, "pipelines")) == 20


async def test_what_is_in_the_place_of_the_state_is_named(tmp_path: Path) -> None:
    state = tmp_path / ".aiocircle" / "export.sqlite"
    state.parent.mkdir()
    state.write_text("this is no database, and long enough to be taken for one" * 10)
    async with Simulator(World(pipelines=2), limits=generous()) as sim, client_of(sim) as client:
        with pytest.raises(StoreError, match="not the state of an export"):
            await export(client, tmp_path, "pipelines")


async def test_a_state_that_was_damaged_is_named_with_what_to_do(tmp_path: Path) -> None:
    async with Simulator(World(pipelines=30), limits=generous()) as sim, client_of(sim) as client:
        await export(client, tmp_path, "builds")
        state = tmp_path / ".aiocircle" / "export.sqlite"
        state.write_bytes(state.read_bytes()[:8192] + b"\xff" * (state.stat().st_size - 8192))
        with pytest.raises(StoreError, match="the state of this export is damaged") as caught:
            await export(client, tmp_path, "builds")
    assert "-o" in (caught.value.hint or "")


async def test_cancelled_nothing_is_visible_and_the_next_run_goes_on(tmp_path: Path) -> None:
    world = World(pipelines=60)
    async with Simulator(world, limits=generous(), latency=0.01) as sim, client_of(sim) as client:
        with anyio.move_on_after(10) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(export, client, tmp_path, "builds")
                while sim.stats.requests["workflow.jobs"] < 20:
                    await anyio.sleep(0.005)
                group.cancel_scope.cancel()
        assert not scope.cancelled_caught
        assert visible(tmp_path) == set()
        await export(client, tmp_path, "builds")
    held = truth(world)
    for name in ("pipelines", "workflows", "jobs"):
        assert_holds(json_lines(tmp_path, name), name, held[name])


async def test_what_comes_after_a_run_that_could_not_write_everything_is_in_every_format(tmp_path: Path) -> None:
    world = World(pipelines=10)
    formats = ("jsonl", "sqlite", "parquet")
    async with Simulator(world, limits=generous(), speed=1e6) as sim, client_of(sim) as client:
        (tmp_path / "pipelines").write_text("in the way")
        with pytest.raises(StoreError, match="not a directory"):
            await export(client, tmp_path, "pipelines", formats=formats)
        assert len(json_lines(tmp_path, "pipelines")) == 10, "a format that was written before is there"
        (tmp_path / "pipelines").unlink()
        world.trigger(SLUG, branch="main")
        await export(client, tmp_path, "pipelines", formats=formats)
    assert len(json_lines(tmp_path, "pipelines")) == 11
    with closing(sqlite3.connect(tmp_path / "export.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM pipelines").fetchone() == (11,)
    assert pyarrow.dataset.dataset(tmp_path / "pipelines", partitioning="hive").count_rows() == 11


async def test_a_file_that_was_written_with_other_settings_is_written_again(tmp_path: Path) -> None:
    async with Simulator(World(pipelines=5), limits=generous()) as sim, client_of(sim) as client:
        file = tmp_path / "tests.csv"
        for for_spreadsheets in (False, True, False):
            await export(client, tmp_path, "tests", formats="csv", for_spreadsheets=for_spreadsheets)
            assert file.read_text().startswith("project,")
            file.write_text("by the run before")
        await export(client, tmp_path, "tests", formats="csv")
        assert file.read_text() == "by the run before", "what has nothing new is not written again"


async def test_an_export_keeps_to_the_rate_limit(tmp_path: Path) -> None:
    limits = KongLimits({"second": 50})
    async with Simulator(World(pipelines=40), limits=limits) as sim, client_of(sim) as client:
        report = await export(client, tmp_path, "builds")
        assert (report.refusals, sim.stats.limited) == (0, 0)
        assert report.waits > 0


async def test_a_run_happens_once(tmp_path: Path) -> None:
    async with Simulator(World(pipelines=1), limits=generous()) as sim, client_of(sim) as client:
        run = client.export.run(SLUG, "pipelines", to=tmp_path)
        await run
        with pytest.raises(ConfigurationError, match="happens once"):
            await run


async def test_names_of_datasets_that_there_are_not_are_refused_before_anything_is_asked() -> None:
    async with Simulator(World(pipelines=1), limits=generous()) as sim, client_of(sim) as client:
        with pytest.raises(ConfigurationError, match="'pipeline' is no dataset"):
            client.export.run(SLUG, ["pipeline"], to="out")
        with pytest.raises(ConfigurationError, match="no dataset is named"):
            client.export.run(SLUG, [], to="out")
        assert sim.stats.total == 0
