"""Several processes with one token: the simulator counts what it accepts in each second, and whom it refuses."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis_server import RedisServer, needs_redis, redis_server

from aiocircle.testing import DEFAULT_TOKEN, KongLimits, Simulator, World
from aiocircle.testing.kong import Verdict

LIMIT = 40
Start = Callable[[str, int], "subprocess.Popen[str]"]
SHARER = Path(__file__).with_name("limit_sharer.py")
KINDS = ["sqlite", pytest.param("redis", marks=needs_redis)]

pytestmark = pytest.mark.timeout(120)


class CountedLimits(KongLimits):
    """Kong's limits, and how many requests each second had."""

    def __init__(self) -> None:
        super().__init__({"second": LIMIT})
        self.accepted: Counter[int] = Counter()
        self.refused = 0

    def charge(self, key: str, route: str = "") -> Verdict:
        verdict = super().charge(key, route)
        self.accepted[int(time.time())] += verdict.admitted
        self.refused += not verdict.admitted
        return verdict

    def share(self) -> float:
        """Return how much of what was possible was used, in all seconds but the last."""
        first, last = min(self.accepted), max(self.accepted)
        return sum(number for second, number in self.accepted.items() if second < last) / (LIMIT * (last - first))


@pytest.fixture
def limits() -> CountedLimits:
    return CountedLimits()


@pytest.fixture
def simulator(circleci_factory: Callable[..., Simulator], limits: CountedLimits) -> Simulator:
    return circleci_factory(World(), limits=limits, latency=0.03)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def limiter(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'limits.db'}"
    return str(request.getfixturevalue("server").url)


@pytest.fixture
def start(simulator: Simulator) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(limiter: str, requests: int) -> "subprocess.Popen[str]":
        command = [sys.executable, str(SHARER), simulator.url, limiter, str(requests)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def outcome(process: "subprocess.Popen[str]") -> dict[str, Any]:
    text, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("limiter", KINDS, indirect=True)
def test_three_processes_use_one_budget_and_none_is_refused(start: Start, limits: CountedLimits, limiter: str) -> None:
    outcomes = [outcome(process) for process in [start(limiter, 80) for _ in range(3)]]
    assert outcomes == 3 * [{"requests": 80, "refusals": 0, "told": []}]
    assert limits.refused == 0
    assert limits.share() > 0.5  # 90 % and more where nothing else runs; see benchmarks/shared_limits.py


@pytest.mark.parametrize("limiter", KINDS, indirect=True)
def test_a_process_that_is_killed_takes_nothing_with_it(
    start: Start, simulator: Simulator, limits: CountedLimits, limiter: str
) -> None:
    processes = [start(limiter, 80) for _ in range(3)]
    while sum(limits.accepted.values()) < 2 * LIMIT or simulator.stats.in_flight < 2:
        time.sleep(0.002)
    processes[0].send_signal(signal.SIGKILL)
    processes[0].communicate()
    assert [outcome(process) for process in processes[1:]] == 2 * [{"requests": 80, "refusals": 0, "told": []}]
    assert limits.refused == 0


@needs_redis
def test_without_their_store_processes_go_on_carefully_and_share_again_when_it_is_back(
    start: Start, limits: CountedLimits, server: RedisServer
) -> None:
    processes = [start(server.url, 150) for _ in range(2)]
    while sum(limits.accepted.values()) < 2 * LIMIT:
        time.sleep(0.01)
    server.kill()
    time.sleep(2)
    server.start()
    told = ["LimiterStoreLost", "LimiterStoreBack"]
    outcomes = [outcome(process) for process in processes]
    assert [found["told"] for found in outcomes] == [told, told]
    assert [found["requests"] - found["refusals"] for found in outcomes] == [150, 150]
    assert limits.refused <= 3  # while one was back and the other was not


@pytest.mark.parametrize("limiter", KINDS, indirect=True)
def test_the_token_is_in_no_byte_of_the_store(start: Start, limiter: str, tmp_path: Path) -> None:
    process = start(limiter, 30)
    found = []
    while process.poll() is None:
        found.append(dump(limiter, tmp_path))
        time.sleep(0.05)
    found.append(dump(limiter, tmp_path))
    assert any(b"/me" in text for text in found)  # it was looked at in the right place
    assert not [text for text in found if DEFAULT_TOKEN.encode() in text]
    process.communicate()


def dump(limiter: str, folder: Path) -> bytes:
    if limiter.startswith("sqlite:"):
        found = []
        for path in folder.glob("limits.db*"):
            with suppress(FileNotFoundError):  # the log goes when the last process closes the file
                found.append(path.read_bytes())
        return b"".join(found)
    from redis import Redis

    with Redis.from_url(limiter) as client:
        return b"".join(key + b"".join(sum(client.hgetall(key).items(), ())) for key in client.scan_iter())
