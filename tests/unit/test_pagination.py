"""A listing is read to its end, from any token, one page ahead."""

import asyncio
import sys
from collections.abc import Callable, Hashable

import pytest
from fake_clock import settle
from listing_host import Answered, Reader, both_ways, collected, not_found, pages_of, same, table, with_and_without_keys

from aiocircle.errors import NotFoundError, PaginationError, ServerError
from aiocircle.pagination import REMEMBERED_ITEMS, Page, Paginator

pytestmark = pytest.mark.anyio


# --- the end ---------------------------------------------------------------------------------------------------------


@both_ways
@with_and_without_keys
@pytest.mark.parametrize("end", [None, ""], ids=["null", "empty-text"])
async def test_null_and_an_empty_text_are_the_end(
    read: Reader, key: Callable[[int], Hashable] | None, end: str | None
) -> None:
    host = table({None: ([1, 2], "a"), "a": ([3], end)})

    assert await read(Paginator(host.fetch, key=key)) == ([1, 2, 3], None)
    assert host.asked == [None, "a"]


async def test_an_empty_listing_has_one_page_and_no_items() -> None:
    host = table({None: ([], None)})

    assert [page async for page in Paginator(host.fetch).pages()] == [Page([], None, 1)]
    assert await Paginator(host.fetch).collect() == []
    assert await Paginator(host.fetch).first() is None


async def test_an_empty_page_in_the_middle_is_not_the_end() -> None:
    host = table({None: ([1], "a"), "a": ([], "b"), "b": ([2], None)})

    assert await Paginator(host.fetch).collect() == [1, 2]


async def test_an_empty_text_as_the_place_to_begin_is_the_first_page() -> None:
    host = pages_of(1)

    await Paginator(host.fetch, page_token="").collect()

    assert host.asked == [None]


# --- a token that leads nowhere --------------------------------------------------------------------------------------


@both_ways
async def test_a_token_that_answers_404_keeps_what_came_before_and_names_the_token(read: Reader) -> None:
    host = table({None: ([1, 2], "a"), "a": ([3], "lost"), "lost": not_found()})

    items, error = await read(Paginator(host.fetch, key=same, what="list pipelines"))

    assert items == [1, 2, 3]
    assert error is not None
    assert error.page_token == "lost"
    assert "list pipelines" in str(error)
    assert "404" in str(error)


async def test_reading_goes_on_from_the_token_that_an_error_names() -> None:
    answers: dict[str | None, Answered | Exception] = {None: ([1], "a"), "a": not_found(), "b": ([3], None)}
    host = table(answers)
    items, error = await collected(Paginator(host.fetch))
    assert error is not None

    answers["a"] = ([2], "b")
    items += await Paginator(host.fetch, page_token=error.page_token).collect()

    assert items == [1, 2, 3]


async def test_a_listing_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        await Paginator(table({None: not_found()}).fetch).collect()


async def test_a_token_to_resume_from_that_answers_404_is_named() -> None:
    with pytest.raises(PaginationError) as caught:
        await Paginator(table({"old": not_found()}).fetch, page_token="old").collect()

    assert caught.value.page_token == "old"
    assert caught.value.items == []


async def test_other_errors_are_handed_on_as_they_are() -> None:
    host = table({None: ([1], "a"), "a": ServerError(500, "list", "Internal server error.")})
    pages = Paginator(host.fetch).pages()

    assert (await anext(pages)).items == [1]
    with pytest.raises(ServerError):
        await anext(pages)


async def test_a_page_says_where_to_resume_so_that_reading_can_stop_and_go_on_later() -> None:
    host = pages_of(4)
    first = [page async for page in Paginator(host.fetch).pages() if page.number <= 2]

    rest = await Paginator(host.fetch, page_token=first[-1].next_page_token).collect()

    assert [item for page in first for item in page.items] + rest == list(range(8))


# --- one page ahead --------------------------------------------------------------------------------------------------


async def test_the_next_page_is_fetched_while_the_items_of_one_are_used_and_no_other() -> None:
    host = pages_of(5)
    seen = []

    async for item in Paginator(host.fetch):
        await settle()
        seen.append((item, len(host.asked)))

    assert seen == [(item, min(5, item // 2 + 2)) for item in range(10)]
    assert host.most_under_way == 1


async def test_errors_of_the_page_ahead_come_after_the_items_before_it() -> None:
    host = table({None: ([1, 2], "a"), "a": not_found()})
    items = aiter(Paginator(host.fetch))

    assert await anext(items) == 1
    await settle()
    assert host.asked == [None, "a"]
    assert await anext(items) == 2
    with pytest.raises(PaginationError):
        await anext(items)


async def test_first_asks_for_one_page() -> None:
    host = pages_of(5)

    assert await Paginator(host.fetch).first() == 0
    await settle()
    assert host.asked == [None]


async def test_first_asks_for_more_pages_only_while_they_are_empty() -> None:
    host = table({None: ([], "a"), "a": ([], "b"), "b": ([7, 8], "c")})

    assert await Paginator(host.fetch).first() == 7
    await settle()
    assert host.asked == [None, "a", "b"]


@pytest.mark.parametrize(
    ("limit", "pages"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (10, 5), (11, 5), (0, 0), (-1, 0)]
)
async def test_collect_asks_for_no_more_pages_than_its_limit_needs(limit: int, pages: int) -> None:
    host = pages_of(5)

    assert await Paginator(host.fetch).collect(limit=limit) == list(range(10))[: max(0, limit)]
    await settle()
    assert len(host.asked) == pages


async def test_a_limit_reached_before_the_trouble_raises_nothing() -> None:
    host = table({None: ([1, 2], "a"), "a": ([3, 4], "a")})

    assert await Paginator(host.fetch).collect(limit=4) == [1, 2, 3, 4]
    with pytest.raises(PaginationError) as caught:
        await Paginator(host.fetch).collect(limit=5)
    assert caught.value.items == [1, 2, 3, 4]


async def test_nothing_is_asked_for_before_iteration() -> None:
    host = pages_of(2)

    Paginator(host.fetch)
    Paginator(host.fetch).pages()
    await settle()

    assert host.asked == []


# --- shape -----------------------------------------------------------------------------------------------------------


async def test_a_paginator_is_used_as_often_as_wanted_and_begins_anew() -> None:
    host = pages_of(3)
    paginator = Paginator(host.fetch, key=same)

    assert await paginator.first() == 0
    assert [item async for item in paginator] == list(range(6))
    assert await paginator.collect() == list(range(6))
    both = await asyncio.gather(paginator.collect(), paginator.collect(3))
    assert list(both) == [list(range(6)), [0, 1, 2]]


@pytest.mark.parametrize("ahead", [True, False])
async def test_pages_have_items_a_token_and_a_number(ahead: bool) -> None:
    pages = [page async for page in Paginator(pages_of(3).fetch).pages(ahead=ahead)]

    assert [(list(page.items), page.next_page_token, page.number) for page in pages] == [
        ([0, 1], "1", 1),
        ([2, 3], "2", 2),
        ([4, 5], None, 3),
    ]


async def test_every_reading_counts_its_pages_from_one() -> None:
    told: list[tuple[int, int]] = []
    paginator = Paginator(pages_of(2).fetch, on_page=lambda number, items: told.append((number, items)))

    await paginator.collect()
    await paginator.collect()

    assert told == [(1, 2), (2, 2)] * 2


@with_and_without_keys
async def test_a_million_items_need_no_more_memory_than_a_few_thousand(key: Callable[[int], Hashable] | None) -> None:
    host = pages_of(100, size=10_000)
    count = 0
    blocks = []

    async for page in Paginator(host.fetch, key=key).pages():
        count += len(page.items)
        blocks.append(sys.getallocatedblocks())

    assert count == 1_000_000
    assert max(blocks) < blocks[4] + REMEMBERED_ITEMS
