"""What tests of stores share."""

from collections.abc import Sequence
from pathlib import Path

from aiocircle.download.paths import SafePath
from aiocircle.download.stores import LocalStore


def write(store: LocalStore, target: SafePath, chunks: Sequence[bytes]) -> None:
    store.publish(store.stage(target, chunks))


def path(text: str) -> SafePath:
    return SafePath(tuple(text.split("/")))


def parts_of(root: Path) -> list[str]:
    return sorted(found.name for found in (root / ".aiocircle" / "parts").iterdir())
