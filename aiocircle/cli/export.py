"""``aiocircle export``: what the API knows, as tables in files."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from attrs import asdict, define, field, frozen
from cyclopts import Parameter

import aiocircle
from aiocircle.cli.exits import ExitCode, UsageError
from aiocircle.cli.interrupts import run
from aiocircle.cli.narrator import Narrator
from aiocircle.cli.output import Output, counted, fit, shown_first
from aiocircle.cli.progress import LINE_WIDTH, can_be_drawn, in_words, told
from aiocircle.cli.quantities import age, moment
from aiocircle.cli.settings import (
    CHOICE,
    FILES,
    FLAT,
    USUAL_CONNECTION,
    USUAL_DISPLAY,
    Access,
    Connection,
    Display,
    Window,
    find_access,
)
from aiocircle.cli.target import whole_projects
from aiocircle.errors import AioCircleError
from aiocircle.events import Event, LimitWaited, LimitWaiting, RowsCollected, TableWritten, UsageAwaited
from aiocircle.export.datasets import parse_datasets


@frozen(kw_only=True)
class Part:
    """Of which projects, and which part of their history."""

    project: Annotated[
        tuple[str, ...],
        Parameter(help="A project, such as gh/acme/web; repeatable.", metavar="SLUG", group=CHOICE, alias="-p"),
    ] = ()
    projects_file: Annotated[
        Path | None, Parameter(help="More projects, one on a line.", metavar="FILE", group=CHOICE)
    ] = None
    since: Annotated[
        str | None, Parameter(help="Pipelines created since: 2026-11-01, 30d.", metavar="DATE", group=CHOICE)
    ] = None
    until: Annotated[str | None, Parameter(help="Pipelines created before that.", metavar="DATE", group=CHOICE)] = None
    branch: Annotated[
        str | None, Parameter(help="Pipelines of this branch; metrics of it.", metavar="NAME", group=CHOICE)
    ] = None
    look_back: Annotated[
        str, Parameter(help="How far back reruns are looked for (3d).", metavar="AGE", group=CHOICE)
    ] = "3d"
    window: Annotated[
        Window, Parameter(help="How far back metrics go (last-90-days).", metavar="WINDOW", group=CHOICE)
    ] = "last-90-days"


@frozen(kw_only=True)
class Written:
    """Where rows go, and how they are written."""

    output: Annotated[str, Parameter(help="The directory (export).", metavar="DIR", group=FILES, alias="-o")] = "export"
    format: Annotated[
        tuple[str, ...],
        Parameter(
            help="jsonl (usual), csv, sqlite, parquet, duckdb; repeatable.", metavar="FORMAT", group=FILES, alias="-f"
        ),
    ] = ("jsonl",)
    compress: Annotated[
        Literal["gzip", "zstd"] | None, Parameter(help="jsonl and csv: gzip or zstd.", metavar="HOW", group=FILES)
    ] = None
    partition: Annotated[
        Literal["day", "month", "none"],
        Parameter(help="parquet: a file for each day, month or none.", metavar="HOW", group=FILES),
    ] = "day"
    raw: Annotated[bool, Parameter(help="Items as the API gives them, not columns.", group=FILES)] = False
    for_spreadsheets: Annotated[bool, Parameter(help="csv: no texts that are taken for formulas.", group=FILES)] = False
    fsync: Annotated[bool, Parameter(help="Flush each file to the disk before naming it.", group=FILES)] = False


USUAL_PART = Part()
USUAL_FORM = Written()


def export(
    *dataset: Annotated[str, Parameter(show=False)],
    part: Annotated[Part, FLAT] = USUAL_PART,
    form: Annotated[Written, FLAT] = USUAL_FORM,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Write what the API knows as tables. The same command again goes on from there: only what is new is asked for."""
    named = next((name for name in dataset if "/" in name), None)
    if named is not None:
        raise UsageError(f"{named} is no dataset", hint=f"if it is a project: --project {named}")
    datasets = parse_datasets(one for name in dataset for one in name.split(","))
    projects, host = whole_projects(part.project, part.projects_file)
    options = aiocircle.ExportOptions(
        since=moment("--since", part.since),
        until=moment("--until", part.until),
        branch=part.branch,
        look_back=timedelta(seconds=age("--look-back", part.look_back)),
        reporting_window=part.window,
        formats=[one for name in form.format for one in name.split(",")],
        compression=form.compress,
        partition=form.partition,
        raw=form.raw,
        for_spreadsheets=form.for_spreadsheets,
        sync=form.fsync,
    )
    # Arrow's own allocator keeps what it has had: of a million rows, some 25 MiB more than the system's.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    access = find_access(connection, host)
    output = Output(quiet=display.quiet, as_json=display.as_json)
    with access.explained():
        return run(_Exporting(projects, datasets, form.output, options, access, output, display.verbose).run)


class Rows:
    """Counters of an export. Give it to a client as ``on_event``, or call it from there."""

    kinds = frozenset({RowsCollected, TableWritten, UsageAwaited, LimitWaiting, LimitWaited})

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._written: TableWritten | None = None
        self._asked_again = 0.0  # when CircleCI is asked once more about the usage data that it prepares
        self._waits: dict[str, LimitWaiting] = {}

    def __call__(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, RowsCollected):
            self._counts[event.dataset] = event.total
        elif isinstance(event, TableWritten):
            self._written = event
        elif isinstance(event, UsageAwaited):
            self._asked_again = time.monotonic() + event.seconds
        elif isinstance(event, LimitWaiting):
            self._waits[event.bucket] = event
        elif isinstance(event, LimitWaited):
            self._waits.pop(event.bucket, None)

    def line(self, now: float) -> str:
        """Return how far it is, as a line."""
        parts = [self._overall(now)]
        for part in (*self._of_each(), self._doing(now)):
            if len(", ".join([*parts, part])) <= LINE_WIDTH:
                parts.append(part)
        return ", ".join(filter(None, parts))

    def drawn(self) -> Any:
        """Return it as what is drawn on a terminal."""
        from aiocircle.cli.display import Lines  # noqa: PLC0415 -- rich is for terminals

        return Lines(self._lines)

    def _lines(self, now: float) -> Iterator[tuple[str, str]]:
        yield self._overall(now), "bold"
        yield "  ".join(self._of_each()), ""
        doing = self._doing(now)
        yield doing or "collecting ...", "yellow" if self._waits else "dim"

    def _overall(self, now: float) -> str:
        total, seconds = sum(self._counts.values()), max(now - self._began, 0.001)
        return f"{counted(total, 'row')}  {total / seconds:,.0f} rows/s  {seconds:.0f} s"

    def _of_each(self) -> list[str]:
        return [f"{count:,} {name}" for name, count in self._counts.items()]

    def _doing(self, now: float) -> str:
        if self._written is not None:
            one = self._written
            return f"writing {one.format}: {one.rows:,} {one.table}"
        if self._waits:
            return in_words(max(self._waits.values(), key=lambda event: event.until), now)
        if self._asked_again > now:
            return f"CircleCI prepares usage data, asked again in {self._asked_again - now:,.0f} s"
        return ""


@define(eq=False)
class _Exporting:
    """One run of the command."""

    projects: tuple[str, ...]
    datasets: tuple[str, ...]
    directory: str
    options: "aiocircle.ExportOptions"
    access: Access
    output: Output
    verbose: int
    progress: Rows = field(factory=Rows)

    async def run(self) -> ExitCode:
        narrator = Narrator(self.output, self.verbose)

        def observe(event: Event) -> None:
            self.progress(event)
            narrator(event)

        observe.kinds = narrator.kinds | self.progress.kinds  # type: ignore[attr-defined]
        draw = self.progress.drawn if can_be_drawn(self.verbose) and not self.output.as_json else None
        async with self.access.client(on_event=observe) as client:
            exporting = client.export.run(self.projects, self.datasets, to=self.directory, options=self.options)
            try:
                async with told(self.progress.line, self.output, draw):
                    report = await exporting
            except asyncio.CancelledError:
                return self._cancelled(exporting.report)
        self._show(report)
        report.raise_for_failures()
        return ExitCode.OK

    def _cancelled(self, report: "aiocircle.ExportReport") -> ExitCode:
        self._show(report)
        stopped = AioCircleError(
            "stopped; what was collected is kept, and every file is whole",
            hint="the same command goes on from there",
        )
        self.output.complain(stopped)
        return ExitCode.CANCELLED

    def _show(self, report: "aiocircle.ExportReport") -> None:
        if self.output.as_json:
            self.output.record("report", {**asdict(report), "ok": report.is_written and not report.failed})
        elif not self.output.quiet:
            for line in summary(report):
                self.output.data(fit(line))


def summary(report: "aiocircle.ExportReport") -> Iterator[str]:
    """Yield a report for people, line by line."""
    rows = sum(report.rows.values())
    yield f"collected   {counted(rows, 'row')} in {report.seconds:.1f} s"
    width = max((len(name) for name in report.totals), default=0)
    for name, total in report.totals.items():
        if name != "gaps":
            yield f"  {name:<{width}}  {report.rows.get(name, 0):>9,} seen  {total:>9,} in all"
    waits = f"{counted(report.waits, 'wait')} for the rate limit ({report.waited:.1f} s)"
    yield f"requests    {report.requests:,}, {waits}, {counted(report.refusals, 'refusal')}"
    if report.expired:
        yield f"expired     {counted(report.expired, 'listing')}: the host has them no longer; see the table 'gaps'"
    yield f"failed      {counted(report.failed, 'listing')}"
    yield from shown_first((f"  {reason}" for reason in report.failures), total=report.failed)
    if report.is_written:
        yield f"lies in     {report.output}"
