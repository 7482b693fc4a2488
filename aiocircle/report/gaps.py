"""What an export lacks, and why, as it recorded it itself."""

from collections.abc import Sequence

from aiocircle.report.amounts import count, shown
from aiocircle.report.database import Database
from aiocircle.report.parts import Absent, Cell, Grid, Listing, Part, Section

MOST_GAPS = 100
UNFINISHED = (
    "The export's last run has not come to its end: older pipelines, and whatever else it had still before it, are "
    "missing in the figures. The same 'aiocircle export' goes on from there."
)
COLUMNS = ("dataset", "project", "what", "reason", "code", "seen_at")


def gap_section(database: Database) -> Section:
    """Return the section of gaps."""
    title = "Gaps"
    if not database.has("gaps", *COLUMNS):
        return Section("gaps", title, [Absent("Gaps", "the export recorded none: what it asked for, it was given.")])
    return Section("gaps", title, _listings(database))


def unfinished(database: Database) -> list[str]:
    """Return a sentence if the last run did not collect everything, or has not yet."""
    if not database.columns("about") or not database.all("SELECT 1 FROM about WHERE name = 'run_began'"):
        return []
    return [UNFINISHED]


def _listings(database: Database) -> list[Part]:
    (total,) = database.one("SELECT COUNT(*) FROM gaps")
    by_kind: list[Sequence[Cell]] = [
        (shown(dataset), shown(code), count(number), shown(reason))
        for dataset, code, number, reason in database.all(
            f"""SELECT dataset, code, COUNT(*), MAX(reason) FROM gaps GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
                LIMIT {MOST_GAPS}"""
        )
    ]
    newest: list[Sequence[Cell]] = [
        (shown(dataset), shown(project), shown(what), shown(reason), shown(seen))
        for dataset, project, what, reason, seen in database.all(
            f"SELECT dataset, project, what, reason, seen_at FROM gaps ORDER BY seen_at DESC, what LIMIT {MOST_GAPS}"
        )
    ]
    left_out = [f"Shown are the newest {MOST_GAPS} of {total:,}."] if total > MOST_GAPS else []
    return [
        Listing(
            id="gaps-by-kind",
            title="What is missing",
            lead=f"{count(total)} things that the export asked for and was not given. Figures above do not have them.",
            grid=Grid(["Dataset", "Code", "Number", "Why, for example"], by_kind, range(2, 3)),
        ),
        Listing(
            id="newest-gaps",
            title="One by one",
            lead="The newest first.",
            grid=Grid(["Dataset", "Project", "What", "Why", "Seen (UTC)"], newest, range(0)),
            notes=left_out,
        ),
    ]
