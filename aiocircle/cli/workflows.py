"""``aiocircle workflows``: a pipeline's workflows."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import aiocircle
from aiocircle.cli import tables
from aiocircle.cli.asking import answered
from aiocircle.cli.exits import ExitCode
from aiocircle.cli.named import pipeline_named
from aiocircle.cli.output import Output
from aiocircle.cli.settings import CHOICE, FLAT, USUAL_CONNECTION, USUAL_DISPLAY, Connection, Display, more_than_zero

if TYPE_CHECKING:
    from aiocircle.api import Workflow

COLUMNS: "tables.Columns[Workflow]" = {
    "name": lambda one: tables.text(one.name),
    "status": lambda one: tables.text(one.status),
    "created": lambda one: tables.moment(one.created_at),
    ">took": lambda one: tables.between(one.created_at, one.stopped_at),
    "id": lambda one: tables.text(one.id),
}


def workflows(
    target: Annotated[str, Parameter(show=False)],
    /,
    *,
    pipeline: Annotated[
        int | None, Parameter(help="The pipeline's number.", metavar="N", group=CHOICE, validator=more_than_zero)
    ] = None,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """List a pipeline's workflows, reruns included."""
    named = pipeline_named(target, pipeline)

    async def ask(client: "aiocircle.Client", output: Output) -> None:
        listing = client.workflows.list(await named.find_id(client))
        await tables.show_listing(output, "workflow", listing, COLUMNS)

    return answered(ask, connection, display, host=named.host)
