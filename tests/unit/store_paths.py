"""What tests of stores share."""

from collections.abc import Sequence
from pathlib import Path

from aiocircle.download.local_store import LocalStore
from aiocircle.download.paths import SafePath


def write(store: LocalStore, target: SafePath, chunks: Sequence[bytes]) -> None:
    store.publish(store.stage(target, chunks))


def path(text: str) -> SafePath:
    return SafePath(tuple(text.split("/")))


def parts_of(root: Path) -> list[str]:
    return sorted(found.name for found in (root / ".aiocircle" / "parts").iterdir())
