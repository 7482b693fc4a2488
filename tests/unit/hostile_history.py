"""An export and a ledger in which every name from outside does its worst."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ci_history import SLUG, History

from aiocircle.download.ledger import Ledger
from aiocircle.download.records import Failed, Source, Stored
from aiocircle.export.tables import TABLES

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.hacked = 1'>",
    '" onload="window.hacked = 1" x="',
    "\u2028window.hacked = 1\u2029",
    "]]></svg><iframe src=https://example.com></iframe>",
    "{{ 7 * 7 }}{% raw %}&amp;&lt;",
    "\u202egnp.exe\u0000\u001b[31m",
    "__proto__",
    "x" * 3000,
)
ADDRESSES = (
    "javascript:window.hacked=1",
    "data:text/html,<script>1</script>",
    'https://a.example/"onclick="x',
    "vbscript:x",
)
NAMES = ("name", "branch", "workflow_name", "job_name", "classname", "test_name", "what", "reason", "code", "status")


def hostile_rows() -> Mapping[str, Sequence[tuple[Any, ...]]]:
    """Return a small history in which names are hostile, each of them always by the same one; so are addresses."""
    rows = History(days=3, pipelines_a_day=4).rows
    chosen: dict[str, str] = {}

    def changed(column: str, value: Any) -> Any:
        if column == "web_url":
            return ADDRESSES[sum(map(ord, value)) % len(ADDRESSES)]
        if column == "status" and value in {"success", "failed"}:
            return value
        if column not in NAMES or value is None:
            return value
        return chosen.setdefault(value, f"{HOSTILE[len(chosen) % len(HOSTILE)]}{len(chosen)}")

    return {
        name: [
            tuple(changed(column, value) for column, value in zip(TABLES[name].names, row, strict=True))
            for row in values
        ]
        for name, values in rows.items()
    }


def hostile_ledger(directory: Path) -> None:
    """Write a ledger whose targets, codes and reasons are hostile."""
    own = directory / ".aiocircle"
    own.mkdir(exist_ok=True)
    with Ledger(own) as ledger:
        for place, name in enumerate(HOSTILE):
            source = Source(slug=SLUG, job=1, node=0, path=name, address=ADDRESSES[place % len(ADDRESSES)])
            ledger.add(Stored(source=source, target=name, size=10 * place, began=1e9 + place, ended=1e9 + 2 * place))
            failed = Source(slug=name, job=2, node=0, path=name, address=ADDRESSES[place % len(ADDRESSES)])
            ledger.fail(Failed(source=failed, target=name, code=name, reason=name, ended=1e9))
