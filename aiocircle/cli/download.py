"""``aiocircle download``: the artifacts of a job, a workflow or a pipeline, to a directory."""

import asyncio
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from attrs import define, evolve, field, frozen
from cyclopts import Parameter

import aiocircle
from aiocircle.cli.exits import ExitCode, UsageError
from aiocircle.cli.interrupts import run
from aiocircle.cli.narrator import Narrator
from aiocircle.cli.output import Output, counted
from aiocircle.cli.progress import Progress, can_be_drawn, shown
from aiocircle.cli.quantities import shard, size
from aiocircle.cli.settings import (
    FILES,
    FLAT,
    SELECTION,
    USUAL_CONNECTION,
    USUAL_DISPLAY,
    Access,
    Connection,
    Display,
    find_access,
    more_than_zero,
)
from aiocircle.cli.target import NOTHING_CHOSEN, Chosen, selection, targets
from aiocircle.download.layout import Layout
from aiocircle.download.outputs import is_archive
from aiocircle.download.replacing import check_replaceable
from aiocircle.download.stores import STDOUT
from aiocircle.errors import AioCircleError
from aiocircle.events import Event

DESCRIPTORS = 4096  # open files that are asked for: enough for a thousand transfers, and usual as a hard limit


def _files(text: str, **more: Any) -> Parameter:
    return Parameter(help=text, group=FILES, **more)


@frozen(kw_only=True)
class Files:
    """Which files, and where they go.

    Attributes:
        output: The directory, the bucket, the archive, or ``-`` for a tar to standard output.
        include: Globs over artifact paths.
        exclude: Globs over artifact paths, which win.
        node: Indices of parallel nodes.
        min_size: Bytes at least.
        max_size: Bytes at most.
        shard: A part of all.
        layout: A template for names below the directory.
        concurrency: Files in flight; ``None`` for as many as help.
        fsync: Flush each file before it gets its name.
        dedupe: Keep equal files once.
        dry_run: Print names, fetch nothing.
        plan: A file to write what would be fetched to.
        planned: Such a file, to be fetched.
    """

    output: Annotated[str, _files("Directory, bucket, archive or - (artifacts).", metavar="OUT", alias="-o")] = (
        "artifacts"
    )
    include: Annotated[tuple[str, ...], _files("Only paths like this glob; repeatable.", metavar="GLOB")] = ()
    exclude: Annotated[tuple[str, ...], _files("No paths like this glob; repeatable.", metavar="GLOB")] = ()
    node: Annotated[
        tuple[int, ...], Parameter(help="Only of this parallel node; repeatable.", metavar="N", group=SELECTION)
    ] = ()
    min_size: Annotated[
        str | None, Parameter(help="Only files of so many bytes or more: 10k, 1.5M.", metavar="SIZE", group=SELECTION)
    ] = None
    max_size: Annotated[
        str | None, Parameter(help="Only files of so many bytes or fewer.", metavar="SIZE", group=SELECTION)
    ] = None
    shard: Annotated[
        str | None, Parameter(help="Only part I of N: each file is in one part.", metavar="I/N", group=SELECTION)
    ] = None
    layout: Annotated[str | None, _files("Names, such as {branch}/{job_name}/{path}.", metavar="TEMPLATE")] = None
    concurrency: Annotated[
        int | None, _files("Files in flight (64 at first, then what helps).", metavar="N", validator=more_than_zero)
    ] = None
    fsync: Annotated[bool, _files("Flush each file to the disk before naming it.")] = False
    dedupe: Annotated[bool, _files("Keep equal files once, as read-only hard links.")] = False
    dry_run: Annotated[bool, _files("Print the names, fetch nothing.")] = False
    plan: Annotated[
        Path | None,
        Parameter(help="Only write to FILE what would be fetched.", metavar="FILE", group=SELECTION),
    ] = None
    planned: Annotated[
        Path | None,
        Parameter(
            name="--from", help="Fetch what such a FILE says, here or elsewhere.", metavar="FILE", group=SELECTION
        ),
    ] = None

    def options(self) -> "aiocircle.DownloadOptions":
        """Return these settings as the library takes them."""
        return aiocircle.DownloadOptions(
            concurrency=self.concurrency,
            include=self.include,
            exclude=self.exclude,
            nodes=self.node,
            min_size=size("--min-size", self.min_size),
            max_size=size("--max-size", self.max_size),
            shard=shard(self.shard),
            layout=self.layout,
            sync=self.fsync,
            dedupe=self.dedupe,
            dry_run=self.dry_run,
        )


USUAL_FILES = Files()


def download(
    *target: Annotated[str, Parameter(show=False)],
    chosen: Annotated[Chosen, FLAT] = NOTHING_CHOSEN,
    files: Annotated[Files, FLAT] = USUAL_FILES,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Fetch the artifacts of a job, a workflow, a pipeline, or of all pipelines. What is complete is kept.

    TARGET is a project (gh/acme/web; several, if all of each is meant), or the web address of a project, pipeline,
    workflow or job.
    """
    output = Output(quiet=display.quiet, as_json=display.as_json, data_elsewhere=files.output == STDOUT)
    _check_stdout(files, output)
    if files.planned is not None:
        _check_from(target, chosen, files)
        access = find_access(connection)
        with access.explained():
            return run(Fetch(files.planned, files, access, output, display.verbose).run)
    if files.plan is not None and files.dry_run:
        raise UsageError("--plan and --dry-run both fetch nothing", hint="one writes a file, the other prints names")
    named = targets(target, chosen)
    what = selection(named, chosen)
    if files.plan is not None:
        check_replaceable(files.plan)
    access = find_access(connection, named[0].host)
    with access.explained():
        return run(Fetch(what, files, access, output, display.verbose).run)


def _check_stdout(files: Files, output: Output) -> None:
    if files.output != STDOUT:
        return
    if output.as_json:
        raise UsageError("with '-o -' standard output is a tar, so --json cannot write there as well")
    if sys.stdout.isatty() and not files.dry_run and files.plan is None:
        raise UsageError("a tar is not for a terminal", hint="-o - | tar x, or -o out.tar")


def _check_from(target: tuple[str, ...], chosen: Chosen, files: Files) -> None:
    if target or chosen != NOTHING_CHOSEN:
        raise UsageError("a plan says which jobs, so neither TARGET nor a flag that selects jobs goes with --from")
    if files.plan is not None:
        raise UsageError("--from carries a plan out, and --plan makes one", hint="give one of them")


@define(eq=False)
class Fetch:
    """One run of the command."""

    what: "aiocircle.Selection | Path | None"
    files: Files
    access: Access
    output: Output
    verbose: int
    progress: Progress = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.progress = Progress(fetches=not self.files.dry_run and self.files.plan is None)

    async def run(self) -> ExitCode:
        """Fetch, and return what the command ends with."""
        raise_descriptor_limit()
        narrator = Narrator(self.output, self.verbose)

        def observe(event: Event) -> None:
            self.progress(event)
            narrator(event)

        # Nobody sees the progress of a quiet run.
        observe.kinds = narrator.kinds | (frozenset() if self.output.quiet else self.progress.kinds)  # type: ignore[attr-defined]
        async with self.access.client(on_event=observe) as client:
            if self.files.plan is not None:
                return await self._planned(client, self.files.plan)
            # What wants no JSON and no names is not called for every file.
            on_outcome = self.output.item if self.output.as_json or self.files.dry_run else None
            fetching = await self.prepare(client, on_outcome)
            try:
                async with shown(self.progress, self.output, live=self._is_live()):
                    report = await fetching.run()
            except asyncio.CancelledError:
                return self._cancelled(fetching.report)
        return self._ended(report)

    async def prepare(
        self, client: "aiocircle.Client", on_outcome: "Callable[[aiocircle.ItemOutcome], None] | None"
    ) -> "aiocircle.Download":
        """Return the download to run."""
        assert self.what is not None
        what = await aiocircle.Plan.read(self.what) if isinstance(self.what, Path) else self.what
        return client.download(what, self.files.output, options=self.files.options(), on_outcome=on_outcome)

    async def _planned(self, client: "aiocircle.Client", file: Path) -> ExitCode:
        assert isinstance(self.what, aiocircle.Selection)
        if self.files.layout is not None:
            Layout(self.files.layout)
            self.output.note("a plan holds no names: give --layout again with --from")
        async with shown(self.progress, self.output, live=self._is_live()):
            plan = await client.artifacts.plan(self.what, options=self.files.options())
            await plan.save(file)
        assert plan.report is not None
        report = evolve(plan.report, output=str(file))
        if self.output.as_json:
            self.output.report(report, cancelled=False, dry_run=True)
        else:
            self.output.plan(report)
        report.raise_for_failures()
        return ExitCode.OK

    def _ended(self, report: "aiocircle.Report") -> ExitCode:
        self.output.report(report, cancelled=False, dry_run=self.files.dry_run)
        report.raise_for_failures()
        return ExitCode.OK

    def _cancelled(self, report: "aiocircle.Report") -> ExitCode:
        self.output.report(report, cancelled=True, dry_run=self.files.dry_run)
        complete = counted(report.files + report.present, "file")
        if is_archive(report.output):
            stopped = AioCircleError("stopped; an archive is all or nothing", hint="the same command begins anew")
        else:
            stopped = AioCircleError(
                f"stopped; {complete} complete in {report.output}, nothing half-written",
                hint="the same command goes on from there",
            )
        self.output.complain(stopped)
        return ExitCode.CANCELLED

    def _is_live(self) -> bool:
        return can_be_drawn(self.verbose) and not ((self.output.as_json or self.files.dry_run) and sys.stdout.isatty())


def raise_descriptor_limit() -> None:
    """Allow this process as many open files as it may have, up to a few thousand: the usual soft limit is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
