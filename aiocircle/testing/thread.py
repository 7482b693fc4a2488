"""A simulator in a thread of its own, with its own event loop, beside code of any kind."""

import asyncio
import threading
from types import TracebackType
from typing import Any

from aiocircle.testing.server import Simulator
from aiocircle.testing.world import World

_START_SECONDS = 10.0


class SimulatorThread:
    """``with SimulatorThread(World.demo()) as sim: ...``, in synchronous code, in any event loop, around subprocesses.

    The simulator's addresses, ``stats``, ``requests`` and ``faults`` may be used from the outside while it runs.

    Args:
        world: What is served.
        **settings: As for `Simulator`.
    """

    def __init__(self, world: World | None = None, **settings: Any) -> None:
        self._simulator = Simulator(world, **settings)
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="aiocircle-simulator", daemon=True)

    def __enter__(self) -> Simulator:
        """Start, and return the listening simulator."""
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            message = "the simulator did not start"
            raise TimeoutError(message)
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self._simulator

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and wait until everything is closed."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._simulator:
            self._ready.set()
            await self._stop.wait()
