"""Whatever goes wrong on the way: the right bytes, or a clear error and nothing under the final name, and the others
complete."""

import asyncio
import base64
import gc
import gzip
import hashlib
import os
import shutil
import ssl
import subprocess
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import attrs
import pytest

from aiocircle import Client, DownloadOptions, ItemOutcome, Report, RetryPolicy, Timeouts
from aiocircle.clock import SystemClock
from aiocircle.download.intake import Intake
from aiocircle.download.items import Item
from aiocircle.download.ledger import Ledger
from aiocircle.download.local_store import LocalStore
from aiocircle.download.parts import Part
from aiocircle.download.paths import PlacedPath, SafePath
from aiocircle.download.records import Source
from aiocircle.download.small import SmallFiles
from aiocircle.download.transfer import Transfer, in_thread
from aiocircle.errors import (
    AioCircleError,
    AuthenticationError,
    InterruptedBodyError,
    PartialDownloadError,
    StoreError,
    TransportError,
    UnsafePathError,
)
from aiocircle.events import Event, TransferProgress
from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.testing.records import Job

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
KIB, MIB = 1024, 1024 * 1024
TRIES = 5
SMALL, LARGE = 3000, 400_000  # one file of a single write, one of several

Reply = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def client_of(sim: Simulator, **settings: Any) -> Client:
    defaults: dict[str, Any] = {"retry": RetryPolicy(base=0.001), "timeouts": Timeouts(stall=0.3, connect=2)}
    return Client(sim.token, host=sim.url, **{**defaults, **settings})


def world_of(*artifacts: FakeArtifact) -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, artifacts)
    return world


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below an output, the downloader's own ones left out."""
    return {
        str(found.relative_to(root)): found.read_bytes()
        for found in root.rglob("*")
        if found.is_file() and found.relative_to(root).parts[0] != ".aiocircle"
    }


def assert_no_parts(out: Path) -> None:
    assert list((out / ".aiocircle" / "parts").iterdir()) == []


def assert_no_parts_but_of(out: Path, failures: Sequence[ItemOutcome]) -> None:
    """What can be continued is kept for the next run, and nothing else is."""
    parts = [found.name for found in (out / ".aiocircle" / "parts").iterdir()]
    assert len(parts) <= len(failures)
    assert all("-" in name for name in parts)


async def download(client: Client, out: Path, **options: Any) -> Report:
    options = {"buffer": 64 * KIB, **options}
    return await client.download(SLUG, job=1, to=out, options=DownloadOptions(**options))


# --- what the simulator can do wrong ---------------------------------------------------------------------------------

GOOD = [FakeArtifact(f"good/{n}.bin", size=1000 * n) for n in range(5)]
STRUCK = [FakeArtifact("bad/small.bin", size=SMALL), FakeArtifact("bad/large.bin", size=LARGE)]


def both() -> World:
    return world_of(*GOOD[:2], *STRUCK, *GOOD[2:])


def fetches(sim: Simulator) -> Counter[str]:
    """Return how often each artifact was asked for, at its own address or at the storage, whichever is more."""
    at_storage: Counter[str] = Counter()
    for (_, _, path), count in sim.stats.fetches.items():
        at_storage[path] += count
    at_address = Counter(one.path.rpartition("/0/")[2] for one in sim.requests if one.path.startswith("/output/"))
    return at_storage | at_address


def assert_good_ones_are_complete(world: World, out: Path, report: Report, failed: int) -> None:
    found = tree(out)
    for one in GOOD:
        assert found.pop(f"0/{one.path}") == world.artifact_bytes(SLUG, 1, one.path)
    assert len(found) == len(STRUCK) - failed
    for name, content in found.items():
        assert content == world.artifact_bytes(SLUG, 1, name.removeprefix("0/"))
    assert_no_parts_but_of(out, report.failures)
    assert (report.files, report.failed) == (len(GOOD) + len(STRUCK) - failed, failed)
    assert report.size == sum(map(len, tree(out).values()))
    assert report.ok is (failed == 0)
    assert report.stopped_by is None
    assert all(one.reason and one.code and one.target.startswith("0/bad/") for one in report.failures)


HARMLESS = [
    ("encoding-forced", {}),
    ("close-delimited", {}),
    ("http-1.0", {}),
    ("early-hints", {}),
    ("no-validator", {}),
    ("weak-etag", {}),
    ("range-refused", {}),
    ("range-unsatisfiable", {}),
    ("slow-drip", {"rate": 4_000_000}),
    ("redirect-status", {"status": 301}),
    ("redirect-status", {"status": 303}),
    ("redirect-status", {"status": 307}),
    ("redirect-status", {"status": 308}),
]


@pytest.mark.parametrize(("fault", "settings"), HARMLESS, ids=str)
async def test_what_is_only_unusual_gives_the_right_bytes_at_the_first_try(
    tmp_path: Path, fault: str, settings: dict[str, Any]
) -> None:
    world = both()
    async with Simulator(world) as sim, client_of(sim) as client:
        struck = sim.faults.add(fault, match="/bad/", **settings)
        report = await download(client, tmp_path)
        assert struck.struck
        assert set(fetches(sim).values()) == {1}
        assert sim.stats.leaks == 0
    assert_good_ones_are_complete(world, tmp_path, report, failed=0)


PASSING = [
    ("cut-body", "storage", {}),
    ("cut-chunked", "storage", {}),
    ("wrong-length", "storage", {}),
    ("junk-length", "storage", {}),
    ("double-length", "storage", {}),
    ("header-bomb", "storage", {}),
    ("stall", "storage", {}),
    ("stall-half", "storage", {}),
    ("drop", "storage", {}),
    ("reset", "storage", {}),
    ("reset", "artifact", {}),
    ("500", "storage", {}),
    ("502-html", "artifact", {}),
    ("503-retry-after", "artifact", {"seconds": 0}),
    ("504-html", "storage", {}),
    ("429-bare", "storage", {}),
    ("expired-signature", "artifact", {}),
]


@pytest.mark.parametrize(("fault", "place", "settings"), PASSING, ids=str)
async def test_what_passes_is_tried_again_until_it_has_passed(
    tmp_path: Path, fault: str, place: Any, settings: dict[str, Any]
) -> None:
    world = both()
    async with Simulator(world) as sim, client_of(sim) as client:
        times = 1 if "429" in fault or "503" in fault else TRIES - 1  # each pauses the host; that has its own tests
        if fault == "wrong-length":
            times = TRIES // 2  # a lie may cost two tries: its own, and that of the part that was kept with it
        armed = [sim.faults.add(fault, times, f"/bad/{one}", place=place, **settings) for one in ("small", "large")]
        report = await download(client, tmp_path)
        assert [one.struck for one in armed] == [times, times]
        assert sim.stats.leaks == 0
    assert_good_ones_are_complete(world, tmp_path, report, failed=0)


LASTING = [
    ("cut-body", "storage", "interrupted"),
    ("cut-chunked", "storage", "interrupted"),
    ("wrong-length", "storage", "interrupted"),
    ("junk-length", "storage", "transport"),
    ("double-length", "storage", "transport"),
    ("header-bomb", "storage", "transport"),
    ("stall-half", "storage", "deadline"),
    ("drop", "storage", "transport"),
    ("reset", "artifact", "interrupted"),
    ("500", "artifact", "server"),
    ("502-html", "storage", "server"),
    ("expired-signature", "artifact", "forbidden"),
]


@pytest.mark.parametrize(("fault", "place", "code"), LASTING, ids=str)
async def test_what_does_not_pass_is_given_up_after_five_tries(
    tmp_path: Path, fault: str, place: Any, code: str
) -> None:
    world = both()
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add(fault, match="/bad/", place=place)
        report = await download(client, tmp_path)
        tries = fetches(sim)
        assert {tries[one.path] for one in STRUCK} == {TRIES}
        assert {tries[one.path] for one in GOOD} == {1}
    assert {one.code for one in report.failures} == {code}
    assert_good_ones_are_complete(world, tmp_path, report, failed=2)
    with pytest.raises(PartialDownloadError, match="2 of 7 items failed") as caught:
        report.raise_for_failures()
    assert caught.value.report is report


FINAL = [
    ("bad-request", "artifact", "bad_request"),
    ("bad-request", "storage", "bad_request"),
    ("token-revoked", "storage", "authentication"),
    ("forbidden-403", "artifact", "forbidden"),
    ("range-unasked", "storage", "integrity"),
    ("wrong-digest", "storage", "integrity"),
    ("redirect-no-location", "artifact", "api"),
    ("redirect-file", "artifact", "unsafe_address"),
]


@pytest.mark.parametrize(("fault", "place", "code"), FINAL, ids=str)
async def test_what_will_not_pass_is_not_tried_again(tmp_path: Path, fault: str, place: Any, code: str) -> None:
    world = both()
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add(fault, match="/bad/", place=place)
        report = await download(client, tmp_path)
        assert set(fetches(sim).values()) == {1}
    assert {one.code for one in report.failures} == {code}
    assert_good_ones_are_complete(world, tmp_path, report, failed=2)


async def test_a_second_run_brings_what_the_first_one_could_not(tmp_path: Path) -> None:
    world = both()
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add("forbidden-403", match="/bad/")
        first = await download(client, tmp_path)
        sim.faults.clear()
        second = await download(client, tmp_path)
        assert {path for path, count in fetches(sim).items() if count > 1} == {one.path for one in STRUCK}
    assert (first.files, first.failed, second.files, second.present, second.failed) == (5, 2, 2, 5, 0)
    assert tree(tmp_path) == {f"0/{one.path}": world.artifact_bytes(SLUG, 1, one.path) for one in [*GOOD, *STRUCK]}


async def test_a_file_that_fails_leaves_the_older_one_of_its_name_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "0/bad").mkdir(parents=True)
    (tmp_path / "0/bad/large.bin").write_bytes(b"older")
    async with Simulator(both()) as sim, client_of(sim) as client:
        sim.faults.add("cut-body", match="/bad/")
        await download(client, tmp_path)
    assert (tmp_path / "0/bad/large.bin").read_bytes() == b"older"
    assert not (tmp_path / "0/bad/small.bin").exists()


@pytest.mark.parametrize("fault", ["redirect-loop", "redirect-there-and-back"])
async def test_redirects_without_an_end_are_refused_after_a_few(tmp_path: Path, fault: str) -> None:
    world = both()
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add(fault, match="/bad/small")
        report = await download(client, tmp_path)
        assert sum("bad/small" in one.path for one in sim.requests) <= 11
        assert sim.stats.leaks == 0
    assert [one.code for one in report.failures] == ["unsafe_address"]
    assert_good_ones_are_complete(world, tmp_path, report, failed=1)


async def test_a_foreign_origin_gets_no_token_whatever_leads_there(tmp_path: Path) -> None:
    world = world_of(FakeArtifact("a", size=10), FakeArtifact("b", url="{foreign}/b"), FakeArtifact("c", size=10))
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add("redirect-foreign", match="/a$")
        await download(client, tmp_path)
        assert sim.stats.foreign == 2
        assert sim.stats.leaks == 0


async def test_https_does_not_continue_as_http(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("NOT TESTED: https to http, since there is no openssl to make a certificate with")
    world = both()
    connector = aiohttp.TCPConnector(ssl=False)
    async with (
        Simulator(world, ssl_context=await certified(tmp_path)) as sim,
        aiohttp.ClientSession(connector=connector) as session,
        client_of(sim, session=session) as client,
    ):
        sim.faults.add("redirect-http-downgrade", match="/bad/small")
        report = await download(client, tmp_path / "out")
        assert sim.stats.foreign == 0
    assert [one.code for one in report.failures] == ["unsafe_address"]
    assert "https to http" in str(report.failures[0].reason)
    assert_good_ones_are_complete(world, tmp_path / "out", report, failed=1)


async def certified(directory: Path) -> ssl.SSLContext:
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    await anyio.run_process([*command.split(), "-keyout", str(key), "-out", str(certificate)])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative/path",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://",
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1:port/x",
        "http://user:secret@127.0.0.1/x",
        "http://127.0.0.1/x\r\nCircle-Token: x",
        "http://[::1/x",
        "javascript:alert(1)",
        "http://\ud800/",
    ],
)
async def test_an_address_that_cannot_be_right_is_refused_and_nobody_is_asked(tmp_path: Path, url: str) -> None:
    world = world_of(FakeArtifact("bad", url=url), FakeArtifact("good", size=10))
    async with Simulator(world) as sim, client_of(sim) as client:
        report = await download(client, tmp_path)
        assert sim.stats.requests["output"] == 1
    assert list(tree(tmp_path)) == ["0/good"]
    assert [one.code for one in report.failures] == ["unsafe_address"]
    assert "secret" not in repr(report)


# --- what only a server of the test's own can do wrong ---------------------------------------------------------------


@asynccontextmanager
async def answering(reply: Reply) -> AsyncIterator[str]:
    """Yield the address of a server that answers each request in the test's own way and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await reply(head.split()[1].decode(), writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/file"
    finally:
        server.close()


def fixed(body: bytes, *lines: str, length: bool = True) -> Reply:
    head = ["HTTP/1.1 200 OK", *lines, "Connection: close", *([f"Content-Length: {len(body)}"] if length else [])]

    async def reply(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join([*head, "", ""]).encode() + body)

    return reply


async def fetched(tmp_path: Path, reply: Reply, name: str = "file", **options: Any) -> tuple[Report, bytes | None]:
    async with answering(reply) as url, Simulator(world_of(FakeArtifact(name, url=url))) as sim, client_of(sim) as one:
        report = await download(one, tmp_path, **options)
    assert_no_parts(tmp_path)
    return report, tree(tmp_path).get(f"0/{name}")


BODY = os.urandom(200_000)


def repr_digest(data: bytes) -> str:
    return f"Repr-Digest: sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        (fixed(gzip.compress(BODY), "Content-Encoding: gzip"), "file"),
        (fixed(gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]), "Content-Encoding: gzip"), "file"),
        (fixed(zlib.compress(BODY), "Content-Encoding: deflate"), "file"),
        (fixed(gzip.compress(BODY), "Content-Encoding: gzip", length=False), "file"),
        (fixed(BODY, repr_digest(BODY)), "file"),
        (fixed(BODY, f"Content-MD5: {base64.b64encode(hashlib.md5(BODY).digest()).decode()}"), "file"),
    ],
    ids=["gzip", "gzip in two members", "deflate", "gzip until the end", "digest", "md5"],
)
async def test_what_can_be_understood_gives_the_right_bytes(tmp_path: Path, reply: Reply, name: str) -> None:
    report, content = await fetched(tmp_path, reply, name)
    assert content == BODY
    assert report.ok


async def test_a_file_that_is_gzip_by_name_arrives_as_it_was_stored(tmp_path: Path) -> None:
    packed = gzip.compress(BODY)
    _, content = await fetched(tmp_path, fixed(packed, "Content-Encoding: gzip"), "logs.tar.gz")
    assert content == packed


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (fixed(BODY, "Content-Encoding: br"), "integrity"),
        (fixed(BODY, "Content-Encoding: gzip"), "integrity"),
        (fixed(gzip.compress(BODY)[:-5], "Content-Encoding: gzip"), "interrupted"),
        (fixed(gzip.compress(BODY)[:-5], "Content-Encoding: gzip", length=False), "interrupted"),
        (fixed(gzip.compress(BODY) + b"more", "Content-Encoding: gzip"), "integrity"),
        (fixed(BODY, repr_digest(b"other")), "integrity"),
        (fixed(BODY, f"Content-MD5: {base64.b64encode(hashlib.md5(b'other').digest()).decode()}"), "integrity"),
        (fixed(BODY, f"X: {'x' * 70_000}"), "transport"),
    ],
    ids=["br", "not gzip", "cut gzip", "cut gzip until the end", "more", "digest", "md5", "long header"],
)
async def test_what_cannot_be_right_is_refused(tmp_path: Path, reply: Reply, code: str) -> None:
    report, content = await fetched(tmp_path, reply)
    assert content is None
    assert [one.code for one in report.failures] == [code]


async def test_a_bomb_takes_room_on_the_disk_only_while_it_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(bytes(MIB)) for _ in range(64)), packer.flush()])[:-4]  # and never ends
    report, content = await fetched(tmp_path, fixed(bomb, "Content-Encoding: gzip"))
    assert content is None
    assert report.failures[0].code == "interrupted"


class Broken:
    """Stands in for an answer whose body breaks off, its last piece smaller than a file's buffer."""

    status, size, headers = 200, None, {"Content-Type": "x"}
    is_over, home, tries = False, False, 0

    def __init__(self) -> None:
        self._left = [b"x" * 64 * KIB, b"leftover"]

    def whole(self) -> None:
        return None

    async def chunk(self) -> bytes:
        await asyncio.sleep(0)
        if not self._left:
            raise InterruptedBodyError("it broke")
        return self._left.pop(0)


class Fetching:
    """Stands in for a session that gets such an answer."""

    clock = SystemClock()

    def __init__(self, answer: type[Broken] = Broken) -> None:
        self._answer = answer

    async def fetch(
        self,
        url: str,
        consume: Callable[[Broken], Awaitable[None]],
        conditions: Callable[[], Awaitable[Mapping[str, str]]],
        refused: Callable[[], None],
    ) -> None:
        assert await conditions() == {}
        await consume(self._answer())

    def emit(self, event: Event) -> None:
        pass

    def watched(self, kind: type[Event]) -> bool:
        return True


ITEM = Item(1, 0, "x", PlacedPath(SafePath(("x",))), "x", "", Source(slug="s"))


def transfer_of(
    session: Fetching, store: LocalStore, ledger: Ledger, threads: ThreadPoolExecutor, batch: int
) -> tuple[Transfer, list[int | AioCircleError]]:
    told: list[int | AioCircleError] = []

    def ended(_item: Item, result: int | AioCircleError) -> None:
        told.append(result)

    small = SmallFiles(store, ledger, threads, MIB, ended)
    intake = Intake(lambda: 0.0)
    return Transfer(session, store, ledger, threads, batch, ended, small, intake), told  # type: ignore[arg-type]


async def test_bytes_of_a_broken_attempt_never_end_up_in_whatever_has_its_descriptor_next(tmp_path: Path) -> None:
    store, ledger = LocalStore(tmp_path / "out"), Ledger(tmp_path)
    with ThreadPoolExecutor(1) as threads:
        await in_thread(threads, store.__enter__)
        await in_thread(threads, ledger.__enter__)
        transfer, _ = transfer_of(Fetching(), store, ledger, threads, 64 * KIB + 1)
        with pytest.raises(InterruptedBodyError) as caught:
            await transfer.run(ITEM)
        # The error keeps the attempt alive, and with it the buffer. The next file gets the lowest free number.
        others = [os.open(tmp_path / f"{n}", os.O_CREAT | os.O_WRONLY) for n in range(8)]
        del caught
        gc.collect()
        sizes = [os.fstat(other).st_size for other in others]
        for other in others:
            os.close(other)
        await in_thread(threads, ledger.__exit__)
        await in_thread(threads, store.__exit__)
    assert sizes == [0] * 8
    assert_no_parts(tmp_path / "out")


class Long(Broken):
    """Stands in for an answer that has no faster way to the rest of its body, as those of a caller's session."""

    def __init__(self) -> None:
        self.size = 4 * MIB  # type: ignore[assignment]
        self._left = [b"x" * 64 * KIB] * 64

    @property
    def is_over(self) -> bool:  # type: ignore[override]
        return not self._left

    def inflow(self, left: int, capacity: int) -> tuple[bytes, None]:
        return b"", None

    def close(self) -> None:
        pass


async def test_a_large_body_is_written_batch_by_batch_also_where_there_is_no_faster_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    append = LocalStore.append

    def counted(store: LocalStore, part: Part, target: SafePath, chunks: Sequence[bytes | memoryview]) -> None:
        sizes.append(sum(map(len, chunks)))
        append(store, part, target, chunks)

    monkeypatch.setattr(LocalStore, "append", counted)
    store, ledger = LocalStore(tmp_path / "out"), Ledger(tmp_path)
    with ThreadPoolExecutor(1) as threads:
        await in_thread(threads, store.__enter__)
        await in_thread(threads, ledger.__enter__)
        transfer, told = transfer_of(Fetching(Long), store, ledger, threads, 128 * KIB)
        await transfer.run(ITEM)
        assert told == [4 * MIB]
        await in_thread(threads, ledger.__exit__)
        await in_thread(threads, store.__exit__)
    assert sizes == [128 * KIB] * 32


# --- what ends a run -------------------------------------------------------------------------------------------------


def assert_all_that_is_there_is_right(world: World, out: Path) -> int:
    found = tree(out)
    for name, content in found.items():
        node, _, path = name.partition("/")
        assert content == world.artifact_bytes(SLUG, 1, path, int(node)), name
    assert_no_parts(out)
    return len(found)


async def test_a_token_that_is_revoked_in_mid_run_stops_it_and_the_report_says_so(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=1000) for n in range(300)])
    async with Simulator(world) as sim, client_of(sim) as client:
        revoked = sim.faults.add("token-revoked", after=100, place="artifact")
        report = await download(client, tmp_path, concurrency=8)
        assert revoked.struck <= 8, "nobody goes on asking with a token that is no longer good"
    assert isinstance(report.stopped_by, AuthenticationError)
    assert not report.ok
    assert 85 <= report.files <= 100
    assert 1 <= report.failed <= 8
    assert assert_all_that_is_there_is_right(world, tmp_path) == report.files
    with pytest.raises(AuthenticationError):
        report.raise_for_failures()


async def test_a_token_that_is_revoked_before_the_next_page_stops_the_run_too(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=1000) for n in range(100)])
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add("token-revoked", after=2, place="api")
        report = await download(client, tmp_path)
    assert isinstance(report.stopped_by, AuthenticationError)
    assert report.files <= 40
    assert_all_that_is_there_is_right(world, tmp_path)


async def test_a_wrong_token_is_an_error_and_no_report(tmp_path: Path) -> None:
    async with Simulator(world_of()) as sim, Client("wrong-token", host=sim.url) as client:
        with pytest.raises(AuthenticationError, match="401") as caught:
            await download(client, tmp_path)
    assert "wrong-token" not in repr(caught.value)


async def test_a_listing_that_breaks_after_some_pages_is_a_failure_and_what_it_named_is_fetched(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=100) for n in range(100)])
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add("500", after=2)
        report = await download(client, tmp_path)
    assert (report.files, report.failed, report.stopped_by) == (40, 1, None)
    assert report.failures[0].path == "artifacts of job 1"
    assert report.failures[0].code == "server"
    assert_all_that_is_there_is_right(world, tmp_path)


@pytest.mark.parametrize("fault", ["500", "bad-request", "forbidden-403", "json-shape", "drop"])
async def test_workflows_whose_jobs_cannot_be_listed_are_failures_among_others(tmp_path: Path, fault: str) -> None:
    world = world_of(FakeArtifact("x", size=10))
    job = world.job(SLUG, 1)
    assert job is not None
    broken = more_workflows(world, job)
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add(fault, match="|".join(broken), place="api")
        report = await client.download(SLUG, pipeline=1, to=tmp_path)
    assert (report.files, report.failed, report.stopped_by) == (1, 2, None)
    assert [one.path for one in report.failures] == ["jobs of workflow broken 0", "jobs of workflow broken 1"]


async def test_workflows_and_jobs_that_the_host_forgot_are_skipped_with_that_reason(tmp_path: Path) -> None:
    world = world_of(FakeArtifact("x", size=10))
    job = world.job(SLUG, 1)
    assert job is not None
    world.add_job(SLUG, 2, [FakeArtifact("y", size=10)], beside=job)
    broken = more_workflows(world, job)
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add("expired-404", match="|".join([*broken, "/2/artifacts"]), place="api")
        report = await client.download(SLUG, pipeline=1, to=tmp_path)
    assert (report.files, report.failed, report.ok) == (1, 0, True)
    assert report.skipped_why == {"expired: the host does not know it any more": 3}


def more_workflows(world: World, job: Job) -> list[str]:
    """Give a job's pipeline two more workflows and return their ids."""
    found = world.workflow_of(job)
    assert found is not None
    pipeline, first = found
    more = [
        attrs.evolve(first, id=f"0e1c59b2-8a4d-4a9e-9d3c-2f6f3f9d1a1{n}", name=f"broken {n}", jobs=()) for n in range(2)
    ]
    world._placed[SLUG][pipeline.number] = attrs.evolve(pipeline, workflows=(first, *more))
    return [str(one.id) for one in more]


@contextmanager
def tiny_disk(where: Path) -> Iterator[Path]:
    """A file system of its own with so little room that it is soon used up."""
    where.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("A FULL DISK IS NOT TESTED: only root can mount one")
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(where)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"A FULL DISK IS NOT TESTED: mounting one failed: {mounted.stderr.decode().strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@pytest.mark.parametrize("size", [20_000, 300_000])
async def test_a_full_disk_stops_the_run_and_the_next_one_goes_on_from_there(tmp_path: Path, size: int) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=size) for n in range(6_000_000 // size)])
    with tiny_disk(tmp_path / "disk") as disk:
        (disk / "ballast").write_bytes(bytes(2 * MIB))
        async with Simulator(world) as sim, client_of(sim) as client:
            report = await download(client, disk / "out", concurrency=4)
            assert sim.stats.fetches.total() < len(world.job(SLUG, 1).artifacts)  # type: ignore[union-attr]
            assert isinstance(report.stopped_by, StoreError)
            assert "no space left on device" in str(report.stopped_by) or "full" in str(report.stopped_by)
            assert report.files
            assert assert_all_that_is_there_is_right(world, disk / "out") == report.files
            (disk / "ballast").unlink()
            second = await download(client, disk / "out", concurrency=4)
            assert second.files
            assert assert_all_that_is_there_is_right(world, disk / "out") > report.files


@pytest.mark.parametrize("how", ["refused", "silent"])
async def test_a_host_that_goes_away_in_mid_run_ends_it_in_bounded_time(tmp_path: Path, how: str) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=1000) for n in range(2000)])
    seen: list[ItemOutcome] = []
    async with Simulator(world, page_size=1000) as sim:
        settings: dict[str, Any] = {"timeouts": Timeouts(stall=0.1, connect=0.5)}
        async with client_of(sim, **settings) as client, anyio.create_task_group() as group:
            gone = anyio.Event()

            def note(outcome: ItemOutcome) -> None:
                seen.append(outcome)
                if len(seen) == 50 and not gone.is_set():
                    gone.set()

            async def go_away() -> None:
                await gone.wait()
                if how == "refused":
                    await sim.close()
                else:
                    sim.faults.add("silence", place="artifact")

            group.start_soon(go_away)
            began = time.monotonic()
            report = await client.download(SLUG, job=1, to=tmp_path, on_outcome=note)
    assert time.monotonic() - began < 15
    assert isinstance(report.stopped_by, TransportError)
    assert report.files >= 50
    assert report.failed < 300, "not every item has to find out for itself"
    assert assert_all_that_is_there_is_right(world, tmp_path) == report.files


async def test_a_few_broken_items_do_not_count_as_a_host_that_is_gone(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{'bad' if n % 2 else 'good'}/{n}", size=100) for n in range(200)])
    async with Simulator(world) as sim, client_of(sim) as client:
        sim.faults.add("cut-body", match="/bad/")
        report = await download(client, tmp_path, concurrency=4)
    assert (report.files, report.failed, report.stopped_by) == (100, 100, None)


async def test_progress_of_broken_attempts_is_taken_back(tmp_path: Path) -> None:
    events: list[Event] = []
    async with Simulator(both()) as sim, client_of(sim, on_event=events.append) as client:
        sim.faults.add("cut-body", match="/bad/large")
        report = await download(client, tmp_path)
    progress = [event for event in events if isinstance(event, TransferProgress)]
    assert sum(event.received for event in progress) == report.size
    assert sum(event.received for event in progress if event.target.endswith("large.bin")) == 0
    assert min(event.received for event in progress) < 0


async def test_a_ledger_that_is_damaged_is_an_error_in_words(tmp_path: Path) -> None:
    async with Simulator(both()) as sim, client_of(sim) as client:
        await download(client, tmp_path)
        (tmp_path / ".aiocircle/ledger.sqlite").write_bytes(b"no database " * 1000)
        with pytest.raises(StoreError, match=r"ledger\.sqlite") as caught:
            await download(client, tmp_path)
    assert "remove the file" in (caught.value.hint or "")


async def test_an_output_that_cannot_be_one_is_an_error_in_words_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"keep")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.aiocircle").symlink_to(tmp_path)
    async with Simulator(both()) as sim, client_of(sim) as client:
        for out, kind in [("file", StoreError), ("file/below", StoreError), ("out", UnsafePathError)]:
            with pytest.raises(kind) as caught:
                await download(client, tmp_path / out)
            assert isinstance(caught.value, AioCircleError)
            assert caught.value.hint
        assert sim.stats.total == 0
    assert (tmp_path / "file").read_bytes() == b"keep"
