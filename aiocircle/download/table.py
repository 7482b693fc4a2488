"""A large table of whole numbers in little memory. Pure.

A ``dict`` of a million numbers takes 100 bytes for each, this one 16 to 43: keys and values lie side by side in arrays,
found by open addressing. Keys are spread evenly already, for they are digests; their low bits choose one of many small
parts, each of which grows by itself, so that no step takes long and no second copy of all of it is ever made.
"""

from array import array
from typing import Final

_PARTS: Final = 256
_FIRST: Final = 16  # slots of a part
_FREE: Final = -1


class _Part:
    """Some of the keys. A slot is a key and its value; a key stands in the first free slot from its own place on."""

    __slots__ = ("keys", "used", "values")

    def __init__(self, slots: int) -> None:
        self.keys = array("q", [_FREE]) * slots
        self.values = array("q", [0]) * slots
        self.used = 0

    def slot(self, key: int) -> int:
        """Return where a key stands, or where it would."""
        keys = self.keys
        mask = len(keys) - 1
        slot = (key // _PARTS) & mask
        while (there := keys[slot]) != key and there != _FREE:
            slot = (slot + 1) & mask
        return slot

    def put(self, key: int, value: int) -> None:
        slot = self.slot(key)
        if self.keys[slot] == _FREE:
            self.keys[slot] = key
            self.used += 1
        self.values[slot] = value

    @property
    def is_full(self) -> bool:
        """Whether a search would take many steps: three quarters are used."""
        return self.used * 4 > len(self.keys) * 3

    def grown(self) -> "_Part":
        """Return a part of twice the slots with the same in it."""
        larger = _Part(2 * len(self.keys))
        for key, value in zip(self.keys, self.values, strict=True):
            if key != _FREE:
                larger.put(key, value)
        return larger


class NumberTable:
    """Numbers by number: keys from 0 to 2**63 - 1, values of 64 bits with a sign."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts = [_Part(_FIRST) for _ in range(_PARTS)]

    def __len__(self) -> int:
        return sum(part.used for part in self._parts)

    def get(self, key: int, default: int | None = None) -> int | None:
        """Return the value of a key, or the default."""
        part = self._parts[key % _PARTS]
        slot = part.slot(key)
        return default if part.keys[slot] == _FREE else part.values[slot]

    def __setitem__(self, key: int, value: int) -> None:
        part = self._parts[key % _PARTS]
        if part.is_full:
            part = self._parts[key % _PARTS] = part.grown()
        part.put(key, value)
