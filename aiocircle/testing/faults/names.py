"""Listings whose artifacts have names that lead outside, mean something else, or are one name where they should be two.

The first artifacts of a page get the names; their addresses stay what they are, so each brings the bytes it brought.
"""

import json

from aiocircle.testing.exchange import Answer, Exchange, json_answer
from aiocircle.testing.faults.registry import fault

_NAMES = {
    "name-traversal": ("a name that climbs out of the output: ../../", ["../../escaped"]),
    "name-traversal-backslash": ("the same with backslashes", ["..\\..\\escaped"]),
    "name-absolute": ("an absolute name", ["/tmp/absolute"]),  # noqa: S108 -- a name, and no file of ours
    "name-drive": ("a name with a drive of Windows", ["C:\\Windows\\drive"]),
    "name-unc": ("a name on another machine, as Windows writes it", ["\\\\host\\share\\unc"]),
    "name-nul": ("a name with a NUL in it", ["nul\0byte"]),
    "name-control": ("a name that moves a terminal's cursor", ["control\x1b[2J\nnext"]),
    "name-reserved": ("names that are devices on Windows", ["CON", "aux.txt"]),
    "name-long": ("a name of 5,000 characters, and a path of 500 levels", ["n" * 5000, "d/" * 500 + "deep"]),
    "name-empty": ("an empty name, and one of nothing but slashes", ["", "//"]),
    "name-surrogate": ("half of a character", ["half\ud800"]),
    "name-case": ("two names that differ in letter case only", ["dir/Same", "DIR/same"]),
    "name-unicode": ("two names that differ in the form of one letter only", ["caf\u00e9", "cafe\u0301"]),
    "name-file-directory": ("a file, and another one below it", ["node", "node/below"]),
    "name-own": ("names of the downloader's own files", [".aiocircle/ledger.sqlite", ".AIOCIRCLE/lock"]),
}


def _named(answer: Answer, names: list[str]) -> Answer:
    value = json.loads(answer.payload())
    items = value.get("items") if isinstance(value, dict) else None
    if answer.status != 200 or not items or "url" not in items[0]:  # noqa: PLR2004
        return answer
    for item, name in zip(items, names, strict=False):
        item["path"] = name
    return json_answer(value)


def _register(name: str, description: str, names: list[str]) -> None:
    @fault(name, description, "api", listings_only=True)
    def _spoil(exchange: Exchange) -> Answer:
        return _named(exchange.proceed(), names)


for _name, (_description, _given) in _NAMES.items():
    _register(_name, _description, _given)
