"""The headline figures of an export."""

from aiocircle.report.amounts import count, duration, moment, share, shown
from aiocircle.report.credits import total_credits
from aiocircle.report.database import Database, epoch_of
from aiocircle.report.parts import Tile
from aiocircle.report.workflows import outcome_course

MOST_PROJECTS = 3
MOST_POINTS = 60  # of the line in a tile


def export_tiles(database: Database) -> list[Tile]:
    """Return the headline figures; the sections are there already, and have derived what is read here."""
    return [*_numbers(database), *_of_runs(database), *_queueing(database), *_credits(database)]


def export_span(database: Database) -> str:
    """Return which projects the export is about, and of which time."""
    for table, column in (("pipelines", "created_at"), ("workflows", "pipeline_created_at"), ("jobs", "started_at")):
        if database.has(table, "project", column):
            projects = [row[0] for row in database.all(f"SELECT DISTINCT project FROM {table} ORDER BY 1")]
            named = ", ".join(shown(project) for project in projects[:MOST_PROJECTS])
            more = f" and {len(projects) - MOST_PROJECTS:,} more" if len(projects) > MOST_PROJECTS else ""
            first, last = database.one(f"SELECT MIN({column}), MAX({column}) FROM {table}")
            if first is None:
                return f"{named}{more}"
            began, ended = database.one(f"SELECT {epoch_of('?')}, {epoch_of('?')}", first, last)
            return f"{named}{more}, {moment(began)} to {moment(ended)}"
    return ""


def _numbers(database: Database) -> list[Tile]:
    tiles = []
    if database.has("pipelines", "branch"):
        total, branches = database.one("SELECT COUNT(*), COUNT(DISTINCT branch) FROM pipelines")
        tiles.append(Tile(title="Pipelines", value=count(total), detail=f"on {count(branches)} branches"))
    if database.columns("run"):
        (total,) = database.one("SELECT COUNT(*) FROM run")
        runs, _ = outcome_course(database)
        tiles.append(
            Tile(title="Workflow runs", value=count(total), detail="reruns included", course=runs[-MOST_POINTS:])
        )
    if database.columns("ran"):
        total, seconds = database.one("SELECT COUNT(*), SUM(duration) FROM ran")
        detail = f"{count((seconds or 0) / 3600)} hours of machines, nodes not counted"
        tiles.append(Tile(title="Jobs run", value=count(total), detail=detail))
    if database.has("tests", "result"):
        total, bad = database.one("SELECT COUNT(*), SUM(result IN ('failure', 'error')) FROM tests")
        tiles.append(Tile(title="Test results", value=count(total), detail=f"{share(bad, total)} failed"))
    return tiles


def _of_runs(database: Database) -> list[Tile]:
    if not database.columns("run"):
        return []
    good, bad = database.one("SELECT SUM(outcome = 'succeeded'), SUM(outcome = 'failed') FROM run")
    tiles = []
    if good or bad:
        _, rates = outcome_course(database)
        detail = f"{good:,} of {good + bad:,} workflow runs"
        tiles.append(
            Tile(title="Success rate", value=share(good, good + bad), detail=detail, course=rates[-MOST_POINTS:])
        )
    source = "SELECT 1 AS everything, duration AS value FROM run WHERE outcome = 'succeeded'"
    for _, _, p50, p95 in database.percentiles(source, "everything", 50, 95):
        tiles.append(Tile(title="Median workflow", value=duration(p50), detail=f"p95 {duration(p95)}, of successes"))
    return tiles


def _queueing(database: Database) -> list[Tile]:
    if not database.columns("queued"):
        return []
    source = "SELECT 1 AS everything, seconds AS value FROM queued"
    return [
        Tile(title="Median queue", value=duration(p50), detail=f"p95 {duration(p95)}, of jobs")
        for _, _, p50, p95 in database.percentiles(source, "everything", 50, 95)
    ]


def _credits(database: Database) -> list[Tile]:
    total = total_credits(database)
    return [] if total is None else [Tile(title="Credits", value=count(total), detail="as Insights has them")]
