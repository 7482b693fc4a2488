"""The tables that an export consists of: their columns as the row classes say them, keys and dates.

A table is what a sink is told before it takes rows. It is derived from a row class, so that a column is declared once.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from attrs import field, frozen

from aiocircle.export import rows

Kind = Literal["text", "integer", "real", "boolean", "time", "json", "list"]
"""``time`` is a ``datetime`` with a time zone, ``json`` a mapping of anything, ``list`` a sequence of one kind or of
rows of a class."""

_SCALARS: Mapping[Any, Kind] = {str: "text", int: "integer", float: "real", bool: "boolean", datetime: "time"}


@frozen
class Column:
    """A column of a table.

    Attributes:
        name: Its name.
        kind: What its values are.
        optional: A value may be ``None``.
        items: Of a list: what is in it, as a column without a name or as the columns of a row.
    """

    name: str
    kind: Kind
    optional: bool = False
    items: "Column | tuple[Column, ...] | None" = None


@frozen(eq=False)
class Table:
    """A table of an export.

    Attributes:
        name: Its name, and that of its files.
        row: The class of its rows, a ``NamedTuple``.
        key: The columns that tell its rows apart.
        date: The column whose day, in UTC, its rows are divided by.
        is_snapshot: What a later run does not find any more is gone; else it stays.
        owned_by: The column that says whose its rows are, if that is neither ``project`` nor the first one.
        made_of: Of a raw table: the columns that its key is made of, which is a JSON list if they are several.
    """

    name: str
    row: type[tuple[Any, ...]]
    key: tuple[str, ...]
    date: str | None = field(default=None, kw_only=True)
    is_snapshot: bool = field(default=False, kw_only=True)
    owned_by: str | None = field(default=None, kw_only=True)
    made_of: tuple[str, ...] = field(default=(), kw_only=True)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Its columns, in the order of the rows' values."""
        return columns_of(self.row)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(column.name for column in self.columns)

    @property
    def owner(self) -> str:
        """The column that says whose its rows are: a project's, or an organisation's."""
        return self.owned_by or ("project" if "project" in self.names else self.names[0])


def columns_of(row: type[tuple[Any, ...]]) -> tuple[Column, ...]:
    """Return the columns of a row class."""
    hints = get_type_hints(row)
    return tuple(_column(name, hints[name]) for name in row._fields)  # type: ignore[attr-defined]


def _column(name: str, hint: Any) -> Column:
    optional = get_origin(hint) in {types.UnionType, Union}
    if optional:
        hint = next(one for one in get_args(hint) if one is not type(None))
    origin = get_origin(hint)
    if origin is Mapping:
        return Column(name, "json", optional)
    if origin is Sequence:
        (item,) = get_args(hint)
        return Column(name, "list", optional, columns_of(item) if _is_row(item) else _column("", item))
    return Column(name, _SCALARS[hint], optional)


def _is_row(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, tuple)


_CREATED = "pipeline_created_at"

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table("pipelines", rows.PipelineRow, ("id",), date="created_at"),
        Table("workflows", rows.WorkflowRow, ("id",), date=_CREATED),
        Table("jobs", rows.JobRow, ("workflow_id", "id"), date=_CREATED),
        Table("job_details", rows.JobDetailsRow, ("project", "job_number"), date=_CREATED),
        Table("artifacts", rows.ArtifactRow, ("project", "job_number", "node_index", "path"), date=_CREATED),
        Table("tests", rows.JobTestRow, ("project", "job_number", "position"), date=_CREATED),
        Table(
            "insights_workflows",
            rows.WorkflowMetricsRow,
            ("project", "branch", "reporting_window", "workflow_name"),
            is_snapshot=True,
        ),
        Table("insights_runs", rows.WorkflowRunRow, ("project", "id"), date="created_at"),
        Table(
            "insights_jobs",
            rows.JobMetricsRow,
            ("project", "branch", "reporting_window", "workflow_name", "job_name"),
            is_snapshot=True,
        ),
        Table(
            "insights_timeseries",
            rows.JobTimeseriesRow,
            ("project", "branch", "workflow_name", "job_name", "timestamp"),
            date="timestamp",
        ),
        Table(
            "flaky_tests",
            rows.FlakyTestRow,
            ("project", "workflow_name", "job_name", "classname", "test_name", "file"),
            is_snapshot=True,
        ),
        Table("insights_summary", rows.WorkflowSummaryRow, ("project", "branch", "workflow_name"), is_snapshot=True),
        Table("schedules", rows.ScheduleRow, ("id",), is_snapshot=True),
        Table("contexts", rows.ContextRow, ("organization", "id"), is_snapshot=True),
        Table("usage", rows.UsageRow, ("id",), date="job_run_date", owned_by="organization_id"),
        Table(
            "gaps",
            rows.GapRow,
            ("dataset", "project", "pipeline_id", "workflow_id", "job_number", "what"),
            is_snapshot=True,
        ),
    )
}


def raw_table(table: Table) -> Table:
    """Return a table's counterpart whose rows are items as the host gave them."""
    date = _CREATED if table.date else None
    return Table(table.name, rows.RawRow, ("key",), date=date, is_snapshot=table.is_snapshot, made_of=table.key)


def as_json(column: Column) -> Callable[[Any], Any] | None:
    """Return what turns a column's values, but ``None``, into what JSON has; ``None`` where they are that already.

    Times become texts, rows in lists objects.
    """
    if column.kind == "time":
        return text_of
    if isinstance(column.items, tuple):
        names = [item.name for item in column.items]
        return lambda rows: [dict(zip(names, row, strict=True)) for row in rows]
    return None


def text_of(moment: datetime) -> str:
    """Return a moment in UTC as ISO 8601 text with ``Z``; always with microseconds, so that texts sort as times do."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def in_utc(moment: datetime) -> datetime:
    """Return a moment in UTC; one without a time zone is taken as UTC."""
    zone = moment.tzinfo
    if zone is UTC:
        return moment
    return moment.replace(tzinfo=UTC) if zone is None else moment.astimezone(UTC)


def utc(moment: datetime | None) -> datetime | None:
    """Return a moment in UTC, if there is one."""
    return None if moment is None else in_utc(moment)


class Batch(NamedTuple):
    """Some rows of one table."""

    table: Table
    rows: Sequence[tuple[Any, ...]]
