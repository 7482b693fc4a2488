"""What the commands that list and show say: to people, to pipes, to programs."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from aiocircle.testing import Simulator
from aiocircle.testing.records import Job, Pipeline, Workflow

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]
SLUG = "gh/acme/web"
FAILED = 4  # the number of a pipeline whose first workflow failed


@pytest.fixture
def ask(aiocircle: Run, circleci: Simulator) -> Run:
    def run(*arguments: object, **variables: str) -> Result:
        result = aiocircle(*arguments, "--host", circleci.url, **variables)
        assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
        return result

    return run


def _pipeline(simulator: Simulator, number: int = FAILED) -> Pipeline:
    pipeline = simulator.world.pipeline(SLUG, number)
    assert pipeline
    return pipeline


def _workflow(simulator: Simulator) -> Workflow:
    return _pipeline(simulator).workflows[0]


def _job(simulator: Simulator) -> Job:
    return _workflow(simulator).jobs[0]


def _rows(result: Result) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in result.stdout.splitlines()]


def _objects(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_pipelines_are_listed_newest_first(ask: Run, circleci: Simulator) -> None:
    titles, *rows = _rows(ask("pipelines", SLUG))
    assert titles == ["NUMBER", "STATE", "BRANCH OR TAG", "TRIGGER", "BY", "CREATED"]
    assert [int(row[0]) for row in rows] == list(range(26, 6, -1))
    assert rows[0][2] == "main"
    assert circleci.stats.requests["project.pipelines"] == 1


def test_limit_and_branch_choose_pipelines(ask: Run, circleci: Simulator) -> None:
    assert len(_rows(ask("pipelines", SLUG, "--limit", 3))) == 1 + 3
    assert len(_rows(ask("pipelines", SLUG, "--limit", 0))) == 1 + 26
    some = _objects(ask("pipelines", SLUG, "--branch", "release/1.x", "--json"))
    assert {one["vcs"]["branch"] for one in some} == {"release/1.x"}
    address = "https://app.circleci.com/pipelines/gh/acme/web?branch=release%2F1.x"
    assert _objects(ask("pipelines", address, "--json")) == some


def test_an_empty_list_is_a_word_on_stderr_and_nothing_on_stdout(ask: Run) -> None:
    result = ask("pipelines", SLUG, "--branch", "none")
    assert (result.stdout, result.stderr) == ("", "no pipeline\n")


def test_json_has_every_field_of_an_item_on_a_line(ask: Run, circleci: Simulator) -> None:
    (one,) = _objects(ask("pipelines", SLUG, "--limit", 1, "--json"))
    assert one["type"] == "pipeline"
    assert one["created_at"].endswith("Z")
    assert (one["number"], one["project_slug"], one["trigger"]["actor"]["login"]) == (26, SLUG, "octo")
    job = _objects(ask("jobs", _workflow(circleci).id, "--json"))[3]
    assert (job["type"], job["job_type"], job["job_number"]) == ("job", "approval", None)


def test_a_pipelines_workflows_by_number_id_and_address(ask: Run, circleci: Simulator) -> None:
    by_number = ask("workflows", SLUG, "--pipeline", FAILED).stdout
    assert [row[:2] for row in _rows(ask("workflows", SLUG, "--pipeline", FAILED))[1:]] == [
        ["build-and-test", "failed"],
        ["build-and-test", "success"],
    ]
    assert "10 min 00 s" in by_number
    assert ask("workflows", _pipeline(circleci).id).stdout == by_number
    assert ask("workflows", f"https://app.circleci.com/pipelines/gh/acme/web/{FAILED}").stdout == by_number


def test_a_workflows_jobs_by_id_and_address(ask: Run, circleci: Simulator) -> None:
    flow = _workflow(circleci).id
    titles, *rows = _rows(ask("jobs", flow))
    assert titles == ["NUMBER", "NAME", "TYPE", "STATUS", "STARTED", "TOOK"]
    assert [row[1:4] for row in rows[:2]] == [["compile", "build", "success"], ["unit tests", "build", "failed"]]
    assert rows[2] == ["-", "lint", "build", "skipped", "-", "-"]
    address = f"https://app.circleci.com/pipelines/gh/acme/web/{FAILED}/workflows/{flow}"
    assert _rows(ask("jobs", address)) == [titles, *rows]


def test_a_jobs_duration_is_in_seconds(ask: Run, circleci: Simulator) -> None:
    number, flow = _job(circleci).number, _workflow(circleci).id
    shown = ask("job", SLUG, number).stdout
    facts = dict(re.split(r"\s+", line, maxsplit=1) for line in shown.splitlines())
    assert (facts["job"], facts["status"], facts["took"]) == (f"{number} compile", "success", "1 min 30 s")
    assert facts["executor"] == "docker medium"
    (details,) = _objects(ask("job", SLUG, number, "--json"))
    assert (details["type"], details["duration"]) == ("job", 90.0)
    address = f"https://app.circleci.com/pipelines/gh/acme/web/{FAILED}/workflows/{flow}/jobs/{number}"
    assert ask("job", address).stdout == shown


def test_insights_of_a_project_a_workflow_and_its_jobs(ask: Run, circleci: Simulator) -> None:
    flows = _rows(ask("insights", SLUG))
    assert flows[0] == ["NAME", "RUNS", "SUCCESS", "MEDIAN", "P95", "A DAY", "CREDITS"]
    assert flows[1] == ["build-and-test", "25", "76.0 %", "10 min 00 s", "11 min 00 s", "12.5", "3000"]
    assert _rows(ask("insights", SLUG, "--window", "last-7-days"))[1][1] == "1"
    runs = _rows(ask("insights", SLUG, "--workflow", "build-and-test", "--limit", 2, "--all-branches"))
    assert runs[0] == ["CREATED", "STATUS", "TOOK", "CREDITS", "BRANCH", "ID"]
    assert len(runs) == 3
    assert "all-branches=true" in circleci.requests[-1].path
    assert "start-date=" in circleci.requests[-1].path
    jobs = _rows(ask("insights", SLUG, "--workflow", "build-and-test", "--jobs", "--branch", "main"))
    assert {row[0] for row in jobs[1:]} >= {"compile", "unit tests", "lint", "deploy"}
    kinds = {one["type"] for one in _objects(ask("insights", SLUG, "--json"))}
    assert kinds == {"workflow_metrics"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["workflows", SLUG], 2, "which pipeline"),
        (["workflows", "825dd4a1-a1d8-40e7-8253"], 7, "give its id"),
        (["workflows", "825dd4a1-a1d8-40e7-8253-01a46563bd61", "--pipeline", "3"], 2, "no meaning"),
        (["workflows", "https://app.circleci.com/pipelines/gh/acme/web/4", "--pipeline", "3"], 2, "another: 3"),
        (["jobs", SLUG], 7, "names no workflow"),
        (["jobs", "42"], 7, "names no workflow"),
        (["job", SLUG], 2, "which job"),
        (["job", SLUG, "many"], 2, "many"),
        (["insights", SLUG, "--jobs"], 2, "--workflow"),
        (["insights", SLUG, "--window", "for-ever"], 2, "for-ever"),
        (["pipelines", "acme/web"], 7, "slug"),
        (["pipelines", SLUG, "--limit", "-1"], 2, "negative"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(
    aiocircle: Run, arguments: list[str], code: int, words: str
) -> None:
    result = aiocircle(*arguments, "--host", "http://127.0.0.1:1")
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["pipelines", "gh/acme/none"],
        ["workflows", SLUG, "--pipeline", "999"],
        ["jobs", "825dd4a1-a1d8-40e7-8253-01a46563bd61"],
        ["job", SLUG, "99999"],
        ["insights", "gh/acme/none"],
    ],
)
def test_what_does_not_exist_is_5(aiocircle: Run, circleci: Simulator, arguments: list[str]) -> None:
    assert aiocircle(*arguments, "--host", circleci.url).returncode == 5


def test_the_host_of_an_address_is_asked_and_must_be_configured(aiocircle: Run, circleci: Simulator) -> None:
    address = f"{circleci.url}/pipelines/gh/acme/web/{FAILED}"
    assert aiocircle("workflows", address).returncode == 7
    assert aiocircle("workflows", address, CIRCLE_HOST=circleci.url).returncode == 0


def test_settings_come_from_variables_and_choices_do_not(ask: Run) -> None:
    result = ask("pipelines", SLUG, AIOCIRCLE_BRANCH="none", AIOCIRCLE_LIMIT="1", AIOCIRCLE_JSON="1")
    assert len(_objects(result)) == 20


def test_a_terminal_gets_a_table_with_colours_in_its_width(
    on_terminal: Callable[..., str], circleci: Simulator
) -> None:
    host = ("--host", circleci.url)
    flow = _workflow(circleci).id
    for arguments in (("pipelines", SLUG), ("jobs", flow), ("insights", SLUG)):
        written = on_terminal(80, *arguments, *host)
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
        assert max(map(len, plain.splitlines())) <= 80
        assert "\x1b[1m" in written
    assert "\x1b[32m" in on_terminal(80, "jobs", flow, *host)
    assert "\x1b[32m" not in on_terminal(80, "jobs", flow, *host, NO_COLOR="1")
    dumb = on_terminal(80, "pipelines", SLUG, *host, TERM="dumb")
    assert "\x1b" not in dumb
    assert dumb.startswith("NUMBER")


def test_what_has_to_be_copied_is_in_one_piece_on_a_narrow_terminal(
    on_terminal: Callable[..., str], circleci: Simulator
) -> None:
    pipeline = _pipeline(circleci)
    for columns in (80, 40):
        written = on_terminal(columns, "workflows", pipeline.id, "--host", circleci.url)
        assert str(pipeline.workflows[0].id) in written
    written = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_terminal(40, "pipelines", SLUG, "--host", circleci.url))
    assert written.split()[:2] == ["number", "state"]
    assert "Decoupled Ingestion System  octo" in written


def test_json_comes_as_the_pages_do_and_a_reader_that_leaves_stops_the_listing(
    environment: dict[str, str], circleci_factory: Callable[..., Simulator]
) -> None:
    simulator = circleci_factory(page_size=1, latency=0.05)
    command = f"{shlex.quote(sys.executable)} -m aiocircle pipelines {SLUG} --limit 0 --json | head -2"
    variables = {**environment, "CIRCLE_HOST": simulator.url}
    result = subprocess.run(["sh", "-c", command], env=variables, capture_output=True, text=True, check=True)
    assert (len(result.stdout.splitlines()), result.stderr) == (2, "")
    assert len(simulator.requests) < 10  # of 26


def test_names_cannot_move_the_cursor(aiocircle: Run, circleci_factory: Callable[..., Simulator]) -> None:
    from aiocircle.testing import World

    world = World(pipelines=0)
    world.add_job(SLUG, name="\x1b[2Jup", branch="\x1b]0;title\x07")
    simulator = circleci_factory(world)
    flow = world.pipeline(SLUG, 1)
    assert flow
    for arguments in (("pipelines", SLUG), ("jobs", flow.workflows[0].id)):
        result = aiocircle(*arguments, "--host", simulator.url)
        assert result.returncode == 0
        assert "\x1b" not in result.stdout
        assert "\\x1b" in result.stdout
