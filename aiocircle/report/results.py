"""Tests: the slowest, and those that cannot make up their mind."""

from collections.abc import Sequence

from aiocircle.report.amounts import count, duration, shown
from aiocircle.report.database import Database, Row
from aiocircle.report.parts import Absent, Cell, Grid, Part, Plot, Section

MOST_BARS = 15
_SUCCEEDED, _FAILED = "('success')", "('failure', 'error')"
_CLASS, _NAME = "COALESCE(classname, '')", "COALESCE(name, '')"


def test_section(database: Database) -> Section:
    """Return the section of tests."""
    title = "Tests"
    has_tests = database.has("tests", "project", "classname", "name", "result", "run_seconds")
    if not has_tests and not database.has("flaky_tests"):
        why = "the export has no tests: export the datasets tests and insights."
        return Section("tests", title, [Absent("Slowest and flakiest tests", why)])
    slowest = _slowest(database) if has_tests else Absent("Slowest tests", "export the dataset tests.")
    return Section("tests", title, [slowest, _flakiest(database, has_tests=has_tests)])


def _slowest(database: Database) -> Part:
    # The percentiles of all tests would sort all results; the few that can matter are found by their mean.
    database.derive(
        "slow",
        f"""SELECT project AS of_project, {_CLASS} AS of_class, {_NAME} AS of_name,
            SUM(result IN {_FAILED}) AS failures FROM tests
            WHERE abs(run_seconds) < 9e999 AND result != 'skipped' GROUP BY 1, 2, 3
            ORDER BY AVG(run_seconds) DESC, 1, 2, 3 LIMIT {MOST_BARS}""",
    )
    source = f"""SELECT of_project, of_class, of_name, failures, run_seconds AS value FROM tests JOIN slow
                ON project = of_project AND {_CLASS} = of_class AND {_NAME} = of_name
                WHERE result != 'skipped'"""
    groups = "of_project, of_class, of_name, failures"
    found = sorted(database.percentiles(source, groups, 50, 95), key=lambda row: (-row[5], *row[:3]))
    if not found:
        return Absent("Slowest tests", "no test has a duration.")
    names = _names(found)
    rows: list[Sequence[Cell]] = [
        (name, count(number), count(failures), duration(p50), duration(p95))
        for name, (*_, failures, number, p50, p95) in zip(names, found, strict=True)
    ]
    return Plot(
        id="slowest-tests",
        kind="bars",
        title="Slowest tests",
        lead="The tests with the longest mean: the solid bar is the median (p50), the light one goes on to p95.",
        label=f"The slowest tests, first {rows[0][0]} with a median of {rows[0][3]}",
        data={
            "unit": "seconds",
            "value": "p50",
            "further": "p95",
            "bars": [
                {
                    "name": name,
                    "short": short,
                    "value": p50,
                    "further": p95,
                    "more": [["runs", count(number)], ["failures", count(failures)]],
                }
                for name, short, (*_, failures, number, p50, p95) in zip(names, _shorts(found), found, strict=True)
            ],
        },
        grid=Grid(["Test", "Runs", "Failures", "p50", "p95"], rows),
    )


def _flakiest(database: Database, *, has_tests: bool) -> Part:
    title = "Flakiest tests"
    if database.has("flaky_tests", "project", "classname", "test_name", "times_flaked"):
        found = database.all(
            f"""SELECT project, classname, test_name, SUM(times_flaked), SUM(wasted_seconds) FROM flaky_tests
                GROUP BY 1, 2, 3 HAVING SUM(times_flaked) > 0 ORDER BY 4 DESC, 5 DESC, 1, 2, 3 LIMIT {MOST_BARS}"""
        )
        lead = "As Insights counts them: how often a test both passed and failed on one commit."
        unit = "times flaked"
    elif has_tests and database.has("tests", "pipeline_id", "job_number", "job_name"):
        found = database.all(_contradictions(database))
        lead = "Commits on which a test passed in one run of its job and failed in another, counted in the results."
        unit = "commits"
    else:
        return Absent(title, "export the dataset insights, or tests.")
    if not found:
        return Absent(title, "no test both passed and failed on one commit.")
    names = _names(found)
    rows: list[Sequence[Cell]] = [
        (name, count(times), duration(wasted)) for name, (*_, times, wasted) in zip(names, found, strict=True)
    ]
    return Plot(
        id="flakiest-tests",
        kind="bars",
        title=title,
        lead=lead,
        label=f"The flakiest tests, first {rows[0][0]}: {rows[0][1]} {unit}",
        data={
            "unit": "count",
            "value": unit,
            "style": "flaky",
            "bars": [
                {
                    "name": name,
                    "short": short,
                    "value": times,
                    "text": count(times),
                    "more": [] if wasted is None else [["time wasted", duration(wasted)]],
                }
                for name, short, (*_, times, wasted) in zip(names, _shorts(found), found, strict=True)
            ],
        },
        grid=Grid(["Test", unit.capitalize(), "Time wasted"], rows),
    )


def _contradictions(database: Database) -> str:
    """Return the query of tests that passed in one job and failed in another of the same name on one commit."""
    known = database.has("pipelines", "id", "revision")
    commit = "COALESCE((SELECT revision FROM pipelines p WHERE p.id = pipeline_id), pipeline_id)"
    test = f"project, {_CLASS}, {_NAME}"
    return f"""
        SELECT project, class, test, COUNT(*), NULL FROM (
            SELECT project, class, test, job_name FROM (
                SELECT {_CLASS} AS class, {_NAME} AS test, project,
                       job_name, {commit if known else "pipeline_id"} AS revision,
                       MAX(result IN {_FAILED}) AS has_failed
                FROM tests
                WHERE (result IN {_SUCCEEDED} OR result IN {_FAILED}) AND ({test}) IN
                      (SELECT {test} FROM tests WHERE result IN {_FAILED})
                GROUP BY project, class, test, job_name, revision, job_number)
            GROUP BY project, class, test, job_name, revision HAVING MIN(has_failed) < MAX(has_failed))
        GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3 LIMIT {MOST_BARS}"""


def _names(found: Sequence[Row]) -> list[str]:
    """Return what tests are called: the class only where the name has it not, the project where there are several."""
    many = len({row[0] for row in found}) > 1
    names = []
    for project, classname, name, *_ in found:
        parts = [shown(name)]
        if classname and classname not in (name or ""):
            parts.append(shown(classname))
        if many:
            parts.append(shown(project))
        names.append(" · ".join(parts))
    return names


def _shorts(found: Sequence[Row]) -> list[str | None]:
    """Return the tests' names alone, for where there is little room; none of those that are not unique."""
    names = [shown(row[2]) for row in found]
    return [name if names.count(name) == 1 else None for name in names]
