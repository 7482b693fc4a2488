"""The README's examples, run as they stand against the simulator."""

import hmac
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from aiocircle.testing import FakeArtifact, Simulator, World

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
WORKFLOW_IN_README = "5034460f-c7c4-4c43-9457-de07e2029e7b"
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("aiocircle")
]
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def simulator(circleci_factory: Callable[..., Simulator]) -> Simulator:
    world = World(slugs=("gh/acme/web", "bb/acme/api"), pipelines=38)
    for number in (1301, 1302, 1303):  # so that the next pipeline is number 42
        world.add_job("gh/acme/web", number, branch="other")
    files = [FakeArtifact(path=f"reports/{name}.xml", node_index=node, size=900) for node in (0, 1) for name in "abc"]
    job = world.add_job("gh/acme/web", 1234, [*files, FakeArtifact(path="app.bin", size=70_000)], tests=30)
    world.add_job("gh/acme/web", 1235, name="hold for release", type="approval", status="on_hold", beside=job)
    world.add_job("gh/acme/web", 1236, name="deploy", status="blocked", beside=job)
    return circleci_factory(world, speed=90)


@pytest.fixture
def environ(simulator: Simulator, environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    script = tmp_path / "bin" / "aiocircle"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m aiocircle "$@"\n')
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    return {**environment, "PATH": path, "CIRCLE_TOKEN": simulator.token, "CIRCLE_HOST": simulator.url}


def workflow_of(simulator: Simulator) -> str:
    job = simulator.world.job("gh/acme/web", 1234)
    assert job is not None
    found = simulator.world.workflow_of(job)
    assert found is not None
    return str(found[1].id)


def test_there_are_examples() -> None:
    assert len(COMMANDS) >= 20
    assert len(PROGRAMS) >= 3


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_for_the_shell_works(
    command: str, simulator: Simulator, environ: dict[str, str], tmp_path: Path
) -> None:
    line = command.replace(WORKFLOW_IN_README, workflow_of(simulator))
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout != "") == (0, True), done.stderr
    if command.startswith("aiocircle download") and "--dry-run" not in command:
        assert len(list(tmp_path.rglob("*.xml"))) == 6


@pytest.mark.parametrize("source", PROGRAMS, ids=[str(number) for number in range(1, len(PROGRAMS) + 1)])
def test_an_example_in_python_works(source: str, environ: dict[str, str], tmp_path: Path) -> None:
    """One that serves is called as CircleCI would and then ended; any other runs to its end."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", source],
        cwd=tmp_path,
        env={**environ, "WEBHOOK_SECRET": "secret", "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if "run_app" in source:
            deliver(f"http://127.0.0.1:{port}/circleci")
            process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, stderr) == (0, "")
    if "client.export" in source:
        assert stdout.splitlines()[-1].endswith("jobs, 0 listings failed")
        assert (tmp_path / "out" / "jobs.jsonl").stat().st_size > 0
        return
    assert ("7 files, 0 refusals" if "refusals" in source else "7 files") in stdout
    assert len(list((tmp_path / "out").rglob("*.xml"))) == 6


def deliver(url: str) -> None:
    """Send what CircleCI sends when job 1234 has ended, as soon as there is a server."""
    event = {"id": "1", "type": "job-completed", "project": {"slug": "gh/acme/web"}}
    body = json.dumps({**event, "job": {"number": 1234, "name": "build", "status": "success"}}).encode()
    signature = "v1=" + hmac.new(b"secret", body, "sha256").hexdigest()
    request = Request(url, body, {"circleci-signature": signature, "content-type": "application/json"})
    end = time.monotonic() + 20
    while True:
        try:
            with urlopen(request) as answer:
                assert answer.status == 202
                return
        except URLError:
            assert time.monotonic() < end
            time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def test_every_test_named_in_the_readme_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", README)
    assert len(named) >= 10
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text() if test else (ROOT / path).exists(), (path, test)
