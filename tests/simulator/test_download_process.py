"""Whatever ends a download from outside, a kill, a signal, a cancellation: nothing half stands under a final name, and
the next run completes it."""

import asyncio
import gc
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from aiocircle import Client, DownloadOptions, Report, RetryPolicy
from aiocircle.errors import StoreError
from aiocircle.events import Event
from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.testing.pytest_plugin import CircleciFactory

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
KIB = 1024
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


def world_of(*artifacts: FakeArtifact) -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, artifacts)
    return world


def mixed(count: int) -> World:
    """Files of one write and of several, in a few directories."""
    return world_of(*[FakeArtifact(f"d{n % 5}/{n}", size=(n % 3) * 150_000 + 10 * n) for n in range(count)])


def wanted(world: World) -> dict[str, bytes]:
    job = world.job(SLUG, 1)
    assert job is not None
    return {f"0/{one.path}": world.artifact_bytes(SLUG, 1, one.path) for one in job.artifacts}


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below an output, the downloader's own ones left out."""
    return {
        str(found.relative_to(root)): found.read_bytes()
        for found in root.rglob("*")
        if found.is_file() and found.relative_to(root).parts[0] != ".aiocircle"
    }


def parts_of(out: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return [found.name for found in (out / ".aiocircle" / "parts").iterdir()]
    return []


def part_paths(out: Path) -> list[Path]:
    return [out / ".aiocircle" / "parts" / name for name in parts_of(out)]


def size_of(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def read(file: Path) -> bytes:
    return file.read_bytes()


def client_of(sim: Simulator, **settings: Any) -> Client:
    return Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.001), **settings)


async def download(client: Client, out: Path, **options: Any) -> Report:
    return await client.download(SLUG, job=1, to=out, options=DownloadOptions(**{"buffer": 64 * KIB, **options}))


def open_files(below: Path) -> list[str]:
    found = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the directory's own handle
            found.append(str(one.readlink()))
    return [name for name in found if name.startswith(str(below))]


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.0005)


# --- in a process of its own -----------------------------------------------------------------------------------------


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
    world = world_of(*stored, *[FakeArtifact(f"large/{n}", size=3_000_000 + n) for n in range(3)])
    content = wanted(world)
    out = tmp_path / "out"
    left_behind = 0
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
        assert left_behind, "no kill met a file that was being written: the test proves nothing"
        await run_again(sim, out)
        assert all(sim.stats.fetches[1, 0, name[2:]] == times for name, times in asked.items())
        assert tree(out) == content
        assert parts_of(out) == []
        assert any("Range" in request.headers for request in sim.requests)
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
    world = mixed(30)
    async with Simulator(world) as sim, client_of(sim) as client:
        held = sim.faults.add("stall-half", match="/d0/")
        async with anyio.create_task_group() as group:
            group.start_soon(download, client, tmp_path)
            await until(lambda: held.struck > 0 and len(parts_of(tmp_path)) > 0)
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


# --- cancelled by the program it is part of --------------------------------------------------------------------------

Cancel = Callable[[], object]


class Ticks:
    """Counts the turns of the event loop and calls back at one of them, or at each from then on."""

    def __init__(self, at: int, call: Cancel, *, repeat: bool = False) -> None:
        self.count = 0
        self._at = at
        self._call = call
        self._repeat = repeat
        self._running = True
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        self.count += 1
        if self.count == self._at or (self._repeat and self.count > self._at):
            self._call()
        if self._running:
            self._loop.call_soon(self._tick)

    def stop(self) -> None:
        self._running = False


async def by_task(work: Callable[[], Awaitable[object]], at: int, *, repeat: bool = False) -> bool:
    task = asyncio.ensure_future(work())
    ticks = Ticks(at, task.cancel, repeat=repeat)
    try:
        await task
    except asyncio.CancelledError:
        return True
    finally:
        ticks.stop()
    return False


async def by_task_again_and_again(work: Callable[[], Awaitable[object]], at: int) -> bool:
    return await by_task(work, at, repeat=True)


async def by_scope(work: Callable[[], Awaitable[object]], at: int) -> bool:
    with anyio.CancelScope() as scope:
        ticks = Ticks(at, scope.cancel)
        try:
            await work()
        finally:
            ticks.stop()
    return scope.cancelled_caught


async def by_timeout(work: Callable[[], Awaitable[object]], at: int) -> bool:
    try:
        async with asyncio.timeout(None) as limit:
            ticks = Ticks(at, lambda: limit.reschedule(asyncio.get_running_loop().time()))
            try:
                await work()
            finally:
                ticks.stop()
    except TimeoutError:
        return True
    return False


async def by_failing_neighbour(work: Callable[[], Awaitable[object]], at: int) -> bool:
    failed = asyncio.Event()

    async def fail() -> None:
        await failed.wait()
        raise LookupError

    ticks = Ticks(at, failed.set)
    try:
        async with asyncio.TaskGroup() as group:
            neighbour = group.create_task(fail())
            await group.create_task(work())  # type: ignore[arg-type]
            neighbour.cancel()
    except BaseExceptionGroup as errors:
        return errors.subgroup(LookupError) is not None
    finally:
        ticks.stop()
    return False


async def by_cancelling_every_task(work: Callable[[], Awaitable[object]], at: int) -> bool:
    others = asyncio.all_tasks()

    def cancel() -> None:
        for task in asyncio.all_tasks() - others:
            task.cancel()

    task = asyncio.ensure_future(work())
    ticks = Ticks(at, cancel)
    try:
        await task
    except asyncio.CancelledError:
        return True
    except BaseException as error:  # noqa: BLE001 -- whatever it is, nothing half may remain
        return error is not None
    finally:
        ticks.stop()
    return False


def several_jobs() -> tuple[World, dict[str, bytes]]:
    """Jobs whose listings are under way at the same time, and what their files hold."""
    world = World(pipelines=0)
    content: dict[str, bytes] = {}
    first = None
    for number in range(1, 6):
        stored = [FakeArtifact(f"d{n}/{n}", size=(n % 2) * 200_000 + n) for n in range(2)]
        first = world.add_job(SLUG, number, stored, beside=first)
        content |= {f"{number}/0/{one.path}": world.artifact_bytes(SLUG, number, one.path) for one in stored}
    return world, content


@pytest.mark.parametrize(
    "cancelled",
    [by_task, by_task_again_and_again, by_scope, by_timeout, by_failing_neighbour, by_cancelling_every_task],
)
async def test_a_cancellation_at_any_moment_leaves_no_half_file_no_part_no_task_and_no_descriptor(
    tmp_path: Path, circleci_factory: CircleciFactory, cancelled: Callable[..., Awaitable[bool]]
) -> None:
    world, content = several_jobs()
    sim = circleci_factory(world, page_size=1)
    met = 0

    async def download(client: Client, out: Path) -> Report:
        return await client.download(SLUG, latest=True, to=out, options=DownloadOptions(buffer=64 * KIB))

    async with client_of(sim) as client:
        await download(client, tmp_path / "warm")
        tasks = asyncio.all_tasks()
        for at in [*range(1, 30), *sorted(random.sample(range(30, 900), 20))]:
            out = tmp_path / str(at)
            met += await cancelled(lambda out=out: download(client, out), at)
            # A task of the run may have its last turn still before it, but not more.
            await asyncio.sleep(0)
            left = {task for task in asyncio.all_tasks() - tasks if not task.done()}
            assert not left, (at, left)
            assert tree(out).items() <= content.items() if out.exists() else True, at
            assert all("-" in name for name in parts_of(out)), at
            assert open_files(out) == [], at
            if at % 10 == 0:
                report = await download(client, out)
                assert report.ok
                assert tree(out) == content
        gc.collect()  # whatever was forgotten complains now, and complaints are errors
    assert met > 25, "most of the moments should have been before the end"


async def test_listings_that_are_under_way_end_with_the_run(tmp_path: Path, circleci_factory: CircleciFactory) -> None:
    world, content = several_jobs()
    sim = circleci_factory(world)
    silent = sim.faults.add("silence", match="/artifacts")
    async with client_of(sim) as client:
        tasks = asyncio.all_tasks()
        async with anyio.create_task_group() as group:
            group.start_soon(client.download(SLUG, latest=True, to=tmp_path).run)
            await until(lambda: silent.struck >= 2)
            group.cancel_scope.cancel()
        assert [task for task in asyncio.all_tasks() - tasks if not task.done()] == []
        sim.faults.clear()
        assert (await client.download(SLUG, latest=True, to=tmp_path)).ok
    assert tree(tmp_path) == content


async def test_a_download_that_was_cancelled_can_be_followed_by_another_one_of_the_same_client(tmp_path: Path) -> None:
    world = mixed(30)
    async with Simulator(world) as sim, client_of(sim) as client:
        stalled = sim.faults.add("stall", match="/d1/")
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(download, client, tmp_path)
                await until(lambda: stalled.struck > 2)
                scope.cancel()
        sim.faults.clear()
        assert all("-" in name for name in parts_of(tmp_path)), "only what can be continued is kept"
        assert (await download(client, tmp_path)).ok
    assert tree(tmp_path) == wanted(world)
    assert parts_of(tmp_path) == []


async def test_an_error_of_the_callers_own_callback_ends_the_run_as_cleanly(tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise LookupError("the caller's own")

    world = mixed(30)
    async with Simulator(world) as sim, client_of(sim) as client:
        tasks = asyncio.all_tasks()
        with pytest.raises(BaseException) as caught:
            await client.download(SLUG, job=1, to=tmp_path, on_outcome=fail)
        await asyncio.sleep(0)
        assert "the caller's own" in repr(caught.value)
        ours = [task for task in asyncio.all_tasks() - tasks if "aiocircle/download" in repr(task)]
        assert ours == []
        assert parts_of(tmp_path) == []
        assert open_files(tmp_path) == []
        assert tree(tmp_path).items() <= wanted(world).items()


async def test_no_signal_handler_is_installed_and_no_thread_stays(tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
    before = [signal.getsignal(number) for number in numbers]
    during: list[list[Any]] = []
    threads: list[int] = []

    def look(_: Event) -> None:
        during.append([signal.getsignal(number) for number in numbers])
        threads.append(len(_threads()))

    async with Simulator(mixed(30)) as sim, client_of(sim, on_event=look) as client:
        await download(client, tmp_path)
        await until(lambda: not _threads())
    assert all(handlers == before for handlers in during)
    assert max(threads) <= 4


def _threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("aiocircle_")]
