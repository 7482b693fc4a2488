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
import pytest
from exports import (
    APP,
    FANNED_OUT,
    NO_LOOK_BACK,
    SLUG,
    assert_holds,
    client_of,
    export,
    gaps,
    generous,
    json_lines,
    truth,
)

from aiocircle import Client
from aiocircle.testing import Simulator, World

pytestmark = pytest.mark.anyio


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
