"""How fast processes are that share one budget, as a share of what the host allows, and how often they are refused.

    python benchmarks/shared_limits.py                   # SQLite; and Redis, where REDIS_SERVER or PATH has one
    python benchmarks/shared_limits.py --seconds 30 --latency 0.1

A simulated CircleCI with Kong's windows counts what it accepts in each. The share is taken over all windows from the
first request on but the last, which nobody need fill. In the rows with ``kill`` one process is killed (kill -9) in the
middle, with requests under way, and the others do what is left. Then: what one step costs in a store.
"""

import argparse
import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import aiocircle
from aiocircle.clock import SystemClock
from aiocircle.events import ignore
from aiocircle.ratelimit.address import parse_store
from aiocircle.ratelimit.limiter import RateLimiter, Route
from aiocircle.testing import DEFAULT_TOKEN, KongLimits, SimulatorThread, World
from aiocircle.testing.kong import Verdict

LIMIT = 40
WIDE = 16  # requests that each process wants under way
STEPS = 300
OPEN = 32


class CountedLimits(KongLimits):
    """Kong's limits, and how many requests each second had."""

    def __init__(self, limits: dict[str, int]) -> None:
        super().__init__(limits)
        self.accepted: Counter[int] = Counter()
        self.refused = 0

    def charge(self, key: str, route: str = "") -> Verdict:
        """Judge and count one request."""
        verdict = super().charge(key, route)
        self.accepted[int(time.time())] += verdict.admitted
        self.refused += not verdict.admitted
        return verdict


async def work(url: str, limiter: str, count: int) -> None:
    """Be one of the processes."""
    todo = iter(range(count))
    async with aiocircle.Client(DEFAULT_TOKEN, host=url, limiter=limiter) as client:

        async def ask() -> None:
            for _ in todo:
                await client.request("GET", "/me")

        await asyncio.gather(*(ask() for _ in range(WIDE)))


def measure(limiter: str, processes: int, seconds: int, latency: float, *, kill: bool) -> tuple[float, int]:
    """Return the share of the possible speed, and the refusals."""
    limits = CountedLimits({"second": LIMIT})
    count = LIMIT * seconds // processes
    with SimulatorThread(World(), limits=limits, latency=latency) as simulator:
        command = [sys.executable, __file__, "--worker", simulator.url, limiter, str(count)]
        workers = [subprocess.Popen(command) for _ in range(processes)]
        if kill:
            time.sleep(seconds / 2)
            in_flight = simulator.stats.in_flight
            for _ in range(2000):  # the worst moment: just after a window has begun
                if simulator.stats.in_flight > max(1, in_flight):
                    break
                time.sleep(0.002)
            workers[0].send_signal(signal.SIGKILL)
        statuses = [worker.wait() for worker in workers]
    assert not any(statuses[kill:]), statuses
    first, last = min(limits.accepted), max(limits.accepted)
    full = sum(number for second, number in limits.accepted.items() if second < last)
    return full / (LIMIT * (last - first)), limits.refused


async def step_cost(limiter: str) -> float:
    """Return seconds for an acquire and its answer, with 32 tickets open: two steps."""
    clock = SystemClock()
    lanes = RateLimiter(
        clock=clock, random=lambda: 0.5, on_event=ignore, store=parse_store(limiter).store(clock.monotonic)
    )
    await lanes.open()
    route = Route("http://127.0.0.1:1", "/me")
    headers = [("X-RateLimit-Limit-Day", "1000000"), ("X-RateLimit-Remaining-Day", "999999")]
    headers += [("X-RateLimit-Limit-Second", "1000"), ("X-RateLimit-Remaining-Second", "999")]
    for _ in range(60):  # until the line is wide enough
        lanes.answered(await lanes.acquire(route, max_wait=10), 200, headers)
    permits = [await lanes.acquire(route, max_wait=10) for _ in range(OPEN)]
    began = time.perf_counter()
    for _ in range(STEPS):
        lanes.answered(permits.pop(0), 200, headers)
        await asyncio.sleep(0)
        permits.append(await lanes.acquire(route, max_wait=10))
    cost = (time.perf_counter() - began) / STEPS
    for permit in permits:
        lanes.lost(permit)
    await lanes.aclose()
    return cost / 2


@contextmanager
def stores(directory: Path) -> Iterator[dict[str, str]]:
    """Start what is there, and return each store's address by its name."""
    found = {"sqlite": f"sqlite:{directory / 'limits.db'}"}
    program = os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or shutil.which("valkey-server")
    if not program:
        print("no redis-server: only SQLite is measured")
        yield found
        return
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([program, "--port", str(port), "--save", "", "--dir", directory], stdout=-3)
    try:
        time.sleep(1)
        yield {**found, "redis": f"redis://127.0.0.1:{port}/0"}
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=15, help="the least time each row can take")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds the host takes for an answer")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        url, limiter, count = options.worker
        asyncio.run(work(url, limiter, int(count)))
        return
    with tempfile.TemporaryDirectory() as directory, stores(Path(directory)) as found:
        print(f"{'store':8}{'processes':>10}  {'':6}{'speed':>6}{'refusals':>10}")
        for name, limiter in found.items():
            for processes, kill in ((1, False), (2, False), (4, False), (4, True)):
                share, refused = measure(limiter, processes, options.seconds, options.latency, kill=kill)
                print(f"{name:8}{processes:>10}  {'kill' if kill else '':6}{share:>6.0%}{refused:>10}", flush=True)
        for name, limiter in found.items():
            print(f"{name}: {asyncio.run(step_cost(limiter)) * 1e6:.0f} us a step with {OPEN} tickets open")


if __name__ == "__main__":
    main()
