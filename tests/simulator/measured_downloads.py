"""How much memory a download takes, in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio

from aiocircle.testing import Simulator

MEASURED = """
import asyncio, json, sys
from aiocircle import Client, DownloadOptions

def memory(field):  # not what getrusage says, which counts the process that this one was started from
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

async def main(url, token, out, warm_job, job, options):
    async with Client(token, host=url) as client:
        await client.download("gh/acme/web", job=int(warm_job), to=out + "/warm")
        before = memory("VmRSS")
        options = DownloadOptions(**options)
        report = await client.download("gh/acme/web", job=int(job), to=out + "/out", options=options)
        report.raise_for_failures()
        peak = memory("VmHWM")
        told = {name: getattr(report, name) for name in ("files", "size", "planned")}
        print(json.dumps({"grown": peak - before, **told}))

asyncio.run(main(*sys.argv[1:6], json.loads(sys.argv[6])))
"""


async def measured(
    sim: Simulator, out: str | Path, job: int, environ: Mapping[str, str] = MappingProxyType({}), **options: Any
) -> dict[str, int]:
    """Download the first job, then another one, in a process of its own, and return what the second one took.

    Returns:
        ``grown``, the bytes of memory by which the process grew for it at most, and figures of the report.
    """
    command = [sys.executable, "-c", MEASURED, sim.url, sim.token, str(out), "1", str(job), json.dumps(options)]
    ran = await anyio.run_process(command, stderr=subprocess.PIPE, env={**os.environ, **environ}, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    result: dict[str, int] = json.loads(ran.stdout)
    return result
