"""The output of an export: of one host and one kind, one writer at a time, whole or as it was before."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio.to_thread
import pyarrow.dataset
import pytest
from exports import SLUG, assert_holds, client_of, export, generous, json_lines, truth, visible

from aiocircle import Client
from aiocircle.errors import AuthenticationError, ConfigurationError, StoreError
from aiocircle.export.datasets import NAMES
from aiocircle.testing import Simulator, World
from aiocircle.testing.kong import KongLimits

pytestmark = pytest.mark.anyio


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
