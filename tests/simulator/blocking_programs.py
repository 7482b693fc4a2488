"""What tests of the blocking client share: a world of one job, and programs of their own that use a client."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiocircle.testing import FakeArtifact, Simulator, World

ROOT = Path(__file__).parents[2]
SLUG = "gh/acme/web"
PAGES = 4
Start = Callable[..., Simulator]


def world() -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 7, [FakeArtifact(f"{n:03}.bin", size=500) for n in range(20 * PAGES)], tests=5)
    return world


def script(text: str, simulator: Simulator, prologue: str = "") -> "subprocess.Popen[str]":
    head = "import asyncio, signal, sys, threading, time\nfrom aiocircle import BlockingClient\n"
    head += "TOKEN, HOST = sys.argv[1:]\n" + prologue
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", head + textwrap.dedent(text), simulator.token, simulator.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
