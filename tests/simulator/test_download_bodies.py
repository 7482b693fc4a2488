"""Nothing partial or wrong stands under a final name: answers that only a server of the test's own gives."""

import asyncio
import base64
import gc
import gzip
import hashlib
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from downloads import assert_no_parts, tree
from faulty_downloads import KIB, MIB, client_of, download, world_of

from aiocircle import Report
from aiocircle.clock import SystemClock
from aiocircle.download.intake import Intake
from aiocircle.download.items import Item
from aiocircle.download.ledger import Ledger
from aiocircle.download.local_store import LocalStore
from aiocircle.download.outflow import in_thread
from aiocircle.download.parts import Part
from aiocircle.download.paths import PlacedPath, SafePath
from aiocircle.download.records import Source
from aiocircle.download.small import SmallFiles
from aiocircle.download.transfer import Transfer
from aiocircle.errors import (
    AioCircleError,
    InterruptedBodyError,
)
from aiocircle.events import Event
from aiocircle.testing import FakeArtifact, Simulator

pytestmark = pytest.mark.anyio


Reply = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


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
    is_over, is_overrun, home, tries = False, False, False, 0

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
