"""``aiocircle retry``: what failed in earlier runs, once more, and what the last one had still before it."""

from collections.abc import Callable
from typing import Annotated

from attrs import define
from cyclopts import Parameter

import aiocircle
from aiocircle.cli.download import Fetch, Files
from aiocircle.cli.exits import ExitCode
from aiocircle.cli.interrupts import run
from aiocircle.cli.output import Output, counted
from aiocircle.cli.settings import (
    FILES,
    FLAT,
    USUAL_CONNECTION,
    USUAL_DISPLAY,
    Connection,
    Display,
    find_access,
    more_than_zero,
)
from aiocircle.download.missing import Missing, missing_in

UNFINISHED = "the last download did not come to its end: "
GOES_ON = f"{UNFINISHED}what it was to fetch is listed again, and what is missing fetched as well"
UNKNOWN = f"{UNFINISHED}what it had not fetched is not known here; the same 'aiocircle download' completes it"


def retry(
    directory: Annotated[str, Parameter(show=False)],
    /,
    *,
    concurrency: Annotated[
        int | None,
        Parameter(
            help="Files in flight (64 at first, then what helps).", group=FILES, metavar="N", validator=more_than_zero
        ),
    ] = None,
    fsync: Annotated[bool, Parameter(help="Flush each file to the disk before naming it.", group=FILES)] = False,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Fetch what failed in earlier runs to DIR, and what the last one had still before it. Half files are continued."""
    missing = missing_in(directory)
    output = Output(quiet=display.quiet, as_json=display.as_json)
    goes_on = missing.pending(aiocircle.DownloadOptions()) is not None
    if not missing.finished:
        output.note(GOES_ON if goes_on else UNKNOWN)
    if not missing.failures and not goes_on:
        if output.as_json:
            output.record("report", {"output": str(directory), "files": 0, "failed": 0, "ok": True})
        elif not output.quiet:
            output.data("nothing failed")
        return ExitCode.OK
    if missing.failures:
        output.note(f"{counted(len(missing.failures), 'item')} failed before")
    access = find_access(connection, missing.origin)
    files = Files(output=directory, concurrency=concurrency, fsync=fsync)
    with access.explained():
        return run(_FetchFailed(None, files, access, output, display.verbose, missing=missing).run)


@define(eq=False, kw_only=True)
class _FetchFailed(Fetch):
    """One run of the command."""

    missing: Missing

    async def prepare(
        self, client: "aiocircle.Client", on_outcome: "Callable[[aiocircle.ItemOutcome], None] | None"
    ) -> "aiocircle.Download":
        """Return the download to run."""
        return client.prepare_failed(self.missing, self.files.output, self.files.options(), on_outcome)
