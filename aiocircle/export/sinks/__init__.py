"""Where the rows of an export go.

A sink takes tables one after another, and of each the rows in batches; ``finish`` makes all of it visible, and nothing
of it is visible before. Sinks block; the exporter calls them in a thread. Each may be used alone::

    with open_sink("jsonl", "out", compression="gzip") as sink:
        sink.begin(TABLES["jobs"])
        sink.write(rows)

Leaving the block finishes the sink, an exception in it aborts it. After either it may take tables again.

What formats cannot hold is the same in all of them (`aiocircle.export.texts`): halves of surrogate pairs become
U+FFFD, and in JSON, that of nested columns included, a number that is none becomes ``null``. A whole number of more
than 64 bits is exact in JSON and CSV, and the nearest real number in SQLite; Parquet and DuckDB have none in its place
where they may, and refuse it where they may not.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self

from aiocircle.errors import ConfigurationError
from aiocircle.export.tables import Table
from aiocircle.given import check_path

Grain = Literal["table", "month", "day", "row"]
Compression = Literal["gzip", "zstd"]
Partition = Literal["day", "month", "none"]

# Where the sink of a format is at home, and its settings.
_HOMES: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "jsonl": ("text", "JsonLines", ("compression", "sync")),
    "csv": ("text", "Csv", ("compression", "sync", "for_spreadsheets")),
    "sqlite": ("sqlite", "Sqlite", ("sync",)),
    "parquet": ("parquet", "Parquet", ("partition", "sync")),
    "duckdb": ("duckdb", "DuckDB", ("sync",)),
}
FORMATS: Final = tuple(_HOMES)


class Sink(Protocol):
    """Takes the rows of tables.

    Attributes:
        grain: The least of a table that it can replace: all of it, a month or a day of a project, or a row. Of a table
            without dates, a month or a day is all of a project, or of what else `Table.owner` names. It may depend on
            how the sink was opened.
    """

    grain: Grain

    def __enter__(self) -> Self:
        """Begin a block that ends with ``finish``, or with ``abort`` if an exception leaves it."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish, or abort."""

    def has(self, table: Table, parts: Iterable[tuple[str, ...]] = ()) -> bool:
        """Return whether an earlier ``finish`` made a table visible that is still there.

        Args:
            table: The table.
            parts: What must be there of it, with a grain of months or days: a project, and a month or day of it.

        Raises:
            StoreError: It cannot be told, since what is there cannot be read.
        """
        ...

    def begin(self, table: Table, *, whole: bool = True) -> None:
        """Go on with a table, whose rows come next.

        Args:
            table: Comes once between two ``finish``.
            whole: What comes is all of the table. Otherwise it takes the place of what has the same day and project, or
                the same key, by ``grain``, and the rest stays; never with a grain of ``table``. A day of which no row
                comes stays, too.

        Raises:
            StoreError: It cannot be written, or what is there has another shape.
        """

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Take rows of the table begun last: values as its row class says, best ordered by project and day.

        Of rows with the same key the last one counts where the grain is ``row``; else all of them are written.

        Raises:
            StoreError: They cannot be written; the sink is of no use then but for ``abort``.
        """

    def finish(self) -> None:
        """Make everything visible.

        Raises:
            StoreError: It cannot be written.
        """

    def abort(self) -> None:
        """Leave everything as it was before."""


class Finishing(ABC):
    """What makes a sink a context manager."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.abort()

    @abstractmethod
    def finish(self) -> None:
        """Make everything visible."""

    @abstractmethod
    def abort(self) -> None:
        """Leave everything as it was before."""


def open_sink(
    format: str,  # noqa: A002 -- the field's word
    directory: str | Path,
    *,
    compression: Compression | None = None,
    partition: Partition | None = None,
    for_spreadsheets: bool = False,
    sync: bool = False,
) -> Sink:
    """Return the sink of a format; its packages are loaded here.

    Args:
        format: One of ``FORMATS``.
        directory: Where the files go; made if need be.
        compression: Of JSON Lines and CSV.
        partition: Of Parquet: what has a file of its own, ``day`` by default.
        for_spreadsheets: CSV without texts that spreadsheets take for formulas.
        sync: Flush files to the disk before they get their names, against loss of power.

    Raises:
        ConfigurationError: There is no such format, it has no such setting, or a package that it needs is missing.
    """
    check_path(directory, "the directory")
    given = {"compression": compression, "partition": partition, "for_spreadsheets": for_spreadsheets, "sync": sync}
    settings = {name: value for name, value in given.items() if value}
    if format not in _HOMES:
        raise ConfigurationError(f"{format!r} is no format of exports", hint=f"it is one of {', '.join(FORMATS)}")
    module, name, known = _HOMES[format]
    for setting in settings:
        if setting not in known:
            raise ConfigurationError(f"{format} has no setting {setting!r}", hint="leave it out")
    sink: Sink = getattr(import_module(f"{__name__}.{module}"), name)(directory, **settings)
    return sink
