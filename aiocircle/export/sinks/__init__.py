"""Where the rows of an export go.

A sink takes tables one after another, and of each the rows in batches; ``finish`` makes all of it visible, and nothing
of it is visible before. Sinks block; the exporter calls them in a thread. Each may be used alone::

    with JsonLines("out", compression="gzip") as sink:
        sink.begin(TABLES["jobs"])
        sink.write(rows)

Leaving the block finishes the sink, an exception in it aborts it.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar, Literal, Protocol, Self

from aiocircle.export.tables import Table

Grain = Literal["table", "day", "row"]


class Sink(Protocol):
    """Takes the rows of tables.

    Attributes:
        grain: The least of a table that it can replace: all of it, a day of a project, or a row.
    """

    grain: ClassVar[Grain]

    def has(self, table: Table) -> bool:
        """Return whether an earlier ``finish`` made rows of a table visible that are still there."""

    def begin(self, table: Table, *, whole: bool = True) -> None:
        """Go on with a table, whose rows come next.

        Args:
            table: Comes once between two ``finish``.
            whole: What comes is all of the table. Otherwise it takes the place of what has the same day and project, or
                the same key, by ``grain``, and the rest stays; never with a grain of ``table``.
        """

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Take rows of the table begun last: values as its row class says, ordered by day if that is the grain."""

    def finish(self) -> None:
        """Make everything visible.

        Raises:
            StoreError: It cannot be written.
        """

    def abort(self) -> None:
        """Leave everything as it was before."""


class Finishing:
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

    def finish(self) -> None:
        """Make everything visible."""
        raise NotImplementedError

    def abort(self) -> None:
        """Leave everything as it was before."""
        raise NotImplementedError
