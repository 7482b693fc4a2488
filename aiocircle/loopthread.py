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
import os
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar

import anyio

from aiocircle.errors import ConfigurationError

T = TypeVar("T")

ATTENTIVE = 0.2  # seconds; a signal that the system gives to another thread does not end a wait of the main one


class _Moment:
    """What comes once, and may be waited for by who can be interrupted at any instruction."""

    def __init__(self) -> None:
        self._came = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def come(self) -> None:
        if not self._came:
            self._came = True
            self._lock.release()

    def wait(self) -> None:
        while not self._came:
            self._lock.acquire(timeout=ATTENTIVE)


class _Life:
    """One run of a loop in a thread, in which a thing is open from beginning to end.

    Attributes:
        loop: The loop, once it runs.
        ident: Its thread, then.
    """

    def __init__(self, thing: AbstractAsyncContextManager[object], before_end: Callable[[], Awaitable[None]]) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.ident: int | None = None
        self._thing = thing
        self._before_end = before_end
        self._is_over = False
        self._stop = asyncio.Event()
        self._opened, self._ended = _Moment(), _Moment()
        self._error: BaseException | None = None
        self._mask: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="aiocircle-loop", daemon=True)

    def begin(self) -> None:
        """Start the thread, and return when the thing is open. Whatever comes out of it, ``end`` has to follow."""
        # What is interrupted while it starts a thread, in Python code as well, leaves one that nobody knows of.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # and a handler may raise out of this, too
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        self._opened.wait()
        if self._error is not None:
            raise self._error

    def tell(self) -> None:
        """Have the thread leave the thing, however far that has come, and end."""
        self._is_over = True
        if self.loop is not None:
            with suppress(RuntimeError):  # it is closed
                self.loop.call_soon_threadsafe(self._stop.set)

    def end(self) -> None:
        """Tell the thread to end, and return when it has; raise what came out of leaving the thing."""
        self.tell()
        if self._thread.ident is not None:
            self._ended.wait()
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 -- it belongs to the thread that waits
            self._error = error
        finally:
            self._opened.come()
            self._ended.come()

    async def _main(self) -> None:
        self.ident = threading.get_ident()
        self.loop = asyncio.get_running_loop()
        if self._is_over:  # who ended it has not seen the loop, then
            return
        async with self._thing:
            self._opened.come()
            await self._stop.wait()
            await self._before_end()


class LoopThread:
    """The thread of an event loop in which one asynchronous thing, a client, is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life: _Life | None = None
        self._process: int | None = None
        self._calls: set[_Call[Any]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sources: set[AsyncGenerator[Any, None]] = set()

    def open(self, thing: AbstractAsyncContextManager[object]) -> None:
        """Start the thread and enter the thing in it.

        Raises:
            ConfigurationError: It runs already, here or in the process that this one was forked from.
        """
        with self._lock:
            if self._loop is not None:
                self.check()
                raise ConfigurationError("the client is open already")
            self._finish()  # where closing was interrupted
            self._process = os.getpid()
            self._life = _Life(thing, self._give_up)
            try:
                _OPENED.add(self)
                atexit.register(self.close)
                self._life.begin()
                self._loop = self._life.loop
            except BaseException:
                self._loop = None
                with suppress(Exception):  # the same once more
                    self._finish()
                raise

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
            self._finish()

    def _finish(self) -> None:
        """End the thread, if there is one. Where that is interrupted, the next call goes on with it."""
        if self._life is None:
            return
        try:
            self._life.end()
        except Exception:
            self._forget()
            raise
        except BaseException:
            self._life.tell()
            raise
        self._forget()

    def _forget(self) -> None:
        self._life = None
        _OPENED.discard(self)
        atexit.unregister(self.close)

    async def _give_up(self) -> None:
        while self._calls:
            await next(iter(self._calls)).give_up()
        for source in tuple(self._sources):
            await source.aclose()

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
        if self._life is not None and threading.get_ident() == self._life.ident:
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

    def follow(self, source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Yield what an asynchronous generator yields in the loop, and close it at the end, however that comes."""

        async def following() -> T | None:
            self._sources.add(source)
            return await anext(source, None)

        async def close() -> None:
            self._sources.discard(source)
            await source.aclose()

        try:
            while (item := self.run(following)) is not None:
                yield item
        finally:
            # Refused where closing the client has closed it, and where the garbage collector comes by in the loop's own
            # thread; then closing the client is going to.
            with suppress(ConfigurationError):
                self.run(close)


_OPENED: set[LoopThread] = set()


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
