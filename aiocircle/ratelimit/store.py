"""Where the record of a shared budget lies, and how it is changed: read, change here, swap if nobody was faster.

A store knows nothing about budgets. It keeps one text under a key, and replaces it in one atomic step if it is still
the one that was read. Whoever was slower gets the text that won and computes again. So the theory exists once, in
Python, for every store, and no lock is ever held while a program computes, sleeps or dies.
"""

from collections.abc import Callable
from typing import Protocol

from attrs import frozen


class StoreLostError(Exception):
    """The store does not answer, or not with anything of use. Never leaves the rate limiter."""


@frozen
class Kept:
    """What a store keeps under a key, and the mark of who wrote it. Both are ``None`` where there is nothing."""

    mark: str | None = None
    text: bytes | None = None


class Store(Protocol):
    """Keeps texts for several processes. Every method but ``now`` raises ``StoreLostError`` where it cannot."""

    @property
    def name(self) -> str:
        """What people call it; without a password."""
        ...

    def now(self) -> float:
        """Return the time that all who share the store agree on. Known after ``open``."""
        ...

    async def open(self) -> None:
        """Make it usable; again, after it was lost.

        Raises:
            ConfigurationError: It can never work as it was named.
        """
        ...

    async def read(self, key: str) -> Kept:
        """Return what is kept."""
        ...

    async def swap(self, key: str, mark: str | None, new: Kept) -> Kept:
        """Keep ``new`` if what is kept bears ``mark``, and return what is kept then."""
        ...

    async def close(self) -> None:
        """Let go of it. Never raises."""
        ...


class MemoryStore:
    """A store for the clients of one event loop: they share a budget, with nothing on disk.

    Args:
        now: The clock.
    """

    name = "memory"

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._kept: dict[str, Kept] = {}

    async def open(self) -> None:
        """Do nothing."""

    async def read(self, key: str) -> Kept:
        """Return what is kept."""
        return self._kept.get(key, Kept())

    async def swap(self, key: str, mark: str | None, new: Kept) -> Kept:
        """Keep ``new`` if what is kept bears ``mark``, and return what is kept then."""
        if self._kept.get(key, Kept()).mark == mark:
            self._kept[key] = new
        return self._kept[key]

    async def close(self) -> None:
        """Do nothing: others may still use it."""
