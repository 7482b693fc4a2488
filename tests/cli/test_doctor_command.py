"""``aiocircle doctor``: a line for each thing that must be right."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from aiocircle.testing import KongLimits, Simulator, World

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]


def _checks(result: Result) -> dict[str, Any]:
    return {one["check"]: one for one in map(json.loads, result.stdout.splitlines())}


def test_all_is_well(aiocircle: Run, circleci_factory: Callable[..., Simulator]) -> None:
    simulator = circleci_factory(World(pipelines=1), limits=KongLimits({"second": 20, "hour": 5000}))
    result = aiocircle("doctor", "--host", simulator.url)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["ok"] * 7
    assert "found in the CIRCLE_TOKEN variable" in lines[0]
    assert "Octo Acme (octo)" in lines[3]
    assert "X-RateLimit-*" in lines[5]
    assert "19 of 20 left in 1 s; 4999 of 5000 left in 3600 s" in lines[5]
    assert simulator.token not in result.stdout


def test_json_has_a_check_on_each_line(aiocircle: Run, circleci: Simulator) -> None:
    checks = _checks(aiocircle("doctor", "--host", circleci.url, "--json"))
    assert list(checks) == ["token", "host", "API", "owner", "clock", "rate limit", "artifact host"]
    assert all(one["ok"] and one["type"] == "check" for one in checks.values())
    assert "no headers" in checks["rate limit"]["text"]


def test_no_token_is_a_problem_and_3(aiocircle: Run, circleci: Simulator) -> None:
    result = aiocircle("doctor", "--host", circleci.url, CIRCLE_TOKEN=None)
    assert result.returncode == 3
    assert result.stdout.startswith("problem token          there is none\n")
    assert "hint: set CIRCLE_TOKEN" in result.stdout
    assert result.stdout.count("problem") == 1  # and nothing is said about a token that the host does not know


def test_a_wrong_token_is_a_problem_and_3(aiocircle: Run, circleci: Simulator) -> None:
    result = aiocircle("doctor", "--host", circleci.url, "--json", CIRCLE_TOKEN="wrong")
    checks = _checks(result)
    assert result.returncode == 3
    assert (checks["host"]["ok"], checks["owner"]["ok"]) == (True, False)
    assert checks["owner"]["hint"]


def test_a_token_that_cannot_be_one_is_7(aiocircle: Run) -> None:
    result = aiocircle("doctor", CIRCLE_TOKEN="line\nbreak")
    assert result.returncode == 7
    assert "line break" in result.stdout


def test_nobody_there_is_4(aiocircle: Run) -> None:
    result = aiocircle("doctor", "--host", "http://127.0.0.1:1", "--retries", "0", "--json")
    checks = _checks(result)
    assert result.returncode == 4
    assert {name: one["ok"] for name, one in checks.items()} == {"token": True, "host": False, "artifact host": False}


def test_a_host_that_is_no_api_is_4(aiocircle: Run, circleci: Simulator) -> None:
    circleci.faults.add("json-html-200")
    result = aiocircle("doctor", "--host", circleci.url, "--json")
    assert result.returncode == 4
    assert "not JSON" in _checks(result)["API"]["text"]


@pytest.mark.parametrize(("ahead", "ok"), [(0, True), (50, True), (-300, False), (300, False)])
def test_a_clock_that_is_wrong_is_a_problem(ahead: float, ok: bool) -> None:
    from aiocircle.cli.doctor import _skew

    finding = _skew("Mon, 23 Nov 2026 21:20:33 GMT", 1_795_468_833.0 + ahead)
    assert (finding.ok, finding.exit_code) == (ok, 0 if ok else 1)
    assert ok or f"300 s {'ahead of' if ahead > 0 else 'behind'}" in finding.text


def test_a_host_without_a_date_is_no_problem() -> None:
    from aiocircle.cli.doctor import _skew

    assert _skew(None, 0.0).ok
    assert _skew("yesterday", 0.0).ok
    assert _skew(f"Mon, 23 Nov {'9' * 20} 21:20:33 GMT", 0.0).ok
