"""``aiocircle manifest``: where every file in a directory comes from, as JSON Lines."""

import secrets
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aiocircle.cli.exits import ExitCode
from aiocircle.cli.output import Output
from aiocircle.cli.settings import FILES
from aiocircle.download.records import Records
from aiocircle.download.records import manifest as lines
from aiocircle.download.stores import explained


def manifest(
    directory: Annotated[str, Parameter(show=False)],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(help="File to write to (standard output).", group=FILES, metavar="FILE", alias="-o")
    ] = None,
) -> ExitCode:
    """Print a JSON object for every artifact in DIR: project, pipeline, job, node, address, size, SHA-256, times."""
    with Records(directory) as records:
        if output is None:
            shown = Output()
            for line in lines(records):
                shown.data(line)
            return ExitCode.OK
        part = output.with_name(f".{output.name}.{secrets.token_hex(4)}")
        try:
            with explained(str(output), fatal=True):
                with part.open("x", encoding="utf-8") as file:
                    for line in lines(records):
                        file.write(f"{line}\n")
                part.replace(output)
        finally:
            part.unlink(missing_ok=True)
    return ExitCode.OK
