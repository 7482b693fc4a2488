"""Nothing partial or wrong stands under a final name: what the simulator can do wrong to a file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from downloads import SLUG, tree
from faulty_downloads import GOOD, STRUCK, both, client_of, download, world_of
from tls import TLS

from aiocircle import ItemOutcome, Report
from aiocircle.errors import (
    PartialDownloadError,
)
from aiocircle.testing import FakeArtifact, Simulator, World

pytestmark = pytest.mark.anyio


TRIES = 5


def assert_no_parts_but_of(out: Path, failures: Sequence[ItemOutcome]) -> None:
    """What can be continued is kept for the next run, and nothing else is."""
    parts = [found.name for found in (out / ".aiocircle" / "parts").iterdir()]
    assert len(parts) <= len(failures)
    assert all("-" in name for name in parts)


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


async def test_https_does_not_continue_as_http(tmp_path: Path, tls: TLS) -> None:
    world = both()
    connector = aiohttp.TCPConnector(ssl=False)
    async with (
        Simulator(world, ssl_context=tls.server) as sim,
        aiohttp.ClientSession(connector=connector) as session,
        client_of(sim, session=session) as client,
    ):
        sim.faults.add("redirect-http-downgrade", match="/bad/small")
        report = await download(client, tmp_path / "out")
        assert sim.stats.foreign == 0
    assert [one.code for one in report.failures] == ["unsafe_address"]
    assert "https to http" in str(report.failures[0].reason)
    assert_good_ones_are_complete(world, tmp_path / "out", report, failed=1)


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
