"""``client.export``: the rows of a dataset as they come, and whole exports to a directory.

::

    async for row in client.export.jobs("gh/acme/web", since=timedelta(days=7)):
        print(row.name, row.status, row.duration_seconds)

    options = ExportOptions(formats="parquet")
    report = await client.export.run("gh/acme/web", ["builds", "tests"], to="out", options=options)

Rows come in the host's order, newest first, while the next ones are being listed, and nothing is kept of them.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, cast

from attrs import evolve

from aiocircle.crawl.fanout import (
    AllBelow,
    Crawl,
    JobFound,
    ListingFailed,
    PipelineFound,
    Skipped,
    WorkflowFound,
    all_of_them,
)
from aiocircle.crawl.selection import Selection, Slugs
from aiocircle.errors import PartialExportError
from aiocircle.export.convert import job_row, pipeline_row, workflow_row
from aiocircle.export.datasets import FANNED_OUT, OF_JOBS, parse_datasets
from aiocircle.export.details import PIPELINES_AT_ONCE, Details
from aiocircle.export.exporter import Export
from aiocircle.export.found import Missing, Pairs
from aiocircle.export.options import ExportOptions
from aiocircle.export.others import NoMemory, one_after_another, others
from aiocircle.export.rows import (
    ArtifactRow,
    ContextRow,
    FlakyTestRow,
    JobDetailsRow,
    JobMetricsRow,
    JobRow,
    JobTestRow,
    JobTimeseriesRow,
    PipelineRow,
    ScheduleRow,
    UsageRow,
    WorkflowMetricsRow,
    WorkflowRow,
    WorkflowRunRow,
    WorkflowSummaryRow,
)
from aiocircle.export.tables import TABLES, Table
from aiocircle.given import check_path
from aiocircle.pagination import Page, Paginator
from aiocircle.resource import Resource
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

if TYPE_CHECKING:
    import pyarrow as pa

R = TypeVar("R", bound=tuple[Any, ...])


class Stretch(TypedDict, total=False):
    """Which part of a dataset; as in ``ExportOptions``."""

    since: datetime | timedelta | None
    until: datetime | None
    branch: str | None
    reporting_window: str


class Rows(Paginator[R]):
    """The rows of a dataset, to be iterated over as often as wanted; each iteration asks anew.

    ``async for row in rows`` gives rows, ``pages()`` those that came together, ``first()`` and ``collect()`` ask for no
    more than they need, and ``arrow()`` gives Arrow batches. At the end, ``PartialExportError`` tells that some
    listings failed; what has expired is left out.

    Args:
        session: Asks the API.
        table: What the rows are made of.
        projects: Whose rows.
        options: Which of them.
    """

    def __init__(
        self, session: Session, table: Table, projects: tuple[ProjectSlug, ...], options: ExportOptions
    ) -> None:
        self.table = table
        self._session = session
        self._projects = projects
        self._options = options

    async def pages(self, *, ahead: bool = True) -> AsyncGenerator[Page[R], None]:  # noqa: ARG002 -- the fan-out is
        """Yield the rows that came together; they have no page tokens.

        Raises:
            PartialExportError: At the end, if some listings failed.
        """
        failures: list[ListingFailed] = []
        number = 0
        async with aclosing(self._stream()) as stream:
            async for one in stream:
                failed = one.why if isinstance(one, Missing) else one
                if isinstance(failed, ListingFailed):
                    failures.append(failed)
                elif isinstance(one, Pairs):
                    number += 1
                    yield Page(cast("Sequence[R]", [row for row, _ in one.pairs]), None, number)
        if failures:
            first = failures[0]
            words = f"{first.what}: {first.error}"
            raise PartialExportError(len(failures), words, hint="the rows of the others are complete")

    async def arrow(self) -> "AsyncGenerator[pa.RecordBatch, None]":
        """Yield the rows as Arrow record batches, typed as in Parquet files; needs the extra ``parquet``.

        Raises:
            ConfigurationError: The package pyarrow is not installed.
            PartialExportError: At the end, if some listings failed.
        """
        from aiocircle.export.sinks.arrow import ArrowRows  # noqa: PLC0415 -- pyarrow is an extra

        arrow = ArrowRows(self.table)
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                yield arrow.batch(page.items)

    def _stream(self) -> AsyncGenerator[Any, None]:
        name, options = self.table.name, self._options
        if name not in FANNED_OUT:
            return one_after_another(others(self._session, self._projects, [name], options, NoMemory()))
        selection = Selection(
            self._projects,
            all=True,
            since=options.since,
            until=options.until,
            branch=options.branch,
            all_reruns=True,
        )
        crawl = Crawl(
            self._session, selection, _none_of_them if name == "workflows" else all_of_them, PIPELINES_AT_ONCE
        )
        if name == "pipelines":
            return _rows_of(crawl.pipelines(), name)
        return _rows_of(Details(self._session, {name} & set(OF_JOBS)).behind(crawl.everything()), name)


class Exports(Resource):
    """Datasets row by row, and whole exports to a directory."""

    def run(
        self,
        projects: Slugs,
        datasets: str | Iterable[str],
        *,
        to: str | Path,
        options: ExportOptions | None = None,
    ) -> Export:
        """Export datasets to a directory; the next run goes on from this one. ``await`` it for the report.

        Args:
            projects: A project's slug, or several.
            datasets: Their names, or groups of them, such as ``"builds"``.
            to: The directory.
            options: Which part, and the formats.

        Raises:
            ConfigurationError: A dataset or a project cannot be.
        """
        check_path(to, "the output")
        names = parse_datasets((datasets,) if isinstance(datasets, str) else datasets)
        return Export(self._session, Selection(projects, all=True).projects, names, to, options or ExportOptions())

    def pipelines(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[PipelineRow]:
        """Pipelines, newest first."""
        return self._rows("pipelines", projects, which)

    def workflows(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[WorkflowRow]:
        """Workflows of pipelines, reruns included."""
        return self._rows("workflows", projects, which)

    def jobs(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[JobRow]:
        """Jobs of workflows, approvals and such as never ran included."""
        return self._rows("jobs", projects, which)

    def job_details(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[JobDetailsRow]:
        """What is known of each job that ran; a request for each."""
        return self._rows("job_details", projects, which)

    def artifacts(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[ArtifactRow]:
        """What jobs stored, as listed; a request for each job."""
        return self._rows("artifacts", projects, which)

    def tests(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[JobTestRow]:
        """Results of tests; a request for each job."""
        return self._rows("tests", projects, which)

    def insights_workflows(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[WorkflowMetricsRow]:
        """Metrics of workflows over a reporting window."""
        return self._rows("insights_workflows", projects, which)

    def insights_runs(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[WorkflowRunRow]:
        """Runs of workflows with their credits, of 90 days at most."""
        return self._rows("insights_runs", projects, which)

    def insights_jobs(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[JobMetricsRow]:
        """Metrics of workflows' jobs over a reporting window."""
        return self._rows("insights_jobs", projects, which)

    def insights_timeseries(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[JobTimeseriesRow]:
        """Metrics of workflows' jobs day by day, of 90 days at most."""
        return self._rows("insights_timeseries", projects, which)

    def flaky_tests(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[FlakyTestRow]:
        """Tests that passed and failed on the same commit."""
        return self._rows("flaky_tests", projects, which)

    def insights_summary(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[WorkflowSummaryRow]:
        """Metrics of workflows over 90 days, and how they changed."""
        return self._rows("insights_summary", projects, which)

    def schedules(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[ScheduleRow]:
        """Scheduled pipelines."""
        return self._rows("schedules", projects, which)

    def contexts(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[ContextRow]:
        """Contexts of the projects' organisations."""
        return self._rows("contexts", projects, which)

    def usage(self, projects: Slugs, **which: Unpack[Stretch]) -> Rows[UsageRow]:
        """What runs of jobs cost, of the projects' organisations; takes minutes, and is not on Server."""
        return self._rows("usage", projects, which)

    def _rows(self, name: str, projects: Slugs, which: Stretch) -> Rows[Any]:
        slugs = Selection(projects, all=True).projects
        return Rows(self._session, TABLES[name], slugs, ExportOptions(**which))


_ROW_OF: Mapping[type, tuple[str, Any]] = {
    PipelineFound: ("pipelines", pipeline_row),
    WorkflowFound: ("workflows", workflow_row),
    JobFound: ("jobs", job_row),
}


async def _rows_of(stream: AsyncGenerator[Any, None], name: str) -> AsyncGenerator[Any, None]:
    """Yield what belongs to a dataset, and what is missing of it."""
    async with aclosing(stream) as found:
        async for one in found:
            if isinstance(one, Pairs | Missing | Skipped | ListingFailed):
                yield one
            elif not isinstance(one, AllBelow) and _ROW_OF[type(one)][0] == name:
                yield Pairs(name, [(_ROW_OF[type(one)][1](one), one.json)])


async def _none_of_them(_pipeline: PipelineFound, workflows: Sequence[WorkflowFound]) -> Sequence[WorkflowFound]:
    return [evolve(workflow, goes_on=False) for workflow in workflows]
