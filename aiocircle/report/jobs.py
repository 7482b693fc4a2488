"""Jobs: the slowest, those that fail, and how long they waited for a machine."""

from collections.abc import Sequence
from heapq import nsmallest
from itertools import pairwise

from aiocircle.report.amounts import count, counted, duration, moment, share, shown, web_address
from aiocircle.report.courses import bands, labels
from aiocircle.report.database import Database, bins_of, epoch_of
from aiocircle.report.parts import Absent, Cell, Grid, Link, Listing, Part, Plot, Section

MOST_BARS = 15
MOST_LINKS = 3
MOST_CLASSES = 8
ALL_CLASSES = "All resource classes"
FAILED = "('failed', 'timedout', 'infrastructure_fail')"
# Seconds: from a blink to a day, so that short waits and long ones are told apart.
EDGES = (0, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600, 86400)


def job_section(database: Database) -> Section:
    """Return the section of jobs."""
    title = "Jobs"
    if not database.has("jobs", "id", "project", "name", "status", "started_at", "duration_seconds"):
        return Section("jobs", title, [Absent("Jobs", "the export has no jobs: export the dataset jobs.")])
    prepare(database)
    return Section("jobs", title, [_slowest(database), *_failing(database)])


def queue_section(database: Database) -> Section:
    """Return the section of the time in queues."""
    title = "Queue times"
    if not database.has("job_details", "queue_seconds", "queued_at", "resource_class"):
        why = "it is in the details of jobs: export the dataset job_details."
        return Section("queues", title, [Absent("Time in the queue", why)])
    database.derive(
        "queued",
        f"""SELECT COALESCE(resource_class, '') AS class, queue_seconds AS seconds,
            {epoch_of("COALESCE(queued_at, created_at)")} AS began
            FROM job_details WHERE queue_seconds >= 0""",
    )
    if not database.has("queued"):
        return Section("queues", title, [Absent("Time in the queue", "no job of the export has one yet.")])
    busiest = database.all("SELECT class FROM queued GROUP BY class ORDER BY COUNT(*) DESC, class")
    classes = {row[0]: shown(row[0], "(unknown class)") for row in busiest[:MOST_CLASSES]}
    left_out = len(busiest) - len(classes)
    notes = [f"{counted(left_out, 'class', 'classes')} with fewer jobs are in 'all' only."] if left_out > 0 else []
    return Section("queues", title, [_waits(database, classes, notes), _waits_in_time(database, classes, notes)])


def prepare(database: Database) -> None:
    """Derive the jobs that ran to an end, each once: a rerun lists the jobs again that it did not run again."""
    database.derive(
        "ran",
        f"""SELECT project, COALESCE(name, '') AS name, job_number, status,
            duration_seconds AS duration, {epoch_of("started_at")} AS began, MIN(rowid)
            FROM jobs WHERE started_at IS NOT NULL AND status IN ('success', 'failed', 'timedout',
            'infrastructure_fail', 'canceled') GROUP BY project, id""",
    )


def _slowest(database: Database) -> Part:
    source = "SELECT project, name, duration AS value FROM ran WHERE status = 'success' AND duration IS NOT NULL"
    every = database.percentiles(source, "project, name", 50, 95)
    found = nsmallest(MOST_BARS, every, key=lambda row: (-row[3], *row[:2]))
    if not found:
        return Absent("Slowest jobs", "no job that succeeded has a duration.")
    names = labels([(project, name) for project, name, *_ in found])
    rows: list[Sequence[Cell]] = [
        (names[project, name], count(number), duration(p50), duration(p95)) for project, name, number, p50, p95 in found
    ]
    return Plot(
        id="slowest-jobs",
        kind="bars",
        title="Slowest jobs",
        lead="The solid bar is the median of runs that succeeded (p50), the light one goes on to the slowest twentieth "
        "(p95).",
        label=f"The slowest jobs by median duration, first {rows[0][0]} with {rows[0][2]}",
        data={
            "unit": "seconds",
            "value": "p50",
            "further": "p95",
            "bars": [
                {"name": names[project, name], "value": p50, "further": p95, "more": [["runs", count(number)]]}
                for project, name, number, p50, p95 in found
            ],
        },
        grid=Grid(["Job", "Runs", "p50", "p95"], rows),
    )


def _failing(database: Database) -> list[Part]:
    found = database.all(
        f"""SELECT project, name, SUM(status IN {FAILED}) AS bad, SUM(status = 'success') AS good
            FROM ran GROUP BY project, name HAVING bad > 0 ORDER BY bad DESC, 1, 2 LIMIT {MOST_BARS}"""
    )
    if not found:
        return [Absent("Failures by job", "no job of the export failed.")]
    database.derive("bad", f"SELECT project, name, job_number, began FROM ran WHERE status IN {FAILED}")
    names = labels([(project, name) for project, name, *_ in found])
    details = database.has("job_details", "project", "job_number", "web_url")
    rows: list[Sequence[Cell]] = [
        (
            names[project, name],
            f"{bad:,} of {bad + good:,}",
            share(bad, bad + good),
            _latest(database, project, name, details=details),
        )
        for project, name, bad, good in found
    ]
    notes = [] if details else ["Without the dataset job_details there are no addresses to lead to."]
    plot = Plot(
        id="failures",
        kind="bars",
        title="Failures by job",
        lead="Runs that failed, timed out or lost their machine, each once however often a rerun lists them.",
        label=f"Jobs by number of failures, first {rows[0][0]} with {rows[0][1]}",
        data={
            "unit": "count",
            "value": "failures",
            "style": "failed",
            "bars": [
                {
                    "name": names[project, name],
                    "value": bad,
                    "text": f"{bad:,} · {share(bad, bad + good)}",
                    "more": [["runs", count(bad + good)], ["share that failed", share(bad, bad + good)]],
                }
                for project, name, bad, good in found
            ],
        },
        grid=Grid(["Job", "Failures", "Share"], [row[:3] for row in rows]),
    )
    listing = Listing(
        id="latest-failures",
        title="Latest failures",
        lead="The newest failures of each of these jobs; a number leads to the job at CircleCI.",
        grid=Grid(["Job", "Failures", "Share", "Newest"], rows, range(1, 3)),
        notes=notes,
    )
    return [plot, listing]


def _latest(database: Database, project: str, name: str, *, details: bool) -> list[Link]:
    url = "(SELECT web_url FROM job_details d WHERE d.project = bad.project AND d.job_number = bad.job_number)"
    found = database.all(
        f"""SELECT job_number, began, {url if details else "NULL"} FROM bad
            WHERE project = ? AND name = ?
            ORDER BY began DESC, job_number DESC LIMIT {MOST_LINKS}""",
        project,
        name,
    )
    return [
        Link(f"{'a job' if number is None else f'#{number}'}, {moment(began, exact=True)}", web_address(address))
        for number, began, address in found
    ]


def _waits(database: Database, classes: dict[str, str], notes: list[str]) -> Part:
    cases = " ".join(f"WHEN seconds < {edge} THEN {place}" for place, edge in enumerate(EDGES[1:]))
    counts: dict[str, list[int]] = {name: [0] * len(EDGES) for name in (ALL_CLASSES, *classes.values())}
    query = f"SELECT class, CASE {cases} ELSE {len(EDGES) - 1} END, COUNT(*) FROM queued GROUP BY 1, 2"
    for name, place, number in database.rows(query):
        counts[ALL_CLASSES][place] += number
        if name in classes:
            counts[classes[name]][place] += number
    last = max(place for place, number in enumerate(counts[ALL_CLASSES]) if number)
    ranges = [f"{duration(low)} to {duration(high)}" for low, high in pairwise(EDGES)] + [f"over {duration(EDGES[-1])}"]
    rows: list[Sequence[Cell]] = [
        (ranges[place], *(count(values[place]) for values in counts.values())) for place in range(last + 1)
    ]
    total = sum(counts[ALL_CLASSES])
    quick = sum(counts[ALL_CLASSES][: EDGES.index(30)])
    return Plot(
        id="queue-distribution",
        kind="histogram",
        title="How long jobs queued",
        lead="From queue to start. The steps grow, so that short waits and long ones are both seen.",
        label=f"Distribution of {total:,} times in the queue; {share(quick, total)} were below 30 s",
        data={
            "unit": "jobs",
            "what": "Resource class",
            "edges": [duration(edge) for edge in EDGES[: last + 2]],
            "ranges": ranges[: last + 1],
            "choices": [{"name": name, "values": values[: last + 1]} for name, values in counts.items()],
        },
        grid=Grid(["Time in the queue", *counts], rows),
        notes=notes,
    )


def _waits_in_time(database: Database, classes: dict[str, str], notes: list[str]) -> Part:
    bins = bins_of(database, "queued", "began", enough=True)
    if bins is None:
        return Absent("Queue times over time", "the jobs' details have no dates.")
    groups: dict[str, list[list[float | None]]] = {}
    place = (
        f"SELECT {{}} AS class, {bins.of('began')} AS place_in_time, seconds AS value FROM queued WHERE began NOTNULL"
    )
    for all_of_them in (True, False):
        source = place.format("NULL" if all_of_them else "class")
        for name, where, number, *values in database.percentiles(source, "class, place_in_time", 50, 95):
            if all_of_them or name in classes:
                title = ALL_CLASSES if all_of_them else classes[name]
                columns = groups.setdefault(title, [[None] * bins.number for _ in range(3)])
                for column, value in zip(columns, (number, *values), strict=True):
                    column[where] = round(value, 1)
    order = [ALL_CLASSES, *classes.values()]
    return bands(
        bins,
        {name: groups[name] for name in order if name in groups},
        id="queue-course",
        title="Queue times over time",
        lead="Half of the jobs waited less than p50, one in twenty longer than p95.",
        what="Resource class",
        ranks=(50, 95),
        number_of="jobs",
        notes=list(notes),
    )
