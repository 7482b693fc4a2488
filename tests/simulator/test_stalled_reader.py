"""A tar to standard output whose reader takes nothing any more, and the run that is cancelled meanwhile."""

import asyncio
import fcntl
import os
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

import anyio
import pytest
from downloads import SLUG, opened, world_of
from killed_downloads import until

from aiocircle.testing import FakeArtifact

pytestmark = pytest.mark.anyio

SMALL = [FakeArtifact(f"{n}", size=1000) for n in range(300)]
LARGE = [FakeArtifact(f"{n}", size=3_000_000) for n in range(8)]
LITTLE = [FakeArtifact("it", size=100_000)]  # of which the end of the archive stalls


@contextmanager
def standard_output(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[BinaryIO, TextIO]]:
    """Make standard output a pipe, and lend both its ends."""
    taken, given = os.pipe()
    with os.fdopen(taken, "rb") as reader, os.fdopen(given, "w") as stdout, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", stdout)
        yield reader, stdout


def waiting(pipe: BinaryIO) -> int:
    """Return the bytes that lie in a pipe."""
    said = fcntl.ioctl(pipe, termios.FIONREAD, struct.pack("i", 0))
    return int(struct.unpack("i", said)[0])


@pytest.mark.parametrize("artifacts", [SMALL, LARGE, LARGE + SMALL, LITTLE], ids=["small", "large", "both", "end"])
@pytest.mark.parametrize("by_scope", [False, True])
async def test_a_cancellation_waits_for_no_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artifacts: list[FakeArtifact], by_scope: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    scope = anyio.CancelScope()

    async def download() -> None:
        with scope:
            await client.download(SLUG, job=1, to="-")

    with standard_output(monkeypatch) as (reader, stdout):
        async with opened(world_of(*artifacts)) as (_, client):
            task = asyncio.create_task(download())
            await until(lambda: waiting(reader) >= 65536)
            await asyncio.sleep(0.1)  # whoever has something to write waits
            stdout.close()
            if by_scope:
                scope.cancel()
            else:
                task.cancel()
            ended, _ = await asyncio.wait([task], timeout=10)
            said = await asyncio.to_thread(tar_of, reader) if ended else reader.close()
            assert ended
    assert scope.cancelled_caught if by_scope else task.cancelled()
    assert list(tmp_path.iterdir()) == []
    assert bool(said) == (artifacts is not LITTLE), "a stream that is not whole ends so that tar fails on it"


def tar_of(reader: BinaryIO) -> str:
    """Return what tar says of the stream."""
    return subprocess.run(["tar", "t"], stdin=reader, capture_output=True, text=True, check=False, timeout=20).stderr


async def test_the_command_cleans_up_behind_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(world_of(*LARGE, *SMALL)) as (sim, _):
        monkeypatch.setenv("CIRCLE_TOKEN", sim.token)
        command = [sys.executable, "-m", "aiocircle", "download", SLUG, "--job", "1", "-o", "-", "--host", sim.url]
        taken, given = os.pipe()
        with os.fdopen(taken, "rb") as reader:
            process = await anyio.open_process(command, cwd=tmp_path, stdout=given)
            os.close(given)
            async with process:
                await until(lambda: waiting(reader) >= 65536)
                process.terminate()
                with anyio.fail_after(10):
                    assert await process.wait() == 6
    assert list(tmp_path.iterdir()) == []
