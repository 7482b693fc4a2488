"""What may be said about an export."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, TypedDict, cast, get_args

from attrs import field, frozen

from aiocircle.crawl.selection import moment_of
from aiocircle.errors import ConfigurationError
from aiocircle.export.sinks import FORMATS, Compression, Partition

_OF_FORMATS: Final = {
    "compression": (frozenset({"jsonl", "csv"}), None),
    "partition": (frozenset({"parquet"}), "day"),
    "for_spreadsheets": (frozenset({"csv"}), False),
}
"""Settings of some formats only, and what they are as long as nobody says anything."""

WINDOWS = ("last-24-hours", "last-7-days", "last-30-days", "last-60-days", "last-90-days")


def _formats(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))


@frozen(kw_only=True)
class ExportOptions:
    """What is exported, and how it is written.

    Attributes:
        since: Only pipelines created then or later; a ``timedelta`` is so long ago.
        until: Only pipelines created before that.
        branch: Only pipelines of this branch, and metrics of it.
        formats: ``jsonl``, ``csv``, ``sqlite``, ``parquet``, ``duckdb``; several if wanted.
        compression: Of ``jsonl`` and ``csv``: ``gzip`` or ``zstd``.
        partition: What ``parquet`` is divided by besides projects: ``day``, ``month`` or ``none``.
        for_spreadsheets: ``csv`` without texts that spreadsheets take for formulas.
        sync: Flush files to the disk before they get their names, against loss of power.
        raw: Items as the host gave them in place of typed columns.
        look_back: How much further back than it has to a run looks for reruns of older pipelines. Those of still older
            ones that had come to their end are missed.
        reporting_window: Of Insights' metrics: ``last-7-days`` and so on. Those of other windows and branches stay.

    Raises:
        ConfigurationError: Something in it cannot be.
    """

    since: datetime | None = field(default=None, converter=moment_of)
    until: datetime | None = field(default=None, converter=moment_of)
    branch: str | None = None
    formats: tuple[str, ...] = field(default=("jsonl",), converter=_formats)
    compression: Compression | None = None
    partition: Partition = "day"
    for_spreadsheets: bool = False
    sync: bool = False
    raw: bool = False
    look_back: timedelta = timedelta(days=3)
    reporting_window: str = "last-90-days"

    def __attrs_post_init__(self) -> None:
        for word, given, known in (
            *(("format", one, FORMATS) for one in self.formats),
            ("compression", self.compression or "gzip", get_args(Compression)),
            ("partition", self.partition, get_args(Partition)),
            ("reporting window", self.reporting_window, WINDOWS),
        ):
            if given not in known:
                raise ConfigurationError(f"{given!r} is no {word}", hint=f"there are {', '.join(known)}")
        if not self.formats:
            raise ConfigurationError("no format is named", hint=f"there are {', '.join(FORMATS)}")
        for setting, (formats, usual) in _OF_FORMATS.items():
            if getattr(self, setting) != usual and not formats & set(self.formats):
                what = f"{setting.replace('_', ' ')}: that is a setting of {' and '.join(sorted(formats))}"
                raise ConfigurationError(what, hint="name such a format as well, or leave it out")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ConfigurationError("no pipeline is created since a moment and before an earlier one")
        if self.look_back < timedelta():
            raise ConfigurationError("looking back by less than nothing would leave holes")

    def settings_of(self, name: str) -> "Settings":
        """Return what is set of a format."""
        of_format = (setting for setting, (formats, _) in _OF_FORMATS.items() if name in formats)
        settings = {setting: value for setting in of_format if (value := getattr(self, setting))}
        return cast("Settings", settings)


class Settings(TypedDict, total=False):
    """Settings of one format, as ``open_sink`` takes them."""

    compression: Compression
    partition: Partition
    for_spreadsheets: bool
