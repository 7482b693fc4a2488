"""``aiocircle api``: any operation, any path."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiocircle.testing import DEFAULT_TOKEN, KongLimits, Simulator, World

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]
SLUG = "gh/acme/web"


@pytest.fixture
def api(aiocircle: Run, circleci: Simulator) -> Run:
    def run(*arguments: object, code: int = 0, **variables: str) -> Result:
        result = aiocircle("api", *arguments, "--host", circleci.url, **variables)
        assert (result.returncode, "Traceback" in result.stderr) == (code, False), result.stderr
        return result

    return run


def _objects(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def _asked(simulator: Simulator) -> str:
    request = simulator.requests[-1]
    return f"{request.method} {request.path.removeprefix('/api/v2')}"


def _number(simulator: Simulator) -> int:
    assert simulator.world.demo_job
    assert simulator.world.demo_job.number
    return simulator.world.demo_job.number


@pytest.mark.parametrize(
    "arguments", [["getCurrentUser"], ["users.me"], ["GETCURRENTUSER"], ["GET", "/me"], ["get", "me"]]
)
def test_an_operation_by_id_by_name_or_by_path(api: Run, arguments: list[str]) -> None:
    result = api(*arguments)
    assert json.loads(result.stdout)["login"] == "octo"
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


def test_path_parameters_are_values_fields_or_parts_of_an_address(api: Run, circleci: Simulator) -> None:
    number = _number(circleci)
    place = f"GET /project/gh/acme/web/{number}/artifacts"
    address = f"https://app.circleci.com/pipelines/gh/acme/web/26/workflows/825dd4a1-a1d8-40e7-8253-01a46563bd61/jobs/{number}"
    for arguments in (
        [SLUG, number],
        [SLUG, "-f", f"job_number={number}"],
        ["-f", f"job-number={number}", "-f", f"project-slug={SLUG}"],
        [address],
        [address, number],
    ):
        assert len(json.loads(api("getJobArtifacts", *arguments).stdout)["items"]) == 20
        assert _asked(circleci) == place
    api("listWorkflowJobs", address, code=5)
    assert _asked(circleci) == "GET /workflow/825dd4a1-a1d8-40e7-8253-01a46563bd61/job"
    api("getPipelineByNumber", address)
    assert _asked(circleci) == "GET /project/gh/acme/web/pipeline/26"


def test_fields_of_a_get_are_its_query_in_either_spelling(api: Run, circleci: Simulator) -> None:
    for key in ("reporting-window", "reporting_window"):
        api("getProjectWorkflowMetrics", SLUG, "-f", f"{key}=last-7-days", "-f", "branch=a&b")
        assert _asked(circleci) == "GET /insights/gh/acme/web/workflows?reporting-window=last-7-days&branch=a%26b"
    api("GET", "/insights/gh/acme/web/workflows?branch=x", "-f", "names=1", "-f", "names=2")
    assert _asked(circleci) == "GET /insights/gh/acme/web/workflows?branch=x&names=1&names=2"


def test_fields_of_a_post_are_its_body(api: Run, circleci: Simulator) -> None:
    fields = ["-f", "branch=main", "-F", "parameters.deploy=true", "-f", "parameters.count=1", "-F", "parameters.n=1"]
    made = json.loads(api("triggerPipeline", SLUG, *fields).stdout)
    assert made["state"] == "pending"
    assert json.loads(circleci.requests[-1].body) == {
        "branch": "main",
        "parameters": {"deploy": True, "count": "1", "n": 1},
    }


def test_a_body_comes_from_a_file_or_from_standard_input(
    api: Run, circleci: Simulator, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "body.json").write_text('{"name": "A", "value": "secret-1234"}')
    assert json.loads(api("createEnvVar", SLUG, "--input", "body.json").stdout)["value"] == "xxxx1234"
    done = subprocess.run(
        [sys.executable, "-m", "aiocircle", "api", "POST", f"/project/{SLUG}/envvar", "--input", "-"],
        env={**environment, "CIRCLE_HOST": circleci.url},
        input='{"name": "B", "value": "other-5678"}',
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["name"] == "B"
    assert json.loads(api("deleteEnvVar", SLUG, "B").stdout)["message"]
    assert _asked(circleci) == "DELETE /project/gh/acme/web/envvar/B"


def test_all_pages_are_an_item_on_each_line(api: Run, circleci: Simulator) -> None:
    assert len(_objects(api("getJobArtifacts", SLUG, _number(circleci), "--paginate"))) == 24
    pipelines = _objects(api("GET", f"/project/{SLUG}/pipeline", "--paginate", "-f", "branch=main"))
    assert {one["vcs"]["branch"] for one in pipelines} == {"main"}
    assert len(_objects(api("GET", f"/project/{SLUG}/pipeline", "--paginate"))) == 26
    assert len(_objects(api("getCollaborations", "--paginate"))) == 2
    project = json.loads(api("getProjectBySlug", SLUG).stdout)["id"]
    assert len(_objects(api("listPipelineDefinitions", project, "--paginate"))) == 3


def test_an_address_from_a_guide_or_a_browser_is_a_path(api: Run, circleci: Simulator, aiocircle: Run) -> None:
    for origin in (circleci.url, "https://circleci.com"):
        api("GET", f"{origin}/api/v2/project/{SLUG}/pipeline?branch=main")
        assert _asked(circleci) == f"GET /project/{SLUG}/pipeline?branch=main"
    refused = aiocircle("api", "GET", f"{circleci.url}/api/v2/me")
    assert (refused.returncode, "only to a host that you configured" in refused.stderr) == (7, True)


def test_a_listing_goes_on_where_a_page_token_says(api: Run, circleci: Simulator) -> None:
    first = json.loads(api("listPipelinesForProject", SLUG).stdout)
    rest = _objects(api("listPipelinesForProject", SLUG, "--paginate", "-f", f"page-token={first['next_page_token']}"))
    assert len(first["items"]) + len(rest) == 26


def test_a_listing_by_offset_is_known_and_its_parameters_have_underscores() -> None:
    from aiocircle.cli.operations import wanted

    what = wanted("GetDecisionLogs", ["owner", "config"], ["project_id=1", "offset=3"], [], None)
    assert (what.pages, dict(what.query)) == ("offset", {"project_id": "1", "offset": "3"})


def test_jsonl_is_an_item_on_each_line_of_the_one_page(api: Run) -> None:
    assert len(_objects(api("GET", f"/project/{SLUG}/pipeline", "--jsonl"))) == 20
    assert len(_objects(api("GET", "/me", "--jsonl"))) == 1
    assert len(_objects(api("GET", "/me/collaborations", "--jsonl"))) == 2


def test_a_terminal_gets_json_that_can_be_read(on_terminal: Callable[..., str], circleci: Simulator) -> None:
    assert '\n  "login": "octo",\r\n' in on_terminal(80, "api", "GET", "/me", "--host", circleci.url)
    assert len(on_terminal(80, "api", "GET", "/me", "--json", "--host", circleci.url).splitlines()) == 1


def test_status_and_headers_are_shown_on_stderr_without_secrets(
    aiocircle: Run, circleci_factory: Callable[..., Simulator]
) -> None:
    simulator = circleci_factory(World(pipelines=1), limits=KongLimits({"minute": 100}))
    result = aiocircle("api", "GET", "/me", "-i", "--host", simulator.url)
    assert result.stderr.startswith("HTTP 200\n")
    assert "X-RateLimit-Limit-Minute: 100\n" in result.stderr
    assert DEFAULT_TOKEN not in result.stderr + result.stdout
    assert json.loads(result.stdout)["login"] == "octo"


def test_secret_headers_are_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    from aiocircle import Response
    from aiocircle.cli.api import _show_head
    from aiocircle.cli.output import Output
    from aiocircle.ratelimit.facts import RateFacts

    headers = {"Set-Cookie": "a=hush", "X-Auth-Token": "hush", "Location": "https://s3/x?sig=hush", "Date": "today"}
    _show_head(Response(status=200, headers=headers, value=None, json=None, rate=RateFacts()), Output())
    said = capsys.readouterr().err
    assert "hush" not in said
    assert "Date: today" in said
    assert "Location: https://s3/x\n" in said


def test_a_dry_run_prints_the_request_and_sends_nothing(api: Run, circleci: Simulator) -> None:
    result = api("triggerPipeline", SLUG, "-f", "branch=main", "--dry-run")
    method, *body = result.stdout.splitlines()
    assert method == f"POST {circleci.url}/api/v2/project/gh/acme/web/pipeline"
    assert json.loads("\n".join(body)) == {"branch": "main"}
    (told,) = _objects(api("deleteEnvVar", SLUG, "A/B", "--dry-run", "--json"))
    assert told["url"] == f"{circleci.url}/api/v2/project/gh/acme/web/envvar/A%2FB"
    old = api("GET", "/api/v1.1/projects", "-f", "limit=1", "--dry-run").stdout
    assert old == f"GET {circleci.url}/api/v1.1/projects?limit=1\n"
    assert circleci.stats.total == 0
    assert DEFAULT_TOKEN not in result.stdout + result.stderr


def test_all_operations_are_named(api: Run) -> None:
    titles, *rows = [re.split(r"  +", line) for line in api("--list").stdout.splitlines()]
    assert titles == ["OPERATION", "METHOD", "PATH", "NAME HERE"]
    assert len(rows) == 115
    assert ["getJobArtifacts", "GET", "/project/{slug}/{job_number}/artifacts", "artifacts.list"] in rows
    assert len(_objects(api("--list", "--json"))) == 115


def test_a_post_that_may_have_been_carried_out_is_not_repeated(api: Run, circleci: Simulator) -> None:
    circleci.faults.add("502-html", times=1)
    api("triggerPipeline", SLUG, code=4)
    assert circleci.stats.requests["project.trigger"] == 1
    circleci.faults.add("502-html", times=1)
    api("getCurrentUser")
    assert circleci.stats.requests["me"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "--list"),
        (["getJobArtefacts"], 2, "is it getJobArtifacts"),
        (["qqqq"], 2, "--list names all"),
        (["getJobArtifacts", SLUG], 2, "job_number"),
        (["getJobArtifacts", SLUG, "1", "2"], 2, "2 places"),
        (["getJobArtifacts", "acme/web", "1"], 7, "slug"),
        (["getWorkflowById", "https://app.circleci.com/pipelines/gh/acme/web/4"], 7, "names no workflow id"),
        (["getWorkflowById", ".."], 7, "cannot be"),
        (["GET"], 2, "one path"),
        (["GET", "/me", "/me"], 2, "one path"),
        (["GET", "/me", "-f", "novalue"], 2, "KEY=VALUE"),
        (["POST", "/x", "-F", "a=nojson"], 2, "not JSON"),
        (["POST", "/x", "-f", "a=1", "-f", "a.b=1"], 2, "no object"),
        (["POST", "/x", "-f", "a=1", "-f", "a=1"], 2, "twice"),
        (["POST", "/x", "-f", "a=1", "--input", "missing"], 7, "cannot be read"),
        (["GET", "/x", "--input", "pyproject.toml"], 7, "cannot be read"),
        (["POST", "/x", "--paginate"], 2, "POST"),
        (["GET", "/nothing"], 5, "404"),
        (["GET", "/me", "--paginate"], 4, "not a list"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(api: Run, arguments: list[str], code: int, words: str) -> None:
    assert words in api(*arguments, code=code).stderr


def test_an_input_that_has_no_place_is_refused(api: Run, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text("{}")
    assert "no body" in api("GET", "/me", "--input", "body.json", code=2).stderr
    assert "whole body" in api("POST", "/x", "-f", "a=1", "--input", "body.json", code=2).stderr
    (tmp_path / "body.json").write_text("{")
    assert "not JSON" in api("POST", "/x", "--input", "body.json", code=7).stderr


def test_signed_addresses_in_an_answer_stay_usable(capsys: pytest.CaptureFixture[str]) -> None:
    from aiocircle.cli.output import Output

    Output().json({"download_urls": ["https://s3/x?X-Amz-Signature=abc"]})
    assert "X-Amz-Signature=abc" in capsys.readouterr().out
