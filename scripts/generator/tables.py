"""Our tables: public names and words, and corrections with their reasons. What is never used is an error."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen


class GeneratorError(Exception):
    """The document and the tables do not fit together."""


@frozen
class Correction:
    """An entry of a list of corrections, and the places it is for."""

    places: tuple[str, ...]
    values: Mapping[str, Any]


@frozen
class Tables:
    """``names.toml`` and ``corrections.toml``."""

    names: Mapping[str, Any]
    corrections: Mapping[str, tuple[Correction, ...]]
    used: set[tuple[str, str]] = field(factory=set)

    @classmethod
    def read(cls, directory: Path) -> "Tables":
        """Read both files.

        Raises:
            GeneratorError: A correction has no reason.
        """
        names, lists = (
            tomllib.loads((directory / name).read_text(encoding="utf-8")) for name in ("names.toml", "corrections.toml")
        )
        return cls(names, {kind: tuple(map(_correction, entries)) for kind, entries in lists.items()})

    def word(self, table: str, *keys: str) -> Any:
        """Return the entry of the first key that a table of names has, or ``None``."""
        for key in keys:
            if key in self.names[table]:
                self.used.add((table, key))
                return self.names[table][key]
        return None

    def correction(self, kind: str, value: str, *places: str) -> Any:
        """Return a value from the first place that corrections of a kind have it for, or ``None``."""
        for place in places:
            for entry in self.corrections[kind]:
                if place in entry.places and value in entry.values:
                    self.used.add((kind, place))
                    return entry.values[value]
        return None

    def places(self, kind: str, value: str) -> Iterator[tuple[str, Any]]:
        """Yield every place for which corrections of a kind have a value, and the value."""
        for entry in self.corrections[kind]:
            if value in entry.values:
                yield from ((place, entry.values[value]) for place in entry.places)

    def unused(self) -> list[str]:
        """Return what no part of the document asked for."""
        names = {(table, key) for table, entries in self.names.items() for key in entries}
        corrections = {
            (kind, place) for kind, entries in self.corrections.items() for e in entries for place in e.places
        }
        return sorted(f"{table}: {key}" for table, key in (names | corrections) - self.used)


def _correction(entry: Mapping[str, Any]) -> Correction:
    places = entry["at"] if isinstance(entry["at"], list) else [entry["at"]]
    if not entry.get("reason"):
        raise GeneratorError(f"the correction of {places[0]} has no reason")
    return Correction(tuple(places), {"": True, **entry})
