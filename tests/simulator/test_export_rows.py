"""``client.export``: rows as they come, typed, bounded, and without anything on the disk."""

import tracemalloc
from datetime import timedelta
from typing import Any

import anyio.to_thread
import pyarrow as pa
import pytest
from exports import FANNED_OUT, SLUG, assert_holds, client_of, generous, truth

from aiocircle import BlockingClient, Client
from aiocircle.errors import NotFoundError, PartialExportError
from aiocircle.events import Event, PageFetched, RowsCollected
from aiocircle.export.rows import JobRow
from aiocircle.export.sinks import open_sink
from aiocircle.testing import Simulator, World

pytestmark = pytest.mark.anyio


def as_mappings(rows: list[Any]) -> list[dict[str, Any]]:
    return [row._asdict() for row in rows]


async def test_rows_of_every_dataset_are_what_the_world_holds() -> None:
    world = World(pipelines=20)
    held = truth(world)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        for name in FANNED_OUT:
            rows = getattr(client.export, name)(SLUG)
            assert_holds(as_mappings(await rows.collect()), name, held[name])


async def test_rows_come_one_by_one_the_newest_first_and_only_of_the_part_that_is_wanted() -> None:
    world = World(pipelines=60)
    since = world.plan.newest - timedelta(hours=6)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        seen: list[JobRow] = [row async for row in client.export.jobs(SLUG, since=since, branch="main")]
    expected = [
        job.id
        for pipeline in world.pipelines(SLUG)
        if pipeline.branch == "main" and pipeline.created_at >= since
        for workflow in pipeline.workflows
        for job in workflow.jobs
    ]
    assert [row.id for row in seen] == expected
    assert all(row.branch == "main" for row in seen)


async def test_who_stops_early_stops_the_listings(tmp_path: Any) -> None:
    async with Simulator(World(pipelines=2000), limits=generous()) as sim, client_of(sim) as client:
        rows = await client.export.jobs(SLUG).collect(limit=5)
        assert len(rows) == 5
        assert sim.stats.total < 400, "what the fan-out is ahead by, and no more"


async def test_a_listing_that_fails_is_told_at_the_end_and_the_others_come() -> None:
    world = World(pipelines=10)
    broken = next(run for one in world.pipelines(SLUG) for run in one.workflows)
    seen: list[JobRow] = []

    async def take(client: Client) -> None:
        async for row in client.export.jobs(SLUG):
            seen.append(row)  # noqa: PERF401 -- what came before the error shall be there

    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        sim.faults.add("500", match=f"/workflow/{broken.id}/job", place="api")
        with pytest.raises(PartialExportError, match="1 listing failed, the first with: jobs of workflow"):
            await take(client)
    assert len(seen) == len(truth(world)["jobs"]) - len(broken.jobs)


async def test_a_project_that_there_is_not() -> None:
    async with Simulator(World(pipelines=1)) as sim, client_of(sim) as client:
        with pytest.raises(NotFoundError):
            await client.export.pipelines("gh/acme/nothing").collect()


async def test_arrow_batches_have_the_rows_with_their_types() -> None:
    world = World(pipelines=8)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        batches = [batch async for batch in client.export.jobs(SLUG).arrow()]
    table = pa.Table.from_batches(batches)
    assert_holds(table.to_pylist(), "jobs", truth(world)["jobs"])
    assert table.schema.field("dependencies").type == pa.list_(pa.string())
    assert str(table.schema.field("started_at").type) == "timestamp[us, tz=UTC]"


async def test_rows_go_to_a_sink_of_ones_own(tmp_path: Any) -> None:
    world = World(pipelines=5)
    async with Simulator(world, limits=generous()) as sim, client_of(sim) as client:
        rows = client.export.tests(SLUG)
        pages = [page.items async for page in rows.pages()]

    def write() -> None:
        with open_sink("jsonl", tmp_path) as sink:
            sink.begin(rows.table)
            for page in pages:
                sink.write(page)

    await anyio.to_thread.run_sync(write)
    assert (tmp_path / "tests.jsonl").read_text().count("\n") == len(truth(world)["tests"])


async def test_progress_is_told_by_events(tmp_path: Any) -> None:
    events: list[Event] = []
    world = World(pipelines=5)
    async with Simulator(world, limits=generous()) as sim, client_of(sim, on_event=events.append) as client:
        report = await client.export.run(SLUG, "builds", to=tmp_path)
    told = {one.dataset: one.total for one in events if isinstance(one, RowsCollected)}
    assert told == report.rows
    assert any(isinstance(one, PageFetched) for one in events)


async def test_many_rows_take_no_more_memory_than_few(tmp_path: Any) -> None:
    world = World(pipelines=0)
    for _ in range(60):
        world.add_job(SLUG, tests=1000)
    async with Simulator(world, page_size=250, limits=generous()) as sim, client_of(sim) as client:
        count, peak = 0, 0
        tracemalloc.start()
        try:
            async for _ in client.export.tests(SLUG):
                count += 1
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert count == 60_000
    assert peak < 40 * 1024 * 1024, "all of them are some 90 MiB, the simulator's included"


def test_synchronous_code_has_rows_as_well(circleci: Simulator) -> None:
    with BlockingClient(circleci.token, host=circleci.url) as client:
        rows = client.export.pipelines(SLUG)
        assert [row.number for row in rows] == [one.number for one in circleci.world.pipelines(SLUG)]
