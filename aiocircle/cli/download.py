"""``aiocircle download``: the artifacts of a job, a workflow or a pipeline, to a directory."""

import asyncio
import os
import resource
import sys
from pathlib import Path
from typing import Annotated, Any

from attrs import define, field, frozen
from cyclopts import Parameter

import aiocircle
from aiocircle.cli.exits import ExitCode
from aiocircle.cli.interrupts import run
from aiocircle.cli.narrator import Narrator
from aiocircle.cli.output import Output, counted
from aiocircle.cli.progress import Progress, shown
from aiocircle.cli.settings import (
    FILES,
    FLAT,
    USUAL_CONNECTION,
    USUAL_DISPLAY,
    Access,
    Connection,
    Display,
    find_access,
    more_than_zero,
)
from aiocircle.cli.target import NOTHING_CHOSEN, Chosen, selection
from aiocircle.errors import AioCircleError
from aiocircle.events import Event
from aiocircle.slugs import parse_target

DESCRIPTORS = 4096  # open files that are asked for: enough for a thousand transfers, and usual as a hard limit


def _files(text: str, **more: Any) -> Parameter:
    return Parameter(help=text, group=FILES, **more)


@frozen(kw_only=True)
class Files:
    """Which files, and where they go.

    Attributes:
        output: The directory.
        include: Globs over artifact paths.
        exclude: Globs over artifact paths, which win.
        layout: A template for names below the directory.
        concurrency: Files in flight; ``None`` for as many as help.
        fsync: Flush each file before it gets its name.
        dry_run: Print names, fetch nothing.
    """

    output: Annotated[Path, _files("Directory to fetch to (artifacts).", metavar="DIR", alias="-o")] = Path("artifacts")
    include: Annotated[tuple[str, ...], _files("Only paths like this glob; repeatable.", metavar="GLOB")] = ()
    exclude: Annotated[tuple[str, ...], _files("No paths like this glob; repeatable.", metavar="GLOB")] = ()
    layout: Annotated[str | None, _files("Names, such as {branch}/{job_name}/{path}.", metavar="TEMPLATE")] = None
    concurrency: Annotated[
        int | None, _files("Files in flight (64 at first, then what helps).", metavar="N", validator=more_than_zero)
    ] = None
    fsync: Annotated[bool, _files("Flush each file to the disk before naming it.")] = False
    dry_run: Annotated[bool, _files("Print the names, fetch nothing.")] = False

    def options(self) -> "aiocircle.DownloadOptions":
        """Return these settings as the library takes them."""
        return aiocircle.DownloadOptions(
            concurrency=self.concurrency,
            include=self.include,
            exclude=self.exclude,
            layout=self.layout,
            sync=self.fsync,
            dry_run=self.dry_run,
        )


USUAL_FILES = Files()


def download(
    target: Annotated[str, Parameter(show=False)],
    /,
    *,
    chosen: Annotated[Chosen, FLAT] = NOTHING_CHOSEN,
    files: Annotated[Files, FLAT] = USUAL_FILES,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Fetch the artifacts of a job, a workflow or a pipeline. What is complete from before is kept.

    TARGET is a project (gh/acme/web), or the web address of a project, pipeline, workflow or job.
    """
    named = parse_target(target)
    what = selection(named, chosen)
    access = find_access(connection, named.host)
    output = Output(quiet=display.quiet, as_json=display.as_json)
    with access.explained():
        return run(_Fetch(what, files, access, output, display.verbose).run)


@define(eq=False)
class _Fetch:
    """One run of the command."""

    selection: "aiocircle.Selection"
    files: Files
    access: Access
    output: Output
    verbose: int
    progress: Progress = field(factory=Progress)

    async def run(self) -> ExitCode:
        raise_descriptor_limit()
        narrator = Narrator(self.output, self.verbose)

        def observe(event: Event) -> None:
            self.progress(event)
            narrator(event)

        # Nobody sees the progress of a quiet run.
        observe.kinds = narrator.kinds | (frozenset() if self.output.quiet else self.progress.kinds)  # type: ignore[attr-defined]
        async with self.access.client(on_event=observe) as client:
            # What wants no JSON and no names is not called for every file.
            on_outcome = self.output.item if self.output.as_json or self.files.dry_run else None
            fetching = client.prepare(self.selection, self.files.output, self.files.options(), on_outcome)
            try:
                async with shown(self.progress, self.output, live=self._is_live()):
                    report = await fetching.run()
            except asyncio.CancelledError:
                return self._cancelled(fetching.report())
        return self._ended(report)

    def _ended(self, report: "aiocircle.Report") -> ExitCode:
        self.output.report(report, cancelled=False, dry_run=self.files.dry_run)
        report.raise_for_failures()
        return ExitCode.OK

    def _cancelled(self, report: "aiocircle.Report") -> ExitCode:
        self.output.report(report, cancelled=True, dry_run=self.files.dry_run)
        complete = counted(report.files + report.present, "file")
        self.output.complain(
            AioCircleError(
                f"stopped; {complete} complete in {report.output}, nothing half-written",
                hint="the same command goes on from there",
            )
        )
        return ExitCode.CANCELLED

    def _is_live(self) -> bool:
        """Tell whether stderr is a terminal that can be drawn on, and that nothing else is written to."""
        shares_terminal = (self.output.as_json or self.files.dry_run) and sys.stdout.isatty()
        usable = sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}
        speaks = sys.stderr.encoding.lower().replace("-", "") == "utf8"
        return usable and speaks and not shares_terminal and not self.verbose


def raise_descriptor_limit() -> None:
    """Allow this process as many open files as it may have, up to a few thousand: the usual soft limit is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
