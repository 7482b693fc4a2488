"""What a ledger says is missing. Who only looks needs no client for it."""

from pathlib import Path

from attrs import frozen

from aiocircle.crawl.selection import Selection
from aiocircle.download.intent import read_intent
from aiocircle.download.options import DownloadOptions
from aiocircle.download.records import Failed, Records


@frozen
class Missing:
    """What a ledger says is missing.

    Attributes:
        failures: What could not be had.
        origin: The API that was asked; ``None`` if it is not recorded.
        finished: Whether the last run came to its end: else there may be more than failed.
        intent: What it was to fetch, as recorded; empty if it is not.
    """

    failures: tuple[Failed, ...]
    origin: str | None
    finished: bool
    intent: str = ""

    def pending(self, options: DownloadOptions) -> tuple[Selection, DownloadOptions] | None:
        """Return what to select, and how, for what the last run had still before it, if that is known."""
        return None if self.finished else read_intent(self.intent, options)


def missing_in(output: str | Path, state: Path | None = None) -> Missing:
    """Read what is missing; blocks.

    Raises:
        StoreError: There is no ledger, or it cannot be read.
    """
    with Records(output, state) as records:
        about = records.about()
        finished = about.get("finished", "yes") == "yes"
        return Missing(tuple(records.failed()), about.get("origin"), finished, about.get("intent", ""))
