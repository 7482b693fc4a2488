"""``aiocircle cancel``: a workflow or a job."""

from typing import Annotated

from cyclopts import Parameter

import aiocircle
from aiocircle.cli.asking import answered
from aiocircle.cli.exits import ExitCode
from aiocircle.cli.named import NamedJob, NamedWorkflow, job_named, workflow_named
from aiocircle.cli.output import Output, fit
from aiocircle.cli.settings import CHOICE, FLAT, USUAL_CONNECTION, USUAL_DISPLAY, Connection, Display, more_than_zero
from aiocircle.errors import ConfigurationError
from aiocircle.slugs import parse_target


def cancel(
    target: Annotated[str, Parameter(show=False)],
    /,
    *,
    job: Annotated[
        int | None,
        Parameter(help="A job of the project, by its number.", metavar="N", group=CHOICE, validator=more_than_zero),
    ] = None,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Cancel a workflow, or one job."""
    named = _named(target, job)

    async def ask(client: "aiocircle.Client", output: Output) -> None:
        if isinstance(named, NamedJob):
            what, said = f"job {named.number}", await client.jobs.cancel(named.slug, named.number)
        else:
            what, said = f"workflow {named.id}", await client.workflows.cancel(named.id)
        if output.as_json:
            output.record("cancel", {"of": what, "message": said.message})
        else:
            output.data(fit(f"{what}: {said.message or 'accepted'}"))

    return answered(ask, connection, display, host=named.host)


def _named(target: str, job: int | None) -> NamedJob | NamedWorkflow:
    """Return the most specific thing that is named."""
    if job is not None or _names_job(target):
        return job_named(target, job)
    return workflow_named(target)


def _names_job(target: str) -> bool:
    try:
        return parse_target(target).job_number is not None
    except ConfigurationError:
        return False
