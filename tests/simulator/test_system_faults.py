"""What the machine refuses in the middle of a run: right bytes, or an error in words, and the next run completes it."""

import errno
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from refusing_machine import without_privileges

from aiocircle import Client, DownloadOptions, Report, RetryPolicy
from aiocircle.download.ledger import Ledger
from aiocircle.errors import StoreError
from aiocircle.testing import FakeArtifact, Simulator, World

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
KIB = 1024

SCRIPT = """
import asyncio, os, resource, sys
from aiocircle import Client, DownloadOptions, RetryPolicy
from aiocircle.errors import AioCircleError

seen = 0

def squeeze(outcome):
    global seen
    seen += 1
    if what == "files" and seen == 20:  # no more than there are open now
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))

async def main():
    async with Client(token, host=url, retry=RetryPolicy(base=0.001)) as client:
        options = DownloadOptions(buffer=64 * 1024, concurrency=8)
        report = await client.download("gh/acme/web", job=1, to=out, options=options, on_outcome=squeeze)
    errors = [report.stopped_by] if report.stopped_by else []
    print(report.files, report.failed, *(one.reason for one in report.failures), sep="|")
    print("|".join(f"{error.code}: {error} ({error.hint})" for error in errors))

url, token, out, what = sys.argv[1:]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
if what == "size":
    # The log of the ledger is a file as well; where every file has a commit of its own it comes near a megabyte.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
asyncio.run(main())
"""


def world(count: int = 60, large: int = 900_000) -> World:
    """Small files, and in four directories one of several writes."""
    world = World(pipelines=0)
    files = [FakeArtifact(f"d{n % 4}/{n}", size=large if n in {30, 31, 32, 33} else 100 * n) for n in range(count)]
    world.add_job(SLUG, 1, files)
    return world


def wanted(world: World) -> dict[str, bytes]:
    job = world.job(SLUG, 1)
    assert job is not None
    return {f"0/{one.path}": world.artifact_bytes(SLUG, 1, one.path) for one in job.artifacts}


def tree(root: Path) -> dict[str, bytes]:
    found = {str(one.relative_to(root)): one for one in root.rglob("*") if one.is_file()}
    return {name: one.read_bytes() for name, one in found.items() if not name.startswith(".aiocircle")}


def client_of(sim: Simulator) -> Client:
    return Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.001))


async def download(client: Client, out: Path) -> Report:
    return await client.download(SLUG, job=1, to=out, options=DownloadOptions(buffer=64 * KIB, concurrency=4))


async def squeezed(sim: Simulator, out: Path, what: str) -> tuple[list[str], str]:
    """Run in a process of its own, short of something; return its counts with the failures, and what stopped it."""
    command = [sys.executable, "-c", SCRIPT, sim.url, sim.token, str(out), what]
    with anyio.fail_after(50):
        done = await anyio.run_process(command, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    counts, stopped = done.stdout.decode().splitlines()
    return counts.split("|"), stopped


async def test_a_file_that_the_system_allows_no_more_of_fails_and_the_others_arrive(tmp_path: Path) -> None:
    async with Simulator(world(large=4_500_000)) as sim:
        (files, failed, *reasons), stopped = await squeezed(sim, tmp_path, "size")
        assert (files, failed, stopped) == ("56", "4", "")
        assert all("file too large" in reason for reason in reasons)
        found = tree(tmp_path)
        assert len(found) == 56
        assert found.items() <= wanted(sim.world).items()


async def test_open_files_that_run_out_in_mid_run_stop_it_in_words_and_the_next_run_goes_on(tmp_path: Path) -> None:
    async with Simulator(world(400)) as sim:
        (_, failed, *reasons), stopped = await squeezed(sim, tmp_path, "files")
        assert int(failed) or stopped
        assert all("too many open files" in reason or "unable to open" in reason for reason in reasons)
        if stopped:
            assert stopped.startswith("store: ")
            assert "ulimit -n" in stopped
        found = tree(tmp_path)
        assert 20 <= len(found) < 400
        assert found.items() <= wanted(sim.world).items()
        async with client_of(sim) as client:
            assert (await download(client, tmp_path)).ok
        assert tree(tmp_path) == wanted(sim.world)


def refusing(function: Callable[..., Any], number: int, after: int) -> Callable[..., Any]:
    """Return a function of the system's that is refused after so many calls."""
    calls = iter(range(1_000_000))

    def refused(*arguments: Any, **named: Any) -> Any:
        if next(calls) >= after:
            raise OSError(number, os.strerror(number))
        return function(*arguments, **named)

    return refused


@pytest.mark.parametrize("function", ["rename", "writev"])
@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=errno.errorcode.get)
async def test_a_disk_that_refuses_everything_from_some_moment_on_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    """A file system that is mounted read-only after an error of its disk, a quota that is used up, and their like."""
    async with Simulator(world()) as sim, client_of(sim) as client:
        with monkeypatch.context() as patched:
            patched.setattr(os, function, refusing(getattr(os, function), number, after=10))
            report = await download(client, tmp_path)
        assert isinstance(report.stopped_by, StoreError)
        assert os.strerror(number).lower() in str(report.stopped_by)
        assert report.files <= 11  # one of them is empty, and needs no writing
        found = tree(tmp_path)
        assert len(found) == report.files
        assert found.items() <= wanted(sim.world).items()
        assert report.failed < 50, "not every item has to find out for itself"
        assert (await download(client, tmp_path)).ok
    assert tree(tmp_path) == wanted(sim.world)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Return a directory that everybody may get to, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


async def test_a_directory_that_may_not_be_written_costs_its_own_files_only(tmp_path: Path, open_place: Path) -> None:
    out = open_place
    (out / "0").mkdir()
    (out / "0/d1").mkdir(mode=0o555)
    async with Simulator(world()) as sim, client_of(sim) as client:
        await download(client, tmp_path / "warm")
        with without_privileges(out, out / "0", out / "0/d1"):
            report = await download(client, out)
        assert {one.code for one in report.failures} == {"store"}
        assert all(one.target.startswith("0/d1/") for one in report.failures)
        assert all("permission denied" in str(one.reason) for one in report.failures)
        assert (report.files, report.failed, report.stopped_by) == (45, 15, None)
        found = tree(out)
        assert found.keys() == {name for name in wanted(sim.world) if not name.startswith("0/d1/")}
        assert found.items() <= wanted(sim.world).items()
        (out / "0/d1").chmod(0o755)


async def test_a_ledger_that_the_disk_has_no_room_for_is_not_to_be_removed(tmp_path: Path) -> None:
    """Its words would be those of a damaged one else, whose remedy costs what is known of every file."""
    with sqlite3.connect(tmp_path / "full.sqlite") as rows:
        rows.execute("PRAGMA max_page_count = 2")
        with pytest.raises(sqlite3.Error) as caught:
            rows.executescript("CREATE TABLE x (y); CREATE TABLE z (y)")
    rows.close()
    error = Ledger(tmp_path)._unusable(caught.value)
    assert error.fatal
    assert error.hint == "free some space and run the same command again: what is complete is kept"
