"""Runs commands in forks of itself, each of which may be ended at one moment of its own: a program for a test.

A line of JSON on standard input is a command, a line on standard output what became of it. A fork costs a hundredth of
a start. The moment is a number of calls that open, rename, link or remove files, so that it falls between any two steps
of what is written; what happens then is a kill, a signal, or a cancellation by who uses the library.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import aiocircle
import aiocircle.errors
from aiocircle.cli import download, retry, verify  # noqa: F401 -- before the forks
from aiocircle.cli.app import main

COUNTED = frozenset({"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.listdir", "socket.connect"})
LONGEST = 30  # seconds


def at(moment: int, strike: Callable[[], object]) -> None:
    """Strike at the moment, from whatever thread it comes in."""
    left = [moment]

    def look(event: str, _: tuple[Any, ...]) -> None:
        if event in COUNTED:
            left[0] -= 1
            if left[0] == 0:
                strike()

    sys.addaudithook(look)


def signalled(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


async def cancelled(moment: int, selection: dict[str, Any], options: dict[str, Any], out: str) -> int:
    """Download by the library, and cancel that."""
    loop = asyncio.get_running_loop()
    async with aiocircle.Client(retry=aiocircle.RetryPolicy(attempts=1)) as client:
        options = {**options, "shard": options.get("shard") and aiocircle.Shard(*options["shard"])}
        how = aiocircle.DownloadOptions(**options)
        task = asyncio.ensure_future(client.download("gh/acme/web", out, options=how, **selection).run())
        at(moment, lambda: loop.call_soon_threadsafe(task.cancel))
        try:
            report = await task
        except asyncio.CancelledError:
            return 6
        except aiocircle.errors.AioCircleError:
            return 4
    return 0 if report.ok else 9


def child(command: dict[str, Any], out: int, err: int) -> NoReturn:
    status = 70
    try:
        signal.alarm(LONGEST)
        os.environ.update(command["environment"])
        os.dup2(out, 1)
        os.dup2(err, 2)
        moment, how = command.get("moment", 0), command.get("how")
        if how == "cancel":
            status = asyncio.run(cancelled(moment, command["selection"], command["options"], command["out"]))
        else:
            if moment:
                at(moment, signalled(signal.SIGKILL if how == "kill" else signal.SIGINT))
            status = main(command["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 -- the test is told
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def run(command: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        number = os.fork()
        if not number:
            child(command, out.fileno(), err.fileno())
        _, status = os.waitpid(number, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return {"status": os.waitstatus_to_exitcode(status), "stdout": texts[0], "stderr": texts[1]}


if __name__ == "__main__":
    replies = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=replies, flush=True)
