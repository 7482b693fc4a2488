"""Ctrl-C, SIGTERM, SIGHUP: the first one cancels, the second ends at once, and neither takes longer than two seconds.

A write in a thread, or a name being resolved, cannot be cancelled. Since nothing unfinished ever stands under a final
name, ending in the middle of one is safe, and a timer sees to it.

A signal that was ignored when the command started is ignored to the end: whoever started it wanted it so.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, Never

from aiocircle.cli.exits import ExitCode

PATIENCE = 1.6  # seconds for an orderly end; two are promised
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _heeded() -> list[signal.Signals]:
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def interruptible() -> None:
    """Make all of them a ``KeyboardInterrupt`` from here on: for work without a loop that has files to close."""
    for number in _heeded():
        signal.signal(number, signal.default_int_handler)


def run(main: Callable[[], Coroutine[Any, Any, ExitCode]]) -> ExitCode:
    """Run a coroutine as the program, and return its exit code; a signal cancels it once.

    Raises:
        KeyboardInterrupt: It was cancelled, and had nothing to say about that.
    """

    async def guarded() -> ExitCode:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupt(_signal: int, _frame: FrameType | None) -> None:
            _end_soon()
            with suppress(RuntimeError):  # of a loop that is closed: all that is left is to end
                loop.call_soon_threadsafe(task.cancel)

        for number in _heeded():
            # And not by the loop, which would be deaf while something is imported, and forget them when it is closed.
            signal.signal(number, interrupt)
        return await main()

    coroutine = guarded()
    try:
        return asyncio.run(coroutine)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        coroutine.close()  # or one that a signal kept from its first step would warn that nobody awaited it


def _end_soon() -> None:
    for number in _heeded():
        signal.signal(number, _end_now)
    timer = threading.Timer(PATIENCE, _end_now)
    timer.daemon = True
    timer.start()


def _end_now(_signal: int = 0, _frame: FrameType | None = None) -> Never:
    terminal = next(filter(os.isatty, (2, 1)), None)
    if terminal is not None:
        with suppress(OSError):  # it may have been closed
            os.write(terminal, b"\x1b[?25h\n")  # a live display hides the cursor
    os._exit(ExitCode.CANCELLED)
