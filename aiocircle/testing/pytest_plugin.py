"""Fixtures: a simulator of its own for every test that asks for one, synchronous or not.

The plugin is registered when aiocircle is installed and costs nothing until a fixture is used.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from aiocircle.testing.server import Simulator
    from aiocircle.testing.world import World


class CircleciFactory(Protocol):
    """Starts simulators; what the fixture ``circleci_factory`` gives."""

    def __call__(self, world: "World | None" = None, **settings: Any) -> "Simulator":
        """Start a simulator of ``world`` and return it; the settings are those of `Simulator`."""
        ...


@pytest.fixture
def circleci_factory() -> Iterator[CircleciFactory]:
    """Yield a function that starts simulators with worlds, limits and faults of your own; they close after the test."""
    from aiocircle.testing.thread import SimulatorThread  # noqa: PLC0415 - not before somebody asks

    with ExitStack() as stack:

        def start(world: "World | None" = None, **settings: Any) -> "Simulator":
            return stack.enter_context(SimulatorThread(world, **settings))

        yield start


@pytest.fixture
def circleci(circleci_factory: CircleciFactory) -> "Simulator":
    """Yield a simulator of a small demo world: ``circleci.url``, ``circleci.token``, ``circleci.world.demo_job``."""
    from aiocircle.testing.world import World  # noqa: PLC0415 - not before somebody asks

    return circleci_factory(World.demo(files=24, large=0, pipelines=25))
