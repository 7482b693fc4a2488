"""``aiocircle rerun``: a workflow once more."""

from typing import Annotated

from cyclopts import Parameter

import aiocircle
from aiocircle.cli.asking import answered
from aiocircle.cli.exits import ExitCode
from aiocircle.cli.named import workflow_named
from aiocircle.cli.output import Output
from aiocircle.cli.settings import CHOICE, FLAT, USUAL_CONNECTION, USUAL_DISPLAY, Connection, Display
from aiocircle.unset import UNSET


def rerun(
    workflow: Annotated[str, Parameter(show=False)],
    /,
    *,
    from_failed: Annotated[bool, Parameter(help="Only from the jobs that failed.", group=CHOICE)] = False,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Run a workflow again, and print the id of the new one."""
    named = workflow_named(workflow)

    async def ask(client: "aiocircle.Client", output: Output) -> None:
        new = await client.workflows.rerun(named.id, from_failed=from_failed or UNSET)
        if output.as_json:
            output.record("rerun", {"workflow_id": str(new.workflow_id), "of": str(named.id)})
        else:
            output.data(str(new.workflow_id))

    return answered(ask, connection, display, host=named.host)
