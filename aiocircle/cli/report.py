"""``aiocircle report``: a page to look at, from what an export or a download left behind."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aiocircle.cli.exits import ExitCode
from aiocircle.cli.interrupts import interruptible
from aiocircle.cli.output import Output, binary, fit
from aiocircle.cli.settings import FILES, FLAT, USUAL_DISPLAY, Display
from aiocircle.download.stores import STDOUT
from aiocircle.report import render_report, write_report

USUAL_OUTPUT = Path("report.html")


def report(
    directory: Annotated[str, Parameter(show=False)],
    /,
    *,
    output: Annotated[
        Path, Parameter(help="File to write to, or - (report.html).", group=FILES, metavar="FILE", alias="-o")
    ] = USUAL_OUTPUT,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Write an HTML page about the export or the download in DIR: one file, which works anywhere and asks nobody."""
    interruptible()
    shown = Output(quiet=display.quiet, as_json=display.as_json)
    if str(output) == STDOUT:
        shown.raw(render_report(directory).text)
        return ExitCode.OK
    written = write_report(directory, output)
    sources = [name for name, there in (("export", written.has_export), ("download", written.has_download)) if there]
    if shown.as_json:
        shown.record("report", {"output": str(written.path), "size": written.size, "sources": sources})
    elif not shown.quiet:
        shown.data(
            fit(f"{written.path}: {binary(written.size)}, from {' and '.join(f'the {name}' for name in sources)}")
        )
    return ExitCode.OK
