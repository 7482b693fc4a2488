"""A bucket that refuses in the middle of a run: right objects, an error in words, and the next run completes it."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import faulty_bucket
import pytest
from downloads import SLUG, expected
from faulty_bucket import CUT, HANG, SLOW_DOWN, FaultyWay, Refusal, Verdict, faulty_way
from object_servers import SECRET, Server

from aiocircle import Client, DownloadOptions, Report, RetryPolicy
from aiocircle.download import objects
from aiocircle.errors import StoreError
from aiocircle.testing import FakeArtifact, Simulator, World

pytestmark = pytest.mark.anyio

FILES, LARGE = 240, 6_000_000
EXPIRED = Refusal(400, b"<Error><Code>ExpiredToken</Code></Error>")
BUSY = Refusal(503, SLOW_DOWN)


@pytest.fixture
def way(s3: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyWay]:
    """A way to the bucket, and clients that have a second where users have a minute."""
    quick = {
        "max_retries": 2,
        "retry_timeout": timedelta(seconds=1),
        "backoff": {"init_backoff": timedelta(seconds=0.001)},
    }
    monkeypatch.setattr(objects, "LONG", quick)
    with faulty_way(s3.environ["AWS_ENDPOINT_URL"]) as way:
        for name, value in {**s3.environ, "AWS_ENDPOINT_URL": way.url}.items():
            monkeypatch.setenv(name, value)
        yield way


def world() -> World:
    world = World(pipelines=0)
    sizes = [LARGE if n in {30, 31, 32} else 10 * n for n in range(FILES)]
    world.add_job(SLUG, 1, [FakeArtifact(str(n), size=size) for n, size in enumerate(sizes)])
    return world


async def download(sim: Simulator, server: Server, place: Path) -> Report:
    async with Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.001)) as client:
        options = DownloadOptions(concurrency=8, buffer=512 * 1024, state=place / "state")
        return await client.download(SLUG, job=1, to=f"{server.address}/{place.name}", options=options)


def stored(server: Server, place: Path) -> dict[str, bytes]:
    below = f"{place.name}/"
    return {name: server.read(f"some prefix/{below}{name}") for name in server.sizes(below)}


def after(count: int, verdict: Verdict) -> faulty_bucket.Rule:
    """Return a rule that lets so many requests pass."""
    seen = iter(range(1_000_000))
    return lambda _method, _path: verdict if next(seen) >= count else None


@pytest.mark.parametrize(
    ("verdict", "words", "hint"),
    [
        (CUT, "s3 does not answer", "is the network there"),
        (HANG, "s3 does not answer", "is the network there"),
        (EXPIRED, "s3 answered 400 ExpiredToken", "get new ones"),
        (BUSY, "s3 answered 503 SlowDown", "run the same command again"),
    ],
    ids=["cut", "hang", "expired", "busy"],
)
async def test_a_bucket_that_takes_nothing_any_more_ends_the_run_in_words_and_the_next_one_completes_it(
    tmp_path: Path, s3: Server, way: FaultyWay, monkeypatch: pytest.MonkeyPatch, verdict: Any, words: str, hint: str
) -> None:
    if verdict == HANG:
        monkeypatch.setattr(objects, "TIMEOUTS", {"timeout": "2s"})
    async with Simulator(world()) as sim:
        way.rule = after(50, verdict)
        report = await download(sim, s3, tmp_path)
        assert isinstance(report.stopped_by, StoreError)
        told = f"{report.stopped_by} {report.stopped_by.hint}"
        assert words in told
        assert hint in told
        assert SECRET not in f"{told} {report!r}"
        right, found = expected(sim.world, 1), stored(s3, tmp_path)
        assert 0 < report.files <= len(found) < FILES  # an answer that was lost may have been a good one
        assert found.items() <= right.items()
        assert report.files + report.failed < FILES, "not every item has to find out for itself"

        way.rule = after(0, None)
        second = await download(sim, s3, tmp_path)
        assert (second.ok, second.present) == (True, report.files)
        assert stored(s3, tmp_path) == right
        assert s3.uploads(f"{tmp_path.name}/") == []


async def test_a_bucket_that_asks_for_less_gets_everything_a_little_later(
    tmp_path: Path, s3: Server, way: FaultyWay
) -> None:
    seen: Counter[tuple[str, str]] = Counter()

    def rule(method: str, path: str) -> Verdict:
        seen[method, path] += 1
        return BUSY if method in {"PUT", "POST"} and seen[method, path] == 1 else None

    async with Simulator(world()) as sim:
        way.rule = rule
        report = await download(sim, s3, tmp_path)
        assert (report.ok, report.files) == (True, FILES)
        assert stored(s3, tmp_path) == expected(sim.world, 1)


async def test_an_object_that_the_bucket_never_takes_costs_that_file_only(
    tmp_path: Path, s3: Server, way: FaultyWay
) -> None:
    async with Simulator(world()) as sim:
        way.rule = lambda method, path: (
            BUSY if method != "GET" and path.partition("?")[0][-3:] in {"/31", "/77"} else None
        )
        report = await download(sim, s3, tmp_path)
        assert (report.files, report.failed, report.stopped_by) == (FILES - 2, 2, None)
        assert {(one.target, one.reason) for one in report.failures} == {
            (name, f"{name}: s3 answered 503 SlowDown") for name in ("0/31", "0/77")
        }
        right = expected(sim.world, 1)
        assert stored(s3, tmp_path) == {name: right[name] for name in right.keys() - {"0/31", "0/77"}}
