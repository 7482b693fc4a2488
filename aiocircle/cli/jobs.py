"""``aiocircle jobs``: a workflow's jobs."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import aiocircle
from aiocircle.cli import tables
from aiocircle.cli.asking import answered
from aiocircle.cli.exits import ExitCode
from aiocircle.cli.named import workflow_named
from aiocircle.cli.output import Output
from aiocircle.cli.settings import FLAT, USUAL_CONNECTION, USUAL_DISPLAY, Connection, Display

if TYPE_CHECKING:
    from aiocircle.api import Job

COLUMNS: "tables.Columns[Job]" = {
    ">number": lambda one: tables.text(one.job_number),
    "name": lambda one: tables.text(one.name),
    "type": lambda one: tables.text(one.type),
    "status": lambda one: tables.text(one.status),
    "started": lambda one: tables.moment(one.started_at),
    ">took": lambda one: tables.between(one.started_at, one.stopped_at),
}


def jobs(
    workflow: Annotated[str, Parameter(show=False)],
    /,
    *,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """List a workflow's jobs, approvals and jobs that never ran included."""
    named = workflow_named(workflow)

    async def ask(client: "aiocircle.Client", output: Output) -> None:
        await tables.show_listing(output, "job", client.jobs.list(named.id), COLUMNS)

    return answered(ask, connection, display, host=named.host)
