"""Working a few steps ahead of the reader, and never more than a few.

Each stage of a fan-out is a generator that runs in a task of its own and waits when nobody takes what it has. So a slow
reader stops the listings before it, one stage after another, and memory is bounded by the widths of the stages, not by
what there is to list.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from typing import Any, Generic, TypeVar

import anyio

from aiocircle.endings import undone

S = TypeVar("S")
T = TypeVar("T")

MOST_AT_ONCE = 1000  # whatever width is asked for


class Ahead(Generic[T]):
    """A generator that runs ahead of its reader, by ``buffer`` values and the one it has in hand.

    Args:
        source: Is closed with this.
        buffer: Values that may lie ready.
    """

    def __init__(self, source: AsyncGenerator[T, None], buffer: int = 0) -> None:
        self._source = source
        self._send, self._receive = anyio.create_memory_object_stream[T](buffer)
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        async with self._send, aclosing(self._source) as source:
            async for value in source:
                await self._send.send(value)

    def __aiter__(self) -> "Ahead[T]":
        return self

    async def __anext__(self) -> T:
        """Return the next value; what the source raises is raised after all that came before it."""
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            self._receive.close()
            await asyncio.shield(self._task)
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Stop it; what lies ready is dropped."""
        try:
            await undone(self._task)
        finally:
            self._send.close()  # a task that never began has not
            self._receive.close()


async def in_turn(
    source: AsyncGenerator[S, None],
    begin: Callable[[S], AsyncGenerator[T, None]],
    width: int | Callable[[], int],
    buffer: int = 0,
) -> AsyncGenerator[T, None]:
    """Yield what each value of a source leads to, in the order of the source, with several being followed at once.

    Args:
        source: Is closed at the end.
        begin: Returns what a value leads to.
        width: How many are followed at once, 2 at least: one that is read, and those ahead of it. It may change.
        buffer: How many values of each may lie ready, besides the one in hand; what yields something before it asks for
            the rest needs that much.
    """
    opened: list[Ahead[T]] = []
    read = asyncio.Event()
    most = width if callable(width) else lambda: width

    async def following() -> AsyncGenerator[Ahead[T], None]:
        async with aclosing(source) as values:
            async for value in values:
                while len(opened) >= most():
                    read.clear()
                    await read.wait()
                opened.append(Ahead(begin(value), buffer))
                yield opened[-1]

    listings = Ahead(following(), MOST_AT_ONCE)
    try:
        async for listing in listings:
            async for value in listing:
                yield value
            opened.remove(listing)
            read.set()
    finally:
        async with AsyncExitStack() as closing:  # each, whatever comes of the others
            closing.push_async_callback(_close_all, opened)  # which grows until the next line has ended
            closing.push_async_callback(listings.aclose)


async def _close_all(opened: Iterable[Ahead[Any]]) -> None:
    async with AsyncExitStack() as closing:
        for listing in opened:
            closing.push_async_callback(listing.aclose)
