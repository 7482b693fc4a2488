"""Hosts that take their time on purpose, or never come to an end: every wait ends, and what is only slow arrives."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from raw_host import RawHost, opened, reply

from aiocircle import Client, DownloadOptions, Report, RetryPolicy, Timeouts
from aiocircle.clock import SystemClock
from aiocircle.download.intake import Intake
from aiocircle.download.items import Item
from aiocircle.download.ledger import Ledger
from aiocircle.download.local_store import LocalStore
from aiocircle.download.outflow import in_thread
from aiocircle.download.paths import PlacedPath, SafePath
from aiocircle.download.records import Source
from aiocircle.download.small import SmallFiles
from aiocircle.download.transfer import Transfer
from aiocircle.errors import IntegrityError, NotFoundError
from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.transport import Answer

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
KIB = 1024
TRIES = 3
GOOD = [FakeArtifact(f"good/{n}", size=1000 * n) for n in range(4)]
SMALL, LARGE = FakeArtifact("bad/small", size=3000), FakeArtifact("bad/large", size=900_000)
LIMITS = Timeouts(stall=0.4, min_rate=1000, connect=2)


def world() -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [*GOOD[:2], SMALL, LARGE, *GOOD[2:]])
    return world


@asynccontextmanager
async def client_of(sim: Simulator, *, lent: bool = False, **settings: Any) -> AsyncIterator[Client]:
    """Yield a client; one with a session that is lent to it has no part in how its connections are watched."""
    defaults: dict[str, Any] = {"retry": RetryPolicy(base=0.001, attempts=TRIES), "timeouts": LIMITS}
    async with aiohttp.ClientSession() as session:
        more = {"session": session} if lent else {}
        async with Client(sim.token, host=sim.url, **{**defaults, **settings, **more}) as client:
            yield client


async def download(client: Client, out: Path) -> Report:
    return await client.download(SLUG, job=1, to=out, options=DownloadOptions(buffer=64 * KIB))


def assert_all_but(sim: Simulator, out: Path, report: Report, *failed: FakeArtifact) -> None:
    whole = [one for one in (*GOOD, SMALL, LARGE) if one not in failed]
    for one in whole:
        assert (out / "0" / one.path).read_bytes() == sim.world.artifact_bytes(SLUG, 1, one.path)
    assert not any((out / "0" / one.path).exists() for one in failed)
    assert (report.files, report.failed, report.stopped_by) == (len(whole), len(failed), None)


def requests_of(sim: Simulator, artifact: FakeArtifact) -> int:
    return sim.stats.fetches[1, 0, artifact.path]


@pytest.mark.parametrize("lent", [False, True], ids=["own session", "caller's session"])
@pytest.mark.parametrize(
    ("fault", "settings"),
    [
        ("slow-drip", {"rate": 20}),
        ("slow-drip", {"rate": 20, "part": 0.5}),
        ("endless-drip", {"seconds": 0.05}),
    ],
    ids=str,
)
async def test_a_body_that_comes_by_drips_is_given_up_and_the_others_arrive(
    tmp_path: Path, fault: str, settings: dict[str, Any], lent: bool
) -> None:
    async with Simulator(world()) as sim, client_of(sim, lent=lent) as client:
        sim.faults.add(fault, match="/bad/", **settings)
        report = await download(client, tmp_path)
        assert [requests_of(sim, one) for one in (SMALL, LARGE)] == [TRIES, TRIES]
        assert_all_but(sim, tmp_path, report, SMALL, LARGE)
    assert {one.code for one in report.failures} == {"deadline"}
    assert {str(one.reason) for one in report.failures} == {"127.0.0.1 sent less than 1000 bytes a second for 0.4 s"}


async def test_what_arrived_before_a_drip_is_not_fetched_again(tmp_path: Path) -> None:
    async with Simulator(world()) as sim, client_of(sim) as client:
        sim.faults.add("slow-drip", 1, match="/bad/large", rate=20, part=0.5)
        report = await download(client, tmp_path)
        asked = [one.headers.get("Range") for one in sim.requests if one.origin == "storage" and "/large" in one.path]
        assert_all_but(sim, tmp_path, report)
    assert asked[0] is None
    assert asked[1] is not None
    assert int(asked[1].removeprefix("bytes=").rstrip("-")) >= LARGE.size // 4


@pytest.mark.parametrize("lent", [False, True], ids=["own session", "caller's session"])
@pytest.mark.parametrize(("artifact", "rate"), [(SMALL, 2500), (LARGE, 600_000)], ids=["small", "large"])
async def test_a_line_that_is_only_slow_is_waited_for(
    tmp_path: Path, artifact: FakeArtifact, rate: float, lent: bool
) -> None:
    """A file takes longer than the stall limit, and so does each buffer of the large one."""
    async with Simulator(world()) as sim, client_of(sim, lent=lent, timeouts=Timeouts(stall=0.5, min_rate=200)) as one:
        sim.faults.add("slow-drip", match=artifact.path, rate=rate)
        report = await download(one, tmp_path)
        assert requests_of(sim, artifact) == 1
        assert_all_but(sim, tmp_path, report)


async def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    async with Simulator(world()) as sim, client_of(sim, timeouts=Timeouts(stall=0.5, min_rate=0)) as client:
        sim.faults.add("slow-drip", match="/bad/small", rate=2500)
        report = await download(client, tmp_path)
        assert requests_of(sim, SMALL) == 1
        assert_all_but(sim, tmp_path, report)


@pytest.mark.parametrize("size", [100 * KIB, 3000 * KIB])
async def test_a_reader_that_takes_its_time_is_not_the_hosts_fault(size: int) -> None:
    """A slow disk lets bytes wait, here and on the way; that is longer than the stall limit, and no error."""
    body = bytes(size)
    async with RawHost(lambda asked: reply(body=body)) as host, opened(host.url, timeouts=LIMITS) as seen:

        async def consume(answer: Answer) -> int:
            received = 0
            while chunk := await answer.chunk():
                received += len(chunk)
                if received < 3 * len(chunk):
                    await asyncio.sleep(2 * LIMITS.stall)
            return received

        assert await seen.session.fetch(f"{host.url}/x", consume) == size
        assert len(host.asked) == 1


@pytest.mark.parametrize("fault", ["slow-head", "endless-hints"])
async def test_an_answer_whose_head_does_not_come_to_an_end_is_given_up(tmp_path: Path, fault: str) -> None:
    async with Simulator(world()) as sim, client_of(sim) as client:
        sim.faults.add(fault, match="/bad/", place="storage", seconds=0.05)
        report = await download(client, tmp_path)
        assert [requests_of(sim, one) for one in (SMALL, LARGE)] == [TRIES, TRIES]
        assert_all_but(sim, tmp_path, report, SMALL, LARGE)
    assert {one.code for one in report.failures} == {"deadline"}


async def test_a_body_without_an_end_is_given_up_at_the_longest_that_a_job_may_store(tmp_path: Path) -> None:
    """The bound is some GiB; a smaller one stands in for it, everything else is as in a run."""
    store, ledger = LocalStore(tmp_path / "out"), Ledger(tmp_path)
    async with Simulator(world()) as sim, client_of(sim) as client:
        artifact = await client.artifacts.list(SLUG, 1).first()
        assert artifact is not None
        sim.faults.add("endless")
        with ThreadPoolExecutor(1) as threads:
            await in_thread(threads, store.__enter__)
            await in_thread(threads, ledger.__enter__)
            small = SmallFiles(store, ledger, threads, KIB * KIB, lambda _item, _result: None)
            transfer = Transfer(
                *(client._opened, store, ledger, threads, 64 * KIB),
                ended=lambda _item, _result: None,
                small=small,
                intake=Intake(lambda: 0.0),
                longest=2000 * KIB,
            )
            placed = PlacedPath(SafePath(("x",)))
            with pytest.raises(IntegrityError, match="beyond what a job may store"):
                await transfer.run(Item(1, 0, "x", placed, "x", artifact.url or "", Source(slug="s")))
            await in_thread(threads, ledger.__exit__)
            await in_thread(threads, store.__exit__)
        assert sim.stats.requests["storage"] == 1, "it would not end the next time either"
    assert list((tmp_path / "out/.aiocircle/parts").iterdir()) == []
    assert not (tmp_path / "out/x").exists()


async def test_an_errors_words_that_come_by_drips_do_not_hold_up_the_run() -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 300000\r\n\r\n")
        with suppress(OSError):
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with opened(url, timeouts=LIMITS, clock=SystemClock()) as seen:
        with pytest.raises(NotFoundError):
            await asyncio.wait_for(seen.bytes_of(f"{url}/x"), 20)
    await asyncio.wait_for(ended.wait(), 10)
    server.close()


def test_the_limit_is_one_of_those_that_can_be_set() -> None:
    assert Timeouts().min_rate == 100
    with pytest.raises(ValueError, match="min_rate"):
        Timeouts(min_rate=-1)
