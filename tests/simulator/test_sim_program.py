"""The simulator as a program, as a thread and as a pytest fixture."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sim_client import ask

from aiocircle import testing
from aiocircle.testing import FAULTS, SimulatorThread, World
from aiocircle.testing.__main__ import main

ROOT = Path(testing.__file__).parents[2]


@contextmanager
def program(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-m", "aiocircle.testing", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def test_it_says_where_it_listens_and_what_to_ask_for(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with program("--files", "30", "--large", "1", "--large-size", "70000", "--ready-file", str(ready)) as (_, info):
        assert json.loads(ready.read_text()) == info
        assert list(tmp_path.iterdir()) == [ready]
        token = {"Circle-Token": info["token"]}
        api = f"{info['url']}/api/v2"
        assert ask(f"{api}/pipeline/{info['pipeline']}", token).json()["number"] == info["pipeline_number"]
        jobs = ask(f"{api}/workflow/{info['workflow']}/job", token).json()["items"]
        assert info["job"] in [job.get("job_number") for job in jobs]
        assert {job["type"] for job in jobs} == {"build", "approval"}
        first = ask(f"{api}/project/{info['slug']}/{info['job']}/artifacts", token).json()["items"][0]
        assert info["artifacts"] == 31
        assert ask(first["url"], token).location.startswith(info["storage_url"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_with_status_0(number: signal.Signals) -> None:
    with program("--files", "3") as (process, _):
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=5) == 0
        assert time.monotonic() - began < 2


def test_its_settings_take_effect() -> None:
    settings = ["--token", "t", "--page-size", "2", "--limit", "hour=50", "--limit", "minute=40", "--fault", "500:1+1"]
    with program("--files", "5", "--artifact-origin", "--seed", "3", *settings) as (_, info):
        assert info["token"] == "t"
        assert len({info["url"], info["storage_url"], info["artifact_url"]}) == 3
        path = f"{info['url']}/api/v2/project/{info['slug']}/{info['job']}/artifacts"
        replies = [ask(path, {"Circle-Token": "t"}) for _ in range(3)]
        assert [reply.status for reply in replies] == [200, 500, 200]
        assert len(replies[0].json()["items"]) == 2
        assert replies[0].header("X-RateLimit-Limit-Hour") == "50"
        assert replies[0].header("X-RateLimit-Limit-Minute") == "40"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--limit", "second"], "--limit is written WINDOW=N, such as second=20: 'second'"),
        (["--limit", "eon=3"], "no such window: 'eon'"),
        (["--limit", "second=0"], "a limit is at least 1"),
        (["--fault", "nope"], "no such fault: 'nope'"),
        (["--files", "-1"], "--files is not negative: -1"),
        (["--page-size", "0"], "--page-size is at least 1: 0"),
        (["--latency", "nan"], "--latency is not negative: nan"),
        (["--port", "x"], "invalid int value: 'x'"),
        (["--port", "70000"], "70000"),
        (["--ready-file", "/nonexistent/dir/file"], "cannot listen or write"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--files", "3", *arguments])
    assert refused.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in last
    assert "Traceback" not in last


def test_the_faults_are_listed_with_their_places(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-faults"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(FAULTS)
    assert all(len(line.split()) > 3 for line in lines)


def test_a_reader_of_the_faults_may_leave() -> None:
    command = f"{shlex.quote(sys.executable)} -m aiocircle.testing --list-faults | head -1"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (len(result.stdout.splitlines()), result.stderr) == (1, "")


def test_a_thread_is_gone_after_its_block_and_its_port_free() -> None:
    with SimulatorThread(World(pipelines=0)) as sim:
        url = sim.url
        assert ask(f"{url}/api/v2/me", {"Circle-Token": sim.token}).status == 200
    with pytest.raises(ConnectionRefusedError):
        ask(f"{url}/api/v2/me")


def test_the_fixtures_serve_sync_and_async_tests_and_subprocesses(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(
        """
import subprocess, sys, urllib.request
import pytest
from aiocircle.testing import FakeArtifact, World

def me(sim):
    request = urllib.request.Request(sim.url + "/api/v2/me", headers={"Circle-Token": sim.token})
    with urllib.request.urlopen(request) as reply:
        return reply.status

def test_sync(circleci):
    assert me(circleci) == 200
    assert circleci.stats.requests["me"] == 1
    assert len(circleci.world.demo_job.artifacts) == 24

@pytest.mark.anyio
async def test_async(circleci):
    import aiohttp
    async with aiohttp.ClientSession() as session:
        async with session.get(circleci.url + "/api/v2/me", headers={"Circle-Token": circleci.token}) as reply:
            assert reply.status == 200

def test_subprocess(circleci):
    code = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], headers={'Circle-Token': sys.argv[2]}))"
    subprocess.run([sys.executable, "-c", code, circleci.url + "/api/v2/me", circleci.token], check=True)

def test_factory(circleci_factory):
    world = World(pipelines=0)
    world.add_job("gh/acme/web", 1, [FakeArtifact("x", body=b"y")])
    first, second = circleci_factory(world, faults=["500"]), circleci_factory()
    assert first.url != second.url
    assert me(second) == 200
    with pytest.raises(urllib.error.HTTPError):
        me(first)

@pytest.fixture
def anyio_backend():
    return "asyncio"
""",
        encoding="utf-8",
    )
    options = ["-q", "-p", "anyio", "-p", "aiocircle.testing.pytest_plugin", "-p", "no:cacheprovider", "-W", "error"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "4 passed" in run.stdout, run.stdout + run.stderr


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=50
    ).stdout


def test_the_plugin_costs_nothing_until_it_is_used() -> None:
    loaded = run_python(
        "import pytest, sys; before = set(sys.modules); import aiocircle.testing.pytest_plugin\n"
        "print(sorted(m for m in set(sys.modules) - before if m.split('.')[0] in {'aiohttp', 'attr', 'attrs', 'yarl'}))"
    )
    assert loaded.strip() == "[]"


def test_it_shares_no_code_with_what_it_judges() -> None:
    loaded = run_python(
        "import sys, aiocircle.testing.server, aiocircle.testing.__main__, aiocircle.testing.pytest_plugin\n"
        "print(*sorted(m for m in sys.modules if m.startswith('aiocircle')))"
    )
    strangers = {name for name in loaded.split() if not name.startswith("aiocircle.testing")}
    assert strangers <= {"aiocircle", "aiocircle._version"}


def test_the_public_names_are_there() -> None:
    assert [name for name in testing.__all__ if not hasattr(testing, name)] == []
    assert dir(testing) == sorted(testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = testing.nothing
