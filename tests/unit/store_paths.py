"""What tests of stores share."""

from pathlib import Path

from aiocircle.download.paths import SafePath


def path(text: str) -> SafePath:
    return SafePath(tuple(text.split("/")))


def parts_of(root: Path) -> list[str]:
    return sorted(found.name for found in (root / ".aiocircle" / "parts").iterdir())
