"""From the state of an export to files in the formats that were asked for.

A format is written when everything was collected, and what it has already is not written again: all of a table, its
changed days, or its changed rows, by what the format can replace. What a snapshot no longer has is gone only if it is
written whole, which snapshots, being small, always are.
"""

import threading
from collections.abc import Callable, Iterable, Mapping

from aiocircle.errors import AioCircleError
from aiocircle.export.sinks import Sink
from aiocircle.export.state import State
from aiocircle.export.tables import Table

DAY, MONTH = len("2026-11-24"), len("2026-11")


class StoppedError(AioCircleError):
    """Nobody waits any more for what is being written."""

    code = "stopped"


class Publisher:
    """Writes the tables of a state.

    Args:
        state: Has the rows.
        tables: What is to be written.
        on_rows: Told the name of a table and of a format, and how many of its rows have been written so far.
    """

    def __init__(self, state: State, tables: Iterable[Table], on_rows: Callable[[str, str, int], None]) -> None:
        self._state = state
        self._tables = tuple(tables)
        self._on_rows = on_rows
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Give up what is being written; may be called in another thread."""
        self._stopped.set()

    def publish(self, sinks: Mapping[str, Sink]) -> None:
        """Bring outputs up to date, one after another; blocks.

        Args:
            sinks: By what tells them from other outputs of this state.

        Raises:
            StoreError: One cannot be written.
            StoppedError: It was stopped.
        """
        for target, sink in sinks.items():
            try:
                for table in self._tables:
                    self._write(target, sink, table)
                sink.finish()
            except BaseException:
                sink.abort()
                raise
            self._state.set_published(target, self._tables)

    def _write(self, target: str, sink: Sink, table: Table) -> None:
        state = self._state
        day = {"day": DAY, "month": MONTH}.get(sink.grain, 0)
        before = state.published(target, table)
        if before and not sink.has(table, state.parts(table, day) if day else ()):  # somebody removed it, or some of it
            before = 0
        if before and not table.is_snapshot and state.newest(table) <= before:
            return
        whole = not before or sink.grain == "table" or table.is_snapshot
        sink.begin(table, whole=whole)
        count = 0
        for batch in state.rows(table, newer_than=0 if whole else before, day=day):
            if self._stopped.is_set():
                raise StoppedError("stopped")
            sink.write(batch.rows)
            count += len(batch.rows)
            self._on_rows(table.name, target, count)
