"""What a run was to fetch, as text in the ledger: who finds a run that was killed goes on with it.

Only what means the same at any time is kept. All pipelines are those that were created before the run began; the latest
one may be another by now, and a plan is a file of its own: for these there is no text.
"""

import json
from datetime import datetime
from typing import Any

from attrs import asdict, evolve

from aiocircle.crawl.selection import Selection
from aiocircle.download.choice import told_of, with_told
from aiocircle.download.options import DownloadOptions
from aiocircle.errors import ConfigurationError


def intent_text(selection: Selection, options: DownloadOptions, began: datetime) -> str:
    """Return a selection, and the options that choose among its artifacts and name them; empty if there is no text."""
    if selection.latest or (selection.since is not None and selection.since >= began):
        return ""
    if selection.is_whole and (selection.until is None or selection.until > began):
        selection = evolve(selection, until=began)
    what = {**asdict(selection, recurse=False), "projects": list(map(str, selection.projects))}
    return json.dumps({"what": what, "how": told_of(options)}, default=str)


def read_intent(text: str, options: DownloadOptions) -> tuple[Selection, DownloadOptions] | None:
    """Return the selection, and these options with what belongs to it; ``None`` if the text does not tell."""
    try:
        told = json.loads(text)
        what: dict[str, Any] = told["what"]
        for name in ("since", "until"):
            what[name] = None if what[name] is None else datetime.fromisoformat(what[name])
        return Selection(what.pop("projects"), **what), with_told(told["how"], options)
    except (ValueError, TypeError, KeyError, AttributeError, ConfigurationError):
        return None
