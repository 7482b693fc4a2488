"""Exports cancelled at any await: no task, thread or open file stays, and the next run completes what was begun."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from cancelling import Ticks, by_scope, by_task, by_task_again_and_again, by_timeout, open_files
from exports import FANNED_OUT, SLUG, assert_holds, client_of, generous, json_lines, truth

from aiocircle import Client, ExportOptions
from aiocircle.testing import Simulator, World
from aiocircle.testing.pytest_plugin import CircleciFactory

pytestmark = pytest.mark.anyio

Way = Callable[[Callable[[], Awaitable[object]], int], Awaitable[bool]]


@pytest.fixture
def simulator(circleci_factory: CircleciFactory) -> Simulator:
    """In a thread of its own: every task of this loop is ours."""
    return circleci_factory(World(pipelines=4, artifacts=2), limits=generous())


def moments(count: int) -> list[int]:
    """Return turns of the loop to cancel at: all of the first, and then some up to where the end is likely to be."""
    return [*range(1, 16), *range(16, count, max(1, count // 10))]


async def turns(work: Callable[[], Awaitable[object]]) -> int:
    ticks = Ticks(0, lambda: None)
    await work()
    ticks.stop()
    return ticks.count


async def whole(client: Client, out: Path) -> None:
    options = ExportOptions(formats=("jsonl", "sqlite"))
    await client.export.run(SLUG, [*FANNED_OUT, "insights", "contexts"], to=out, options=options)


async def rows(client: Client) -> int:
    return len(await client.export.tests(SLUG).collect())


@pytest.mark.parametrize("cancelled", [by_task, by_task_again_and_again, by_scope, by_timeout])
async def test_an_export_that_is_cancelled_leaves_nothing_open_and_the_next_one_completes_it(
    simulator: Simulator, tmp_path: Path, cancelled: Way
) -> None:
    async with client_of(simulator) as client:
        await rows(client)
        before = asyncio.all_tasks()
        met: list[Path] = []
        for at in moments(await turns(lambda: whole(client, tmp_path / "whole"))):
            out = tmp_path / str(at)
            if await cancelled(lambda out=out: whole(client, out), at):  # type: ignore[misc]
                met.append(out)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == before, at
            assert open_files(tmp_path) == [], at
        assert len(met) > 15, "most of the moments should have been before the end"
        for out in met[::8]:
            await whole(client, out)
            for name, held in truth(simulator.world).items():
                assert_holds(json_lines(out, name), name, held)
    with anyio.fail_after(10):
        while any(one.name.startswith("aiocircle-export") for one in threading.enumerate()):
            await anyio.sleep(0.005)


@pytest.mark.parametrize("cancelled", [by_task, by_scope])
async def test_rows_that_are_cancelled_leave_no_task(simulator: Simulator, cancelled: Way) -> None:
    async with client_of(simulator) as client:
        count = await rows(client)
        before = asyncio.all_tasks()
        for at in moments(await turns(lambda: rows(client))):
            await cancelled(lambda: rows(client), at)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == before, at
        assert await rows(client) == count
