"""The jobs of one pipeline as a timeline: a few pipelines to choose from, and what held each of them up.

Hours in which nothing ran, before a rerun or an approval, would leave no room for the jobs: such pauses are cut out,
and said. What held a workflow up is the chain of jobs that ends with its last: from each, back to the one that it
depends on and that ended last.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import evolve, frozen

from aiocircle.report.amounts import NOTHING, counted, duration, moment, shown, web_address
from aiocircle.report.database import Database, exactly
from aiocircle.report.parts import Absent, Cell, Grid, Link, Part, Plot, Section

MOST_JOBS = 120  # of one pipeline
MOST_ROWS = 2000  # that are read of one
PAUSE = 300.0  # seconds in which nothing runs that are cut out at least
NEWEST, FAILED, SLOWEST = 4, 2, 3
_COLUMNS = "workflow_id, id, workflow_name, name, status, job_number, dependencies"


@frozen(kw_only=True)
class Bar:
    """A job in a timeline; times in seconds since the epoch."""

    workflow: str
    id: str
    workflow_name: str
    name: str
    status: str
    number: int | None
    started: float
    stopped: float
    queued: float | None = None
    needs: frozenset[str] = frozenset()
    address: str | None = None
    is_critical: bool = False


def timeline_section(database: Database) -> Section:
    """Return the section of timelines."""
    if not database.columns("ran") or not database.has("jobs", "dependencies", "workflow_id", "stopped_at"):
        return Section("timeline", "Timeline", [Absent("A pipeline's jobs", "export the dataset jobs.")])
    return Section("timeline", "Timeline", [_plot(database)])


def _plot(database: Database) -> Part:
    choices = []
    rows: list[Sequence[Cell]] = []
    notes: list[str] = []
    for pipeline, why in _chosen(database):
        bars, left_out = _bars(database, pipeline)
        if not bars:
            continue
        heading = f"{_title(database, pipeline)} ({why})"
        if left_out:
            notes.append(f"{heading}: the first {MOST_JOBS} jobs, without {left_out:,} more.")
        first = min(bar.started if bar.queued is None else bar.queued for bar in bars)
        choices.append(_choice(heading, first, bars))
        rows += [
            (
                heading,
                bar.workflow_name,
                Link(bar.name, bar.address),
                bar.status,
                moment(bar.started, exact=True),
                NOTHING if bar.queued is None else duration(bar.started - bar.queued),
                duration(bar.stopped - bar.started),
            )
            for bar in bars
        ]
    if not choices:
        return Absent("A pipeline's jobs", "no job of the export has run to its end.")
    if all(bar["queued"] is None for choice in choices for bar in choice["bars"]):
        notes.append("Time in the queue is in the details of jobs, which the export does not have (job_details).")
    return Plot(
        id="pipeline",
        kind="timeline",
        title="A pipeline's jobs",
        lead="Light is the time in the queue, full the run. Outlined jobs held their workflow up: each waited for the "
        "one before, to the very end. Pauses of five minutes and more in which nothing ran are cut out.",
        label=f"Timeline of a pipeline's jobs, {counted(len(choices), 'pipeline')} to choose from",
        data={"unit": "seconds", "what": "Pipeline", "choices": choices},
        grid=Grid(["Pipeline", "Workflow", "Job", "Status", "Began (UTC)", "Queued", "Ran"], rows, range(5, 99)),
        notes=notes,
        is_wide=True,
    )


def _chosen(database: Database) -> Iterator[tuple[str, str]]:
    """Yield the pipelines to choose from, and why each of them: the newest, the newest that failed, the slowest."""
    began, ended = exactly("started_at"), exactly("stopped_at")
    database.derive(
        "busy",
        f"""SELECT pipeline_id, MIN(began) AS began, MAX(status = 'failed') AS has_failed,
                   SUM(MAX(0, ended - MAX(began, COALESCE(before, began)))) AS seconds FROM (
                SELECT pipeline_id, status, began, ended, MAX(ended) OVER (PARTITION BY pipeline_id
                       ORDER BY began ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM (
                    SELECT pipeline_id, status, {began} AS began, {ended} AS ended FROM jobs
                    WHERE started_at IS NOT NULL AND stopped_at IS NOT NULL))
            GROUP BY pipeline_id""",
    )
    given: set[str] = set()
    for why, order, most in (
        ("newest", "1 ORDER BY began DESC", NEWEST),
        ("failed", "has_failed ORDER BY began DESC", FAILED),
        ("slowest", "1 ORDER BY seconds DESC", SLOWEST),
    ):
        for (pipeline,) in database.all(f"SELECT pipeline_id FROM busy WHERE {order}, pipeline_id LIMIT {most}"):
            if pipeline not in given:
                given.add(pipeline)
                yield pipeline, why


def _title(database: Database, pipeline: str) -> str:
    columns = "project, pipeline_number, branch, (SELECT seconds FROM busy WHERE busy.pipeline_id = jobs.pipeline_id)"
    query = f"SELECT {columns} FROM jobs WHERE pipeline_id = ? LIMIT 1"
    project, number, branch, seconds = database.one(query, pipeline)
    where = f"{shown(project)} #{number}" if number is not None else f"{shown(project)} {shown(pipeline)[:8]}"
    return f"{where}{f' on {shown(branch)}' if branch else ''}, {duration(seconds)}"


def _bars(database: Database, pipeline: str) -> tuple[list[Bar], int]:
    """Return the jobs of a pipeline, each once, workflow by workflow in the order of their begin; and how many more."""
    details = database.has("job_details", "project", "job_number", "queued_at", "web_url")
    of_details = """(SELECT {} FROM job_details d
                      WHERE d.project = jobs.project AND d.job_number = jobs.job_number)"""
    more = [of_details.format(one) if details else "NULL" for one in (exactly("d.queued_at"), "d.web_url")]
    query = f"""SELECT {_COLUMNS}, {exactly("started_at")} AS began, {exactly("stopped_at")}, {", ".join(more)}
                FROM jobs WHERE pipeline_id = ? AND started_at IS NOT NULL AND stopped_at IS NOT NULL
                ORDER BY began, name LIMIT {MOST_ROWS + 1}"""
    found = once_each([_bar(row) for row in database.rows(query, pipeline)])
    bars = found[:MOST_JOBS]
    critical = {one for workflow in {bar.workflow for bar in bars} for one in critical_path(bars, workflow)}
    return [evolve(bar, is_critical=bar.id in critical) for bar in bars], len(found) - len(bars)


def once_each(bars: Sequence[Bar]) -> list[Bar]:
    """Return jobs that a rerun lists again only where they ran: in the workflow that was over first."""
    over: dict[str, float] = {}
    for bar in bars:
        over[bar.workflow] = max(over.get(bar.workflow, bar.stopped), bar.stopped)
    order = sorted(bars, key=lambda bar: (over[bar.workflow], bar.workflow, bar.started, bar.name))
    once: dict[str, Bar] = {}
    for bar in order:
        once.setdefault(bar.id, bar)
    return list(once.values())


def _bar(row: tuple[Any, ...]) -> Bar:
    workflow, identity, workflow_name, name, status, number, needs, started, stopped, queued, address = row
    return Bar(
        workflow=workflow,
        id=identity,
        workflow_name=shown(workflow_name),
        name=shown(name),
        status=shown(status, "unknown"),
        number=number,
        started=started,
        stopped=max(started, stopped),
        queued=queued if queued is not None and queued <= started else None,
        needs=frozenset(one for one in json.loads(needs or "[]") if isinstance(one, str)),
        address=web_address(address),
    )


def critical_path(bars: Sequence[Bar], workflow: str) -> list[str]:
    """Return the ids of the jobs that held a workflow up, the last first."""
    known = {bar.id: bar for bar in bars}
    last = max((bar for bar in bars if bar.workflow == workflow), key=lambda bar: (bar.stopped, bar.id))
    path = [last.id]
    while before := [known[one] for one in last.needs if one in known and one not in path]:
        last = max(before, key=lambda bar: (bar.stopped, bar.id))
        path.append(last.id)
    return path if len(path) > 1 else []


def stretches(bars: Sequence[Bar]) -> list[tuple[float, float]]:
    """Return the stretches of time in which something ran or queued, those joined that are less than a pause apart."""
    found: list[tuple[float, float]] = []
    for began, ended in sorted((bar.started if bar.queued is None else bar.queued, bar.stopped) for bar in bars):
        if found and began - found[-1][1] < PAUSE:
            found[-1] = found[-1][0], max(found[-1][1], ended)
        else:
            found.append((began, ended))
    return found


def _choice(heading: str, first: float, bars: Sequence[Bar]) -> dict[str, Any]:
    return {
        "name": heading,
        "start": first,
        "stretches": [[round(began - first, 1), round(ended - first, 1)] for began, ended in stretches(bars)],
        "bars": [
            {
                "workflow": bar.workflow_name,
                "place": bar.workflow,
                "name": bar.name,
                "status": bar.status,
                "queued": None if bar.queued is None else round(bar.queued - first, 1),
                "started": round(bar.started - first, 1),
                "stopped": round(bar.stopped - first, 1),
                "critical": bar.is_critical,
                "href": bar.address,
            }
            for bar in bars
        ],
    }
