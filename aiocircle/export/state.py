"""The memory of an export: every row that was collected, and what of the history it covers.

One SQLite database, ``.aiocircle/export.sqlite`` in the output. Rows and the marks that say how far they reach are
committed together, so a kill at any moment loses at most what was not committed yet, and nothing is doubled: a row
takes the place of the one of its key. The files of an export are written from here (`aiocircle.export.publishing`).

What there is to know of the history (see `aiocircle.export.sweep` for what is made of it):

* ``_sweeps``: per project, branch and datasets, from when to when pipelines are covered, and the page at which a
  sweep was broken off;
* ``_pipelines``: which datasets are complete for a pipeline, and of which more may come;
* ``_workflows``: which datasets are complete for a workflow that has ended;
* ``_jobs``: which are for a job that has ended, as long as its workflow has not.

``_run`` counts the runs; one that was broken off goes on under its number, if the same datasets are asked for. In each
table it is the run that saw a row last, which tells what is new since an output was written, and what a snapshot no
longer has.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from attrs import asdict

from aiocircle.errors import ConfigurationError
from aiocircle.export.database import Database
from aiocircle.export.marks import Collected, PipelineMark, Sweep
from aiocircle.export.records import creation, decoder, encoder, of_key, quoted, storable, upsertion
from aiocircle.export.tables import Batch, Table, text_of, utc
from aiocircle.export.usage import UsageJob

FOLDER = ".aiocircle"
STATE = "export.sqlite"
VERSION = "2"
READ_AT_ONCE = 2000  # rows
GOES_ON = timedelta(hours=12)  # since a run began; what it saw earlier than that may look different now
_NEW_OUTPUT: Final = "choose a new output with -o"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _sweeps (
    scope TEXT PRIMARY KEY, since TEXT, newest TEXT, token TEXT, token_newest TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _pipelines (
    id TEXT PRIMARY KEY, project TEXT NOT NULL, number INTEGER, created_at TEXT, branch TEXT, state TEXT,
    covered INTEGER NOT NULL, is_open INTEGER NOT NULL, run INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _open_pipelines ON _pipelines (project, created_at) WHERE is_open;
CREATE TABLE IF NOT EXISTS _workflows (id TEXT PRIMARY KEY, covered INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _jobs (
    workflow TEXT, number INTEGER, covered INTEGER NOT NULL, PRIMARY KEY (workflow, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _usage_jobs (id TEXT PRIMARY KEY, organization TEXT, start TEXT, end TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _published (target TEXT, name TEXT, run INTEGER NOT NULL, PRIMARY KEY (target, name));
"""
_MARK: Final = """
INSERT INTO _pipelines VALUES (
    :id, :project, :number, :created_at, :branch, :state, :covered, CASE WHEN :is_open THEN :datasets ELSE 0 END, :run)
ON CONFLICT DO UPDATE SET
    state = excluded.state, run = excluded.run,
    covered = covered & ~:datasets | excluded.covered, is_open = is_open & ~:datasets | excluded.is_open
"""
_ADDED: Final = "ON CONFLICT DO UPDATE SET covered = covered | excluded.covered"


class State:
    """The state of one output directory. Everything blocks; use it in one thread at a time.

    Args:
        directory: The output.
        origin: The host whose data it is.
        raw: Items are kept as the host gave them.
        now: The time.
        datasets: What this run is to bring.

    Raises:
        StoreError: It cannot be written, or another process uses it.
        ConfigurationError: It is of another host, or of the other kind.
    """

    def __init__(self, directory: Path, *, origin: str, raw: bool, now: datetime, datasets: Sequence[str] = ()) -> None:
        self._path = directory / FOLDER / STATE
        self._origin = origin
        self._looked_for: tuple[str, ...] = ()
        self._database = Database(self._path)
        try:
            self._check(origin, "raw" if raw else "typed")
            self.run = self._begin_run(now, " ".join(datasets))
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def use(self, tables: Iterable[Table], looked_for: Collection[str] = ()) -> None:
        """Make tables ready to take rows.

        Args:
            tables: The tables.
            looked_for: The datasets that this run looks for, wherever it looks.

        Raises:
            ConfigurationError: One was made with other columns.
        """
        self._looked_for = tuple(looked_for)
        for table in tables:
            self._database.run(creation(table, '"_run" INTEGER NOT NULL'))
            found = self._database.run(f"SELECT name FROM pragma_table_info('{table.name}')")  # noqa: S608 -- ours
            if {name for (name,) in found} != {*table.names, "_run"}:
                raise self._outdated()
            self._database.run(_on_moved(table))

    # --- what was collected -------------------------------------------------------------------------------------------

    def save(self, collected: Collected) -> None:
        """Commit rows and marks, all of them or none."""
        with self._database.transaction():
            run = self._database.run
            self._bind()
            self._forget_gaps(collected.checked)
            for table, rows in collected.rows.items():
                self._put(table, rows)
            self._mark(collected)
            for scope, sweep in collected.sweeps.items():
                since, newest, token_newest = map(_maybe_text, (sweep.since, sweep.newest, sweep.token_newest))
                values = (scope, since, newest, sweep.token, token_newest)
                run("INSERT OR REPLACE INTO _sweeps VALUES (?, ?, ?, ?, ?)", values)
            self._database.many("DELETE FROM _usage_jobs WHERE id = ?", [(one,) for one in collected.usage_jobs])
            for table, owner, part in collected.complete:
                where = " AND ".join(f"{of_key(table, name)} = ?" for name in (table.owner, *part))
                gone = f'DELETE FROM {quoted(table.name)} WHERE {where} AND "_run" <> ?'  # noqa: S608 -- names of ours
                run(gone, (owner, *part.values(), self.run))

    def _bind(self) -> None:
        """Record whose data it is; not before there are some, or a wrong host that refused everything would count."""
        self._database.run("INSERT OR IGNORE INTO about VALUES ('host', ?)", (self._origin,))

    def _forget_gaps(self, places: Iterable[tuple[str, str, str]]) -> None:
        datasets = ", ".join("?" * len(self._looked_for))
        self._database.many(
            f"DELETE FROM gaps WHERE project = ? AND pipeline_id = ? AND workflow_id = ? AND dataset IN ({datasets})",  # noqa: S608
            [(*place, *self._looked_for) for place in places],
        )

    def _mark(self, collected: Collected) -> None:
        many = self._database.many
        marks = [{**asdict(one), "created_at": _created_at(one), "run": self.run} for one in collected.pipelines]
        many(_MARK, [dict(zip(mark, storable(mark.values()), strict=True)) for mark in marks])
        many(f"INSERT INTO _workflows VALUES (?, ?) {_ADDED}", collected.workflows.items())  # noqa: S608 -- no text of others
        many(f"INSERT INTO _jobs VALUES (?, ?, ?) {_ADDED}", collected.jobs)  # noqa: S608
        many("DELETE FROM _jobs WHERE workflow = ?", [(workflow,) for workflow in collected.workflows])

    def _put(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        statement = upsertion(table, "_run")
        values = encoder(table)(rows)
        for row in values:
            row.append(self.run)
        try:
            self._database.many(statement, values)
        except (UnicodeEncodeError, OverflowError):
            self._database.many(statement, map(storable, values))

    def add_usage_job(self, job: UsageJob) -> None:
        """Commit that an export of usage data was created."""
        values = (job.export_id, job.organization_id, text_of(job.start), text_of(job.end))
        with self._database.transaction():
            self._bind()
            self._database.run("INSERT OR REPLACE INTO _usage_jobs VALUES (?, ?, ?, ?)", values)

    def usage_jobs(self) -> list[UsageJob]:
        """Return the exports of usage data that earlier runs created and did not bring to their end."""
        found = self._database.run("SELECT id, organization, start, end FROM _usage_jobs")
        return [
            UsageJob(
                export_id=export_id,
                organization_id=organization,
                start=datetime.fromisoformat(start),
                end=datetime.fromisoformat(end),
            )
            for export_id, organization, start, end in found
        ]

    # --- what is covered ----------------------------------------------------------------------------------------------

    def sweep(self, scope: str) -> Sweep:
        """Return how far the pipelines of a scope are covered."""
        found = self._database.run("SELECT since, newest, token, token_newest FROM _sweeps WHERE scope = ?", (scope,))
        if not found:
            return Sweep()
        ((since, newest, token, token_newest),) = found
        return Sweep(
            since=_maybe_time(since),
            newest=_maybe_time(newest),
            token=token,
            token_newest=_maybe_time(token_newest),
        )

    def newest_complete(self, project: str, datasets: int) -> datetime | None:
        """Return when the newest pipeline of a project was created that is complete for datasets, by whatever run."""
        query = "SELECT max(created_at) FROM _pipelines WHERE project = ? AND covered & ? = ?"
        ((found,),) = self._database.run(query, (project, datasets, datasets))
        return _maybe_time(found)

    def closed(self, pipelines: Sequence[str], datasets: int) -> set[str]:
        """Return which of some pipelines are complete for datasets, with nothing more of these to come."""
        return self._covered("_pipelines", f"is_open & {datasets} = 0 AND", pipelines, datasets)

    def seen(self, pipelines: Sequence[str], datasets: int) -> set[str]:
        """Return which of some pipelines this run has completed, whether or not more may come of them."""
        return self._covered("_pipelines", f"run = {self.run} AND", pipelines, datasets)

    def ended(self, workflows: Sequence[str], datasets: int) -> set[str]:
        """Return which of some workflows have ended and are complete for datasets."""
        return self._covered("_workflows", "", workflows, datasets)

    def has_job(self, workflow: str, number: int, datasets: int) -> bool:
        """Return whether a job of a workflow that had not ended is complete for datasets."""
        query = "SELECT 1 FROM _jobs WHERE workflow = ? AND number = ? AND covered & ? = ?"
        return bool(self._database.run(query, (workflow, number, datasets, datasets)))

    def open_pipelines(
        self, project: str, datasets: int, branch: str | None, since: datetime | None, after: PipelineMark | None
    ) -> list[PipelineMark]:
        """Return pipelines of which more may come and that this run has not seen, the newest first.

        Args:
            project: Of this project.
            datasets: More of these, as bits.
            branch: Of this branch.
            since: Created then or later.
            after: The last one of the part that came before this one.
        """
        query = (
            "SELECT id, number, created_at, branch, state, covered & ? FROM _pipelines WHERE is_open AND is_open & ? "
            "AND project = ? AND run <> ? AND (? IS NULL OR branch = ?) AND created_at >= ? "
            "AND (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC LIMIT ?"
        )
        last = ("~", "") if after is None else (_created_at(after), after.id)
        begin = _maybe_text(since) or ""
        values = (datasets, datasets, project, self.run, branch, branch, begin, *last, READ_AT_ONCE)
        return [
            PipelineMark(
                id=identity,
                project=project,
                number=number,
                created_at=_maybe_time(created_at),
                branch=of_branch,
                state=state,
                datasets=datasets,
                covered=covered,
                is_open=True,
            )
            for identity, number, created_at, of_branch, state, covered in self._database.run(query, values)
        ]

    def _covered(self, table: str, condition: str, ids: Sequence[str], datasets: int) -> set[str]:
        places = ", ".join("?" * len(ids))
        query = f"SELECT id FROM {table} WHERE {condition} covered & ? = ? AND id IN ({places})"  # noqa: S608 -- names of ours
        return {found for (found,) in self._database.run(query, (datasets, datasets, *ids))}

    # --- what is to be written ----------------------------------------------------------------------------------------

    def count(self, table: Table, *, new: bool = False) -> int:
        """Return the number of a table's rows, or of those that this run has seen."""
        where = f'WHERE "_run" = {self.run}' if new else ""
        ((found,),) = self._database.run(f"SELECT count(*) FROM {quoted(table.name)} {where}")  # noqa: S608
        return int(found)

    def newest(self, table: Table) -> int:
        """Return the run that saw a row of a table last; 0 if it has none."""
        ((found,),) = self._database.run(f'SELECT max("_run") FROM {quoted(table.name)}')  # noqa: S608
        return int(found or 0)

    def published(self, target: str, table: Table) -> int:
        """Return the run whose rows an output had last of a table; 0 if it had none."""
        query = "SELECT coalesce(max(run), 0) FROM _published WHERE target = ? AND name = ?"
        ((found,),) = self._database.run(query, (target, table.name))
        return int(found)

    def set_published(self, target: str, tables: Iterable[Table]) -> None:
        """Record that an output has all rows of tables; others of its format, which may lie in its files, have none."""
        forget = "DELETE FROM _published WHERE name = ? AND target <> ? AND target || ' ' GLOB ?"
        of_format = f"{target.partition(' ')[0]} *"
        values = [(target, table.name, self.run) for table in tables]
        with self._database.transaction():
            self._database.many(forget, [(name, target, of_format) for _, name, _ in values])
            self._database.many("INSERT OR REPLACE INTO _published VALUES (?, ?, ?)", values)

    def parts(self, table: Table, day: int) -> list[tuple[str, ...]]:
        """Return the owners of a table's rows, and so many characters of their dates; empty where one has none."""
        return self._database.run(f"SELECT DISTINCT {_parts(table, day)} FROM {quoted(table.name)}")  # noqa: S608

    def rows(self, table: Table, *, newer_than: int = 0, day: int = 0) -> Iterator[Batch]:
        """Yield a table's rows, in the order in which they were first seen.

        Args:
            table: The table.
            newer_than: Only rows that a later run than this one saw.
            day: So many characters of the dates by which rows are ordered within projects: 10 for days, 7 for months.
                With ``newer_than`` all rows of those projects and days that have newer ones.
        """
        columns = ", ".join(map(quoted, table.names))
        where, order = '"_run" > ?', "rowid"
        if day:
            parts = _parts(table, day)
            order = f"{parts}, rowid"
            if newer_than:
                newer = f'SELECT {parts} FROM {quoted(table.name)} WHERE "_run" > ?'  # noqa: S608 -- names of ours
                where = f"({parts}) IN ({newer})"
        query = f"SELECT {columns} FROM {quoted(table.name)} WHERE {where} ORDER BY {order}"  # noqa: S608 -- names of ours
        decoded = decoder(table)
        for found in self._database.parts(query, (newer_than,), READ_AT_ONCE):
            yield Batch(table, decoded(found))  # type: ignore[arg-type]  # lists serve as rows

    # ------------------------------------------------------------------------------------------------------------------

    def _check(self, origin: str, rows: str) -> None:
        with self._database.transaction():
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._database.run(statement)
            for name, value in (("version", VERSION), ("rows", rows)):
                self._database.run("INSERT OR IGNORE INTO about VALUES (?, ?)", (name, value))
        known = {"host": origin, **dict(self._database.run("SELECT name, value FROM about"))}
        output, hint = self._path.parent.parent, _NEW_OUTPUT
        if known["version"] != VERSION:
            raise self._outdated()
        if known["host"] != origin:
            raise ConfigurationError(
                f"{output} holds an export of {known['host']}, and this one is of {origin}", hint=hint
            )
        if known["rows"] != rows:
            raise ConfigurationError(f"{output} holds {known['rows']} rows and cannot take {rows} ones", hint=hint)

    def _outdated(self) -> ConfigurationError:
        return ConfigurationError(f"{self._path} is of another version of aiocircle", hint=_NEW_OUTPUT)

    def _begin_run(self, now: datetime, datasets: str) -> int:
        """Return the number of a new run, or of one of the last hours that was broken off and goes on.

        One of other datasets does not: what it has seen is complete for its own only. Of what failed in one that goes
        on it has seen nothing.
        """
        with self._database.transaction():
            known = dict(self._database.run("SELECT name, value FROM about WHERE name LIKE 'run%'"))
            began = _maybe_time(known.get("run_began"))
            if began is not None and now - began < GOES_ON and known.get("run_of") == datasets:
                failed = "UPDATE _pipelines SET run = 0 WHERE run = ? AND is_open AND is_open & ~covered"
                self._database.run(failed, (known["run"],))  # or it would end without what may be there by now
                return int(known["run"])
            run = int(known.get("run", 0)) + 1
            values = [("run", str(run)), ("run_began", _maybe_text(now) or ""), ("run_of", datasets)]
            self._database.many("INSERT OR REPLACE INTO about VALUES (?, ?)", values)
        return run

    def end_run(self) -> None:
        """Record that everything was collected: what comes next is another run, with newer rows."""
        self._database.run("DELETE FROM about WHERE name = 'run_began'")


def _parts(table: Table, day: int) -> str:
    """Return the columns that a table is divided by, with so many characters of the date."""
    date = f", coalesce(substr({quoted(table.date)}, 1, {day}), '')" if table.date is not None else ""
    return f"coalesce({quoted(table.owner)}, ''){date}"


def _on_moved(table: Table) -> str:
    """Return what has a table written whole when a row of it changed its project or date.

    What is divided by these would keep the row where it was. A project may get another name, and a date come late.
    """
    name = quoted(table.name)
    parts = [quoted(one) for one in (table.owner, table.date) if one is not None]
    moved = " OR ".join(f"old.{part} IS NOT new.{part}" for part in parts)
    return (
        f"CREATE TEMP TRIGGER IF NOT EXISTS {quoted(f'_moved_{table.name}')} AFTER UPDATE ON main.{name} "  # noqa: S608
        f"WHEN {moved} BEGIN DELETE FROM _published WHERE name = '{table.name}'; END"
    )


def _created_at(mark: PipelineMark) -> str:
    return _maybe_text(mark.created_at) or ""


def _maybe_text(moment: datetime | None) -> str | None:
    moment = utc(moment)
    return None if moment is None else text_of(moment)


def _maybe_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
