"""What a download of a million small artifacts of many jobs takes of memory and time: ``python benchmarks/million.py``.

nginx serves the files: every artifact's address leads to the one file of 100 bytes, so that a million of them have no
need to lie on the server's disk, only on the client's. A small server before it invents the listings: one project, one
pipeline for every thousand artifacts or so, each with one workflow of one job. Client and server are processes of
their own; what is measured is the client, which is ``aiocircle.Client`` with its defaults and nothing else in it.

Peak memory is the kernel's own figure (VmHWM) at the end of the client's process. It fails above ``--most`` MiB.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.world import KIB, MIB, PROJECT, TOKEN, find_nginx, served

ROOT: Final = Path(__file__).resolve().parent.parent
SIZE: Final = 100
PAGE: Final = 250
CREATED: Final = "2026-11-01T00:00:00Z"

CLIENT: Final = """
import asyncio, json, sys, time
import aiocircle

async def main(host, files, token, output):
    began = time.monotonic()
    async with aiocircle.Client(token, host=host, artifact_hosts=[files]) as client:
        report = await client.download("gh/acme/web", output, all=True)
    report.raise_for_failures()
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    print(json.dumps({"files": report.files, "size": report.size, "jobs": report.jobs, "requests": report.requests,
                      "seconds": time.monotonic() - began, "peak": peak}))

asyncio.run(main(*sys.argv[1:]))
"""


class Listings:
    """The listings of a project of so many jobs, of so many artifacts each, invented as they are asked for."""

    def __init__(self, jobs: int, artifacts: int, files: str) -> None:
        self._jobs = jobs
        self._artifacts = artifacts
        self._files = files

    def application(self) -> web.Application:
        """Return what serves them, at their usual addresses."""
        application = web.Application()
        api = "/api/v2"
        application.add_routes(
            [
                web.get(f"{api}/project/{PROJECT}/pipeline", self.pipelines),
                web.get(f"{api}/pipeline/{{id}}/workflow", self.workflows),
                web.get(f"{api}/workflow/{{id}}/job", self.jobs),
                web.get(f"{api}/project/{PROJECT}/{{job}}/artifacts", self.artifacts),
            ]
        )
        return application

    async def pipelines(self, request: web.Request) -> web.Response:
        """One for each job, whose number it shares."""
        start, stop, more = _page(request, self._jobs)
        items = [
            {"id": _id(n), "number": n, "project_slug": PROJECT, "state": "created", "created_at": CREATED, "vcs": {}}
            for n in range(self._jobs - start, self._jobs - stop, -1)  # the newest first
        ]
        return _answer(items, more)

    async def workflows(self, request: web.Request) -> web.Response:
        """The one of a pipeline."""
        number = _number(request)
        item = {"id": _id(number), "name": "build", "status": "success", "created_at": CREATED}
        return _answer([{**item, "pipeline_number": number, "project_slug": PROJECT, "pipeline_id": _id(number)}], None)

    async def jobs(self, request: web.Request) -> web.Response:
        """The one of a workflow."""
        number = _number(request)
        item = {"id": _id(number), "name": "test", "type": "build", "status": "success", "started_at": CREATED}
        return _answer([{**item, "job_number": number, "project_slug": PROJECT, "dependencies": []}], None)

    async def artifacts(self, request: web.Request) -> web.Response:
        """A page of those of a job."""
        job = int(request.match_info["job"])
        start, stop, more = _page(request, self._artifacts)
        paths = [f"reports/module-{n // 100:03d}/{n:05d}.xml" for n in range(start, stop)]
        base = f"{self._files}/output/job/{_id(job)}/artifacts/0"
        return _answer([{"path": path, "node_index": 0, "url": f"{base}/{path}"} for path in paths], more)


def _page(request: web.Request, count: int) -> tuple[int, int, str | None]:
    start = int(request.query.get("page-token", "0"))
    stop = min(start + PAGE, count)
    return start, stop, str(stop) if stop < count else None


def _answer(items: list[dict[str, object]], more: str | None) -> web.Response:
    # Limits that hold nothing up: what no header tells would be felt for, and that is not what is measured here.
    told = {"X-RateLimit-Limit-Second": "100000", "X-RateLimit-Remaining-Second": "99999"}
    return web.json_response({"items": items, "next_page_token": more}, headers=told)


def _id(number: int) -> str:
    return str(uuid.UUID(int=number))


def _number(request: web.Request) -> int:
    return uuid.UUID(request.match_info["id"]).int


def serve(arguments: list[str]) -> None:
    """Serve listings on a free port, which is written to standard output."""
    jobs, artifacts, files = int(arguments[0]), int(arguments[1]), arguments[2]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        web.run_app(Listings(jobs, artifacts, files).application(), sock=listener, print=None, access_log=None)


@contextmanager
def listings(jobs: int, artifacts: int, files: str) -> Iterator[str]:
    """Run the server of listings for the length of a block and give its origin."""
    command = [sys.executable, __file__, "serve", str(jobs), str(artifacts), files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.send_signal(signal.SIGINT)


def download(jobs: int, artifacts: int, work: Path, nginx: str) -> dict[str, float]:
    """Download everything in a process of its own and return what it says of itself."""
    prefix, output = work / "nginx", work / "output"
    prefix.mkdir()
    (prefix / "artifact").write_bytes(b"x" * SIZE)
    with served(nginx, prefix, everywhere="/artifact") as files, listings(jobs, artifacts, files.plain) as origin:
        command = [sys.executable, "-c", CLIENT, origin, files.plain.removeprefix("http://"), TOKEN, str(output)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(work), "PYTHONPATH": str(ROOT)}
        said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout
    told: dict[str, float] = json.loads(said)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000, help="1,000")
    parser.add_argument("--artifacts", type=int, default=1000, help="of each job: 1,000")
    parser.add_argument("--most", type=int, default=150, help="MiB of memory that are not too much: 150")
    parser.add_argument("--workdir", type=Path, help="where the files go: /dev/shm, where there is one")
    arguments = parser.parse_args()
    nginx = find_nginx()
    if nginx is None:
        print("The artifacts are served with nginx: apt-get install nginx", file=sys.stderr)
        return 2
    place = arguments.workdir or (Path("/dev/shm") if Path("/dev/shm").is_dir() else None)
    wanted = arguments.jobs * arguments.artifacts
    with tempfile.TemporaryDirectory(prefix="aiocircle-", dir=place) as work:
        told = download(arguments.jobs, arguments.artifacts, Path(work), nginx)
        began = time.monotonic()
        there = sum(len(names) for parent, _, names in os.walk(Path(work, "output")) if ".aiocircle" not in parent)
        ledger = sum(each.stat().st_size for each in Path(work, "output", ".aiocircle").iterdir() if each.is_file())
        counted = time.monotonic() - began
        shutil.rmtree(Path(work, "output"))
    peak = told["peak"] * KIB / MIB
    print(f"{there:,} files of {told['jobs']:,} jobs, {told['requests']:,} requests")
    print(f"{told['seconds']:.1f} s, {there / told['seconds']:,.0f} files/s; counting them took {counted:.1f} s")
    print(f"peak memory {peak:.1f} MiB of at most {arguments.most}; ledger {ledger / MIB:.1f} MiB")
    return int(there != wanted or told["files"] != wanted or peak > arguments.most)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2:])
    else:
        sys.exit(main())
