"""Following ``next_page_token``, whatever the host makes of it.

A listing is a chain of pages. What has been seen in the wild (quirks, section 2; operations, pagination classes), and
what comes of it:

* no ``next_page_token`` key, ``null`` or ``""``: the end;
* a token that came before (the parameter is ignored, or tokens go in a circle): an error;
* new tokens, but nothing new on page after page, or empty pages without end: an error;
* a token that answers 404: an error; what came before has been handed out, and the error names the token;
* items repeated because new ones pushed the pages on while reading: handed out once; of a listing whose items
  nothing identifies, as results of tests, a page that came before to the last character.

While the items of a page are used, the next page is on its way. One page ahead, no more: budget is not spent on
what nobody asked for, and memory stays at two pages.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import aclosing
from typing import Generic, TypeVar

from attrs import frozen

from aiocircle.endings import undone
from aiocircle.errors import APIError, NotFoundError, PaginationError

T = TypeVar("T")

EMPTY_PAGES = 50  # in a row, each with a new token, before a listing counts as endless
STALE_PAGES = 3  # in a row with nothing on them that had not come before; as many items may have come while reading
REMEMBERED_ITEMS = 10_000  # keys kept to drop repetitions; pages shift by the few items that came while reading


@frozen
class Page(Generic[T]):
    """One page of a listing.

    Attributes:
        items: In the host's order; repetitions of earlier items are left out.
        next_page_token: Where the next page is, or ``None`` at the end. Give it to the list call to resume there.
        number: Counted from 1.
    """

    items: Sequence[T]
    next_page_token: str | None
    number: int


class Paginator(Generic[T]):
    """A listing, to be iterated over as often as wanted; each iteration begins anew.

    ``async for item in paginator`` gives items, ``pages()`` gives pages, ``first()`` and ``collect()`` ask for no page
    more than they need.

    Args:
        fetch: Returns the items and the next token of the page at a token (``None``: the first).
        key: What identifies an item, to drop repetitions; it, or what it returns, is ``None`` when nothing does.
        page_token: Where to begin.
        what: The listing's name, for error messages.
        on_page: Called with the number of each page that arrives, and the number of items on it.
    """

    def __init__(
        self,
        fetch: Callable[[str | None], Awaitable[tuple[Sequence[T], str | None]]],
        *,
        key: Callable[[T], Hashable] | None = None,
        page_token: str | None = None,
        what: str = "listing",
        on_page: Callable[[int, int], None] | None = None,
    ) -> None:
        self._fetch = fetch
        self._key = key
        self._start = page_token or None
        self._what = what
        self._on_page = on_page

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield the items of all pages."""
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                for item in page.items:
                    yield item

    async def pages(self, *, ahead: bool = True) -> AsyncGenerator[Page[T], None]:
        """Yield the pages, with the next one being fetched meanwhile unless ``ahead`` is false.

        A page is handed out before the chain that it continues is judged: its items are good, wherever it leads.

        Raises:
            PaginationError: The chain of pages does not lead to an end.
        """
        guard = _Guard(self._key, self._start, self._what)
        token, number = self._start, 1
        coming = asyncio.ensure_future(self._get(token, number))
        try:
            while True:
                items, token = await coming
                page = Page(guard.admit(items), token, number)
                number += 1
                stuck = None if token is None else guard.judge(token)
                goes_on = token is not None and stuck is None
                if goes_on and ahead:
                    coming = asyncio.ensure_future(self._get(token, number))
                yield page
                if stuck is not None:
                    raise stuck
                if not goes_on:
                    return
                if not ahead:
                    coming = asyncio.ensure_future(self._get(token, number))
        finally:
            await undone(coming)

    async def first(self) -> T | None:
        """Return the first item, or ``None`` when there is none; asks for no more pages than needed."""
        items = await self.collect(limit=1)
        return items[0] if items else None

    async def collect(self, limit: int | None = None) -> list[T]:
        """Return all items, or the first ``limit``, in a list; asks for no more pages than needed.

        Raises:
            PaginationError: The listing could not be followed; its ``items`` are those that came before.
        """
        items: list[T] = []
        if limit is not None and limit <= 0:
            return items
        try:
            async with aclosing(self.pages(ahead=limit is None)) as pages:
                async for page in pages:
                    items += page.items
                    if limit is not None and len(items) >= limit:
                        return items[:limit]
        except PaginationError as error:
            error.items = list(items)
            raise
        return items

    async def _get(self, token: str | None, number: int) -> tuple[Sequence[T], str | None]:
        try:
            items, next_token = await self._fetch(token)
        except NotFoundError as error:
            if number == 1 and self._start is None:
                raise
            raise self._broken(error, token) from None
        if self._on_page is not None:
            self._on_page(number, len(items))
        return items, next_token or None

    def _broken(self, error: APIError, token: str | None) -> PaginationError:
        return PaginationError(
            f"{self._what}: the host gave a page token and then answered {error.status} to it",
            page_token=token,
            hint="try again later; what came before is complete",
        )


class _Guard(Generic[T]):
    """Knows what a chain of pages has shown so far, and stops one that leads nowhere."""

    def __init__(self, key: Callable[[T], Hashable] | None, start: str | None, what: str) -> None:
        self._key = key
        self._what = what
        self._tokens = set() if start is None else {hash(start)}
        self._known: OrderedDict[int, None] = OrderedDict()
        self._pages: set[int] = set()
        self._empty = 0
        self._stale = 0

    def admit(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items of a page that are new."""
        fresh, nameless = self._fresh(items)
        # Items that nothing identifies can be told from what came before only by the page as a whole.
        is_news = len(fresh) > nameless or (nameless > 0 and self._is_first(fresh))
        self._empty = 0 if items else self._empty + 1
        self._stale = 0 if is_news else self._stale + bool(items)
        return fresh if is_news or self._key is not None else fresh[:0]

    def judge(self, token: str) -> PaginationError | None:
        """Return an error if the page after those admitted would lead nowhere."""
        repeated = hash(token) in self._tokens
        self._tokens.add(hash(token))
        if repeated:
            return self._stuck("the host gave the same page token twice", token)
        if self._empty > EMPTY_PAGES:
            return self._stuck(f"the host gave {self._empty} empty pages in a row", token)
        if self._stale >= STALE_PAGES:
            return self._stuck(f"the host gave {self._stale} pages in a row with nothing new on them", token)
        return None

    def _fresh(self, items: Sequence[T]) -> tuple[Sequence[T], int]:
        """Return the items that are not known, and how many of them nothing identifies."""
        if self._key is None:
            return items, len(items)
        fresh, nameless = [], 0
        for item in items:
            identity = self._key(item)
            if identity is None:
                nameless += 1
            elif hash(identity) in self._known:
                continue
            else:
                self._known[hash(identity)] = None
            fresh.append(item)
        while len(self._known) > REMEMBERED_ITEMS:
            self._known.popitem(last=False)
        return fresh, nameless

    def _is_first(self, items: Sequence[T]) -> bool:
        mark = hash(repr(items))
        if mark in self._pages:
            return False
        self._pages.add(mark)
        return True

    def _stuck(self, why: str, token: str | None) -> PaginationError:
        return PaginationError(
            f"{self._what}: {why}, so its end cannot be reached", page_token=token, hint="what came before is complete"
        )
