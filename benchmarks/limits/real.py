"""The limiter against real middleware in real time, over real sockets on the loopback interface.

* express-rate-limit in its four dialects, on node;
* slowapi on uvicorn.

Windows are opened by the first request and count refusals; every path has a limit of its own.
"""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import aiohttp
from attrs import evolve, frozen

from aiocircle.clock import SystemClock
from aiocircle.ratelimit.limiter import Permit, RateLimiter, Route
from benchmarks.limits import optimum
from benchmarks.limits.cache import kept, python_packages
from benchmarks.limits.dialects import draft6
from benchmarks.limits.situations import ROUTE, Load, fixed, one, situation

__all__ = ["print_real"]

LIMIT, WINDOW = 20, 2
REQUESTS, WORKERS = 110, 16
RTT = 0.002
EXPRESS = {"express-rate-limit": "8.7.5", "express": "5.3.0"}
SLOWAPI = ("slowapi==0.1.10", "uvicorn==0.54.0", "starlette==1.10.0")
SERVERS = Path(__file__).parent / "servers"


@frozen
class _Row:
    name: str
    seconds: float
    refusals: int


def print_real() -> int:
    """Run it and print a line for each; return 1 if anything was refused."""
    rows = asyncio.run(_run_all())
    policy = one(fixed((LIMIT, WINDOW), aligned=False), draft6)
    work = evolve(situation("real", "", policy, 1, WINDOW, rtt=RTT), loads=(Load(ROUTE, REQUESTS, WORKERS),))
    best = optimum.answers(work, 0)[-1]
    print(f"{REQUESTS} requests, {WORKERS} at once, {LIMIT} per {WINDOW} s; the optimum is {best:.2f} s\n")
    print(f"{'':24}{'seconds':>9}{'speed':>8}{'refused':>9}")
    for row in rows:
        print(f"{row.name:24}{row.seconds:9.2f}{best / row.seconds:8.1%}{row.refusals:9}")
    return int(any(row.refusals for row in rows))


async def _run_all() -> list[_Row]:
    async with AsyncExitStack() as stack:
        addresses = []
        if shutil.which("npm"):
            port = await stack.enter_async_context(_served(*await _express()))
            addresses += [
                f"http://127.0.0.1:{port}/{dialect}" for dialect in ("draft-6", "draft-7", "draft-8", "legacy")
            ]
        else:
            print("express-rate-limit: not run, there is no npm")
        port = await stack.enter_async_context(_served(*await asyncio.to_thread(_slowapi)))
        addresses.append(f"http://127.0.0.1:{port}/slowapi")
        session = await stack.enter_async_context(aiohttp.ClientSession())
        return await asyncio.gather(*(_run(session, address) for address in addresses))


async def _run(session: aiohttp.ClientSession, address: str) -> _Row:
    """Send the work to one address, with a limiter of its own."""
    limiter = RateLimiter(clock=SystemClock(), random=Random(0).random, on_event=lambda _: None)
    origin, _, group = address.rpartition("/")
    queue = iter(range(REQUESTS))
    refusals = 0

    async def work() -> None:
        nonlocal refusals
        for _ in queue:
            permit: Permit | None = None
            status = 0
            while status != 200:
                permit = await limiter.acquire(Route(origin, group), max_wait=60, again=permit)
                async with session.get(address) as answer:
                    status = answer.status
                    limiter.answered(permit, status, answer.headers.items())
                refusals += status == 429

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(WORKERS)))
    limiter.close()
    return _Row(group if group == "slowapi" else f"express {group}", time.perf_counter() - began, refusals)


async def _express() -> tuple[list[str], dict[str, str]]:
    """Return how to start it, installing it the first time."""
    place = kept(f"express-rate-limit-{EXPRESS['express-rate-limit']}")
    if not (place / "package.json").exists():
        place.mkdir(parents=True, exist_ok=True)
        wanted = [f"{name}@{version}" for name, version in EXPRESS.items()]
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), *wanted]
        process = await asyncio.create_subprocess_exec(*command)
        if await process.wait():
            raise SystemExit(f"it failed: {' '.join(command)}")
    return ["node", str(SERVERS / "express.cjs"), str(place), str(LIMIT), str(WINDOW)], {}


def _slowapi() -> tuple[list[str], dict[str, str]]:
    """Return how to start it, installing it the first time."""
    packages = python_packages(*SLOWAPI)
    return [sys.executable, str(SERVERS / "slow.py"), str(LIMIT), str(WINDOW)], {"PYTHONPATH": str(packages)}


@asynccontextmanager
async def _served(command: list[str], environment: dict[str, str]) -> AsyncIterator[int]:
    """Start a server that prints its port, yield that, and end the server."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        if not line:
            raise SystemExit(f"it did not start: {' '.join(command)}")
        yield int(line)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
