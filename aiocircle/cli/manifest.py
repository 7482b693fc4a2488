"""``aiocircle manifest``: where every file in a directory comes from, as JSON Lines."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aiocircle.cli.exits import ExitCode
from aiocircle.cli.interrupts import interruptible
from aiocircle.cli.output import Output
from aiocircle.cli.settings import FILES
from aiocircle.download.records import Records
from aiocircle.download.records import manifest as lines
from aiocircle.download.replacing import replacing
from aiocircle.download.stores import STDOUT


def manifest(
    directory: Annotated[str, Parameter(show=False)],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(help="File to write to (standard output).", group=FILES, metavar="FILE", alias="-o")
    ] = None,
) -> ExitCode:
    """Print a JSON object for every artifact in DIR: project, pipeline, job, node, address, size, SHA-256, times."""
    interruptible()
    with Records(directory) as records:
        if output is None or str(output) == STDOUT:
            shown = Output()
            for line in lines(records):
                shown.data(line)
            return ExitCode.OK
        with replacing(output) as file:
            file.writelines(f"{line}\n".encode() for line in lines(records))
    return ExitCode.OK
