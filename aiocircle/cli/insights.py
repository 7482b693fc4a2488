"""``aiocircle insights``: how a project's workflows and jobs did."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import aiocircle
from aiocircle.cli import tables
from aiocircle.cli.asking import answered
from aiocircle.cli.exits import ExitCode, UsageError
from aiocircle.cli.output import Output
from aiocircle.cli.settings import (
    CHOICE,
    FLAT,
    USUAL_CONNECTION,
    USUAL_DISPLAY,
    Connection,
    Display,
    Window,
    not_negative,
)
from aiocircle.slugs import parse_target

if TYPE_CHECKING:
    from aiocircle.api import JobMetrics, WorkflowMetrics, WorkflowRun

DAYS: dict[str, int] = {
    "last-24-hours": 1,
    "last-7-days": 7,
    "last-30-days": 30,
    "last-60-days": 60,
    "last-90-days": 90,
}

METRICS: "tables.Columns[WorkflowMetrics | JobMetrics]" = {
    "name": lambda one: tables.text(one.name),
    ">runs": lambda one: tables.text(one.metrics and one.metrics.total_runs),
    ">success": lambda one: tables.share(one.metrics.success_rate if one.metrics else None),
    ">median": lambda one: _duration(one, "median"),
    ">p95": lambda one: _duration(one, "p95"),
    ">a day": lambda one: tables.text(one.metrics and one.metrics.throughput),
    ">credits": lambda one: tables.text(one.metrics and one.metrics.total_credits_used),
}
RUNS: "tables.Columns[WorkflowRun]" = {
    "created": lambda one: tables.moment(one.created_at),
    "status": lambda one: tables.text(one.status),
    ">took": lambda one: tables.seconds(one.duration),
    ">credits": lambda one: tables.text(one.credits_used),
    "branch": lambda one: tables.text(one.branch),
    "id": lambda one: tables.text(one.id),
}


def insights(
    project: Annotated[str, Parameter(show=False)],
    /,
    *,
    workflow: Annotated[str | None, Parameter(help="The runs of this workflow.", metavar="NAME", group=CHOICE)] = None,
    jobs: Annotated[bool, Parameter(help="With --workflow: its jobs.", group=CHOICE)] = False,
    window: Annotated[
        Window, Parameter(help="How far back (last-90-days).", metavar="WINDOW", group=CHOICE)
    ] = "last-90-days",
    branch: Annotated[str | None, Parameter(help="Only of this branch.", metavar="NAME", group=CHOICE)] = None,
    all_branches: Annotated[bool, Parameter(help="All branches together.", group=CHOICE)] = False,
    limit: Annotated[
        int, Parameter(help="So many runs at most (20); 0: all.", metavar="N", group=CHOICE, validator=not_negative)
    ] = 20,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Print metrics of a project's workflows, of a workflow's jobs, or a workflow's runs."""
    target = parse_target(project)
    if jobs and workflow is None:
        raise UsageError("--jobs are those of a workflow", hint="add --workflow NAME")
    if branch is not None and all_branches:
        raise UsageError("--branch is one, and --all-branches are all", hint="leave one of them out")
    named, every = branch or target.branch, all_branches or None

    async def ask(client: "aiocircle.Client", output: Output) -> None:
        found = client.insights
        if workflow is None:
            flows = found.workflows(target.slug, branch=named, all_branches=every, reporting_window=window)
            await tables.show_listing(output, "workflow_metrics", flows, METRICS)
        elif jobs:
            of_jobs = found.jobs(target.slug, workflow, branch=named, all_branches=every, reporting_window=window)
            await tables.show_listing(output, "job_metrics", of_jobs, METRICS)
        else:
            start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS[window])
            runs = found.runs(target.slug, workflow, branch=named, all_branches=every, start_date=start)
            await tables.show_listing(output, "workflow_run", runs, RUNS, limit or None)

    return answered(ask, connection, display, host=target.host)


def _duration(one: "WorkflowMetrics | JobMetrics", name: str) -> str:
    durations = one.metrics and one.metrics.duration_metrics
    return tables.seconds(getattr(durations, name, None))
