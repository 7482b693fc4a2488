"""A stream to a reader who may stall: who waits for that reader can be told to stop.

A thread that writes to a full pipe cannot be stopped. So one of the stream's own writes, for which nobody has to wait
at the end, and those who have something to write wait for that thread.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from aiocircle.download.spool import write_chunks
from aiocircle.errors import StoreError

AT_ONCE = 64 * 1024  # bytes that are gathered; a pipe of Linux holds as many
MOMENT = 0.5  # seconds that a reader is still waited for


class Outlet:
    """Writes to a descriptor, which is its own from then on. Methods block, and are for one thread but ``hurry``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._gathered = bytearray()
        self._changed = threading.Condition()
        self._under_way = b""
        self._last: bytes | None = None  # what the stream ends with, once it is to end
        self._is_over = False
        self._error: OSError | None = None
        self._until: float | None = None
        threading.Thread(target=self._run, name="aiocircle-outlet", daemon=True).start()

    def hurry(self) -> None:
        """Have nobody wait any more for a reader who takes longer than a moment; waits for nothing itself."""
        with self._changed:
            if self._until is None:
                self._until = time.monotonic() + MOMENT
            self._changed.notify_all()

    def write(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            OSError: Those before them could not be written.
            StoreError: The reader has not taken them in time.
        """
        self._gathered += data
        if len(self._gathered) >= AT_ONCE:
            self._hand_over()

    def flush(self) -> None:
        """Wait until everything is written; raises as ``write`` does."""
        self._hand_over()
        with self._changed:
            self._wait(lambda: not self._under_way)

    def close(self, last: bytes = b"") -> None:
        """Close it behind what there is and ``last``: later, if the reader takes longer than a moment for it."""
        self.hurry()
        with self._changed, suppress(OSError, StoreError):
            if self._last is None:
                self._last = bytes(self._gathered) + last
            self._changed.notify_all()
            self._wait(lambda: self._is_over)

    def _hand_over(self) -> None:
        with self._changed:
            self._wait(lambda: not self._under_way)
            self._under_way, self._gathered = bytes(self._gathered), bytearray()
            self._changed.notify_all()

    def _wait(self, done: Callable[[], bool]) -> None:
        while self._error is None and not done():
            left = None if self._until is None else self._until - time.monotonic()
            if left is not None and left <= 0:
                raise StoreError("whoever reads the archive does not go on", fatal=True)
            self._changed.wait(left)
        if self._error is not None:
            raise self._error

    # --- in a thread of its own ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while data := self._next():
                write_chunks(self._descriptor, (data,))
                with self._changed:
                    self._under_way = b""
                    self._changed.notify_all()
            write_chunks(self._descriptor, (self._last or b"",))
        except OSError as error:
            self._error = error
        finally:
            os.close(self._descriptor)
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _next(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._under_way or self._last is not None)
            return self._under_way
