"""From synchronous code into an event loop that runs in a thread of its own, and back.

One loop thread belongs to one client; any number of threads may call into it. What a caller may rely on:

* A call returns what the asynchronous one returns and raises what it raises.
* Whatever ends a call early on the caller's side (Ctrl-C, or what another signal's handler raises) cancels it on the
  loop's side, and is raised when everything the call had begun is undone. A caller can be interrupted at any
  instruction, also before it has learnt that its call began; so giving up is itself a call, and since calls arrive in
  the order in which they were made, it finds the other one running, over, or sees to it that it never begins. What is
  waited with is a lock of the interpreter itself: conditions and futures are Python code, and who is interrupted in the
  middle of them leaves them locked for both threads.
* Closing cancels what runs for other threads, who get an error, and ends the thread. A loop left open is closed when
  the interpreter ends: a listing that is half read could otherwise wait for a thread that no longer runs.
* In a forked process there is no such thread, and every call is an error. The process ends as any other, and what it
  has inherited does not even go as garbage: connections that are collected take themselves off the other process's
  loop, which the kernel has only once for both, and say good-bye to the host in its name.
"""

import asyncio
import atexit
import copy
import functools
import inspect
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, closing, suppress
from typing import Any, Generic, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal

from aiocircle.errors import ConfigurationError
from aiocircle.pagination import Page, Paginator
from aiocircle.ratelimit.limiter import RateLimiter
from aiocircle.resource import Resource

S = TypeVar("S")
T = TypeVar("T")

ATTENTIVE = 0.2  # seconds; a signal that the system gives to another thread does not end a wait of the main one

_PROXIED = (Resource, RateLimiter)


class LoopThread:
    """The thread of an event loop in which one asynchronous thing, a client, is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = ExitStack()
        self._thread: int | None = None
        self._process: int | None = None
        self._calls: set[_Call[Any]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sources: set[AsyncGenerator[Any, None]] = set()

    def open(self, thing: AbstractAsyncContextManager[object]) -> None:
        """Start the thread and enter the thing in it.

        Raises:
            ConfigurationError: It runs already, here or in the process that this one was forked from.
        """
        with self._lock, ExitStack() as stack:
            if self._loop is not None:
                self.check()
                raise ConfigurationError("the client is open already")
            portal = stack.enter_context(start_blocking_portal("asyncio"))
            portal.call(thing.__aenter__)
            stack.callback(portal.call, self._end, thing)
            self._thread = portal.call(threading.get_ident)
            self._process = os.getpid()
            _OPENED.add(self)
            atexit.register(self.close)
            loop = portal.call(asyncio.get_running_loop)
            self._ending = stack.pop_all()
            self._loop = loop

    def close(self) -> None:
        """Cancel what runs, leave the thing, end the thread. Nothing happens if that was done before.

        In a forked process there is no such thread to wait for, and what is open belongs to the other process.
        """
        if self._process != os.getpid():
            return
        if self._loop is not None:
            self.check()
        with self._lock:
            self._loop = None
            _OPENED.discard(self)
            ending = self._ending.pop_all()
        with ending:
            atexit.unregister(self.close)

    async def _end(self, thing: AbstractAsyncContextManager[object]) -> None:
        while self._calls:
            await next(iter(self._calls)).give_up()
        for source in tuple(self._sources):
            await source.aclose()
        await thing.__aexit__(None, None, None)

    def check(self) -> asyncio.AbstractEventLoop:
        """Return the loop.

        Raises:
            ConfigurationError: There is none: it is closed, or stayed behind in the process that this one was forked
                from; or this is the loop's own thread.
        """
        loop = self._loop
        if loop is None:
            raise _closed()
        if self._process != os.getpid():
            raise ConfigurationError(
                "the client is open in the process that this one was forked from, and its thread is there",
                hint="make a client in each process",
            )
        if threading.get_ident() == self._thread:
            raise ConfigurationError(
                "a callback of the client called the client, in the thread that would have to answer",
                hint="hand what is to be done to a thread of your own",
            )
        return loop

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Call a function in the loop and return what it comes to.

        Raises:
            ConfigurationError: The client is closed, or was closed meanwhile.
        """
        loop = self.check()
        call = _Call(function, self._calls, lambda: self._loop is not None)
        try:
            return self._result(loop, call)
        except RuntimeError:
            if call.begun:
                raise
            raise _closed() from None  # between the check and the call
        finally:
            if not call.over:
                with suppress(RuntimeError):
                    self._result(loop, call.give_up)

    def _result(self, loop: asyncio.AbstractEventLoop, function: Callable[[], Awaitable[T]]) -> T:
        done = threading.Lock()
        done.acquire()
        values: list[T] = []
        errors: list[BaseException] = []

        async def carry_out() -> None:
            try:
                values.append(await function())
            except BaseException as error:  # noqa: BLE001 -- it belongs to the thread that waits
                errors.append(error)

        def over(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            done.release()

        def begin() -> None:
            task = loop.create_task(carry_out())
            self._tasks.add(task)
            task.add_done_callback(over)

        loop.call_soon_threadsafe(begin)
        while not done.acquire(timeout=ATTENTIVE):
            if loop.is_closed():
                break
        if values:
            return values[0]
        raise next((error for error in errors if not isinstance(error, asyncio.CancelledError)), _closed())

    def pages(self, source: AsyncGenerator[Page[T], None]) -> Generator[Page[T], None, None]:
        """Yield what an asynchronous generator yields in the loop, and close it at the end, however that comes."""

        async def following() -> Page[T] | None:
            self._sources.add(source)
            return await anext(source, None)

        async def close() -> None:
            self._sources.discard(source)
            await source.aclose()

        try:
            while (page := self.run(following)) is not None:
                yield page
        finally:
            # Refused where closing the client has closed it, and where the garbage collector comes by in the loop's own
            # thread; then closing the client is going to.
            with suppress(ConfigurationError):
                self.run(close)


_OPENED: weakref.WeakSet[LoopThread] = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    """See to it that nothing is collected of what belongs to loops of the other process."""
    if _OPENED:
        from ctypes import py_object, pythonapi  # noqa: PLC0415 -- seldom

        for one in _OPENED:
            pythonapi.Py_IncRef(py_object(one))


os.register_at_fork(after_in_child=_leave_to_the_parent)


class _Call(Generic[T]):
    """One call into the loop. All but the attributes belongs to the loop's thread.

    Attributes:
        begun: It has begun.
        over: It has begun and ended.
    """

    def __init__(
        self, function: Callable[[], Awaitable[T]], running: "set[_Call[Any]]", is_open: Callable[[], bool]
    ) -> None:
        self.begun = False
        self.over = False
        self._function = function
        self._running = running
        self._is_open = is_open
        self._scope: anyio.CancelScope | None = None
        self._given_up = False
        self._ended = asyncio.Event()

    async def __call__(self) -> T:
        self.begun = True
        self._running.add(self)
        try:
            if not self._given_up and self._is_open():
                with anyio.CancelScope() as self._scope:
                    return await self._function()
            raise _closed()
        finally:
            self._running.discard(self)
            self.over = True
            self._ended.set()

    async def give_up(self) -> None:
        """See to it that it never begins, or cancel it and return when it has ended."""
        self._given_up = True
        if self._scope is not None:
            self._scope.cancel()
            await self._ended.wait()


def _closed() -> ConfigurationError:
    return ConfigurationError("the client is closed", hint="use it as 'with BlockingClient() as client:'")


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
        return self._loop.pages(self._paginator.pages(ahead=ahead))

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
