"""A host of pages as tests of the paginator have it, and the ways to read it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence

import pytest
from attrs import define, field

from aiocircle.errors import NotFoundError, PaginationError
from aiocircle.pagination import Paginator

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
