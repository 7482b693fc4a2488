"""The command as a user starts it: another process, an empty home, a simulator behind it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiocircle.testing import DEFAULT_TOKEN

ROOT = Path(__file__).parents[2]
Result = subprocess.CompletedProcess[str]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "CIRCLE_TOKEN": DEFAULT_TOKEN,
    }


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start ``aiocircle`` with arguments; variables as keywords, ``None`` to leave one out."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: object, **variables: str | None) -> "subprocess.Popen[str]":
        environ = {key: value for key, value in {**environment, **variables}.items() if value is not None}
        process = subprocess.Popen(
            [sys.executable, "-m", "aiocircle", *map(str, arguments)],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def aiocircle(start: Callable[..., "subprocess.Popen[str]"]) -> Callable[..., Result]:
    """Run ``aiocircle`` to its end."""

    def run(*arguments: object, **variables: str | None) -> Result:
        process = start(*arguments, **variables)
        stdout, stderr = process.communicate(timeout=40)
        return Result(process.args, process.returncode, stdout, stderr)

    return run
