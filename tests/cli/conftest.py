"""The command as a user starts it: another process, an empty home, a simulator behind it."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiocircle.testing import DEFAULT_TOKEN

# A shell has Ctrl-C ignored by what it starts with ``&``, which the commands would inherit if these tests were that.
signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.fixture
def on_terminal(environment: dict[str, str]) -> Callable[..., str]:
    """Run ``aiocircle`` on a terminal of so many columns, and return all that it wrote there."""

    def run(columns: int, *arguments: object, interrupt_after: float | None = None, **variables: str) -> str:
        environ = {**environment, "TERM": "xterm-256color", **variables}
        return _on_a_terminal(environ, columns, *arguments, interrupt_after=interrupt_after)

    return run


def _on_a_terminal(environment: dict[str, str], columns: int, *arguments: object, interrupt_after: float | None) -> str:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "aiocircle", *map(str, arguments)],
        env=environment,
        cwd=environment["HOME"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    if interrupt_after is not None:
        threading.Timer(interrupt_after, process.send_signal, [signal.SIGINT]).start()
    written = b""
    try:
        while piece := os.read(leader, 65536):
            written += piece
    except OSError:  # how the end of a terminal looks
        pass
    finally:
        os.close(leader)
        process.wait(timeout=10)
    return written.decode()
