r"""The files of an export of usage data: gzipped CSV of any size, on disk, read a few records at a time.

A file is written to a temporary one and followed to the end of its gzip stream while it arrives. So nobody sees a
record of a file that is cut, the connection need not wait for whoever takes the rows, and a stream that unpacks without
end is refused before the first row. Memory holds a batch of records and a step of the stream, whatever the size.

``\N`` and nothing stand for what is not known. Columns come in any order, and may be more or fewer than known. What
tells rows apart is the job and the day of its run: a job has one row in an export, and the exports of two spans, or of
the same one, may both have it. Rows of no job (seats) are told apart by all that they say, but for when their project
was last built, which changes from one export to the next.

Everything here blocks: it belongs into a thread.
"""

import csv
import gzip
import io
import math
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import islice
from typing import IO, Any, Final

from aiocircle.errors import InterruptedBodyError, StoreError, UsageExportError
from aiocircle.export.rows import UsageRow
from aiocircle.export.tables import Kind, columns_of

LONGEST: Final = (
    2 * 1024 * 1024 * 1024
)  # bytes of CSV; the host gives up at 100 MB for a whole export (facts, section 7)
LONGEST_LINE: Final = 1024 * 1024  # characters
STEP: Final = 1024 * 1024  # bytes unpacked at a time
NULLS: Final = frozenset({"", "\\N"})

_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = 31  # zlib's number for deflate in gzip's wrapping
_NEEDED: Final = ("ORGANIZATION_ID", "JOB_ID")
_VOLATILE: Final = "LAST_BUILD_FINISHED_AT"
_HINT: Final = "try again later; if it stays like that, this is worth a report"

Record = Mapping[str, str]
"""What a line says, by column, as the host wrote it."""


class UsageFile:
    """One file of an export, being received and then read. Use it as a context manager.

    Args:
        longest: Bytes to which it may unpack.

    Raises:
        StoreError: There is no room for temporary files.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        with _disk():
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with this
        self.begin()

    def close(self) -> None:
        """Let go of the file, and of its room on the disk."""
        self._file.close()

    def begin(self) -> None:
        """Begin to receive it, anew if it was begun before."""
        with _disk():
            self._file.seek(0)
            self._file.truncate()
        self._size = self._unpacked = 0
        self._packed: bool | None = None
        self._stream = zlib.decompressobj(_GZIP)

    def take(self, data: bytes) -> None:
        """Take in more of its bytes, two at least if they are the first.

        Raises:
            UsageExportError: It is longer than any export.
            InterruptedBodyError: It is damaged.
            StoreError: The disk refused.
        """
        if self._packed is None and data:
            self._packed = data.startswith(_MAGIC)
        self._size += len(data)
        if self._packed:
            self._follow(data)
        if max(self._size, self._unpacked) > self._longest:
            raise UsageExportError(f"a file of usage data unpacks to more than {self._longest} bytes", hint=_HINT)
        with _disk():
            self._file.write(data)

    def end(self, data: bytes) -> None:
        """Take in its last bytes.

        Raises:
            InterruptedBodyError: It ends before its own end.
        """
        self.take(data)
        if self._packed and not self._stream.eof:
            raise InterruptedBodyError("a file of usage data ended before its own end")

    def _follow(self, data: bytes) -> None:
        """Follow the gzip stream; it may consist of several members, and zeros may fill it up."""
        while data:
            if self._stream.eof:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._stream = zlib.decompressobj(_GZIP)
            try:
                self._unpacked += len(self._stream.decompress(data, STEP))
            except zlib.error:
                raise InterruptedBodyError("a file of usage data is damaged") from None
            if self._unpacked > self._longest:
                return
            data = self._stream.unconsumed_tail or self._stream.unused_data

    def records(self) -> "Records":
        """Return its records.

        Raises:
            UsageExportError: It is no usage data.
        """
        with _disk():
            self._file.seek(0)
        return Records(self._file, packed=bool(self._packed))


class Records:
    """The records of a file, from the first to the last.

    Args:
        file: The file, at its beginning.
        packed: It is compressed.

    Raises:
        UsageExportError: It does not begin as usage data does.
    """

    def __init__(self, file: IO[bytes], *, packed: bool) -> None:
        unpacked: Any = gzip.GzipFile(fileobj=file, mode="rb") if packed else _Unclosed(file)
        self._text = io.TextIOWrapper(io.BufferedReader(unpacked), "utf-8-sig", "replace", newline="")
        self._reader = csv.reader(_lines(self._text))
        self._records = self._read()
        header = next(self._records, [])
        self._names = [name.strip().upper() for name in header]
        if not set(_NEEDED) <= set(self._names):
            raise UsageExportError(f"a file of usage data is {_looks_like(header)}", hint=_HINT)
        self._row = _Rows(self._names)

    def batch(self, number: int) -> list[tuple[UsageRow, Record]]:
        """Return the next rows, so many at most, each with its record; none at the end.

        Raises:
            UsageExportError: A line is no record of this file.
        """
        found: list[tuple[UsageRow, Record]] = []
        for record in islice(self._records, number):
            if len(record) != len(self._names):
                raise UsageExportError(
                    f"line {self._reader.line_num} of a file of usage data has {len(record)} fields, "
                    f"and its header {len(self._names)}",
                    hint=_HINT,
                )
            found.append((self._row(record), dict(zip(self._names, record, strict=True))))
        return found

    def _read(self) -> Iterator[list[str]]:
        """Yield the lines that are not empty, as fields."""
        try:
            with _disk():
                yield from filter(None, self._reader)
        except csv.Error as error:
            raise UsageExportError(
                f"line {self._reader.line_num} of a file of usage data cannot be read: {error}", hint=_HINT
            ) from None


class _Unclosed(io.RawIOBase):
    """A file that is read and not closed by its reader, whose end comes sooner than that of the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Rows:
    """Makes rows of records whose fields have these names."""

    def __init__(self, names: Sequence[str]) -> None:
        places = {name: place for place, name in enumerate(names)}
        columns = [column for column in columns_of(UsageRow) if column.name not in {"id", "more"}]
        self._fields = [(places.get(column.name.upper()), _READERS[column.kind], column.name) for column in columns]
        known = {column.name.upper() for column in columns}
        self._unknown = [(place, name.lower()) for name, place in places.items() if name not in known]
        self._job, self._date = places["JOB_ID"], places.get("JOB_RUN_DATE")
        self._volatile = places.get(_VOLATILE)

    def __call__(self, record: Sequence[str]) -> UsageRow:
        more: dict[str, Any] = {name: record[place] for place, name in self._unknown if record[place] not in NULLS}
        values: list[Any] = [self._id_of(record)]
        for place, read, name in self._fields:
            text = "" if place is None else record[place]
            if text in NULLS:
                values.append(None)
                continue
            try:
                values.append(read(text))
            except (ValueError, OverflowError):
                values.append(None)
                more[name] = text
        return UsageRow._make([*values, more])

    def _id_of(self, record: Sequence[str]) -> str:
        job_id = record[self._job]
        if job_id in NULLS:
            said = (text for place, text in enumerate(record) if place != self._volatile)
            return blake2b("\0".join(said).encode(errors="replace"), digest_size=16).hexdigest()
        day = "" if self._date is None else record[self._date][:10]
        return job_id if day in NULLS else f"{job_id}/{day}"


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = _real(text)
        if not number.is_integer():
            raise
        return int(number)


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _boolean(text: str) -> bool:
    return _TRUTHS[text.strip().lower()]


class _Truths(dict[str, bool]):
    def __missing__(self, key: str) -> bool:
        raise ValueError(key)


_TRUTHS: Final = _Truths(true=True, t=True, y=True, yes=True, false=False, f=False, n=False, no=False)
_TRUTHS.update({"1": True, "0": False})


def _time(text: str) -> datetime:
    """Read a time: ISO 8601, or as databases write it, with the zone behind a space; without one it is in UTC."""
    words = text.replace("UTC", "Z").split()
    moment = datetime.fromisoformat(" ".join(words[:2]) + "".join(words[2:]))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_READERS: Final[Mapping[Kind, Callable[[str], Any]]] = {
    "text": str,
    "integer": _integer,
    "real": _real,
    "boolean": _boolean,
    "time": _time,
}


def _lines(text: IO[str]) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise UsageExportError(f"a line of a file of usage data has {LONGEST_LINE} characters or more", hint=_HINT)
        yield line


def _looks_like(header: Sequence[str]) -> str:
    if not header:
        return "empty: it has no header"
    if header[0].lstrip().startswith("<"):
        return "not CSV but an HTML or XML page"
    return f"not what it should be: its header has no {' or no '.join(_NEEDED)}"


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        words = (error.strerror or type(error).__name__).lower()
        raise StoreError(
            f"a file of usage data has no place among the temporary files: {words}",
            fatal=True,
            hint="make room there, or set TMPDIR to a directory that has some",
        ) from None
