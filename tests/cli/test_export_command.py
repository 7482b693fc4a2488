"""``aiocircle export``: what it writes, what it says, and what it says to what cannot be."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocircle.testing import Simulator

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SLUG = "gh/acme/web"


@pytest.fixture
def export(aiocircle: Run, circleci: Simulator) -> Run:
    def run(*arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
        result = aiocircle("export", *arguments, "--host", circleci.url, **variables)
        assert "Traceback" not in result.stderr
        return result

    return run


def test_datasets_are_written_and_the_report_says_how_many_rows(export: Run, tmp_path: Path) -> None:
    result = export("builds", "-p", SLUG, "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    jobs = (tmp_path / "out" / "jobs.jsonl").read_text().splitlines()
    first, *rest = result.stdout.splitlines()
    assert first.startswith("collected")
    assert any(line.split() == ["jobs", f"{len(jobs)}", "seen", f"{len(jobs)}", "in", "all"] for line in rest)
    assert rest[-1] == f"lies in     {tmp_path / 'out'}"
    assert {"failed", "requests"} <= {line.split()[0] for line in rest}


def test_several_formats_and_datasets_with_commas_and_from_the_environment(export: Run, tmp_path: Path) -> None:
    result = export("pipelines,jobs", "--project", SLUG, "-o", tmp_path / "out", AIOCIRCLE_FORMAT="jsonl,csv")
    assert result.returncode == 0, result.stderr
    with (tmp_path / "out" / "jobs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "out" / "jobs.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [line["id"] for line in lines]
    assert not (tmp_path / "out" / "workflows.csv").exists()


def test_the_report_as_json_is_one_object(export: Run, tmp_path: Path) -> None:
    result = export("pipelines", "--project", SLUG, "-o", tmp_path, "--json")
    (line,) = result.stdout.splitlines()
    report = json.loads(line)
    assert (report["type"], report["ok"], report["is_written"], report["failed"]) == ("report", True, True, 0)
    assert report["rows"] == {"pipelines": report["totals"]["pipelines"]}


def test_projects_come_from_a_file_too(export: Run, circleci: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "projects"
    file.write_text("\n".join(circleci.world.projects))
    result = export("pipelines", "--projects-file", file, "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in (tmp_path / "out" / "pipelines.jsonl").read_text().splitlines()]
    assert {row["project"] for row in rows} == set(circleci.world.projects)


def test_what_failed_is_told_and_leads_to_status_9(export: Run, circleci: Simulator, tmp_path: Path) -> None:
    run = next(run for one in circleci.world.pipelines(SLUG) for run in one.workflows if run.status == "success")
    circleci.faults.add("500", match=f"/workflow/{run.id}/job", place="api")
    result = export("jobs", "--project", SLUG, "-o", tmp_path, "--retries", "0")
    assert result.returncode == 9
    assert "failed      1 listing" in result.stdout
    assert "hint: run the same command again" in result.stderr
    gap = json.loads((tmp_path / "gaps.jsonl").read_text())
    assert gap["workflow_id"] == run.id


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("builds",), 2, "which project? --project is missing"),
        (("jobs", SLUG), 2, "gh/acme/web is no dataset"),
        (("job", "-p", SLUG), 7, "'job' is no dataset"),
        ((), 7, "no dataset is named"),
        (("jobs", "-p", "gh/acme"), 7, "'gh/acme' names no project"),
        (("jobs", "-p", f"https://app.circleci.com/pipelines/{SLUG}/42"), 2, "an export is of whole projects"),
        (("jobs", "-p", SLUG, "-f", "xml"), 7, "'xml' is no format"),
        (("jobs", "-p", SLUG, "--since", "yesterday"), 2, "--since 'yesterday' is no date and no age"),
        (("jobs", "-p", SLUG, "--look-back", "a while"), 2, "--look-back 'a while' is no age"),
        (("jobs", "-p", SLUG, "--since", "1d", "--until", "2d"), 7, "no pipeline is created since a moment"),
        (("jobs", "-p", SLUG, "-f", "sqlite", "--compress", "gzip"), 7, "that is a setting of csv and jsonl"),
        (("jobs", "-p", SLUG, "--partition", "month"), 7, "partition: that is a setting of parquet"),
        (("jobs", "-p", SLUG, "--for-spreadsheets"), 7, "for spreadsheets: that is a setting of csv"),
        (("jobs", "-p", SLUG, "--since", "9999-12-31T23:59:59-14:00"), 7, "there is no date for 9999-12-31"),
        (("jobs", "-p", "gh/acme/nothing"), 5, "404"),
    ],
)
def test_what_cannot_be_is_one_sentence_that_says_what_to_do(
    export: Run, tmp_path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    result = export(*arguments, "-o", tmp_path / "out")
    assert (result.returncode, said in result.stderr) == (status, True), result.stderr
    assert "hint: " in result.stderr or status == 7
    assert not [one for one in tmp_path.glob("out/*") if one.name != ".aiocircle"]


@pytest.mark.parametrize("output", ["s3://bucket/prefix", "http://host/x", "-", "out.tar.gz"])
def test_an_output_that_means_no_directory_is_not_taken_for_the_name_of_one(
    export: Run, circleci: Simulator, tmp_path: Path, output: str
) -> None:
    result = export("jobs", "-p", SLUG, "-o", output)
    assert (result.returncode, f"{output} is no directory" in result.stderr) == (7, True), result.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["home"]
    assert circleci.stats.total == 0


def test_an_output_that_cannot_be_written_is_said_before_anything_is_asked(
    export: Run, circleci: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = export("jobs", "-p", SLUG, "-o", tmp_path / "file" / "out")
    assert result.returncode == 1
    assert str(tmp_path / "file" / "out") in result.stderr
    assert circleci.stats.total == 0


def test_the_help_names_every_dataset(aiocircle: Run) -> None:
    from aiocircle.export.datasets import GROUPS, NAMES

    text = aiocircle("export", "--help").stdout
    assert [name for name in (*NAMES, *GROUPS) if name not in text] == []
