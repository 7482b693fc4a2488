"""What is recorded of an artifact, and the tables it lies in."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, Self, TypeVar

from attrs import asdict, fields, frozen

from aiocircle.download.outputs import records_of
from aiocircle.errors import StoreError
from aiocircle.given import check_path

T = TypeVar("T")

LEDGER = "ledger.sqlite"
VERSION = 3
LAYOUTS_ONLY = 2  # which kept of a run's choice no more than the template of names

_SOURCE = """
    slug TEXT, pipeline INTEGER, workflow TEXT, workflow_name TEXT, branch TEXT, job INTEGER, job_name TEXT,
    node INTEGER, path TEXT, address TEXT"""
_FILE = f"""
    id INTEGER PRIMARY KEY, target TEXT NOT NULL UNIQUE, artifact TEXT NOT NULL, {_SOURCE},
    size INTEGER NOT NULL, validator TEXT, sha256 TEXT, began REAL, ended REAL, inode INTEGER"""
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS files ({_FILE});
CREATE TABLE IF NOT EXISTS replaced ({_FILE});
CREATE TRIGGER IF NOT EXISTS replacing BEFORE UPDATE OF artifact ON files
WHEN OLD.inode IS NULL AND NEW.inode IS NOT NULL
BEGIN INSERT OR REPLACE INTO replaced SELECT * FROM files WHERE id = OLD.id; END;
CREATE TRIGGER IF NOT EXISTS not_replaced AFTER DELETE ON files WHEN OLD.inode IS NOT NULL
BEGIN
    INSERT INTO files SELECT * FROM replaced WHERE target = OLD.target;
    DELETE FROM replaced WHERE target = OLD.target;
END;
CREATE TABLE IF NOT EXISTS failures (
    id INTEGER PRIMARY KEY, artifact TEXT NOT NULL UNIQUE, target TEXT NOT NULL, {_SOURCE},
    code TEXT NOT NULL, reason TEXT NOT NULL, ended REAL NOT NULL, choice TEXT);
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unnamed ON files (id) WHERE inode IS NOT NULL;
"""  # noqa: S608 -- columns of ours
FIRST_VERSION = ("target", "artifact", "size")
_IDENTITY = re.compile(r"(.+)#(\d+)/(\d+)/(.*)", re.DOTALL)


@frozen(kw_only=True)
class Source:
    """Which artifact it is, and where it belongs; what was not asked for is ``None``.

    Attributes:
        slug: The project's slug.
        pipeline: The pipeline's number.
        workflow: The workflow's id.
        workflow_name: The workflow's name.
        branch: The pipeline's branch.
        job: The job's number; ``None`` for the jobs of a workflow, or of a pipeline, that could not be listed.
        job_name: The job's name.
        node: The parallel node.
        path: Its name as listed; ``None`` for a listing.
        address: Where it was listed, without query.
    """

    slug: str
    pipeline: int | None = None
    workflow: str | None = None
    workflow_name: str | None = None
    branch: str | None = None
    job: int | None = None
    job_name: str | None = None
    node: int | None = None
    path: str | None = None
    address: str | None = None

    @property
    def identity(self) -> str:
        """What tells it from every other artifact of its host."""
        if self.path is None:
            pipeline = "" if self.pipeline is None else f"pipeline-{self.pipeline}"
            return f"{self.slug}#{self.job or self.workflow or pipeline}"
        return f"{self.slug}#{self.job}/{self.node}/{self.path}"

    @classmethod
    def of_identity(cls, identity: str) -> "Source":
        """Return what an identity alone tells."""
        found = _IDENTITY.fullmatch(identity)
        if found is None:
            return cls(slug="")
        return cls(slug=found[1], job=int(found[2]), node=int(found[3]), path=found[4])


@frozen(kw_only=True)
class Stored:
    """A file that stands complete under its final name.

    Attributes:
        source: What it is.
        target: Its final name below the output.
        size: Bytes.
        validator: The ``ETag`` or ``Last-Modified`` that the host gave.
        sha256: The digest of the bytes in hexadecimal; ``None`` if an older version recorded the file.
        began: Seconds since the epoch at which the fetch began.
        ended: And when it was complete.
    """

    source: Source
    target: str
    size: int
    validator: str | None = None
    sha256: str | None = None
    began: float | None = None
    ended: float | None = None


@frozen(kw_only=True)
class Failed:
    """An artifact, or a listing, that could not be had.

    Attributes:
        source: What it is.
        target: The name it would have had; empty where it got none.
        code: The error's code.
        reason: Why, in words.
        ended: Seconds since the epoch.
        choice: What the run in which it failed would have fetched; see `aiocircle.download.choice`.
    """

    source: Source
    target: str
    code: str
    reason: str
    ended: float
    choice: str | None = None

    @property
    def key(self) -> str:
        """What tells it from every other one."""
        return failure_key(self.source, self.choice)


def failure_key(source: Source, choice: str | None) -> str:
    """Return what tells a failure from every other one: an artifact's by itself, a listing's by what was wanted of it.

    Who wants something else of a listing learns nothing of what another run wanted.
    """
    return f"{source.identity} {choice}" if source.path is None and choice else source.identity


SOURCE_COLUMNS = tuple(attribute.name for attribute in fields(Source))
_columns_of = attrgetter(*SOURCE_COLUMNS)


def values_of(source: Source) -> tuple[Any, ...]:
    """Return a source's columns, in order."""
    values: tuple[Any, ...] = _columns_of(source)
    return values


class Records:
    """A ledger that is only read. Use it as a context manager.

    Args:
        output: Where the download went.
        state: Where the records of a bucket lie; ``None`` for the usual place.

    Raises:
        ConfigurationError: The output is no path.
        StoreError: There is no ledger, or it cannot be read.
    """

    def __init__(self, output: str | Path, state: Path | None = None) -> None:
        check_path(output, "the output")
        self.path = records_of(str(output), state) / LEDGER

    def __enter__(self) -> Self:
        if not self.path.is_file() or self.path.is_symlink():
            hint = "it holds what 'aiocircle download' has fetched; is the directory right?"
            raise StoreError(f"{self.path}: there is no ledger", hint=hint)
        # Without a log beside it the file is whole by itself, and can be read where nothing may be written.
        mode = "mode=ro" if self.path.with_name(f"{LEDGER}-wal").exists() else "mode=ro&immutable=1"
        with self._explained():
            self._rows = sqlite3.connect(f"{self.path.absolute().as_uri()}?{mode}", uri=True)
        try:
            with self._explained():
                self._rows.row_factory = sqlite3.Row
                if not self._columns_of("files").issuperset(FIRST_VERSION):
                    raise sqlite3.DatabaseError("it is no ledger")  # noqa: TRY301 -- as SQLite says it of other files
        except BaseException:
            self._rows.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def about(self) -> Mapping[str, str]:
        """Return what is known of the last run: its ``origin``, its ``intent``, and whether it is ``finished``."""
        return dict(self._all("about", lambda row: (str(row["name"]), str(row["value"]))))

    def stored(self) -> Iterator[Stored]:
        """Yield the files, in the order in which their names were first used."""
        return self._all("files", _stored_in)

    def unsettled(self) -> frozenset[str]:
        """Return the names of those files that had not surely got them when a run was killed, or have not yet."""
        with self._explained():
            if "inode" not in self._columns_of("files"):
                return frozenset()
            found = self._rows.execute("SELECT target FROM files WHERE inode IS NOT NULL")
            return frozenset(str(row["target"]) for row in found)

    def failed(self) -> Iterator[Failed]:
        """Yield what could not be had, in the order in which it failed first."""
        return self._all("failures", _failed_in)

    def _all(self, table: str, made: Callable[[sqlite3.Row], T]) -> Iterator[T]:
        with self._explained():
            columns = self._columns_of(table)
            if columns:  # an older version had but one table
                order = " ORDER BY id" if "id" in columns else ""
                yield from map(made, self._rows.execute(f"SELECT * FROM {table}{order}"))  # noqa: S608 -- names of ours

    def _columns_of(self, table: str) -> set[str]:
        return {row["name"] for row in self._rows.execute(f"PRAGMA table_info({table})")}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, IndexError) as error:
            hint = "is it damaged, or another program's? without it the same 'aiocircle download' begins anew"
            raise StoreError(f"{self.path}: {error}", hint=hint) from None


_STORED = ("target", "size", "validator", "sha256", "began", "ended")
_FAILED = ("target", "code", "reason", "ended")


def _stored_in(row: sqlite3.Row) -> Stored:
    known = row.keys()
    values: dict[str, Any] = {name: row[name] for name in _STORED if name in known}
    return Stored(source=_source_of(row), **values)


def _failed_in(row: sqlite3.Row) -> Failed:
    choice = row["choice" if "choice" in row.keys() else "layout"]  # noqa: SIM118 -- a row is no mapping
    return Failed(source=_source_of(row), choice=choice, **{name: row[name] for name in _FAILED})


def _source_of(row: sqlite3.Row) -> Source:
    known = row.keys()
    if "slug" not in known:
        return Source.of_identity(row["artifact"])
    return Source(**{name: row[name] for name in SOURCE_COLUMNS})


def manifest(records: Records) -> Iterator[str]:
    """Yield a line of JSON for every artifact: the files in the ledger's order, then what could not be had."""
    for stored in records.stored():
        values = asdict(stored)
        yield _line("stored", values)
    for failed in records.failed():
        values = asdict(failed)
        del values["choice"]
        yield _line("failed", values)


def _line(outcome: str, values: dict[str, Any]) -> str:
    source = values.pop("source")
    times = {name: _time(values.pop(name)) for name in ("began", "ended") if name in values}
    return json.dumps({"outcome": outcome, "target": values.pop("target"), **source, **values, **times})


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
