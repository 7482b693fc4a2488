"""An embedded CircleCI for tests: a seeded world behind the API v2, with rate limits and faults on demand.

    async with Simulator(World.demo()) as sim:
        ...  # talk to sim.url with sim.token

`SimulatorThread` runs it beside synchronous code, ``python -m aiocircle.testing`` in a process of its own, and the
pytest fixtures ``circleci`` and ``circleci_factory`` in tests of any kind.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiocircle.testing.artifacts import FakeArtifact, GeneratedArtifacts
    from aiocircle.testing.faults import FAULTS
    from aiocircle.testing.kong import KongLimits
    from aiocircle.testing.server import DEFAULT_TOKEN, Simulator
    from aiocircle.testing.stats import Stats
    from aiocircle.testing.thread import SimulatorThread
    from aiocircle.testing.world import ODDITIES, World

_HOMES = {
    "DEFAULT_TOKEN": "server",
    "FAULTS": "faults",
    "ODDITIES": "world",
    "FakeArtifact": "artifacts",
    "GeneratedArtifacts": "artifacts",
    "KongLimits": "kong",
    "Simulator": "server",
    "SimulatorThread": "thread",
    "Stats": "stats",
    "World": "world",
}

__all__ = [
    "DEFAULT_TOKEN",
    "FAULTS",
    "ODDITIES",
    "FakeArtifact",
    "GeneratedArtifacts",
    "KongLimits",
    "Simulator",
    "SimulatorThread",
    "Stats",
    "World",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
