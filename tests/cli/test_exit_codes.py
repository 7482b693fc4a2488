"""Every exit code, each with one sentence on stderr and no traceback."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocircle.cli.exits import ExitCode
from aiocircle.testing import KongLimits, Simulator, World
from aiocircle.testing.pytest_plugin import CircleciFactory

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SLUG = "gh/acme/web"


def _complains(result: "subprocess.CompletedProcess[str]", code: ExitCode, *words: str) -> None:
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert "aiocircle: " in result.stderr
    for word in words:
        assert word in result.stderr


def _job(simulator: Simulator) -> int:
    job = simulator.world.demo_job
    assert job
    assert job.number
    return job.number


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["download"], "TARGET"),
        (["download", SLUG], "which artifacts"),
        (["download", SLUG, "--job", "x"], "--job"),
        (["download", SLUG, "--job", "1", "--latest"], "only one of"),
        (["download", SLUG, "--branch", "main"], "--latest"),
        (["download", SLUG, "--job", "1", "--foo"], "--foo"),
        (["download", SLUG, "--job", "1", "--concurrency", "0"], "more than 0"),
        (["download", SLUG, "--job", "1", "--stall-timeout", "nan"], "more than 0"),
        (["download", SLUG, "--job", "1", "--connect-timeout", "inf"], "and have an end"),
        (["download", SLUG, "--job=-5"], "more than 0"),
        (["download", SLUG, "--pipeline", "0"], "more than 0"),
        (["download", SLUG, "--job", "1", "--auth", "magic"], "--auth"),
        (["upload"], "upload"),
        (["completion", "tcsh"], "tcsh"),
        (["me", "--connect-timeout", "inf"], "have an end"),
        (["me", "--stall-timeout", "inf"], "have an end"),
        (["me", "--min-rate", "inf"], "have an end"),
        (["me", "--connect-timeout", "soon"], "into a number"),
        (["me", "--retries", "1.5"], "into a whole number"),
        (["me", "--host", ""], "must not be empty"),
        (["me", "again"], "'again'"),
        (["--json", "me"], "behind the command, and '--json'"),
        (["cancel", SLUG, "--job", "1601.9"], "into a whole number"),
        (["job", SLUG, "1601.9"], "into a whole number"),
        (["job", SLUG, "-5"], "more than 0"),
        (["workflows", SLUG, "--pipeline", "0"], "more than 0"),
        (["trigger", SLUG, "--branch", ""], "must not be empty"),
        (["trigger", SLUG, "--timeout", "5"], "--wait"),
        (["trigger", f"https://app.circleci.com/pipelines/{SLUG}/51"], "aiocircle rerun"),
        (["trigger", SLUG, "-p", "a=1", "-p", "a=2"], "twice"),
        (["insights", SLUG, "--branch", "main", "--all-branches"], "--all-branches"),
    ],
)
def test_usage_is_2(aiocircle: Run, arguments: list[str], words: str) -> None:
    result = aiocircle(*arguments)
    _complains(result, ExitCode.USAGE, words, "hint: ")
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize("flag", [["--token", "hush-hush"], ["--token=hush-hush"], ["--circle-token", "hush-hush"]])
def test_a_token_as_an_argument_is_refused_and_not_repeated(aiocircle: Run, flag: list[str]) -> None:
    result = aiocircle("download", SLUG, "--job", "1", *flag)
    _complains(result, ExitCode.USAGE, "CIRCLE_TOKEN", "--token-file")
    assert "hush-hush" not in result.stdout + result.stderr


def test_a_wrong_token_is_3(aiocircle: Run, circleci: Simulator) -> None:
    _complains(aiocircle("me", "--host", circleci.url, CIRCLE_TOKEN="wrong"), ExitCode.AUTH, "hint: ")


def test_no_token_is_3_and_says_where_one_goes(aiocircle: Run, circleci: Simulator) -> None:
    _complains(
        aiocircle("me", "--host", circleci.url, CIRCLE_TOKEN=None), ExitCode.AUTH, "CIRCLE_TOKEN", "--token-file"
    )


def test_a_token_revoked_in_mid_run_is_3(aiocircle: Run, circleci: Simulator) -> None:
    circleci.faults.add("token-revoked", after=1)
    result = aiocircle("download", SLUG, "--job", _job(circleci), "--host", circleci.url)
    _complains(result, ExitCode.AUTH)


@pytest.mark.parametrize("fault", ["bad-request", "json-html-200", "page-token-repeated", "500", "json-shape"])
def test_an_api_that_makes_no_sense_is_4(aiocircle: Run, circleci: Simulator, fault: str) -> None:
    circleci.faults.add(fault)
    _complains(aiocircle("download", SLUG, "--pipeline", "1", "--host", circleci.url, "--retries", "0"), ExitCode.API)


def test_nobody_there_is_4(aiocircle: Run) -> None:
    _complains(aiocircle("me", "--host", "http://127.0.0.1:1", "--retries", "0"), ExitCode.API, "no connection")


def test_no_such_job_is_5(aiocircle: Run, circleci: Simulator) -> None:
    _complains(aiocircle("download", SLUG, "--job", "999999", "--host", circleci.url), ExitCode.NOT_FOUND)


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["download", "acme/web", "--job", "1"], {}),
        (["download", SLUG, "--workflow", "42"], {}),
        (["download", SLUG, "--job", "1", "--layout", "{nothing}/{path}"], {}),
        (["me", "--host", "ftp://example.com"], {}),
        (["me", "--host", "http://example.com"], {}),
        (["me", "--token-file", "missing"], {}),
        (["me"], {"CIRCLE_TOKEN": "line\nbreak"}),
    ],
)
def test_values_that_cannot_be_are_7(aiocircle: Run, arguments: list[str], variables: dict[str, str]) -> None:
    _complains(aiocircle(*arguments, **variables), ExitCode.VALIDATION)


def test_http_is_allowed_by_a_flag_and_whoever_forgets_it_is_told(aiocircle: Run) -> None:
    command, variables = ("me", "--host", "http://ci.example", "--retries", 0), {"HTTP_PROXY": "http://127.0.0.1:1"}
    _complains(aiocircle(*command, **variables), ExitCode.VALIDATION, "unencrypted", "--allow-http")
    _complains(aiocircle(*command, "--allow-http", **variables), ExitCode.API, "no connection")


def test_silence_is_8(aiocircle: Run, circleci: Simulator) -> None:
    circleci.faults.add("silence")
    result = aiocircle("me", "--host", circleci.url, "--stall-timeout", "0.3", "--retries", "0")
    _complains(result, ExitCode.TIMEOUT, "0.3 s")


def test_some_items_failing_is_9(aiocircle: Run, circleci: Simulator, tmp_path: Path) -> None:
    circleci.faults.add("forbidden-403", match="000003")
    result = aiocircle("download", SLUG, "--job", _job(circleci), "--host", circleci.url, "-o", "out")
    _complains(result, ExitCode.PARTIAL, "4 of 24")
    assert "failed      4 items" in result.stdout
    assert "403" in result.stdout
    assert sum(1 for path in (tmp_path / "out").rglob("*-0*") if path.is_file()) >= 1


def test_a_limit_that_stands_still_too_long_is_10(aiocircle: Run, circleci_factory: CircleciFactory) -> None:
    simulator = circleci_factory(World.demo(files=100, large=0), limits=KongLimits({"day": 3}))
    result = aiocircle("download", SLUG, "--job", _job(simulator), "--host", simulator.url, "--max-wait", "2")
    _complains(result, ExitCode.WAIT_TOO_LONG, "hint: ")


def test_an_output_that_cannot_be_is_1(aiocircle: Run, circleci: Simulator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = aiocircle("download", SLUG, "--job", _job(circleci), "--host", circleci.url, "-o", "file")
    _complains(result, ExitCode.GENERAL)


def test_without_a_home_directory_all_goes_on_that_needs_none(
    aiocircle: Run, circleci: Simulator, tmp_path: Path
) -> None:
    """As in a container that runs under a number without a name."""
    (tmp_path / "sitecustomize.py").write_text("import pwd\ndef getpwuid(_): raise KeyError\npwd.getpwuid = getpwuid\n")
    homeless = {"PYTHONPATH": f"{Path(__file__).parents[2]}:{tmp_path}", "HOME": None, "CIRCLE_HOST": circleci.url}
    assert aiocircle("me", **homeless).returncode == 0
    assert aiocircle("download", SLUG, "--job", _job(circleci), "--dry-run", **homeless).returncode == 0
    _complains(aiocircle("me", CIRCLE_TOKEN=None, **homeless), ExitCode.AUTH, "there is no token")
    _complains(aiocircle("me", "--token-file", "~/t", **homeless), ExitCode.VALIDATION, "~/t cannot be read")
    _complains(aiocircle("me", "--limiter=sqlite:~/x", **homeless), ExitCode.VALIDATION, "a home directory")
    _complains(aiocircle("verify", "s3://b/p", **homeless), ExitCode.VALIDATION, "set XDG_STATE_HOME")


def test_a_place_for_records_that_cannot_be_is_named(aiocircle: Run, circleci: Simulator) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1"}
    command = ("download", SLUG, "--job", _job(circleci), "--host", circleci.url, "-o", "s3://b/p")
    _complains(aiocircle(*command, XDG_STATE_HOME="/dev/null", **keys), ExitCode.GENERAL, "/dev/null/aiocircle/s3-b-p-")


@pytest.mark.parametrize(
    "command",
    [("verify",), ("retry",), ("manifest",), ("report",), ("download", SLUG, "--job", 1, "-o")],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("name", ["x" * 5000, "x" * 5000 + ".tar"], ids=["directory", "archive"])
def test_an_output_that_the_system_does_not_let_be_looked_at_is_1(
    aiocircle: Run, circleci: Simulator, command: tuple[object, ...], name: str
) -> None:
    """Its name is too long, which shows as a directory does that this user may not enter."""
    words = "an archive" if "download" not in command and "." in name else "file name too long"
    _complains(aiocircle(*command, name, CIRCLE_HOST=circleci.url), ExitCode.GENERAL, words)


def test_an_unexpected_exception_shows_its_traceback_only_when_asked(aiocircle: Run, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import aiocircle.cli.asking\n"
        "def broken(*_): raise RuntimeError('told \\x1b[31m Circle-Token: hush-hush')\n"
        "aiocircle.cli.asking.find_access = broken\n"
    )
    path = f"{Path(__file__).parents[2]}:{tmp_path}"
    quiet, loud = aiocircle("me", PYTHONPATH=path), aiocircle("me", "-vv", PYTHONPATH=path)
    _complains(quiet, ExitCode.GENERAL, "internal error: RuntimeError", "-vv")
    assert loud.returncode == ExitCode.GENERAL
    assert "Traceback" in loud.stderr
    assert "hush-hush" not in quiet.stderr + loud.stderr
    assert "\x1b" not in quiet.stderr + loud.stderr


def test_the_environments_proxy_is_used(aiocircle: Run) -> None:
    result = aiocircle("me", "--host", "https://circleci.example", "--retries", "0", HTTPS_PROXY="http://127.0.0.1:1")
    _complains(result, ExitCode.API, "no connection to the proxy on the way to circleci.example")


def test_a_proxy_that_nobody_here_can_speak_to_is_named_without_its_password(aiocircle: Run) -> None:
    result = aiocircle("me", "--host", "https://circleci.example", HTTPS_PROXY="socks5://me:geheim@127.0.0.1:1")
    _complains(result, ExitCode.VALIDATION, "of the kind socks5", "hint: ")
    assert "geheim" not in result.stderr
