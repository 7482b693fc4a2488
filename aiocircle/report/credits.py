"""Credits by day: of workflows, from the runs that Insights knows, or of jobs, from its time series."""

from collections.abc import Sequence

from aiocircle.report.amounts import count, moment
from aiocircle.report.courses import labels
from aiocircle.report.database import Bins, Database, bins_of, epoch_of
from aiocircle.report.parts import Absent, Cell, Grid, Part, Plot, Section

MOST_LAYERS = 6
WHY_NOT = "credits are in Insights: export the dataset insights."


def credit_section(database: Database) -> Section:
    """Return the section of credits."""
    parts: list[Part] = []
    if database.has("insights_runs", "credits_used", "created_at", "workflow_name"):
        source = f"""SELECT project, workflow_name AS name, credits_used AS credits, {epoch_of("created_at")} AS began
                     FROM insights_runs WHERE credits_used IS NOT NULL AND created_at IS NOT NULL"""
        lead = "What the runs cost that began then, as Insights has it."
        parts.append(_spent(database, "workflow", source, lead))
    if database.has("insights_timeseries", "total_credits_used", "timestamp", "branch"):
        # With a branch named the same credits stand there a second time.
        source = f"""SELECT project, job_name AS name, SUM(total_credits_used) AS credits,
                     {epoch_of("timestamp")} AS began FROM insights_timeseries
                     WHERE total_credits_used IS NOT NULL AND (branch = '' OR (project, workflow_name) NOT IN
                     (SELECT project, workflow_name FROM insights_timeseries WHERE branch = ''))
                     GROUP BY 1, 2, 4"""
        lead = "What jobs cost, as Insights' time series has it."
        parts.append(_spent(database, "job", source, lead))
    return Section("credits", "Credits", parts or [Absent("Credits", WHY_NOT)])


def total_credits(database: Database) -> int | None:
    """Return the credits of the runs, or of the jobs where there are no runs; ``None`` if nothing tells them."""
    for table in ("spent-by-workflow", "spent-by-job"):
        if database.columns(table):
            total = database.one(f'SELECT SUM(credits) FROM "{table}"')[0]
            return None if total is None else int(total)
    return None


def _spent(database: Database, what: str, source: str, lead: str) -> Part:
    table = f"spent-by-{what}"
    database.derive(table, source)
    title = f"Credits by {what}"
    bins = bins_of(database, f'"{table}"', "began")
    if bins is None:
        return Absent(title, "Insights gave no credits.")
    groups = database.all(f'SELECT project, name, SUM(credits) FROM "{table}" GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2')
    names = labels([(project, name) for project, name, _ in groups])
    layers, others = _layers(database, table, bins, list(names)[:MOST_LAYERS])
    titled = [(names[group], values) for group, values in layers.items()]
    if any(others):
        titled.append((f"{len(groups) - len(layers):,} others", others))
    rows: list[Sequence[Cell]] = [
        (moment(start), *(count(values[place]) for _, values in titled))
        for place, start in enumerate(bins.starts)
        if any(values[place] for _, values in titled)
    ]
    total = sum(sum(values) for _, values in titled)
    return Plot(
        id=f"credits-{what}",
        kind="stack",
        title=title,
        lead=f"Credits in each {bins.word}. {lead}",
        label=f"Credits by {what} and {bins.word}: {total:,} in all, most of them for {titled[0][0]}",
        data={
            **bins.data(),
            "unit": "credits",
            "layers": [{"name": name, "values": values} for name, values in titled],
        },
        grid=Grid([f"{bins.word.title()} from (UTC)", *(name for name, _ in titled)], rows),
    )


def _layers(
    database: Database, table: str, bins: Bins, kept: Sequence[tuple[str, str]]
) -> tuple[dict[tuple[str, str], list[int]], list[int]]:
    layers = {group: [0] * bins.number for group in kept}
    others = [0] * bins.number
    query = f'SELECT project, name, {bins.of("began")}, SUM(credits) FROM "{table}" GROUP BY 1, 2, 3'
    for project, name, place, credits_used in database.rows(query):
        layers.get((project, name), others)[place] += credits_used
    return layers, others
