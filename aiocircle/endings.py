"""Waiting for an end that has to be waited for, whatever happens to the one who waits.

``task.cancel()`` may come at any await and as often as somebody likes, also while a task tidies up after the first one;
a shielded scope of anyio holds off anyio's cancellations only. Who goes on before what it has begun is over leaves a
task behind, or takes a file or a database from under a thread that works on it. So the waits here go on regardless,
and a cancellation that came meanwhile is raised when they are over.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def ended(future: "asyncio.Future[Any]") -> None:
    """Wait for the end of something, whatever it is, however often this task is cancelled meanwhile.

    Raises:
        asyncio.CancelledError: This task was cancelled meanwhile.
    """
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                cancelled = error
    if not future.cancelled():
        future.exception()  # somebody has seen it
    if cancelled is not None:
        raise cancelled


async def finish(work: Awaitable[T], hurry: Callable[[], object] | None = None) -> T:
    """Await what cannot be stopped, as work in a thread; when cancelled, wait for its end all the same.

    Args:
        work: It.
        hurry: Called when this task is cancelled meanwhile, to have it end soon.

    Raises:
        asyncio.CancelledError: This task was cancelled meanwhile; the result is lost.
    """
    future = asyncio.ensure_future(work)
    if hurry is not None:
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            hurry()
            await ended(future)
            raise
    await ended(future)
    return future.result()


async def in_thread(threads: ThreadPoolExecutor | None, function: Callable[..., T], *arguments: object) -> T:
    """Call a blocking function in a thread, one of the event loop's own without others; wait even when cancelled."""
    return await finish(asyncio.get_running_loop().run_in_executor(threads, function, *arguments))


async def undone(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and wait for its end.

    Raises:
        asyncio.CancelledError: This task was cancelled meanwhile.
    """
    task.cancel()
    await ended(task)
