"""Listings whose host does everything that hosts have been seen to do (quirks, section 2; operations)."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager

import pytest
from attrs import define, field
from fake_clock import settle
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.api import Workflow
from aiocircle.errors import NotFoundError, PaginationError, ServerError
from aiocircle.pagination import EMPTY_PAGES, REMEMBERED_ITEMS, STALE_PAGES, Page, Paginator

pytestmark = pytest.mark.anyio

Answered = tuple[Sequence[int], str | None]


@define
class Host:
    """Answers from a table of pages, and counts."""

    answer: Callable[[str | None], Answered | Exception]
    asked: list[str | None] = field(factory=list)
    under_way: int = 0
    most_under_way: int = 0
    gate: asyncio.Event | None = None

    async def fetch(self, token: str | None) -> Answered:
        self.asked.append(token)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await (self.gate.wait() if self.gate else asyncio.sleep(0))
        finally:
            self.under_way -= 1
        answer = self.answer(token)
        if isinstance(answer, Exception):
            raise answer
        return answer


def table(pages: dict[str | None, Answered | Exception]) -> Host:
    return Host(lambda token: pages[token])


def pages_of(count: int, size: int = 2) -> Host:
    """So many pages of consecutive numbers, tokens "1", "2" ..."""

    def answer(token: str | None) -> Answered:
        number = int(token or 0)
        items = range(number * size, number * size + size)
        return items, str(number + 1) if number + 1 < count else None

    return Host(answer)


def endless(items: Callable[[int], Sequence[int]]) -> Host:
    """Pages without end, each with a token of its own."""

    def answer(token: str | None) -> Answered:
        number = int(token or 0)
        return items(number), str(number + 1)

    return Host(answer)


def same(item: int) -> Hashable:
    return item


KEYS: list[Callable[[int], Hashable] | None] = [None, same]
with_and_without_keys = pytest.mark.parametrize("key", KEYS, ids=["without-keys", "with-keys"])


def not_found() -> NotFoundError:
    return NotFoundError(404, "list", "Not Found")


async def iterated(paginator: Paginator[int]) -> tuple[list[int], PaginationError | None]:
    """Return what iteration hands out, and the error it ends with."""
    items: list[int] = []
    error: PaginationError | None = None
    try:
        async for item in paginator:
            items += [item]
    except PaginationError as caught:
        error = caught
    return items, error


async def collected(paginator: Paginator[int]) -> tuple[list[int], PaginationError | None]:
    """The same with ``collect``, whose error carries the items."""
    try:
        return await paginator.collect(), None
    except PaginationError as error:
        return error.items, error


READERS = [iterated, collected]
Reader = Callable[[Paginator[int]], Awaitable[tuple[list[int], PaginationError | None]]]
both_ways = pytest.mark.parametrize("read", READERS)


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


# --- circles ---------------------------------------------------------------------------------------------------------


@both_ways
@with_and_without_keys
async def test_a_page_that_names_itself_as_the_next_is_handed_out_and_then_an_error(
    read: Reader, key: Callable[[int], Hashable] | None
) -> None:
    host = table({None: ([1, 2], "a"), "a": ([3, 4], "a")})

    items, error = await read(Paginator(host.fetch, key=key, what="list jobs"))

    assert items == [1, 2, 3, 4]
    assert error is not None
    assert "list jobs: the host gave the same page token twice" in str(error)
    assert error.page_token == "a"
    assert error.hint
    assert host.asked == [None, "a"]


async def test_a_token_that_is_ignored_ends_in_an_error_after_the_second_request() -> None:
    host = Host(lambda _: ([1, 2], "dGhlIGxhc3QgbmFtZQ=="))

    items, error = await iterated(Paginator(host.fetch, key=same))

    assert items == [1, 2]
    assert error is not None
    assert len(host.asked) == 2


@both_ways
@with_and_without_keys
async def test_tokens_that_go_in_a_circle_end_in_an_error_after_every_page_was_handed_out(
    read: Reader, key: Callable[[int], Hashable] | None
) -> None:
    host = table({None: ([1], "a"), "a": ([2], "b"), "b": ([3], "a")})

    items, error = await read(Paginator(host.fetch, key=key))

    assert items == [1, 2, 3]
    assert error is not None
    assert error.page_token == "a"
    assert host.asked == [None, "a", "b"]


async def test_the_token_to_begin_at_counts_as_seen() -> None:
    host = table({"a": ([1], "b"), "b": ([2], "a")})

    items, error = await iterated(Paginator(host.fetch, page_token="a"))

    assert items == [1, 2]
    assert error is not None
    assert host.asked == ["a", "b"]


@both_ways
async def test_the_same_page_for_ever_with_new_tokens_ends_in_an_error_with_its_items_once(read: Reader) -> None:
    host = endless(lambda _: [1, 2])

    items, error = await read(Paginator(host.fetch, key=same))

    assert items == [1, 2]
    assert error is not None
    assert "nothing new" in str(error)
    assert len(host.asked) == 1 + STALE_PAGES


@both_ways
async def test_the_same_page_for_ever_is_noticed_without_item_keys_too(read: Reader) -> None:
    host = endless(lambda _: [1, 2])

    items, error = await read(Paginator(host.fetch))

    assert items == [1, 2] * (1 + STALE_PAGES)
    assert error is not None
    assert len(host.asked) == 1 + STALE_PAGES


@with_and_without_keys
async def test_pages_that_come_round_again_with_new_tokens_end_in_an_error(
    key: Callable[[int], Hashable] | None,
) -> None:
    host = endless(lambda number: [number % 4])

    items, error = await iterated(Paginator(host.fetch, key=key))

    assert items[:4] == [0, 1, 2, 3]
    assert error is not None
    assert len(host.asked) == 4 + STALE_PAGES


async def test_items_without_identity_do_not_hide_that_a_page_repeats() -> None:
    host = endless(lambda _: [1, 2])

    _, error = await iterated(Paginator(host.fetch, key=lambda _: None))

    assert error is not None
    assert len(host.asked) == 1 + STALE_PAGES


async def test_items_without_identity_are_all_handed_out() -> None:
    workflows = [Workflow(name=name) for name in ("a", "b", "a")]

    async def fetch(token: str | None) -> tuple[Sequence[Workflow], str | None]:
        return workflows, {None: "t", "t": None}[token]

    assert await Paginator(fetch, key=lambda item: item.id).collect() == workflows * 2


@both_ways
@with_and_without_keys
async def test_empty_pages_without_end_end_in_an_error(read: Reader, key: Callable[[int], Hashable] | None) -> None:
    host = endless(lambda number: [] if number else [1])

    items, error = await read(Paginator(host.fetch, key=key))

    assert items == [1]
    assert error is not None
    assert "empty pages in a row" in str(error)
    assert len(host.asked) == 1 + EMPTY_PAGES + 1


@with_and_without_keys
async def test_a_filter_that_leaves_most_pages_empty_is_followed_to_its_end(
    key: Callable[[int], Hashable] | None,
) -> None:
    last = 10 * EMPTY_PAGES

    def answer(token: str | None) -> Answered:
        number = int(token or 0)
        return [number] if number % EMPTY_PAGES == 0 else [], str(number + 1) if number < last else None

    assert await Paginator(Host(answer).fetch, key=key).collect() == list(range(0, last + 1, EMPTY_PAGES))


# --- pages that shift ------------------------------------------------------------------------------------------------


async def test_items_that_come_again_because_pages_shift_are_handed_out_once() -> None:
    host = table({None: ([9, 8, 7], "a"), "a": ([8, 7, 6], "b"), "b": ([6, 5], None)})

    assert await Paginator(host.fetch, key=same).collect() == [9, 8, 7, 6, 5]


async def test_an_item_that_comes_twice_on_one_page_is_handed_out_once() -> None:
    host = table({None: ([1, 1, 2, 2], None)})

    assert await Paginator(host.fetch, key=same).collect() == [1, 2]


async def test_a_whole_page_may_shift_without_ending_the_listing() -> None:
    host = table({None: ([3, 2], "a"), "a": ([3, 2], "b"), "b": ([3, 2], "c"), "c": ([1], None)})

    assert await Paginator(host.fetch, key=same).collect() == [3, 2, 1]


async def test_the_last_page_may_hold_nothing_new() -> None:
    host = table({None: ([1], "a"), "a": ([1], "b"), "b": ([1], "c"), "c": ([1], None)})

    assert await Paginator(host.fetch, key=same).collect() == [1]


@given(new=st.lists(st.integers(0, 2), min_size=0, max_size=12), count=st.integers(0, 20))
def test_however_many_items_come_while_reading_the_old_ones_are_handed_out_once_and_in_order(
    new: list[int], count: int
) -> None:
    newest_first = list(range(count))[::-1]
    arriving = iter(new)

    def answer(token: str | None) -> Answered:
        offset = int((token or "0:").partition(":")[0])
        page = newest_first[offset : offset + 3]
        nonce = len(newest_first)
        more = f"{offset + 3}:{nonce}" if offset + 3 < len(newest_first) else None
        newest_first[:0] = range(nonce, nonce + next(arriving, 0))[::-1]
        return page, more

    items = asyncio.run(Paginator(Host(answer).fetch, key=same).collect())

    assert [item for item in items if item < count] == list(range(count))[::-1]
    assert len(items) == len(set(items))


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


# --- leaving early ---------------------------------------------------------------------------------------------------


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
