"""Ctrl-C, SIGTERM, SIGHUP in the middle of a run: an end within two seconds, nothing half-written, a way to go on."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.testing.pytest_plugin import CircleciFactory
from aiocircle.testing.records import Job

Process = subprocess.Popen[str]
Start = Callable[..., Process]
SLUG = "gh/acme/web"
LARGE = 3 * 1024 * 1024


def _files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".aiocircle" not in path.parts
    }


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _world() -> tuple[World, Job]:
    world = World(pipelines=0)
    small = [FakeArtifact(f"small/{number:04}.txt", size=2000) for number in range(300)]
    large = [FakeArtifact(f"large/{number}.bin", size=LARGE) for number in range(4)]
    return world, world.add_job(SLUG, artifacts=[*large, *small])


def _expected(world: World, job: Job) -> dict[str, bytes]:
    return {f"0/{one.path}": world.content(job, one).read(0, one.length) for one in job.artifacts}


def _interrupted(process: Process, number: signal.Signals) -> tuple[str, str]:
    process.send_signal(number)
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert process.returncode == 6
    assert "Traceback" not in stderr
    return stdout, stderr


@pytest.fixture
def stalled(circleci_factory: CircleciFactory) -> tuple[Simulator, Job]:
    """Serve a job whose large files stop half-way."""
    world, job = _world()
    simulator = circleci_factory(world)
    simulator.faults.add("stall-half", match="large")
    return simulator, job


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_cleanly_and_the_same_command_completes_it(
    start: Start, stalled: tuple[Simulator, Job], tmp_path: Path, number: signal.Signals
) -> None:
    simulator, job = stalled
    command = ("download", SLUG, "--job", job.number, "--host", simulator.url, "-o", "out")
    process = start(*command)
    _until(lambda: simulator.stats.completed.total() >= 100)
    stdout, stderr = _interrupted(process, number)
    assert "complete in out" in stderr
    assert "the same command goes on" in stderr
    expected = _expected(simulator.world, job)
    first = _files(tmp_path / "out")
    assert 50 < len(first) < len(expected)
    assert all(expected[name] == content for name, content in first.items())
    counted = re.search(r"fetched     (\d+) files", stdout)
    # Files whose last write ended while the run was being stopped are complete, and not counted.
    assert counted
    assert 50 < int(counted[1]) <= len(first)
    assert not [name for name in first if "large" in name]
    kept = list((tmp_path / "out" / ".aiocircle" / "parts").iterdir())
    assert all("-" in part.name for part in kept), "only what can be continued is kept"

    simulator.faults.clear()
    again = start(*command)
    stdout, stderr = again.communicate(timeout=30)
    assert again.returncode == 0, stderr
    assert _files(tmp_path / "out") == expected
    assert f"present     {len(first)} files" in stdout


def test_json_of_an_interrupted_run_ends_with_its_report(start: Start, stalled: tuple[Simulator, Job]) -> None:
    simulator, job = stalled
    process = start("download", SLUG, "--job", job.number, "--host", simulator.url, "--json")
    _until(lambda: simulator.stats.completed.total() >= 20)
    stdout, _ = _interrupted(process, signal.SIGINT)
    assert '"type": "report"' in stdout.splitlines()[-1]
    assert '"cancelled": true' in stdout.splitlines()[-1]


def test_a_wait_for_the_rate_limit_is_interrupted_at_once(start: Start, stalled: tuple[Simulator, Job]) -> None:
    simulator, job = stalled
    simulator.faults.add("429-retry-after-seconds", seconds=60)
    process = start("download", SLUG, "--job", job.number, "--host", simulator.url)
    _until(lambda: simulator.stats.total >= 1)
    time.sleep(0.3)
    _, stderr = _interrupted(process, signal.SIGTERM)
    assert "0 files complete" in stderr


def test_an_interruption_before_the_first_answer_is_one_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = start("me", "--host", f"http://127.0.0.1:{silent.getsockname()[1]}")
        silent.settimeout(20)
        connection, _ = silent.accept()
        with connection:
            _, stderr = _interrupted(process, signal.SIGINT)
    assert stderr == "aiocircle: stopped\n"


@pytest.mark.parametrize(
    "moment", ["cyclopts", "aiocircle.cli.me", "aiocircle.cli.asking", "aiocircle.client", "aiohttp"]
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_of_an_import_ends_it_and_is_one_line(
    environment: dict[str, str], moment: str, number: signal.Signals
) -> None:
    """Python drops a ``KeyboardInterrupt`` that comes while it cleans up after an import: the signal was lost there."""
    code = (
        "import os, sys; from importlib import abc; from aiocircle.__main__ import main\n"
        "class Finder(abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {moment!r}:\n"
        "            class Dying:\n"
        f"                def __del__(self): os.kill(os.getpid(), {number:d})\n"
        "            Dying()\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['aiocircle', 'me', '--host', 'http://127.0.0.1:1', '--retries', '0']\n"
        "sys.exit(main())\n"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (6, "", "aiocircle: stopped\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_was_ignored_from_the_start_is_ignored(
    start: Start, stalled: tuple[Simulator, Job], tmp_path: Path, number: signal.Signals
) -> None:
    """A shell has Ctrl-C ignored by what a script starts with ``&``, so that it stops what is in front, and no more."""
    simulator, job = stalled
    command = ("download", SLUG, "--job", job.number, "--host", simulator.url, "-o", "out")
    before = signal.signal(number, signal.SIG_IGN)  # which processes that are started inherit
    try:
        process = start(*command)
    finally:
        signal.signal(number, before)
    _until(lambda: simulator.stats.completed.total() >= 20)
    process.send_signal(number)
    _until(lambda: simulator.stats.completed.total() >= 300)
    simulator.faults.clear()
    process.send_signal(number)
    assert process.poll() is None
    other = signal.SIGTERM if number == signal.SIGINT else signal.SIGINT
    _interrupted(process, other)
    assert _files(tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_very_end_leaves_the_status_as_it_is(
    environment: dict[str, str], number: signal.Signals
) -> None:
    code = (
        "import os, sys; from aiocircle.__main__ import main\n"
        "class Last:\n"
        f"    def __del__(self, kill=os.kill, process=os.getpid()): kill(process, {number:d})\n"
        "sys.last = Last()\n"  # when the interpreter gives up its modules, it has given up its signals
        "sys.argv = ['aiocircle', '--version']\n"
        "sys.exit(main())\n"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_what_cannot_be_cancelled_is_ended(start: Start, environment: dict[str, str], tmp_path: Path) -> None:
    """A thread that hangs (a dead network file system, a slow resolver) holds up neither one Ctrl-C nor two."""
    (tmp_path / "sitecustomize.py").write_text(
        "import asyncio, time\n"
        "import aiocircle.cli.asking\n"
        "class Stuck:\n"
        "    def __init__(self, *_): self.token = None\n"
        "    def explained(self): import contextlib; return contextlib.nullcontext()\n"
        "    def client(self, **_): return self\n"
        "    async def __aenter__(self):\n"
        "        print('stuck', flush=True)\n"
        "        await asyncio.to_thread(time.sleep, 60)\n"
        "    async def __aexit__(self, *_): pass\n"
        "aiocircle.cli.asking.find_access = Stuck\n"
    )
    path = f"{environment['PYTHONPATH']}{os.pathsep}{tmp_path}"
    for signals, limit in ((1, 2.0), (2, 1.0)):
        process = start("me", PYTHONPATH=path)
        assert process.stdout
        assert process.stdout.readline() == "stuck\n"
        began = time.monotonic()
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        assert process.wait(timeout=5) == 6
        assert time.monotonic() - began < limit


def test_the_cursor_comes_back_where_standard_error_is_no_terminal(environment: dict[str, str]) -> None:
    code = (
        "import asyncio, os, signal\n"
        "from aiocircle.cli.display import Board; from aiocircle.cli.interrupts import run\n"
        "def interrupt(): os.kill(os.getpid(), signal.SIGINT)\n"
        "async def drawn():\n"
        "    with Board():\n"
        "        try:\n"
        "            interrupt(); await asyncio.sleep(60)\n"
        "        finally:\n"
        "            interrupt()\n"
        "run(drawn)\n"
    )
    leader, follower = pty.openpty()
    environ = {**environment, "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=follower, stderr=subprocess.DEVNULL)
    assert process.wait(timeout=20) == 6
    os.close(follower)
    written = os.read(leader, 1000)
    os.close(leader)
    assert written.startswith(b"\x1b[?25l")
    assert written.endswith(b"\x1b[?25h\r\n")


def test_a_signal_ends_what_keeps_the_loop_from_turning(environment: dict[str, str]) -> None:
    """Modules are imported in the loop, from a disk that may be slow, on a machine that may be busy."""
    code = (
        "import os, signal, time; from aiocircle.cli.interrupts import run\n"
        "async def busy():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    end = time.monotonic() + 10\n"
        "    while time.monotonic() < end: pass\n"
        "run(busy)\n"
    )
    began = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (6, "")
    assert time.monotonic() - began < 8


def test_a_signal_behind_the_loop_leaves_the_status_as_it_is(environment: dict[str, str]) -> None:
    code = (
        "import os, signal; from aiocircle.__main__ import main; from aiocircle.cli.output import Output\n"
        "complain = Output.complain\n"
        "def interrupted(*arguments): os.kill(os.getpid(), signal.SIGTERM); complain(*arguments)\n"
        "Output.complain = interrupted\n"
        "import sys; sys.argv = ['aiocircle', 'me', '--host', 'http://127.0.0.1:1', '--retries', '0']\n"
        "sys.exit(main())\n"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 4
    assert result.stderr.startswith("aiocircle: no connection to 127.0.0.1")


def test_a_signal_before_the_first_step_leaves_no_coroutine_that_complains(environment: dict[str, str]) -> None:
    code = (
        "import asyncio, os, signal; from aiocircle.cli.app import main;"
        "asyncio.events.new_event_loop = lambda: os.kill(os.getpid(), signal.SIGINT);"
        "raise SystemExit(main(['me', '--host', 'http://127.0.0.1:1']))"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (6, "aiocircle: stopped\n")


def test_verify_stops_in_the_middle_of_a_large_file(start: Start, circleci: Simulator, tmp_path: Path) -> None:
    job = circleci.world.demo_job
    assert job
    download = start("download", SLUG, "--job", job.number, "-o", "out", "--host", circleci.url)
    assert download.wait(timeout=40) == 0
    large = max(_files(tmp_path / "out"))
    os.truncate(tmp_path / "out" / large, 2**40)  # with a hole in it, which nobody has read in less than minutes
    process = start("verify", "out")

    def is_reading() -> bool:
        opened = Path(f"/proc/{process.pid}/fd").iterdir()
        return any(os.path.realpath(one).endswith(large) for one in opened)

    _until(is_reading)
    _, stderr = _interrupted(process, signal.SIGINT)
    assert stderr == "aiocircle: stopped\n"
