"""A process may be started without standard input, output or error: by a daemon, or with ``>&-``."""

import subprocess
import sys
from pathlib import Path

import pytest

from aiocircle.testing import Simulator

SLUG = "gh/acme/web"


def _closed(
    environment: dict[str, str], closed: str, *arguments: str, code: str = "-X dev -m aiocircle"
) -> "subprocess.CompletedProcess[str]":
    """Run the command from a shell that closes streams: ``>&- 2>&-``."""
    script = f'exec "$0" {code} "$@" {closed}'
    return subprocess.run(
        ["sh", "-c", script, sys.executable, *arguments],
        env=environment,
        cwd=environment["HOME"],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "command",
    [
        ("me", "-v"),
        ("limits",),
        ("doctor", "--json"),
        ("pipelines", SLUG),
        ("trigger", SLUG),
        ("download", SLUG, "--latest", "--branch", "main"),
    ],
    ids=" ".join,
)
def test_a_command_does_its_work_without_standard_streams(
    environment: dict[str, str], circleci: Simulator, closed: str, command: tuple[str, ...]
) -> None:
    result = _closed({**environment, "CIRCLE_HOST": circleci.url}, closed, *command)
    assert result.returncode == 0, result.stderr
    assert "internal error" not in result.stderr
    assert "ResourceWarning" not in result.stderr


def test_an_error_keeps_its_status_where_nobody_can_be_told(environment: dict[str, str]) -> None:
    assert _closed(environment, "2>&-", "nosuch").returncode == 2
    assert _closed(environment, ">&- 2>&-", "jobs", "nosuch").returncode == 7


def test_no_socket_or_file_gets_the_number_of_a_closed_stream(environment: dict[str, str]) -> None:
    code = "-c 'import os; from aiocircle.cli.app import main; main([\"--version\"]); raise SystemExit(os.dup(0))'"
    assert _closed(environment, "<&- >&- 2>&-", code=code).returncode > 2


def test_a_body_from_a_standard_input_that_is_closed_is_no_body(environment: dict[str, str]) -> None:
    result = _closed(environment, "<&-", "api", "triggerPipeline", SLUG, "--input", "-")
    assert result.returncode == 7
    assert result.stderr.startswith("aiocircle: the body in standard input is not JSON")


@pytest.mark.parametrize("command", ["--version", "--help", "download --help"])
def test_help_that_nobody_can_write_is_an_error_in_words(environment: dict[str, str], command: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("A FULL DISK IS NOT TESTED: there is no /dev/full")
    result = _closed(environment, ">/dev/full", *command.split())
    said = "aiocircle: the output cannot be written: no space left on device\n"
    assert (result.returncode, result.stderr) == (1, said)


@pytest.mark.parametrize("command", ["--version", "--help"])
def test_help_that_is_longer_than_a_file_may_be_is_an_error_in_words(
    environment: dict[str, str], tmp_path: Path, command: str
) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    code = f"-c '{limit}; from aiocircle.cli.app import main; raise SystemExit(main([\"{command}\"]))'"
    result = _closed(environment, f">{tmp_path}/help.txt", code=code)
    assert (result.returncode, result.stderr) == (1, "aiocircle: the output cannot be written: file too large\n")
