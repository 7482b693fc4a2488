"""What synchronous code has in place of the asynchronous API: calls that block, and listings for ``for``."""

import copy
import functools
import inspect
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, Generic, TypeVar

from aiocircle.loopthread import LoopThread
from aiocircle.pagination import Page, Paginator
from aiocircle.ratelimit.limiter import RateLimiter
from aiocircle.resource import Resource

S = TypeVar("S")
T = TypeVar("T")

_PROXIED = (Resource, RateLimiter)


class Listing(Generic[T]):
    """A listing, to be iterated over as often as wanted; each iteration begins anew.

    ``for item in listing`` gives items, ``pages()`` gives pages, ``first()`` and ``collect()`` ask for no page more
    than they need. While a page is used, the next one is on its way.
    """

    def __init__(self, loop: LoopThread, paginator: Paginator[T]) -> None:
        self._loop = loop
        self._paginator = paginator

    def __iter__(self) -> Iterator[T]:
        """Yield the items of all pages."""
        with closing(self.pages()) as pages:
            for page in pages:
                yield from page.items

    def pages(self, *, ahead: bool = True) -> Generator[Page[T], None, None]:
        """Yield the pages, with the next one being fetched meanwhile unless ``ahead`` is false.

        Raises:
            PaginationError: The chain of pages does not lead to an end.
        """
        return self._loop.follow(self._paginator.pages(ahead=ahead))

    def first(self) -> T | None:
        """Return the first item, or ``None`` when there is none; asks for no more pages than needed."""
        return self._loop.run(self._paginator.first)

    def collect(self, limit: int | None = None) -> list[T]:
        """Return all items, or the first ``limit``, in a list; asks for no more pages than needed.

        Raises:
            PaginationError: The listing could not be followed; its ``items`` are those that came before.
        """
        return self._loop.run(lambda: self._paginator.collect(limit))


class Proxy(Generic[S]):
    """Stands for something of the asynchronous API: the same names, and values where that has awaitables."""

    def __init__(self, subject: S, loop: LoopThread) -> None:
        self._subject = subject
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # Python's own, and the subject's
            raise AttributeError(name)
        if isinstance(getattr(type(self._subject), name, None), property):
            self._loop.check()
        return self._turned(getattr(self._subject, name))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in dir(self._subject) if not name.startswith("_"))})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._subject!r})"

    def _turned(self, value: Any) -> Any:
        """Return what synchronous code is given in place of a value."""
        if isinstance(value, Paginator):
            return Listing(self._loop, value)
        if isinstance(value, _PROXIED):
            return Proxy(value, self._loop)
        if isinstance(value, type(self._subject)):  # the same with other settings
            other = copy.copy(self)
            other._subject = value  # noqa: SLF001 -- our own
            return other
        return self._blocking(value) if inspect.ismethod(value) else value

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **settings: Any) -> Any:
            async def carry_out() -> Any:
                value = method(*args, **settings)
                return await value if inspect.isawaitable(value) else value

            return self._turned(self._loop.run(carry_out))

        return call
