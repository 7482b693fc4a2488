"""``aiocircle job``: the details of one job."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import aiocircle
from aiocircle.cli import tables
from aiocircle.cli.asking import answered
from aiocircle.cli.exits import ExitCode
from aiocircle.cli.named import job_named
from aiocircle.cli.output import Output, fit
from aiocircle.cli.settings import FLAT, USUAL_CONNECTION, USUAL_DISPLAY, Connection, Display, more_than_zero

if TYPE_CHECKING:
    from aiocircle.api import JobDetails

LABEL_WIDTH = 12


def job(
    project: Annotated[str, Parameter(show=False)],
    number: Annotated[int | None, Parameter(show=False, validator=more_than_zero)] = None,
    /,
    *,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Print the details of a job."""
    named = job_named(project, number)

    async def ask(client: "aiocircle.Client", output: Output) -> None:
        details = await client.jobs.get(named.slug, named.number)
        if output.as_json:
            values = tables.values_of(details, "job")
            # The one duration that the API gives in milliseconds.
            output.record("job", {**values, "duration": _seconds(details)})
        else:
            for line in _lines(details):
                output.data(fit(line))

    return answered(ask, connection, display, host=named.host)


def _seconds(details: "JobDetails") -> float | None:
    return None if details.duration is None else details.duration / 1000


def _lines(details: "JobDetails") -> Iterator[str]:
    executor, workflow, pipeline = details.executor, details.latest_workflow, details.pipeline
    nodes = {run.status for run in details.parallel_runs}
    facts = {
        "job": f"{details.number} {details.name or ''}",
        "status": details.status,
        "took": tables.seconds(_seconds(details)),
        "queued": tables.moment(details.queued_at),
        "started": tables.moment(details.started_at),
        "stopped": tables.moment(details.stopped_at),
        "nodes": f"{details.parallelism or 1}, {', '.join(sorted(filter(None, nodes))) or 'status unknown'}",
        "executor": executor and " ".join(filter(None, (executor.type, executor.resource_class))),
        "contexts": ", ".join(one.name or "?" for one in details.contexts),
        "workflow": workflow and f"{workflow.name or '?'} {workflow.id or ''}",
        "pipeline": pipeline and pipeline.id,
        "project": details.project and details.project.slug,
        "address": details.web_url,
    }
    for label, fact in facts.items():
        yield f"{label:{LABEL_WIDTH}}{tables.text(fact)}"
    for message in details.messages:
        yield f"{message.type or 'message':{LABEL_WIDTH}}{message.message or ''}"
