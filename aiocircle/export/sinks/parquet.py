"""Parquet: a file for each project and day, month, or table, which is replaced at once.

Rows are converted to Arrow as they come, and wait in memory for their file. When too many wait, those of the
partition that got rows the longest ago are written: with rows in order of project and day each file is written once.
When a partition got rows again after its file was closed, what it has in several is put together in the end: a
partition is one file, so that renaming replaces all of it, and no part of an older one is left beside.

A run that is killed while it renames leaves some partitions new and the others as they were, each of them whole.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from attrs import define, field

from aiocircle.errors import ConfigurationError, StoreError
from aiocircle.export.sinks import Finishing, Grain, Partition
from aiocircle.export.sinks.arrow import ArrowRows
from aiocircle.export.sinks.partitions import EMPTY, PART, Key, Partitioning, is_partitioned
from aiocircle.export.sinks.parts import Parts
from aiocircle.export.sinks.refusals import explained
from aiocircle.export.tables import Table
from aiocircle.extras import load_extra

_GRAINS: Final[dict[str, Grain]] = {"day": "day", "month": "month", "none": "table"}
_ROWS_AT_ONCE: Final = 4096
_GROUP_ROWS: Final = 128 * 1024
_GROUP_BYTES: Final = 12 * 1024 * 1024  # in memory; on the disk it is about a tenth of that
_WAITING_BYTES: Final = 16 * 1024 * 1024
_OPEN_FILES: Final = 4

_Row = tuple[Any, ...]


@define(eq=False)
class _File:
    """An unfinished file."""

    path: Path
    file: IO[bytes]
    writer: Any


@define(eq=False)
class _Partition:
    """Rows of a partition that wait, the file that takes them, and those that are closed."""

    batches: list[Any] = field(factory=list)
    rows: int = 0
    size: int = 0
    open: _File | None = None
    closed: list[Path] = field(factory=list)

    @property
    def is_full(self) -> bool:
        """Whether what waits is a row group."""
        return self.rows >= _GROUP_ROWS or self.size >= _GROUP_BYTES


class _Writing:
    """The unfinished files of one table."""

    def __init__(self, table: Table, partition: Partition, parts: Parts, *, whole: bool) -> None:
        self.table = table
        self.whole = whole
        self.partitioning = Partitioning(table, partition)
        self.partitions: dict[Key, _Partition] = {}
        self._waiting: dict[Key, _Partition] = {}  # the one that got rows last is the last
        self._open: list[_Partition] = []
        self.arrow = ArrowRows(table, without=frozenset(self.partitioning.columns[:1]))
        self._pa = load_extra("pyarrow", what="writing Parquet", extra="parquet")
        self._parquet = load_extra("pyarrow.parquet", what="writing Parquet", extra="parquet")
        self._parts = parts
        self._size = 0
        self._count = 0

    def take(self, rows: Sequence[_Row]) -> None:
        runs = list(self.partitioning.divided(rows))
        batch = self.arrow.batch([row for _, some in runs for row in some])
        row_size = batch.nbytes / max(len(rows), 1)
        start = 0
        for key, some in runs:
            self._add(key, batch.slice(start, len(some)), int(len(some) * row_size))
            start += len(some)
        while self._size > _WAITING_BYTES:
            self._write(self._waiting.pop(next(iter(self._waiting))))

    def end(self) -> None:
        """Write what waits, and put together what lies in several files."""
        for one in self._waiting.values():
            self._write(one)
        for one in tuple(self._open):
            self._close(one)
        for one in self.partitions.values():
            if len(one.closed) > 1:
                one.closed = [self._joined(one.closed)]
        if not self.partitions and self.whole:
            self._write_nothing()

    def abandon(self) -> None:
        for one in self._open:
            if one.open is not None:
                with suppress(Exception):  # it writes its end, to a file that is going to be removed
                    one.open.writer.close()
                with suppress(OSError):
                    one.open.file.close()

    def _add(self, key: Key, batch: Any, size: int) -> None:
        one = self.partitions.setdefault(key, _Partition())
        self._waiting.pop(key, None)
        one.batches.append(batch)
        one.rows += batch.num_rows
        one.size += size
        self._size += size
        if one.is_full:
            self._write(one)
        else:
            self._waiting[key] = one

    def _write(self, one: _Partition) -> None:
        """Write what waits of a partition as a row group."""
        if one.open is None:
            self._begin(one, self.arrow.schema)
            for oldest in self._open[:-_OPEN_FILES]:
                self._close(oldest)
        assert one.open is not None
        one.open.writer.write_table(self._pa.Table.from_batches(one.batches), row_group_size=_GROUP_ROWS)
        self._size -= one.size
        one.batches, one.rows, one.size = [], 0, 0

    def _close(self, one: _Partition) -> None:
        if one.open is not None:
            one.open.writer.close()
            one.open.file.close()
            one.closed.append(one.open.path)
            one.open = None
            self._open.remove(one)

    def _begin(self, one: _Partition, schema: Any) -> None:
        # A file of Python's, since its errors are the system's.
        path = self._parts.path(f"{self.table.name}-{self._count}")
        self._count += 1
        file = path.open("xb", buffering=128 * 1024)
        one.open = _File(path, file, self._parquet.ParquetWriter(file, schema, compression="zstd"))
        self._open.append(one)

    def _joined(self, paths: Sequence[Path]) -> Path:
        joined = _Partition()
        self._begin(joined, self.arrow.schema)
        for path in paths:
            with self._parquet.ParquetFile(path) as source:
                for batch in source.iter_batches(_ROWS_AT_ONCE):
                    joined.batches.append(batch)
                    joined.size += batch.nbytes
                    joined.rows += batch.num_rows
                    if joined.is_full:
                        self._write_joined(joined)
            path.unlink()
        self._write_joined(joined)
        self._close(joined)
        return joined.closed[0]

    def _write_joined(self, joined: _Partition) -> None:
        self._size += joined.size
        if joined.batches:
            self._write(joined)

    def _write_nothing(self) -> None:
        """Write a file without rows that has all columns, those of directories included."""
        schema = ArrowRows(self.table).schema
        for column in self.partitioning.columns[1:]:
            schema = schema.append(self._pa.field(column, self._pa.string()))
        one = self.partitions[()] = _Partition()
        self._begin(one, schema)
        self._close(one)


class Parquet(Finishing):
    """A directory of Parquet files for each table, or a file.

    Args:
        directory: Where they go; made if need be.
        partition: What has a file of its own: a ``day`` or a ``month`` of a project, or with ``none`` a table.
        sync: Flush each file to the disk before it gets its name, against loss of power.

    Raises:
        ConfigurationError: There is no such partition, or the package pyarrow is not installed.
    """

    def __init__(self, directory: str | Path, *, partition: Partition = "day", sync: bool = False) -> None:
        if partition not in _GRAINS:
            raise ConfigurationError(f"{partition!r} is no partition", hint="it is day, month or none")
        self._pa = load_extra("pyarrow", what="writing Parquet", extra="parquet")
        self._parquet = load_extra("pyarrow.parquet", what="writing Parquet", extra="parquet")
        self.grain: Grain = _GRAINS[partition]
        self._partition: Partition = partition
        self._directory = Path(directory)
        self._parts = Parts(self._directory, "parquet", sync=sync)
        self._begun: list[_Writing] = []

    def has(self, table: Table, parts: Iterable[Key] = ()) -> bool:
        """Return whether there are files of a table, divided as this sink divides them and not otherwise as well."""
        partitioning = Partitioning(table, self._partition)
        is_file = self._single(table).is_file()
        with explained(self._directory / table.name):
            if self._partition == "none":
                return is_file and not any(True for _ in self._found(table))
            found = set(self._found(table))
        if not found or not all(map(partitioning.is_own, found)) or is_file:
            return False
        return all((*partitioning.directory(part), PART) in found for part in parts)

    def begin(self, table: Table, *, whole: bool = True) -> None:
        """Go on with a table.

        Raises:
            StoreError: It cannot be written, or what is there is of another shape and is not replaced as a whole.
        """
        if not whole:
            if self._partition == "none":
                raise ValueError("a table in one file is replaced as a whole")
            self._check(table)
        self._parts.open()
        if self._begun:
            with self._explained():
                self._begun[-1].end()
        self._begun.append(_Writing(table, self._partition, self._parts, whole=whole))

    def write(self, rows: Sequence[_Row]) -> None:
        """Take rows of the table begun last.

        Raises:
            StoreError: They cannot be written.
        """
        if not self._begun:
            raise ValueError("no table was begun")
        with self._explained():
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                self._begun[-1].take(rows[start : start + _ROWS_AT_ONCE])

    def finish(self) -> None:
        """Give all files their names.

        Raises:
            StoreError: The disk refused; partitions that did not get their names are as they were.
        """
        try:
            if self._begun:
                with self._explained():
                    self._begun[-1].end()
            for writing in self._begun:
                self._publish(writing)
        finally:
            self.abort()

    def abort(self) -> None:
        """Leave everything as it was before."""
        for writing in self._begun:
            writing.abandon()
        self._begun.clear()
        self._parts.close()

    def _publish(self, writing: _Writing) -> None:
        table, partitioning = writing.table, writing.partitioning
        named: set[Key] = set()
        for key, one in writing.partitions.items():
            if not partitioning.columns:
                self._parts.publish(one.closed[0], self._single(table))
            else:
                path = (*partitioning.directory(key), PART) if key else (EMPTY,)
                self._parts.publish(one.closed[0], self._directory.joinpath(table.name, *path))
                named.add(path)
        with explained(self._directory / table.name):
            for path in list(self._found(table)):
                if path not in named and (writing.whole or (path == (EMPTY,) and named)):
                    _remove(self._directory / table.name, path)
            if writing.whole and partitioning.columns:
                self._single(table).unlink(missing_ok=True)

    def _check(self, table: Table) -> None:
        """See that what is there is divided as this sink does it, and has the same columns."""
        partitioning = Partitioning(table, self._partition)
        place = self._directory / table.name
        with explained(place):
            found = [path for path in self._found(table) if path != (EMPTY,)]
            if self._single(table).exists() or not all(map(partitioning.is_own, found)):
                raise StoreError(
                    f"{place}: it is divided otherwise than by {self._partition}",
                    fatal=True,
                    hint="write all of the table, or choose another directory",
                )
            if not found:
                return
            with self._explained():
                known = self._parquet.read_schema(place.joinpath(*found[0]))
        if not known.equals(ArrowRows(table, without=frozenset(partitioning.columns[:1])).schema):
            raise StoreError(
                f"{place}: its files have other columns than these rows",
                fatal=True,
                hint="write all of the table, or choose another directory",
            )

    def _single(self, table: Table) -> Path:
        return self._directory / f"{table.name}.parquet"

    def _found(self, table: Table) -> Iterator[Key]:
        """Yield the files of a table that a sink has written, however it was divided."""
        top = self._directory / table.name
        for place, _, names in os.walk(top):
            directories = Path(place).relative_to(top).parts
            yield from (path for name in names if is_partitioned(path := (*directories, name)))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with explained(self._directory):
                yield
        except self._pa.ArrowException as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise StoreError(f"{self._directory}: {reason}", fatal=True) from None


def _remove(top: Path, path: Iterable[str]) -> None:
    """Remove a file, and the directories that are empty without it."""
    file = top.joinpath(*path)
    file.unlink(missing_ok=True)
    place = file.parent
    with suppress(OSError):
        while place != top.parent:
            place.rmdir()
            place = place.parent
