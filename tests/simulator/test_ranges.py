"""One large file over several connections: where a connection is the limit, and with the same bytes whatever happens.

Connections are counted at the server, by the ranges that were asked for. No time is measured.
"""

import asyncio
import hashlib
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import anyio
import pytest
from cancelling import open_files
from downloads import MIB, SLUG, assert_no_parts, client_of, world_of

from aiocircle import Client, DownloadOptions, Report, RetryPolicy, Timeouts
from aiocircle.download import reserve, width
from aiocircle.download.ranges import Ranges
from aiocircle.download.reserve import Reserve
from aiocircle.events import Event, Retried, TransferProgress
from aiocircle.testing import FakeArtifact, Simulator, World

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_impatient")]

RATE = 16 * MIB
SIZE = 56 * MIB + 7


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ranges tried for what is over in seconds: what they are worth in earnest takes longer than a test may."""
    monkeypatch.setattr(width, "WORTH_TRYING", 1.0)
    monkeypatch.setattr(reserve, "FIRST", 0.9)


def world(size: int = SIZE, files: int = 1) -> World:
    return world_of(*[FakeArtifact(f"large{n}", size=size) for n in range(files)])


async def download(client: Client, out: Path, **options: Any) -> Report:
    return await client.download(SLUG, job=1, to=out, options=DownloadOptions(**options))


def ranges(sim: Simulator) -> list[str | None]:
    return [one.headers.get("Range") for one in sim.requests if one.origin == "storage"]


def is_right(sim: Simulator, out: Path, name: str = "large0", generation: int = 0) -> bool:
    job = sim.world.job(SLUG, 1)
    assert job is not None
    artifact = next(one for one in job.artifacts if one.path == name)
    content = sim.world.content(job, artifact, generation)
    with (out / "0" / name).open("rb") as found:
        return all(found.read(MIB) == content.read(at, at + MIB) for at in range(0, content.size + 1, MIB))


def parts(out: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return list((out / ".aiocircle" / "parts").iterdir())
    return []


def tasks() -> set["asyncio.Task[Any]"]:
    return {one for one in asyncio.all_tasks() if not one.done()}


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():
            await anyio.sleep(0.002)


class Told:
    """What was told of bytes and of repetitions."""

    kinds = frozenset({TransferProgress, Retried})

    def __init__(self) -> None:
        self.received = self.retried = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, TransferProgress):
            self.received += event.received
        elif isinstance(event, Retried):
            self.retried += 1


async def test_a_file_whose_connection_is_the_limit_comes_by_several(tmp_path: Path) -> None:
    told = Told()
    async with Simulator(world(144 * MIB), rate=RATE) as sim, client_of(sim, on_event=told) as client:
        report = await download(client, tmp_path)
        assert sim.stats.max_in_flight >= 4
        assert is_right(sim, tmp_path)
        first, *others = ranges(sim)
        sent = sim.stats.artifact_bytes
    assert report.ok
    assert first is None
    assert all(other is not None and not other.endswith("-") for other in others)
    assert told.received == report.size == 144 * MIB
    assert sent < 144 * MIB + 8 * MIB, "every byte is sent once, but for what the head had before it was cut"
    assert_no_parts(tmp_path)


async def test_the_digest_that_is_recorded_is_that_of_the_bytes_in_order(tmp_path: Path) -> None:
    async with Simulator(world(), rate=RATE) as sim, client_of(sim) as client:
        assert (await download(client, tmp_path)).ok
        assert any(ranges(sim))
    with sqlite3.connect(tmp_path / ".aiocircle/ledger.sqlite") as ledger:
        ((recorded,),) = ledger.execute("SELECT sha256 FROM files").fetchall()
    ledger.close()
    with (tmp_path / "0/large0").open("rb") as file:
        actual = hashlib.file_digest(file, "sha256")
    assert recorded in {actual.hexdigest(), actual.digest()}


async def test_without_a_limit_of_the_connection_one_is_enough(tmp_path: Path) -> None:
    async with Simulator(world(256 * MIB)) as sim, client_of(sim) as client:
        assert (await download(client, tmp_path)).ok
        assert ranges(sim) == [None]


@pytest.mark.parametrize(("concurrency", "files"), [(1, 1), (3, 3)])
async def test_where_all_connections_have_a_file_none_gets_another_one(
    tmp_path: Path, concurrency: int, files: int
) -> None:
    async with Simulator(world(40 * MIB, files), rate=RATE) as sim, client_of(sim) as client:
        assert (await download(client, tmp_path, concurrency=concurrency)).ok
        assert ranges(sim) == [None] * files
        assert sim.stats.max_in_flight == concurrency


async def test_a_connection_of_a_range_counts_as_a_file_in_flight(tmp_path: Path) -> None:
    async with Simulator(world(96 * MIB), rate=RATE) as sim, client_of(sim) as client:
        assert (await download(client, tmp_path, concurrency=2)).ok
        assert len(ranges(sim)) > 2
        # A connection that is given up in its middle is one that the server learns of a moment later.
        assert sim.stats.max_in_flight <= 2 + 1


@pytest.mark.parametrize("fault", ["weak-etag", "no-validator", "ranges-unannounced"])
async def test_without_a_strong_validator_or_ranges_one_connection_brings_all(tmp_path: Path, fault: str) -> None:
    async with Simulator(world(), rate=RATE) as sim, client_of(sim) as client:
        sim.faults.add(fault)
        assert (await download(client, tmp_path)).ok
        assert ranges(sim) == [None]
        assert is_right(sim, tmp_path)


ODD = [
    ("range-refused", {}),  # 200, without a look at Range
    ("changed-object", {}),  # 200 of the new object, in answer to If-Range
    ("changed-object-206", {}),  # 206 of the new object, although If-Range was sent
    ("wrong-content-range", {}),
    ("range-unsatisfiable", {}),
    ("no-validator", {}),
    ("weak-etag", {}),
    ("cut-body", {}),
    ("short-length", {}),
    ("wrong-length", {}),
    ("encoding-forced", {}),
    ("stall", {}),
    ("html-200", {}),
    ("429-bare", {"place": "storage"}),
    ("429-retry-after-day", {"place": "artifact"}),
    ("503-bare", {"place": "storage"}),
    ("500", {"place": "storage"}),
    ("expired-404", {"place": "artifact"}),
    ("forbidden-403", {"place": "storage"}),
    ("reset", {"place": "storage"}),
    ("drop", {"place": "artifact"}),
]


@pytest.mark.parametrize(("fault", "where"), ODD, ids=[name for name, _ in ODD])
async def test_whatever_happens_to_the_others_the_first_connection_brings_the_file(
    tmp_path: Path, fault: str, where: dict[str, Any]
) -> None:
    """With a policy that repeats nothing: what happens to a range is no failure of the file."""
    told = Told()
    settings: dict[str, Any] = {"retry": RetryPolicy(attempts=1, refusals=0), "timeouts": Timeouts(stall=0.5)}
    async with (
        Simulator(world(), rate=RATE) as sim,
        Client(sim.token, host=sim.url, on_event=told, **settings) as client,
    ):
        struck = sim.faults.add(fault, after=1, **where)
        report = await download(client, tmp_path)
        assert report.ok, report.failures
        assert struck.struck == 1
        assert is_right(sim, tmp_path)
    assert told.received == report.size == SIZE
    assert told.retried == 0
    assert_no_parts(tmp_path)


@pytest.mark.parametrize("fault", ["cut-body", "range-refused", "wrong-content-range", "stall-half"])
async def test_when_the_first_connection_is_gone_one_request_brings_what_a_lost_range_leaves(
    tmp_path: Path, fault: str
) -> None:
    told = Told()
    settings: dict[str, Any] = {"retry": RetryPolicy(attempts=1), "timeouts": Timeouts(stall=0.5)}
    async with (
        Simulator(world(), rate=RATE) as sim,
        Client(sim.token, host=sim.url, on_event=told, **settings) as client,
    ):
        sim.faults.add(fault, times=1, after=3)
        report = await download(client, tmp_path)
        assert report.ok, report.failures
        assert is_right(sim, tmp_path)
        open_ended = [one for one in ranges(sim) if one is not None and one.endswith("-")]
    assert len(open_ended) == 1
    assert told.received == SIZE
    assert told.retried == 0
    assert_no_parts(tmp_path)


@pytest.mark.parametrize("fault", ["changed-object", "changed-object-206"])
async def test_an_object_that_changes_for_good_is_fetched_anew_and_never_mixed(tmp_path: Path, fault: str) -> None:
    told = Told()
    async with Simulator(world(), rate=RATE) as sim, client_of(sim, on_event=told) as client:
        sim.faults.add(fault, after=3)
        report = await download(client, tmp_path)
        assert report.ok, report.failures
        assert is_right(sim, tmp_path, generation=1)
    assert told.received == SIZE
    assert_no_parts(tmp_path)


async def test_a_digest_that_does_not_fit_is_found_out(tmp_path: Path) -> None:
    async with Simulator(world(), rate=RATE) as sim, client_of(sim) as client:
        sim.faults.add("wrong-digest", times=1)
        report = await download(client, tmp_path)
        assert any(ranges(sim))
    assert [one.code for one in report.failures] == ["integrity"]
    assert not (tmp_path / "0/large0").exists()
    assert_no_parts(tmp_path)


async def test_an_unwanted_size_is_known_before_anything_is_fetched(tmp_path: Path) -> None:
    async with Simulator(world(), rate=RATE) as sim, client_of(sim) as client:
        report = await download(client, tmp_path, max_size=MIB)
        assert report.files == 0
        assert ranges(sim) == [None]


async def test_a_cancellation_leaves_nothing_open_and_a_part_that_the_next_run_continues(tmp_path: Path) -> None:
    told = Told()
    async with Simulator(world(80 * MIB), rate=RATE) as sim, client_of(sim, on_event=told) as client:
        await client.users.me()
        before = tasks()
        run = asyncio.create_task(download(client, tmp_path))
        await until(lambda: sim.stats.fetches.total() >= 4)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await until(lambda: sim.stats.in_flight == 0)
        assert {
            one for one in tasks() - before if "aiocircle/testing" not in str(one) and "web_protocol" not in str(one)
        } == set()
        assert open_files(tmp_path) == []
        assert told.received == 0, "what was dropped with the attempt was told as dropped"
        (part,) = parts(tmp_path)
        have = part.stat().st_size
        sim.requests.clear()
        assert (await download(client, tmp_path)).ok
        assert ranges(sim)[0] == f"bytes={have}-"
        assert is_right(sim, tmp_path)
    assert have > 0
    assert told.received == 80 * MIB
    assert_no_parts(tmp_path)


SCRIPT = """
import asyncio, sys
from aiocircle import Client
from aiocircle.download import reserve, width

width.WORTH_TRYING, reserve.FIRST = 1.0, 0.9

async def main(url, token, out):
    async with Client(token, host=url) as client:
        (await client.download("gh/acme/web", job=1, to=out)).raise_for_failures()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_kill_leaves_a_beginning_of_the_file_and_nothing_else_and_the_next_run_goes_on(tmp_path: Path) -> None:
    async with Simulator(world(80 * MIB), rate=RATE) as sim:
        command = [sys.executable, "-c", SCRIPT, sim.url, sim.token, str(tmp_path)]
        haves = [0]
        for trial in range(2):
            sim.requests.clear()
            process = await anyio.open_process(command)
            await until(lambda: len(ranges(sim)) >= 4 or process.returncode is not None)  # noqa: B023
            process.kill()
            await process.wait()
            await process.aclose()
            (part,) = parts(tmp_path)
            haves.append(part.stat().st_size)
            begun = part.read_bytes()
            assert begun == sim.world.artifact_bytes(SLUG, 1, "large0")[: len(begun)], f"trial {trial}"
            assert not (tmp_path / "0/large0").exists()
        assert haves == sorted(haves)
        sim.requests.clear()
        code = (await anyio.run_process(command, check=False)).returncode
        assert code == 0
        assert ranges(sim)[0] == f"bytes={haves[-1]}-"
        assert is_right(sim, tmp_path)
    assert haves[-1] > 0
    assert_no_parts(tmp_path)


async def test_connections_that_are_dropped_before_their_first_turn_are_lent_no_longer() -> None:
    """As where another file's bytes make this one wider in the very turn of the loop in which it fails."""
    lender = Reserve(lambda: 8, lambda: 0.0, lambda: 0.0)
    calls: dict[str, Any] = {"hop": AsyncMock(), "aside": Mock(), "told": Mock(), "refused": Mock()}
    settings = {"session": None, "url": "", "validator": '"x"', "size": 256 * MIB, "at": 0, **calls}
    async with Ranges(reserve=lender, **settings) as file:
        lender.width.size = 4
        file.fill()
        assert lender.lent == 3
    assert lender.lent == 0
    assert file.flowing == 1


async def test_where_others_do_not_help_the_first_connection_goes_on_to_the_end() -> None:
    lender = Reserve(lambda: 8, lambda: 0.0, lambda: 0.0)
    calls: dict[str, Any] = {"hop": AsyncMock(), "aside": Mock(), "told": Mock(), "refused": Mock()}

    async def silent(*_: object) -> None:
        await anyio.sleep_forever()

    session = Mock(fetch=AsyncMock(side_effect=silent))
    settings = {"session": session, "url": "", "validator": '"x"', "size": 256 * MIB, "at": 0, **calls}
    async with Ranges(reserve=lender, **settings) as file:
        lender.width.size = 2
        file.fill()
        await anyio.wait_all_tasks_blocked()
        assert (session.fetch.await_count, lender.lent) == (1, 1)
        lender.width.size = 1
        file.fill()
        assert [len(file.head(memoryview(bytes(MIB)))) for _ in range(256)] == 256 * [MIB]
        assert not file.is_cut
    assert lender.lent == 0
    assert file.left == 0
