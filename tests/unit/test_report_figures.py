"""The figures of a report are what plain Python makes of the same rows."""

import math
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from ci_history import FIRST, SLUG, History, write_export, write_ledger
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.export.rows import FlakyTestRow, JobTimeseriesRow
from aiocircle.report.activity import Activity
from aiocircle.report.amounts import DAY
from aiocircle.report.credits import credit_section, total_credits
from aiocircle.report.database import Database, bins_between
from aiocircle.report.downloads import download_section
from aiocircle.report.jobs import EDGES, job_section, queue_section
from aiocircle.report.parts import Absent, Listing, Plot, Section
from aiocircle.report.results import test_section as section_of_tests
from aiocircle.report.summary import export_tiles
from aiocircle.report.timeline import Bar, critical_path, once_each, stretches, timeline_section
from aiocircle.report.workflows import workflow_section

HISTORY = History(days=40, pipelines_a_day=4)
ROWS: Mapping[str, Sequence[Any]] = HISTORY.rows


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export(tmp_path_factory.mktemp("out"), ROWS)


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database(path) as database:
        yield database


def plot(section: Section, name: str) -> Mapping[str, Any]:
    found = [part for part in section.parts if isinstance(part, Plot) and part.id == name]
    assert len(found) == 1, [part for part in section.parts if isinstance(part, Absent)]
    return found[0].data


def nearest_rank(values: Sequence[float], rank: int) -> float:
    return sorted(values)[max(0, math.ceil(len(values) * rank / 100) - 1)]


def place_of(data: Mapping[str, Any], moment: datetime) -> int:
    return int((moment.timestamp() - data["start"]) // data["step"])


@given(st.dictionaries(st.sampled_from("abc"), st.lists(st.floats(0, 1e6), min_size=1, max_size=40), min_size=1))
def test_percentiles_are_values_of_the_nearest_rank(groups: dict[str, list[float]]) -> None:
    ranks = (50, 90, 99)
    rows = [(name, value) for name, values in groups.items() for value in values]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "measured.sqlite")
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE measured (name TEXT, value REAL)")
            database.executemany("INSERT INTO measured VALUES (?, ?)", [*rows, ("a", None)])
        with Database(path) as measured:
            found = list(measured.percentiles("SELECT * FROM measured", "name", *ranks))
    assert found == [
        (name, len(values), *(nearest_rank(values, rank) for rank in ranks)) for name, values in sorted(groups.items())
    ]


@given(st.integers(0, 2_000_000_000), st.integers(0, 400_000_000), st.none() | st.integers(0, 10_000))
def test_bins_hold_the_whole_span_and_nothing_beyond_it(first: int, span: int, number: int | None) -> None:
    bins = bins_between(first, first + span, number)
    assert bins.start <= first < bins.start + bins.width
    last = bins.starts[-1]
    assert last <= first + span < last + bins.width
    assert bins.width in {3600, DAY, 7 * DAY}
    if bins.width == 7 * DAY:
        assert datetime.fromtimestamp(bins.start, UTC).weekday() == 0


FILES = st.lists(st.tuples(st.floats(0, 500), st.floats(0, 200), st.integers(0, 10**9)), min_size=1, max_size=30)


@given(FILES)
def test_activity_is_what_summing_bin_by_bin_gives(files: list[tuple[float, float, int]]) -> None:
    spans = [(1e9 + began, 1e9 + began + took, size) for began, took, size in files]
    run = Activity(min(began for began, _, _ in spans), max(ended for _, ended, _ in spans))
    for span in spans:
        run.add(*span)
    assert run.number <= 200
    for place, (rate, flying) in enumerate(zip(run.bytes_a_second(), run.in_flight(), strict=True)):
        low, high = run.began + place * run.width, run.began + (place + 1) * run.width
        overlaps = [(max(0.0, min(ended, high) - max(began, low)), ended - began, size) for began, ended, size in spans]
        assert flying == pytest.approx(sum(over for over, _, _ in overlaps) / run.width, abs=1e-3)
        if all(took > 1e-3 for _, took, _ in overlaps):
            expected = sum(size * over / took for over, took, size in overlaps) / run.width
            assert rate == pytest.approx(expected, rel=1e-3, abs=1 + run.size * 1e-6 / run.width)
    total = sum(size for _, _, size in spans)
    assert sum(run.bytes_a_second()) * run.width == pytest.approx(total, rel=1e-6, abs=1e-3)
    assert sum(run.files_a_second()) * run.width == pytest.approx(len(files))


def test_success_is_counted_by_workflow_and_day(database: Database) -> None:
    data = plot(workflow_section(database), "success")
    expected: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for run in ROWS["workflows"]:
        if run.status in {"success", "failed"}:
            expected[run.name, place_of(data, run.created_at)][run.status == "failed"] += 1
    shown = {
        (strip["name"], place): cell for strip in data["strips"] for place, cell in enumerate(strip["cells"]) if cell
    }
    assert shown == expected


def test_runs_are_counted_by_outcome(database: Database) -> None:
    data = plot(workflow_section(database), "runs")
    totals = {layer["name"]: sum(layer["values"]) for layer in data["layers"]}
    counted = Counter(run.status for run in ROWS["workflows"])
    assert totals == {
        "succeeded": counted["success"],
        "failed": counted["failed"],
        "cancelled": counted["canceled"],
    }


def test_durations_of_workflows_are_percentiles_of_those_that_succeeded(database: Database) -> None:
    data = plot(workflow_section(database), "durations")
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for run in ROWS["workflows"]:
        if run.status == "success":
            values[run.name, place_of(data, run.created_at)].append(run.duration_seconds)
    assert data["step"] == 7 * DAY  # a day has too few runs for a p99
    for choice in data["choices"]:
        for place in range(data["number"]):
            known = values.get((choice["name"], place))
            assert choice["numbers"][place] == (len(known) if known else None)
            for line, rank in zip(choice["lines"], (50, 90, 99), strict=True):
                expected = None if known is None else round(nearest_rank(known, rank), 1)
                assert line["values"][place] == expected


def test_jobs_count_once_however_often_reruns_list_them(database: Database) -> None:
    section = job_section(database)
    ran = {job.id: job for job in ROWS["jobs"] if job.started_at is not None}
    assert len(ran) < len([job for job in ROWS["jobs"] if job.started_at is not None])
    good: dict[str, list[float]] = defaultdict(list)
    for job in ran.values():
        if job.status == "success":
            good[job.name].append(job.duration_seconds)
    expected = sorted(
        ((nearest_rank(values, 50), nearest_rank(values, 95), name) for name, values in good.items()), reverse=True
    )
    shown = [(bar["value"], bar["further"], bar["name"]) for bar in plot(section, "slowest-jobs")["bars"]]
    assert shown == expected[:15]
    bad = Counter(job.name for job in ran.values() if job.status == "failed")
    failures = plot(section, "failures")["bars"]
    assert {bar["name"]: bar["value"] for bar in failures} == bad
    (listing,) = [part for part in section.parts if isinstance(part, Listing)]
    links: list[Any] = [link for row in listing.grid.rows for link in cast("Sequence[Any]", row[3])]
    urls = {details.web_url for details in ROWS["job_details"] if details.status == "failed"}
    assert {link.href for link in links} <= urls


def test_times_in_the_queue_are_those_of_the_details(database: Database) -> None:
    section = queue_section(database)
    data = plot(section, "queue-distribution")
    for choice in data["choices"]:
        seconds = [
            one.queue_seconds
            for one in ROWS["job_details"]
            if choice["name"] in {one.resource_class, "All resource classes"}
        ]
        places = Counter(max(place for place, edge in enumerate(EDGES) if edge <= value) for value in seconds)
        assert choice["values"] == [places[place] for place in range(len(choice["values"]))]
    course = plot(section, "queue-course")
    everything = course["choices"][0]
    by_bin: dict[int, list[float]] = defaultdict(list)
    for one in ROWS["job_details"]:
        by_bin[place_of(course, one.queued_at)].append(one.queue_seconds)
    for place, values in by_bin.items():
        assert everything["lines"][1]["values"][place] == round(nearest_rank(values, 95), 1)


def test_the_slowest_tests_are_those_with_the_longest_mean(database: Database) -> None:
    values: dict[str, list[float]] = defaultdict(list)
    for one in ROWS["tests"]:
        values[one.name].append(one.run_seconds)
    slowest = sorted(values, key=lambda name: -sum(values[name]) / len(values[name]))[:15]
    bars = plot(section_of_tests(database), "slowest-tests")["bars"]
    assert {bar["short"] for bar in bars} == set(slowest)
    for bar in bars:
        known = values[bar["short"]]
        assert (bar["value"], bar["further"]) == (nearest_rank(known, 50), nearest_rank(known, 95))


def test_a_test_of_infinite_duration_costs_the_figures_of_no_other(tmp_path: Path) -> None:
    rows = {**ROWS, "tests": [*ROWS["tests"], ROWS["tests"][0]._replace(position=10_000, run_seconds=math.inf)]}
    with Database(write_export(tmp_path, rows)) as database:
        infinite = plot(section_of_tests(database), "slowest-tests")["bars"]
    with Database(write_export(tmp_path / "finite", ROWS)) as database:
        finite = plot(section_of_tests(database), "slowest-tests")["bars"]
    assert [(bar["name"], bar["value"]) for bar in infinite] == [(bar["name"], bar["value"]) for bar in finite]


def test_flaky_tests_are_those_of_insights(database: Database) -> None:
    bars = plot(section_of_tests(database), "flakiest-tests")["bars"]
    flaky = [FlakyTestRow(*row) for row in ROWS["flaky_tests"]]
    assert {bar["short"]: bar["value"] for bar in bars} == {one.test_name: one.times_flaked for one in flaky}


def test_without_insights_a_test_is_flaky_that_passed_and_failed_on_one_commit(tmp_path: Path) -> None:
    rows = {name: values for name, values in ROWS.items() if name != "flaky_tests"}
    results: dict[tuple[str, str, str, str], dict[int, bool]] = defaultdict(dict)
    for one in ROWS["tests"]:
        jobs = results[one.classname, one.name, one.job_name, one.pipeline_id]
        jobs[one.job_number] = jobs.get(one.job_number, False) or one.result == "failure"
    expected = Counter(key[1] for key, jobs in results.items() if len(set(jobs.values())) > 1)
    with Database(write_export(tmp_path, rows)) as database:
        section = section_of_tests(database)
        if not expected:
            assert any(isinstance(part, Absent) for part in section.parts)
            return
        bars = plot(section, "flakiest-tests")["bars"]
    assert {bar["short"]: bar["value"] for bar in bars} == expected


def test_credits_are_summed_by_workflow_and_day(database: Database) -> None:
    data = plot(credit_section(database), "credits-workflow")
    expected: Counter[tuple[str, int]] = Counter()
    for run in ROWS["insights_runs"]:
        expected[run.workflow_name, place_of(data, run.created_at)] += run.credits_used
    shown = {
        (layer["name"], place): value
        for layer in data["layers"]
        for place, value in enumerate(layer["values"])
        if value
    }
    assert shown == {key: value for key, value in expected.items() if value}
    assert total_credits(database) == expected.total()


def test_credits_of_jobs_are_not_counted_twice_where_a_branch_was_asked_for_too(tmp_path: Path) -> None:
    base: dict[str, Any] = dict.fromkeys(JobTimeseriesRow._fields)
    rows = [
        JobTimeseriesRow(
            **{
                **base,
                "project": SLUG,
                "branch": branch,
                "workflow_name": workflow,
                "job_name": job,
                "timestamp": FIRST,
                "total_credits_used": used,
            }
        )
        for branch, workflow, job, used in (
            ("", "ci", "build", 70),
            ("main", "ci", "build", 50),
            ("main", "deploy", "ship", 9),
        )
    ]
    with Database(write_export(tmp_path, {"insights_timeseries": rows})) as database:
        data = plot(credit_section(database), "credits-job")
    assert {layer["name"]: sum(layer["values"]) for layer in data["layers"]} == {"build": 70, "ship": 9}


def test_headline_figures(database: Database) -> None:
    workflow_section(database)
    job_section(database)
    queue_section(database)
    credit_section(database)
    values = {tile.title: tile.value for tile in export_tiles(database)}
    runs = Counter(run.status for run in ROWS["workflows"])
    assert values["Pipelines"] == f"{len(ROWS['pipelines']):,}"
    assert values["Workflow runs"] == f"{len(ROWS['workflows']):,}"
    assert values["Jobs run"] == f"{len({job.id for job in ROWS['jobs'] if job.started_at}):,}"
    assert values["Success rate"] == f"{100 * runs['success'] / (runs['success'] + runs['failed']):.1f} %"


def bar(
    name: str, started: float, stopped: float, *needs: str, workflow: str = "w", queued: float | None = None
) -> Bar:
    return Bar(
        workflow=workflow,
        id=name,
        workflow_name="ci",
        name=name,
        status="success",
        number=1,
        started=started,
        stopped=stopped,
        queued=queued,
        needs=frozenset(needs),
    )


def test_the_chain_that_held_a_workflow_up_leads_back_from_its_last_job() -> None:
    jobs = [bar("a", 0, 10), bar("b", 0, 30), bar("c", 31, 40, "a", "b"), bar("d", 11, 20, "a")]
    assert critical_path(jobs, "w") == ["c", "b"]
    assert critical_path([bar("a", 0, 10, "b"), bar("b", 0, 9, "a")], "w") == ["a", "b"]  # a circle ends
    assert critical_path([bar("a", 0, 10)], "w") == []


def test_pauses_are_cut_out_and_short_ones_are_not() -> None:
    jobs = [bar("a", 0, 100), bar("b", 150, 300), bar("c", 4000, 4100, queued=3900)]
    assert stretches(jobs) == [(0, 300), (3900, 4100)]


def test_a_job_that_a_rerun_lists_again_is_shown_where_it_ran() -> None:
    first = [bar("a", 0, 10), bar("b", 10, 20)]
    again = [bar("a", 0, 10, workflow="again"), bar("c", 500, 510, workflow="again")]
    assert [(one.id, one.workflow) for one in once_each([*again, *first])] == [("a", "w"), ("b", "w"), ("c", "again")]


def test_timelines_of_the_newest_and_the_slowest_are_there(database: Database) -> None:
    job_section(database)
    choices = plot(timeline_section(database), "pipeline")["choices"]
    newest = max(
        ROWS["pipelines"],
        key=lambda one: max(
            (job.started_at for job in ROWS["jobs"] if job.pipeline_id == one.id and job.started_at), default=FIRST
        ),
    )
    assert f"#{newest.number} " in choices[0]["name"]
    assert {one["name"].rsplit("(")[-1] for one in choices} == {"newest)", "failed)", "slowest)"}
    for choice in choices:
        assert all(one["started"] <= one["stopped"] for one in choice["bars"])
        assert any(one["critical"] for one in choice["bars"]) or len(choice["bars"]) < 5


def test_a_download_is_told_run_by_run(tmp_path: Path) -> None:
    with Database(write_ledger(tmp_path, files=400)) as database:
        section = download_section(database, str(tmp_path))
        files, size = database.one("SELECT COUNT(*), SUM(size) FROM files")
        longest = database.one("SELECT MAX(ended - began) FROM files")[0]
    choices = plot(section, "throughput")["choices"]
    assert len(choices) == 2
    assert choices[0]["start"] > choices[1]["start"]
    total = sum(sum(choice["lines"][0]["values"]) * choice["step"] for choice in choices)
    assert total == pytest.approx(size, rel=1e-3)
    by_size = {choice["name"]: sum(choice["values"]) for choice in plot(section, "sizes")["choices"]}
    assert by_size == {"Files": files, "Bytes": size}
    assert plot(section, "slowest-files")["bars"][0]["value"] == round(longest, 3)
    (by_code,) = [part for part in section.parts if isinstance(part, Listing) and part.command]
    assert by_code.command == f"aiocircle retry {tmp_path}"
    assert [row[:2] for row in by_code.grid.rows] == [("server", "9"), ("interrupted_body", "5")]
    assert any(isinstance(part, Absent) and "rate limit" in part.what for part in section.parts)
