"""``aiocircle approve``: a job that waits to be approved."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import aiocircle
from aiocircle.cli.asking import answered
from aiocircle.cli.exits import ExitCode, MissingError, UsageError
from aiocircle.cli.named import workflow_named
from aiocircle.cli.output import Output, fit
from aiocircle.cli.settings import FLAT, USUAL_CONNECTION, USUAL_DISPLAY, Connection, Display

if TYPE_CHECKING:
    from aiocircle.api import Job


def approve(
    workflow: Annotated[str, Parameter(show=False)],
    name: Annotated[str | None, Parameter(show=False)] = None,
    /,
    *,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Approve the job of a workflow that waits for it, or the one of this name."""
    named = workflow_named(workflow)

    async def ask(client: "aiocircle.Client", output: Output) -> None:
        job = _waiting(await client.jobs.list(named.id).collect(), name)
        assert job.approval_request_id is not None
        said = await client.workflows.approve(named.id, job.approval_request_id)
        if output.as_json:
            output.record("approval", {"of": job.name, "workflow_id": str(named.id), "message": said.message})
        else:
            output.data(fit(f"{job.name}: {said.message or 'accepted'}"))

    return answered(ask, connection, display, host=named.host)


def _waiting(jobs: "Sequence[Job]", name: str | None) -> "Job":
    """Return the one job that waits.

    Raises:
        MissingError: None waits, or none of this name.
        UsageError: Several wait, and no name tells which is meant.
    """
    waiting = [job for job in jobs if job.status == "on_hold" and job.approval_request_id is not None]
    names = ", ".join(repr(job.name) for job in waiting)
    meant = [job for job in waiting if name in {None, job.name}]
    if not waiting:
        raise MissingError("no job of this workflow waits to be approved")
    if not meant:
        raise MissingError(f"{name!r} does not wait to be approved", hint=f"these do: {names}")
    if len(meant) > 1:
        raise UsageError(f"several jobs wait to be approved: {names}", hint="name the one that is meant")
    return meant[0]
