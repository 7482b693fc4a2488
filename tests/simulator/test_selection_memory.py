"""Memory is bounded by the widths of the stream, and by some bytes for each name, whatever is selected."""

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from aiocircle.testing import FakeArtifact, GeneratedArtifacts, KongLimits, Simulator, World

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
MEASURED = """
import asyncio, json, sys
from aiocircle import Client, DownloadOptions

def memory(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

async def main(url, token, out):
    async with Client(token, host=url) as client:
        await client.download("gh/acme/web", job=1, to=out + "/warm")
        before = memory("VmRSS")
        plan = await client.artifacts.plan("gh/acme/web", all=True)
        after_plan = memory("VmHWM")
        report = await client.download(plan, out, options=DownloadOptions(dry_run=True))
        again = await client.download("gh/acme/web", out, all=True, options=DownloadOptions(dry_run=True))
        print(json.dumps({
            "planned": plan.report.planned, "from": report.planned, "direct": again.planned,
            "plan_grown": after_plan - before, "grown": memory("VmHWM") - before, "peak": memory("VmHWM"),
        }))

asyncio.run(main(*sys.argv[1:4]))
"""


@pytest.mark.timeout(240)  # half a minute of computing where nothing else runs
async def test_200_000_artifacts_of_40_jobs_take_little_memory(tmp_path: Path) -> None:
    world = World(pipelines=0)
    world.add_job("gh/acme/web", 1, [FakeArtifact("warm", size=100_000)])
    for number in range(2, 42):
        world.add_job("gh/acme/web", number, GeneratedArtifacts(f"job {number}", 5000))
    roomy = KongLimits({"second": 5000})  # what is told is not felt for, which takes time
    async with Simulator(world, page_size=250, log_size=0, limits=roomy) as sim:
        command = [sys.executable, "-c", MEASURED, sim.url, sim.token, str(tmp_path)]
        ran = await anyio.run_process(command, stderr=subprocess.PIPE, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    result = json.loads(ran.stdout)
    assert result["planned"] == result["from"] == result["direct"] == 200_001
    assert result["plan_grown"] < 20 * MIB, result  # names are not decided: the widths alone
    assert result["grown"] < 40 * MIB, result
