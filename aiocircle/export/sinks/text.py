"""JSON Lines and CSV: a file for each table, in UTF-8.

A table is replaced as a whole, and its file in another compression goes: who reads ``jobs.jsonl*`` would count twice.
In CSV, ``None`` and the empty text are both empty fields; whoever must tell them apart takes JSON Lines. Lists and
mappings are JSON in a field. Lines end with CR LF (RFC 4180).

Spreadsheets take a field that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, and a commit's subject may be
anything: ``=HYPERLINK(...)``. An export shall say what there was, so fields are written as they are; for files that
are going to be opened in a spreadsheet, ``for_spreadsheets`` puts an apostrophe before such texts.
"""

import csv
import gzip
import io
import json.encoder
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, ClassVar, Final

from aiocircle.errors import ConfigurationError
from aiocircle.export.sinks import Compression, Finishing, Grain
from aiocircle.export.sinks.parts import Parts
from aiocircle.export.sinks.refusals import explained
from aiocircle.export.tables import Column, Table
from aiocircle.export.texts import Change, each, is_finite, nested, time_text, times, utf8
from aiocircle.extras import load_zstd

_SUFFIXES: Final[Mapping[str | None, str]] = {None: "", "gzip": ".gz", "zstd": ".zst"}
_ROWS_AT_ONCE: Final = 1000  # as text they are about a MiB
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 -- full-width ones count

_Row = tuple[Any, ...]


class _Texts(Finishing):
    """A text file for each table.

    Args:
        directory: Where they go; made if need be.
        compression: ``gzip``, which gives the same bytes for the same rows, ``zstd``, or none.
        sync: Flush each file to the disk before it gets its name, against loss of power.

    Raises:
        ConfigurationError: There is no such compression, or the package for it is not installed.
    """

    grain: Grain = "table"
    kind: ClassVar[str]

    def __init__(self, directory: str | Path, *, compression: Compression | None = None, sync: bool = False) -> None:
        if compression not in _SUFFIXES:
            raise ConfigurationError(f"{compression!r} is no compression of text files", hint="gzip or zstd")
        self._zstd = load_zstd("compressing with zstd") if compression == "zstd" else None
        self._compression = compression
        self._parts = Parts(Path(directory), self.kind, sync=sync)
        self._suffix = f".{self.kind}{_SUFFIXES[compression]}"
        self._begun: list[str] = []
        self._file: IO[bytes] | None = None
        self._stream: IO[bytes] | None = None
        self._text: Callable[[Sequence[_Row]], str] | None = None

    def has(self, table: Table, parts: Iterable[tuple[str, ...]] = ()) -> bool:  # noqa: ARG002 -- it has no parts
        """Return whether there is a file of a table."""
        return self._final(table.name).is_file()

    def begin(self, table: Table, *, whole: bool = True) -> None:
        """Go on with a table, all of whose rows come next.

        Raises:
            StoreError: Its file cannot be written.
        """
        if not whole:
            raise ValueError("a text file is replaced as a whole")
        self._close_file()
        self._parts.open()
        name = table.name
        with explained(self._final(name)):
            self._file = self._parts.path(name).open("xb", buffering=256 * 1024)
            self._stream = self._compressed(self._file)
            self._begun.append(name)
            head, self._text = self._format(table)
            self._stream.write(utf8(head))

    def write(self, rows: Sequence[_Row]) -> None:
        """Take rows of the table begun last.

        Raises:
            StoreError: Its file cannot be written.
        """
        if self._stream is None or self._text is None:
            raise ValueError("no table was begun")
        with explained(self._final(self._begun[-1])):
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                self._stream.write(utf8(self._text(rows[start : start + _ROWS_AT_ONCE])))

    def finish(self) -> None:
        """Give all files their names.

        Raises:
            StoreError: The disk refused; files that have not got their names are gone.
        """
        try:
            self._close_file()
            for name in self._begun:
                self._parts.publish(self._parts.path(name), self._final(name))
                self._remove_others(name)
        finally:
            self.abort()

    def abort(self) -> None:
        """Leave everything as it was before."""
        for stream in (self._file, self._stream):  # the file first: what the stream still has goes nowhere
            if stream is not None:
                _forget(stream)
        self._stream = self._file = self._text = None
        self._begun.clear()
        self._parts.close()

    def _remove_others(self, name: str) -> None:
        """Remove what an earlier finish left of a table in another compression."""
        for suffix in _SUFFIXES.values():
            other = self._parts.directory / f"{name}.{self.kind}{suffix}"
            if other != self._final(name) and other.is_file():
                with explained(other):
                    other.unlink()

    def _final(self, name: str) -> Path:
        return self._parts.directory / f"{name}{self._suffix}"

    def _compressed(self, file: IO[bytes]) -> IO[bytes]:
        if self._compression == "gzip":
            return gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0)  # type: ignore[return-value]
        if self._zstd is not None:
            stream: IO[bytes] = self._zstd.ZstdFile(file, "w")
            return stream
        return file

    def _close_file(self) -> None:
        if self._stream is None or self._file is None:
            return
        with explained(self._final(self._begun[-1])):
            self._stream.close()
            self._file.close()
        self._stream = self._file = self._text = None

    @abstractmethod
    def _format(self, table: Table) -> tuple[str, Callable[[Sequence[_Row]], str]]:
        """Return how a table's file begins, and what turns rows into text."""


class JsonLines(_Texts):
    """A file ``{table}.jsonl`` for each table: an object in each line. Arguments as of `Csv`."""

    kind = "jsonl"

    def _format(self, table: Table) -> tuple[str, Callable[[Sequence[_Row]], str]]:
        members = ",".join(f"{_quoted(name).replace('%', '%%')}:%s" for name in table.names)
        template = f"{{{members}}}\n"
        changes = [_json_change(column) for column in table.columns]

        def text(rows: Sequence[_Row]) -> str:
            columns = zip(changes, zip(*rows, strict=True), strict=True)
            values = zip(*(change(column) for change, column in columns), strict=True)
            return "".join([template % row for row in values])

        return "", text


class Csv(_Texts):
    """A file ``{table}.csv`` for each table, with a line of names.

    Args:
        directory: Where they go; made if need be.
        compression: ``gzip``, which gives the same bytes for the same rows, ``zstd``, or none.
        sync: Flush each file to the disk before it gets its name, against loss of power.
        for_spreadsheets: Put an apostrophe before texts that a spreadsheet would take for formulas.

    Raises:
        ConfigurationError: There is no such compression, or the package for it is not installed.
    """

    kind = "csv"

    def __init__(
        self,
        directory: str | Path,
        *,
        compression: Compression | None = None,
        sync: bool = False,
        for_spreadsheets: bool = False,
    ) -> None:
        super().__init__(directory, compression=compression, sync=sync)
        self._for_spreadsheets = for_spreadsheets

    def _format(self, table: Table) -> tuple[str, Callable[[Sequence[_Row]], str]]:
        changes = [_csv_change(column, for_spreadsheets=self._for_spreadsheets) for column in table.columns]

        def text(rows: Sequence[_Row]) -> str:
            columns = zip(changes, zip(*rows, strict=True), strict=True)
            values = [column if change is None else change(column) for change, column in columns]
            return _csv_text(zip(*values, strict=True))

        return _csv_text([table.names]), text


def _forget(stream: IO[bytes]) -> None:
    with suppress(OSError, ValueError):
        stream.close()


def _csv_text(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


_quoted = json.encoder.encode_basestring


def _json_change(column: Column) -> Change:
    if column.kind == "text":
        return each(_quoted, "null")
    if column.kind == "time":
        return times(lambda moment: f'"{time_text(moment)}"', "null")
    if column.kind == "boolean":
        return each(lambda value: "true" if value else "false", "null")
    if column.kind in {"integer", "real"}:
        return each(_number, "null")
    return nested(column, "null")


def _csv_change(column: Column, *, for_spreadsheets: bool) -> Change | None:
    if column.kind == "text":
        return each(_no_formula, None) if for_spreadsheets else None
    if column.kind == "time":
        return times(time_text, None)
    if column.kind == "boolean":
        return each(lambda value: "true" if value else "false", None)
    if column.kind in {"integer", "real"}:
        return None
    return nested(column, None)


def _number(value: float | str) -> str:
    if isinstance(value, float):
        return repr(value) if is_finite(value) else "null"
    return str(value)


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULAS) else text
