"""Datasets that the fan-out does not find: every item of the host's becomes a row, and stands beside it as it came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from raw_host import TOKEN, opened
from sim_client import api, list_all

from aiocircle.crawl.fanout import ListingFailed, Skipped
from aiocircle.errors import AuthenticationError, NotFoundError, ServerError
from aiocircle.export.sources import SOURCES, Question
from aiocircle.export.tables import TABLES
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug
from aiocircle.testing import Simulator, World
from aiocircle.testing.world import APP_SLUG

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
INSIGHTS = f"/insights/{SLUG}/workflows"
NAME = "build-and-test"


@asynccontextmanager
async def session_of(world: World | None = None, **options: Any) -> AsyncIterator[tuple[Simulator, Session]]:
    async with (
        Simulator(world or World(pipelines=40), token=TOKEN, page_size=7, **options) as sim,
        opened(sim.url) as seen,
    ):
        yield sim, seen.session


async def listed(name: str, session: Session, slug: str = SLUG, **asked: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the rows, the items, and what could not be listed."""
    rows: list[Any] = []
    items: list[Any] = []
    missing: list[Any] = []
    async with aclosing(SOURCES[name](Question(session=session, slug=ProjectSlug.parse(slug), **asked))) as pages:
        async for page in pages:
            if isinstance(page, Skipped | ListingFailed):
                missing.append(page)
                continue
            rows += [row for row, _ in page]
            items += [item for _, item in page]
    return rows, items, missing


async def items_of(sim: Simulator, path: str) -> list[Any]:
    return await asyncio.to_thread(list_all, sim, path)


async def answer_of(sim: Simulator, path: str) -> Any:
    return (await asyncio.to_thread(api, sim, path)).json()


def queries(sim: Simulator, ending: str) -> list[dict[str, str]]:
    asked = (urlsplit(one.path) for one in sim.requests)
    return [dict(parse_qsl(address.query)) for address in asked if address.path.endswith(ending)]


async def test_every_item_becomes_a_row_and_is_kept_as_it_came() -> None:
    async with session_of() as (sim, session):
        found = {name: await listed(name, session) for name in SOURCES}
        everywhere = {
            "insights_workflows": await items_of(sim, f"{INSIGHTS}?all-branches=true"),
            "insights_runs": await items_of(sim, f"{INSIGHTS}/{NAME}?all-branches=true"),
            "insights_jobs": await items_of(sim, f"{INSIGHTS}/{NAME}/jobs?all-branches=true"),
            "insights_timeseries": await items_of(sim, f"/insights/time-series/{SLUG}/workflows/{NAME}/jobs"),
            "flaky_tests": next(iter((await answer_of(sim, f"/insights/{SLUG}/flaky-tests")).values())),
            "insights_summary": [await answer_of(sim, f"{INSIGHTS}/{NAME}/summary")],
            "schedules": await items_of(sim, f"/project/{SLUG}/schedule"),
            "contexts": await items_of(sim, "/context?owner-slug=gh/acme"),
        }
    for name, (rows, items, missing) in found.items():
        assert items == everywhere[name], name
        assert len(rows) == len(items) > 0, name
        assert missing == []
        assert {type(row) for row in rows} == {TABLES[name].row}
        keys = [tuple(getattr(row, column) for column in TABLES[name].key) for row in rows]
        assert len(set(keys)) == len(keys), name
        assert all(part is not None for key in keys for part in key), name


async def test_runs_are_those_of_the_world_and_of_the_time_that_is_asked_for() -> None:
    since, until = datetime(2026, 11, 1, 12, tzinfo=UTC), datetime(2026, 11, 2, 3, tzinfo=UTC)
    async with session_of() as (sim, session):
        rows, _, _ = await listed("insights_runs", session, since=since, until=until)
        asked = queries(sim, f"/workflows/{NAME}")[-1]
        world = [
            (workflow.id, workflow.created_at, pipeline.branch)
            for pipeline in sim.world.pipelines(SLUG)
            for workflow in pipeline.workflows
            if since <= workflow.created_at <= until
        ]
    assert [(row.id, row.created_at) for row in rows] == [(identifier, at) for identifier, at, _ in world]
    assert asked["all-branches"] == "true"
    assert {asked["start-date"], asked["end-date"]} == {"2026-11-01T12:00:00Z", "2026-11-02T03:00:00Z"}


async def test_a_branch_is_named_to_the_host_and_in_the_rows() -> None:
    async with session_of() as (sim, session):
        rows, _, _ = await listed("insights_runs", session, branch="release/1.x")
        jobs, _, _ = await listed("insights_jobs", session, branch="release/1.x", reporting_window="last-30-days")
        asked = queries(sim, "/jobs")[-1]
    assert {row.branch for row in rows} == {"release/1.x"}
    assert {(row.branch, row.reporting_window) for row in jobs} == {("release/1.x", "last-30-days")}
    assert (asked["branch"], asked["reporting-window"], asked.get("all-branches")) == (
        "release/1.x",
        "last-30-days",
        None,
    )


@pytest.mark.parametrize("name", ["insights_runs", "insights_timeseries"])
async def test_a_time_longer_than_is_kept_is_cut_and_one_that_is_over_asks_nothing(name: str) -> None:
    async with session_of() as (sim, session):
        rows, _, missing = await listed(name, session, since=datetime(2020, 1, 1, tzinfo=UTC))
        asked = [query for query in queries(sim, "") if "start-date" in query]
        spans = {
            datetime.fromisoformat(query["end-date"]) - datetime.fromisoformat(query["start-date"]) for query in asked
        }
        before = len(sim.requests)
        over, _, _ = await listed(name, session, until=datetime(2020, 1, 1, tzinfo=UTC))
        assert len(sim.requests) == before
    assert rows
    assert missing == over == []
    assert spans == {timedelta(days=90)}


async def test_projects_that_are_no_repositories_have_contexts_and_may_have_no_schedules() -> None:
    async with session_of() as (sim, session):
        rows, _, _ = await listed("contexts", session, APP_SLUG)
        assert {row.organization for row in rows} == {APP_SLUG.rpartition("/")[0]}
        assert queries(sim, "/context")[-1].keys() == {"owner-id"}
        sim.faults.add("bad-request", times=1, match="/schedule")
        schedules, _, missing = await listed("schedules", session, APP_SLUG)
        assert schedules == []
        assert [type(one) for one in missing] == [Skipped]
        with pytest.raises(NotFoundError):
            await listed("schedules", session, "gh/acme/unknown")


async def test_a_workflow_that_fails_is_told_and_the_others_count() -> None:
    world = World(pipelines=0)
    for name in ("a", "b", "c"):
        world.add_job(SLUG, workflow=name)
    async with session_of(world) as (sim, session):
        sim.faults.add("500", match="/workflows/b")
        rows, _, missing = await listed("insights_runs", session)
        order, _, _ = await listed("insights_workflows", session)
    assert [row.workflow_name for row in rows] == [row.workflow_name for row in order if row.workflow_name != "b"]
    assert [(one.what, type(one.error)) for one in missing] == [("runs of workflow b", ServerError)]


async def test_names_of_workflows_are_asked_for_once_for_all_datasets_of_a_project() -> None:
    async with session_of() as (sim, session):
        question = Question(session=session, slug=ProjectSlug.parse(SLUG))
        for name in ("insights_runs", "insights_summary", "insights_timeseries"):
            async with aclosing(SOURCES[name](question)) as pages:
                async for _ in pages:
                    pass
        assert sim.stats.requests["insights.workflows"] == 1


async def test_a_token_that_is_not_good_any_more_ends_it() -> None:
    async with session_of(faults=["token-revoked:9+2"]) as (_, session):
        with pytest.raises(AuthenticationError):
            await listed("insights_runs", session)
