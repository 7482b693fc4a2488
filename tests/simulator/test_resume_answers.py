"""A half file and every answer of a host to the request for its rest: the right bytes, never of two objects."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from raw_host import Asked, Close, Part, RawHost, reply

from aiocircle import Client, DownloadOptions, Report, RetryPolicy, Timeouts
from aiocircle.testing import FakeArtifact, Simulator, World

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
SIZE = 900_000
HALF = SIZE // 2


def world() -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("large", size=SIZE)])
    return world


def client_of(sim: Simulator, attempts: int = 5) -> Client:
    return Client(
        sim.token, host=sim.url, retry=RetryPolicy(base=0.001, attempts=attempts), timeouts=Timeouts(stall=0.3)
    )


async def download(client: Client, out: Path) -> Report:
    options = DownloadOptions(buffer=64 * 1024)
    return await client.download(SLUG, job=1, to=out, options=options)


def ranges(sim: Simulator) -> list[str | None]:
    return [one.headers.get("Range") for one in sim.requests if one.origin == "storage"]


def parts(out: Path) -> list[Path]:
    return list((out / ".aiocircle" / "parts").iterdir())


@pytest.mark.parametrize(
    ("fault", "generation", "requests"),
    [
        (None, 0, 2),  # 206: gone on with
        ("range-refused", 0, 2),  # 200: from the beginning
        ("changed-object", 1, 2),  # 200 of the new object
        ("changed-object-206", 1, 3),  # 206 of the new object, although If-Range was sent
        ("range-unsatisfiable", 0, 3),  # 416
        ("wrong-content-range", 0, 3),
        ("weak-etag", 0, 3),  # the first answer was strong: a part that is weak proves nothing
        ("no-validator", 0, 3),
        ("wrong-digest", 0, 3),  # of the whole: the halves do not fit together
    ],
)
async def test_a_broken_download_ends_with_the_bytes_of_one_object(
    tmp_path: Path, fault: str | None, generation: int, requests: int
) -> None:
    async with Simulator(world()) as sim, client_of(sim) as client:
        sim.faults.add("cut-body", 1)
        if fault is not None:
            sim.faults.add(fault, None if generation else 1)
        report = await download(client, tmp_path)
        asked = ranges(sim)
        job = sim.world.job(SLUG, 1)
        assert job is not None
        content = sim.world.content(job, job.artifacts[0], generation)
    assert report.ok, report.failures
    assert (tmp_path / "0/large").read_bytes() == content.read(0, content.size)
    assert len(asked) == requests
    assert asked[0] is None
    assert asked[1] is not None
    assert asked[2:] == [None] * (requests - 2)
    assert parts(tmp_path) == []


@pytest.mark.parametrize("fault", ["weak-etag", "no-validator", "encoding-forced"])
async def test_what_cannot_be_continued_begins_anew_and_leaves_no_part(tmp_path: Path, fault: str) -> None:
    async with Simulator(world()) as sim, client_of(sim, attempts=1) as client:
        sim.faults.add(fault, 2, place="storage")
        sim.faults.add("stall-half", 0)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(download, client, tmp_path)
                while not any(tmp_path.glob(".aiocircle/parts/*")) and not (tmp_path / "0/large").exists():
                    await anyio.sleep(0)
                scope.cancel()
        if not (tmp_path / "0/large").exists():
            assert parts(tmp_path) == []
        assert (await download(client, tmp_path)).ok
        assert ranges(sim) == [None] * len(ranges(sim))
    assert (tmp_path / "0/large").read_bytes() == sim.world.artifact_bytes(SLUG, 1, "large")


async def test_another_run_goes_on_where_the_failed_one_ended(tmp_path: Path) -> None:
    async with Simulator(world()) as sim, client_of(sim, attempts=1) as client:
        sim.faults.add("cut-body", 1)
        assert not (await download(client, tmp_path)).ok
        (part,) = parts(tmp_path)
        have = part.stat().st_size
        assert 0 < have <= HALF
        assert (await download(client, tmp_path)).ok
        assert ranges(sim) == [None, f"bytes={have}-"]
        assert sim.stats.artifact_bytes == SIZE - have
    assert (tmp_path / "0/large").read_bytes() == sim.world.artifact_bytes(SLUG, 1, "large")


async def test_a_part_that_lacks_nothing_but_its_name_gets_it_without_a_byte(tmp_path: Path) -> None:
    async with Simulator(world()) as sim, client_of(sim, attempts=1) as client:
        sim.faults.add("cut-body", 1)
        await download(client, tmp_path)
        (part,) = parts(tmp_path)
        part.write_bytes(sim.world.artifact_bytes(SLUG, 1, "large"))
        sim.stats.reset()
        assert (await download(client, tmp_path)).ok
        assert ranges(sim)[-1] == f"bytes={SIZE}-"
        assert sim.stats.artifact_bytes <= 400, "416 and a few words"
    assert (tmp_path / "0/large").read_bytes() == sim.world.artifact_bytes(SLUG, 1, "large")


@pytest.mark.parametrize("spoil", ["longer", "link", "empty", "other boot"])
async def test_a_part_that_somebody_has_touched_is_not_continued(tmp_path: Path, spoil: str) -> None:
    async with Simulator(world()) as sim, client_of(sim) as client:
        sim.faults.add("cut-body", 5)
        await download(client, tmp_path)
        (part,) = parts(tmp_path)
        if spoil == "longer":
            part.write_bytes(part.read_bytes() + b"x" * SIZE)
        elif spoil == "empty":
            part.write_bytes(b"")
        elif spoil == "link":
            part.unlink()
            part.symlink_to("/etc/passwd")
        else:
            key, size, _, validator = part.name.split("-", 3)
            part.rename(part.with_name(f"{key}-{size}-00000000-{validator}"))
        assert (await download(client, tmp_path)).ok
    assert (tmp_path / "0/large").read_bytes() == sim.world.artifact_bytes(SLUG, 1, "large")
    assert parts(tmp_path) == []


async def test_a_line_that_cuts_early_brings_a_large_file_all_the_same(tmp_path: Path) -> None:
    """Each connection ends long before a batch is full, and the next one begins behind what it brought."""
    content, step = os.urandom(2_000_000), 150_000
    begins: list[int] = []

    def answer(asked: Asked) -> Iterator[Part]:
        if "/output/" not in asked.target:
            url = f"{host.url}/output/large"
            yield reply(body=json.dumps({"items": [{"path": "large", "node_index": 0, "url": url}]}).encode())
            return
        at = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        begins.append(at)
        status = {"status": 206, "Content_Range": f"bytes {at}-{len(content) - 1}/{len(content)}"} if at else {}
        head = reply(body=b"", ETag='"one"', Content_Length=str(len(content) - at), **status)  # type: ignore[arg-type]
        yield head + content[at : at + step]
        yield Close()

    async with RawHost(answer) as host, Client("token", host=host.url, retry=RetryPolicy(base=0.001)) as client:
        for _ in range(len(content) // step):
            if (await client.download(SLUG, job=1, to=tmp_path)).ok:
                break
    assert (tmp_path / "0/large").read_bytes() == content
    assert begins[:10] == list(range(0, 10 * step, step))
    assert begins == sorted(set(begins))


@pytest.mark.parametrize("is_cut_before", [False, True])
async def test_an_artifact_that_is_listed_by_two_addresses_is_two_right_files(
    tmp_path: Path, *, is_cut_before: bool
) -> None:
    """Both have the same part, which may be there from an earlier run."""
    job = world().job(SLUG, 1)
    assert job is not None
    other = f"{{artifact}}/output/job/{job.id}/artifacts/0/large?again"
    twice = World(pipelines=0)
    twice.add_job(SLUG, 1, [FakeArtifact("large", size=SIZE), FakeArtifact("large", size=SIZE, url=other)])
    async with Simulator(twice) as sim:
        async with client_of(sim, attempts=1) as client:
            sim.faults.add("cut-body", 2 * is_cut_before)
            assert (await download(client, tmp_path)).failed == 2 * is_cut_before
        sim.faults.add("slow-drip", 1, rate=5_000_000)
        async with client_of(sim) as client:
            report = await download(client, tmp_path)
    assert report.ok, report.failures
    files = [found for found in (tmp_path / "0").iterdir() if found.name.startswith("large")]
    assert [found.read_bytes() for found in files] == 2 * [twice.artifact_bytes(SLUG, 1, "large")]
    assert parts(tmp_path) == []
