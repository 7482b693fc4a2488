"""Small files are written many in a hop; each ends as a file and a row, or as an error that is told."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from aiocircle.download import small as small_files
from aiocircle.download.items import Item
from aiocircle.download.ledger import Ledger
from aiocircle.download.local_store import LocalStore
from aiocircle.download.paths import PlacedPath, SafePath
from aiocircle.download.records import Records, Source
from aiocircle.download.small import GATHERED, RECORD, SmallFiles, Whole
from aiocircle.download.stores import Staged
from aiocircle.endings import finish, in_thread
from aiocircle.errors import AioCircleError, StoreError, UnsafePathError

pytestmark = pytest.mark.anyio

Told = dict[str, int | AioCircleError]


def whole(name: str, content: bytes) -> Whole:
    path = SafePath(tuple(name.split("/")))
    item = Item(1, 0, name, PlacedPath(path), name, "", Source(slug="s", job=1, node=0, path=name))
    return Whole(item, [content] if content else [], len(content), '"v"', 1.0, 2.0)


@asynccontextmanager
async def opened(
    root: Path, store_class: type[LocalStore] = LocalStore, most_bytes: int = 10**6
) -> AsyncIterator[tuple[SmallFiles, Told]]:
    told: Told = {}

    def ended(item: Item, result: int | AioCircleError) -> None:
        assert item.target not in told
        told[item.target] = result

    with ThreadPoolExecutor(4) as threads:
        store = store_class(root)
        await in_thread(threads, store.__enter__)
        ledger = Ledger(store.own_directory)
        await in_thread(threads, ledger.__enter__)
        try:
            yield SmallFiles(store, ledger, threads, most_bytes, ended), told
        finally:
            await in_thread(threads, ledger.__exit__)
            await in_thread(threads, store.__exit__)


async def rows(root: Path) -> dict[str, str | None]:
    def read() -> dict[str, str | None]:
        with Records(root) as records:
            return {stored.target: stored.sha256 for stored in records.stored()}

    return await asyncio.to_thread(read)


@pytest.mark.parametrize("count", [1, GATHERED - 1, GATHERED, 10 * GATHERED + 7])
async def test_every_file_is_written_recorded_and_told(tmp_path: Path, count: int) -> None:
    contents = {f"d{n % 3}/{n}": b"%d" % n * n for n in range(count)}
    async with opened(tmp_path) as (small, told):
        for name, content in contents.items():
            small.add(whole(name, content))
            await small.room()
        await small.drain()
        assert told == {name: len(content) for name, content in contents.items()}
    assert {name: (tmp_path / name).read_bytes() for name in contents} == contents
    assert await rows(tmp_path) == {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert list((tmp_path / ".aiocircle/parts").iterdir()) == []


async def test_a_few_files_do_not_wait_for_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as (small, told):
        small.add(whole("x", b"x"))
        async with asyncio.timeout(20):
            while "x" not in told:
                await asyncio.sleep(0.001)
        await small.drain()
    assert (tmp_path / "x").read_bytes() == b"x"


async def test_one_that_cannot_have_its_name_is_told_and_leaves_no_row_and_the_others_are_stored(
    tmp_path: Path,
) -> None:
    (tmp_path / "f").write_bytes(b"a file")
    async with opened(tmp_path) as (small, told):
        for name in ("a", "f/x", "b"):
            small.add(whole(name, name.encode()))
        await small.drain()
        assert isinstance(told.pop("f/x"), UnsafePathError)
        assert told == {"a": 1, "b": 1}
    assert set(await rows(tmp_path)) == {"a", "b"}
    assert list((tmp_path / ".aiocircle/parts").iterdir()) == []


class Full(LocalStore):
    """A disk that takes nothing any more."""

    def stage(self, target: SafePath, chunks: Sequence[bytes | memoryview], sha256: str = "") -> Staged:
        raise StoreError("no space", fatal=True)


async def test_a_disk_that_refuses_is_told_for_each_file(tmp_path: Path) -> None:
    async with opened(tmp_path, Full) as (small, told):
        for name in "abc":
            small.add(whole(name, b"x"))
        await small.drain()
        assert {name: type(error) for name, error in told.items()} == dict.fromkeys("abc", StoreError)
    assert await rows(tmp_path) == {}


class Slow(LocalStore):
    """A disk that stands still until it is let go."""

    gate = threading.Event()

    def stage(self, target: SafePath, chunks: Sequence[bytes | memoryview], sha256: str = "") -> Staged:
        self.gate.wait(20)
        return super().stage(target, chunks, sha256)


async def test_where_the_disk_stands_still_the_loop_goes_on_and_what_is_in_memory_is_bounded(tmp_path: Path) -> None:
    Slow.gate = threading.Event()
    async with opened(tmp_path, Slow, most_bytes=100) as (small, told):
        small.add(whole("a", b"x" * 101))
        waiting = asyncio.ensure_future(small.room())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        assert told == {}
        Slow.gate.set()
        await waiting
        assert told == {"a": 101}
        await small.drain()


async def test_of_files_without_bytes_there_are_not_too_many_in_memory_either(tmp_path: Path) -> None:
    Slow.gate = threading.Event()
    async with opened(tmp_path, Slow, most_bytes=100 * RECORD) as (small, _):
        full = []
        for number in range(101):
            small.add(whole(str(number), b""))
            full.append(small.is_full)
        assert full == [False] * 100 + [True]
        Slow.gate.set()
        await small.room()
        await small.drain()


class Killed(BaseException):
    """Not an error of ours."""


class Broken(LocalStore):
    """A store with a mistake in it."""

    def publish(self, staged: Staged) -> None:
        (self.own_directory / "parts" / staged.name).unlink()
        raise Killed


async def test_a_mistake_in_a_thread_ends_the_run(tmp_path: Path) -> None:
    async with opened(tmp_path, Broken) as (small, told):
        small.add(whole("a", b"x"))
        with pytest.raises(Killed):
            await small.drain()
        assert told == {}
    assert not (tmp_path / "a").exists()


class Remote(LocalStore):
    """A store behind a network, which takes one file at a time and not before it may."""

    is_remote = True
    at_once = 1
    is_asked, may = threading.Event(), threading.Event()

    def publish(self, staged: Staged) -> None:
        self.is_asked.set()
        assert self.may.wait(20)
        super().publish(staged)


@pytest.mark.parametrize("is_cut", [True, False], ids=["when it drains", "while it drains"])
async def test_a_run_that_is_cut_leaves_what_a_slow_network_has_not_taken_untaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_cut: bool
) -> None:
    monkeypatch.setattr(small_files, "GRACE_SECONDS", 0.0)
    Remote.is_asked.clear()
    Remote.may.clear()
    async with opened(tmp_path, Remote) as (small, told):
        for name in ("a", "b", "c", *"defgh"):
            small.add(whole(name, name.encode()))
        await asyncio.to_thread(Remote.is_asked.wait, 20)
        drained = asyncio.create_task(finish(small.drain(is_cut=is_cut), small.hurry))
        await asyncio.sleep(0.001)
        if not is_cut:
            drained.cancel()
            await asyncio.sleep(0.001)
        Remote.may.set()
        with suppress(asyncio.CancelledError):
            await drained
        assert told.pop("a") == 1
        assert {str(error) for error in told.values()} == {
            f"{n}: the run ended before it was stored" for n in "bcdefgh"
        }
    assert await rows(tmp_path) == {"a": hashlib.sha256(b"a").hexdigest()}
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["a"]
    assert list((tmp_path / ".aiocircle/parts").iterdir()) == []
