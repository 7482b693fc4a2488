"""Listings that go in circles, repeat themselves or shift are survived, and end."""

import asyncio
from collections.abc import Callable, Hashable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listing_host import Answered, Host, Reader, both_ways, collected, iterated, same, table, with_and_without_keys

from aiocircle.api import Workflow
from aiocircle.pagination import EMPTY_PAGES, STALE_PAGES, Paginator

pytestmark = pytest.mark.anyio


def endless(items: Callable[[int], Sequence[int]]) -> Host:
    """Pages without end, each with a token of its own."""

    def answer(token: str | None) -> Answered:
        number = int(token or 0)
        return items(number), str(number + 1)

    return Host(answer)


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

    assert items == [1, 2], "a page that came before is handed out once"
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


async def test_of_items_that_nothing_identifies_a_page_that_repeats_is_handed_out_once() -> None:
    pages: dict[str | None, Answered | Exception] = {None: ([1, 1, 2], "a"), "a": ([1, 1, 2], "b"), "b": ([1], None)}
    items, error = await collected(Paginator(table(pages).fetch))
    assert (items, error) == ([1, 1, 2, 1], None)


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
