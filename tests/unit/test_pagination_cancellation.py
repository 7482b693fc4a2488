"""A reader that leaves early leaves no task."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fake_clock import settle
from listing_host import not_found, pages_of, table

from aiocircle.pagination import Paginator

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    await settle()
    assert asyncio.all_tasks() == before


async def test_a_break_stops_the_page_ahead() -> None:
    host = pages_of(5)

    async with no_task_is_left():
        async for _ in Paginator(host.fetch):
            host.gate = asyncio.Event()  # never set
            await settle()
            break

    assert host.asked == [None, "1"]
    assert host.under_way == 0


async def test_an_error_in_the_loop_is_not_replaced_by_that_of_the_page_ahead() -> None:
    host = table({None: ([1], "a"), "a": not_found()})

    async def read() -> None:
        async for _ in Paginator(host.fetch):
            await settle()  # the page ahead has failed by now, and nobody is going to ask for it
            raise KeyError

    async with no_task_is_left():
        with pytest.raises(KeyError):
            await read()
    assert host.asked == [None, "a"]


async def test_closing_the_pages_stops_the_page_ahead_at_once() -> None:
    host = pages_of(5)
    before = asyncio.all_tasks()
    pages = Paginator(host.fetch).pages()
    await anext(pages)
    host.gate = asyncio.Event()
    await settle()
    assert host.under_way == 1

    await pages.aclose()

    assert host.under_way == 0
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("steps", range(12))
async def test_cancellation_at_any_moment_leaves_no_task(steps: int) -> None:
    host = pages_of(5)

    async def read() -> None:
        async for _ in Paginator(host.fetch):
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    async with no_task_is_left():
        task = asyncio.ensure_future(read())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert host.under_way == 0


async def test_cancellation_reaches_a_page_that_does_not_come() -> None:
    host = pages_of(2)
    host.gate = asyncio.Event()

    async with no_task_is_left():
        task = asyncio.ensure_future(Paginator(host.fetch).collect())
        await settle()
        assert host.under_way == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert host.under_way == 0
