"""The simulator as a program: ``python -m aiocircle.testing``.

Prints one line of JSON when it listens (url, storage_url, token, slug, and an example job, workflow and pipeline), and
serves until SIGINT or SIGTERM.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from aiocircle.testing.artifacts import MIB
from aiocircle.testing.faults import FAULTS
from aiocircle.testing.kong import DIALECTS, KongLimits
from aiocircle.testing.server import DEFAULT_TOKEN, Simulator
from aiocircle.testing.world import World

_LAST_PORT = 65_535


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit status: 0, or 2 for arguments that make no sense."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list_faults:
        _list_faults()
        return 0
    try:
        simulator = _simulator(options)
        asyncio.run(_serve(simulator, options.ready_file))
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"cannot listen or write: {error}")
    return 0


def _list_faults() -> None:
    try:
        for kind in FAULTS.values():
            settings = "".join(f" [{name}={value:g}]" for name, value in kind.settings.items())
            line = f"{kind.name:26} {'+'.join(kind.places):13} {kind.description}{settings}"
            print(line, flush=True)  # noqa: T201 - the program's output
    except BrokenPipeError:  # the reader has seen enough; the interpreter is not to complain of that at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aiocircle.testing", description="Serve a simulated CircleCI.")
    parser.add_argument("--port", type=int, default=0, help="the API's port (0: a free one)")
    parser.add_argument("--storage-port", type=int, default=0, help="the storage's port (0: a free one)")
    parser.add_argument("--token", default=DEFAULT_TOKEN, help="the token to accept")
    parser.add_argument("--files", type=int, default=3000, metavar="N", help="small files of the example job")
    parser.add_argument("--large", type=int, default=3, metavar="N", help="large files of the example job")
    parser.add_argument("--large-size", type=int, default=64 * MIB, metavar="BYTES", help="size of a large file")
    parser.add_argument("--nodes", type=int, default=4, metavar="N", help="parallelism of the example job")
    parser.add_argument("--pipelines", type=int, default=50, metavar="N", help="generated pipelines per project")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another world")
    parser.add_argument(
        "--limit", action="append", default=[], metavar="WINDOW=N", help="such as second=20; may be repeated"
    )
    parser.add_argument("--limit-headers", default="kong", choices=DIALECTS, help="how limits are reported")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="before every answer")
    parser.add_argument("--rate", type=float, default=0.0, metavar="BYTES", help="a second, for each connection")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster triggered pipelines run")
    parser.add_argument("--page-size", type=int, default=20, metavar="N", help="items on a page")
    parser.add_argument("--artifact-origin", action="store_true", help="serve listed addresses from a third origin")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME[:times][+after][@place]", help="may be repeated"
    )
    parser.add_argument("--list-faults", action="store_true", help="print all faults, their places, and leave")
    parser.add_argument("--ready-file", type=Path, metavar="PATH", help="write the line of JSON there too, atomically")
    return parser


def _simulator(options: argparse.Namespace) -> Simulator:
    for name in ("files", "large", "large_size", "pipelines", "latency", "rate", "speed", "port", "storage_port"):
        if not getattr(options, name) >= 0:
            message = f"--{name.replace('_', '-')} is not negative: {getattr(options, name)}"
            raise ValueError(message)
    for name in ("port", "storage_port"):
        if getattr(options, name) > _LAST_PORT:
            message = f"--{name.replace('_', '-')} is at most {_LAST_PORT}: {getattr(options, name)}"
            raise ValueError(message)
    for name in ("nodes", "page_size"):
        if getattr(options, name) < 1:
            message = f"--{name.replace('_', '-')} is at least 1: {getattr(options, name)}"
            raise ValueError(message)
    world = World.demo(
        options.files, options.large, options.large_size, options.nodes, seed=options.seed, pipelines=options.pipelines
    )
    limits = dict(_limit(text) for text in options.limit)
    return Simulator(
        world,
        token=options.token,
        limits=KongLimits(limits, headers=options.limit_headers) if limits else None,
        faults=options.fault,
        page_size=options.page_size,
        latency=options.latency,
        rate=options.rate,
        speed=options.speed,
        artifact_origin=options.artifact_origin,
        port=options.port,
        storage_port=options.storage_port,
    )


def _limit(text: str) -> tuple[str, int]:
    window, _, number = text.partition("=")
    if not number.isdecimal():
        message = f"--limit is written WINDOW=N, such as second=20: {text!r}"
        raise ValueError(message)
    return window, int(number)


async def _serve(simulator: Simulator, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with simulator:
        line = json.dumps(_ready(simulator))
        if ready_file is not None:
            _write(ready_file, line)
        print(line, flush=True)  # noqa: T201 - the program's output
        await stop.wait()


def _ready(simulator: Simulator) -> dict[str, object]:
    job = simulator.world.demo_job
    above = job and simulator.world.workflow_of(job)
    assert job is not None
    assert above
    pipeline, workflow = above
    return {
        "url": simulator.url,
        "storage_url": simulator.storage_url,
        "artifact_url": simulator.artifact_url,
        "token": simulator.token,
        "slug": job.project.slug,
        "slugs": list(simulator.world.projects),
        "job": job.number,
        "artifacts": len(job.artifacts),
        "workflow": workflow.id,
        "pipeline": pipeline.id,
        "pipeline_number": pipeline.number,
        "pid": os.getpid(),
    }


def _write(path: Path, line: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(line + "\n", encoding="utf-8")
    beside.replace(path)


if __name__ == "__main__":
    sys.exit(main())
