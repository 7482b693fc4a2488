"""A host that announces fewer bytes than it sends: the announced ones alone are no file."""

from pathlib import Path

import pytest
from raw_host import RawHost, opened, reply

from aiocircle import Client, DownloadOptions, RetryPolicy
from aiocircle.errors import InterruptedBodyError
from aiocircle.testing import FakeArtifact, Simulator, World

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
SIZES = [100, 100_000, 150_000, 300_000, 3_000_000]


@pytest.mark.parametrize("buffer", [64 * 1024, 64 * 1024 * 1024])
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
async def test_more_bytes_than_announced_are_no_file(tmp_path: Path, times: int | None, buffer: int) -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact(f"{size}", size=size) for size in SIZES])
    async with (
        Simulator(world) as sim,
        Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.001, attempts=3)) as client,
    ):
        for size in SIZES:
            sim.faults.add("short-length", times, match=f"/{size}$")
        report = await client.download(SLUG, job=1, to=tmp_path, options=DownloadOptions(buffer=buffer))
    present = {int(one.name): one.read_bytes() for one in (tmp_path / "0").glob("*")}
    if times is None:
        assert present == {}
        assert {(one.code, "more bytes than" in str(one.reason)) for one in report.failures} == {("interrupted", True)}
    else:
        assert report.ok, report.failures
        assert present == {size: world.artifact_bytes(SLUG, 1, f"{size}") for size in SIZES}


async def test_an_answer_with_more_than_announced_is_an_error_that_says_so() -> None:
    async with (
        RawHost(lambda asked: reply(body=b"12345") + b"6") as host,
        opened(host.url, retry=RetryPolicy(attempts=1)) as seen,
    ):
        with pytest.raises(InterruptedBodyError, match=r"127\.0\.0\.1 sent more bytes than it had announced"):
            await seen.bytes_of(f"{host.url}/x")
