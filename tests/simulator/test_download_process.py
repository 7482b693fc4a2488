"""A download in a process of its own: killed, signalled, limited, and started again."""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import pytest
from downloads import tree
from killed_downloads import client_of, download, mixed, parts_of, until, wanted, world_of

from aiocircle.errors import StoreError
from aiocircle.testing import FakeArtifact, Simulator

pytestmark = pytest.mark.anyio


NOBODY = 65534

SCRIPT = """
import asyncio, resource, sys
from aiocircle import Client, DownloadOptions

async def main(url, token, out, files):
    async with Client(token, host=url) as client:
        options = DownloadOptions(buffer=64 * 1024, concurrency=8 if files == "0" else 64)
        report = await client.download("gh/acme/web", job=1, to=out, options=options)
        report.raise_for_failures()
        print(report.files, report.present)

if sys.argv[4] != "0":
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[4]),) * 2)
asyncio.run(main(*sys.argv[1:]))
"""


def part_paths(out: Path) -> list[Path]:
    return [out / ".aiocircle" / "parts" / name for name in parts_of(out)]


def size_of(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def read(file: Path) -> bytes:
    return file.read_bytes()


async def started(sim: Simulator, out: Path, files: int = 0) -> anyio.abc.Process:
    command = [sys.executable, "-c", SCRIPT, sim.url, sim.token, str(out), str(files)]
    return await anyio.open_process(command)


async def ended(process: anyio.abc.Process) -> tuple[int, str, str]:
    assert process.stdout is not None
    assert process.stderr is not None
    with anyio.fail_after(30):
        told = b"".join([chunk async for chunk in process.stdout])
        complained = b"".join([chunk async for chunk in process.stderr])
        code = await process.wait()
    await process.aclose()
    return code, told.decode(), complained.decode()


async def run_again(sim: Simulator, out: Path) -> str:
    code, told, complained = await ended(await started(sim, out))
    assert (code, complained) == (0, "")
    return told


async def test_kills_at_random_moments_cost_no_finished_file_and_the_last_run_continues_the_half_ones(
    tmp_path: Path,
) -> None:
    """Counted at the server: what stands under its name is never asked for again, and parts are gone on with."""
    stored = [FakeArtifact(f"d{n % 5}/{n}", size=(n % 3) * 150_000 + 10 * n) for n in range(150)]
    # The large ones first, so that every kill but a very early one meets them.
    world = world_of(*[FakeArtifact(f"large/{n}", size=3_000_000 + n) for n in range(3)], *stored)
    content = wanted(world)
    out = tmp_path / "out"
    left_behind = begun = 0
    async with Simulator(world, latency=0.004) as sim:
        sim.faults.add("slow-drip", match="/large/", rate=1_000_000)
        asked: Counter[str] = Counter()
        for trial in range(12):
            process = await started(sim, out)
            moment = sim.stats.total + random.randrange(1, 40)
            # With little left to do it may come to its end first.
            await until(lambda: sim.stats.total >= moment or process.returncode is not None)  # noqa: B023
            await anyio.sleep(random.random() * 0.05)
            with suppress(ProcessLookupError):
                process.kill()
            await ended(process)
            finished = tree(out)
            assert finished.items() <= content.items(), f"trial {trial}"
            now = Counter({name: sim.stats.fetches[1, 0, name[2:]] for name in finished})
            assert all(now[name] == times for name, times in asked.items()), f"trial {trial}"
            asked = now
            left_behind += len(parts_of(out))
            begun += sum(
                (out / ".aiocircle" / "parts" / part).stat().st_size > 0 for part in parts_of(out) if "-" in part
            )
        assert left_behind, "no kill met a file that was being written: the test proves nothing"
        await run_again(sim, out)
        assert all(sim.stats.fetches[1, 0, name[2:]] == times for name, times in asked.items())
        assert tree(out) == content
        assert parts_of(out) == []
        # A kill at a random moment need not meet a file of which anything was written.
        assert not begun or any("Range" in request.headers for request in sim.requests)
        sim.stats.reset()
        assert await run_again(sim, out) == "0 153\n"
        assert sim.stats.fetches.total() == 0


async def test_a_large_file_that_is_killed_again_and_again_is_fetched_little_more_than_once(tmp_path: Path) -> None:
    size = 6_000_000
    world = world_of(FakeArtifact("large", size=size))
    async with Simulator(world) as sim:
        sim.faults.add("slow-drip", rate=4_000_000)
        for trial in range(4):
            process = await started(sim, tmp_path)
            before = sum(map(size_of, part_paths(tmp_path)))
            await until(lambda before=before: sum(map(size_of, part_paths(tmp_path))) > before + 500_000)  # type: ignore[misc]
            process.kill()
            await ended(process)
            (part,) = part_paths(tmp_path)
            assert wanted(world)["0/large"].startswith(read(part)), f"trial {trial}"
        await run_again(sim, tmp_path)
        ranges = [one.headers["Range"] for one in sim.requests if one.origin == "storage" and "Range" in one.headers]
        sent = sim.stats.artifact_bytes
    assert tree(tmp_path) == wanted(world)
    assert len(ranges) == 4
    # Twice: what was in memory and on the way at each of the kills. From the beginning each time it would be 10 MB.
    assert sent - size < 4 * 1_000_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_leaves_nothing_half(tmp_path: Path, number: signal.Signals) -> None:
    world = mixed(90)
    async with Simulator(world, latency=0.002) as sim:
        process = await started(sim, tmp_path)
        await until(lambda: sim.stats.fetches.total() > 20)
        process.send_signal(number)
        sent = time.monotonic()
        code, _, complained = await ended(process)
        assert time.monotonic() - sent < 2
        assert code == -number, "the library installs no handlers: Python's own ways of ending are left as they are"
        assert "never" not in complained
        assert "destroyed" not in complained
        assert tree(tmp_path).items() <= wanted(world).items()
        if number == signal.SIGINT:
            assert all("-" in name for name in parts_of(tmp_path)), "an interrupt keeps what can be continued only"
        await run_again(sim, tmp_path)
    assert tree(tmp_path) == wanted(world)
    assert parts_of(tmp_path) == []


async def test_forty_open_files_are_enough(tmp_path: Path) -> None:
    world = mixed(120)
    async with Simulator(world) as sim:
        code, told, complained = await ended(await started(sim, tmp_path, files=40))
    assert (code, told, complained) == (0, "120 0\n", "")
    assert tree(tmp_path) == wanted(world)


async def test_a_second_process_is_refused_in_one_sentence_and_the_first_one_is_not_disturbed(tmp_path: Path) -> None:
    # A file that fits into memory has no part while it arrives; this one has.
    world = world_of(FakeArtifact("held", size=900_000), *[FakeArtifact(f"{n}", size=1000) for n in range(30)])
    async with Simulator(world) as sim, client_of(sim) as client:
        held = sim.faults.add("stall-half", match="/held")
        async with anyio.create_task_group() as group:
            group.start_soon(download, client, tmp_path)
            await until(lambda: held.struck > 0 and any("-" in name for name in parts_of(tmp_path)))
            code, told, complained = await ended(await started(sim, tmp_path))
            assert code
            assert told == ""
            assert complained.strip().endswith(f"StoreError: another run is downloading to {tmp_path}")
            with pytest.raises(StoreError, match="another run is downloading to"):
                await download(client, tmp_path)
            assert parts_of(tmp_path), "what the first run is writing must not be cleaned away"
            group.cancel_scope.cancel()
        sim.faults.clear()
        report = await download(client, tmp_path)
    assert report.ok
    assert tree(tmp_path) == wanted(world)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Let root be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_an_output_that_may_not_be_written_is_refused_in_words(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    async with Simulator(mixed(3)) as sim, client_of(sim) as client:
        await download(client, tmp_path / "warm")
        with without_privileges(), pytest.raises(StoreError, match="permission denied") as caught:
            await download(client, out)
    assert caught.value.fatal
    assert caught.value.hint == "may this user write there?"
