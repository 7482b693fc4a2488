"""A few large bodies are received at a time, more of them while the processor is idle, and nobody is forgotten."""

import asyncio
from collections.abc import Callable

import pytest

from aiocircle.download.intake import FEW, LOOK_SECONDS, Intake

pytestmark = pytest.mark.anyio


class Bodies:
    """Bodies that stay in their slots until they are let go."""

    def __init__(self, load: Callable[[], float]) -> None:
        self.intake = Intake(load)
        self.inside = 0
        self.go = asyncio.Event()

    async def one(self) -> None:
        async with self.intake:
            self.inside += 1
            try:
                await self.go.wait()
            finally:
                self.inside -= 1


async def test_while_the_processor_is_busy_a_few_go_in() -> None:
    bodies = Bodies(lambda: 1.0)
    tasks = [asyncio.ensure_future(bodies.one()) for _ in range(4 * FEW)]
    await asyncio.sleep(4 * LOOK_SECONDS)
    assert bodies.inside == FEW
    bodies.go.set()
    await asyncio.gather(*tasks)
    assert bodies.inside == 0


async def test_while_it_is_idle_all_go_in_although_the_first_never_end() -> None:
    bodies = Bodies(lambda: 0.0)
    tasks = [asyncio.ensure_future(bodies.one()) for _ in range(8 * FEW)]
    async with asyncio.timeout(20):
        while bodies.inside < len(tasks):
            await asyncio.sleep(LOOK_SECONDS)
    bodies.go.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("steps", range(6))
async def test_whoever_is_cancelled_takes_no_slot_with_it(steps: int) -> None:
    bodies = Bodies(lambda: 1.0)
    first = [asyncio.ensure_future(bodies.one()) for _ in range(FEW)]
    await asyncio.sleep(0)
    waiting = [asyncio.ensure_future(bodies.one()) for _ in range(3)]
    await asyncio.sleep(0)
    bodies.go.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.gather(*first, *waiting, return_exceptions=True)
    bodies.go.clear()
    again = [asyncio.ensure_future(bodies.one()) for _ in range(FEW)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert bodies.inside == FEW
    bodies.go.set()
    await asyncio.gather(*again)
