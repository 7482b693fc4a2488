"""Artifacts that the host lists and has no longer, and pages that stand in a file's place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from raw_host import RawHost, reply

from aiocircle import Client, DownloadOptions, ItemOutcome, Report, RetryPolicy
from aiocircle.download.missing import missing_in
from aiocircle.download.pages import is_page_instead
from aiocircle.errors import NotFoundError
from aiocircle.testing import FakeArtifact, Simulator, World

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
EXPIRED = "expired: the host lists the file and has it no longer"
GOOD = [FakeArtifact(f"good/{n}", size=1000 * n) for n in range(4)]
BAD = [FakeArtifact("bad/small.bin", size=3000), FakeArtifact("bad/large.log", size=400_000)]


def world_of(*artifacts: FakeArtifact) -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, artifacts)
    return world


def client_of(sim: Simulator, **settings: Any) -> Client:
    return Client(settings.pop("token", sim.token), host=sim.url, retry=RetryPolicy(base=0.001), **settings)


async def download(client: Client, out: Path, **more: Any) -> Report:
    return await client.download(SLUG, job=1, to=out, options=DownloadOptions(buffer=64 * 1024), **more)


def files(out: Path) -> set[str]:
    found = (one.relative_to(out) for one in out.rglob("*") if one.is_file())
    return {str(one) for one in found if one.parts[0] != ".aiocircle"}


# --- expired ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["artifact", "storage"])
@pytest.mark.parametrize(("fault", "code"), [("expired-404", "not_found"), ("expired-410", "gone")])
async def test_a_file_that_has_expired_is_skipped_with_that_reason_and_the_others_arrive(
    tmp_path: Path, fault: str, code: str, place: Any
) -> None:
    outcomes: list[ItemOutcome] = []
    async with Simulator(world_of(*GOOD, *BAD)) as sim, client_of(sim) as client:
        struck = sim.faults.add(fault, match="/bad/", place=place)
        report = await download(client, tmp_path, on_outcome=outcomes.append)
        assert struck.struck == len(BAD), "it is not asked for again"
    skipped = {(one.target, one.reason, one.code) for one in outcomes if one.status == "skipped"}
    assert skipped == {(f"0/{one.path}", EXPIRED, code) for one in BAD}
    assert files(tmp_path) == {f"0/{one.path}" for one in GOOD}
    assert (report.files, report.failed, report.skipped_why, report.expired) == (4, 0, {EXPIRED: 2}, 2)
    assert report.ok
    report.raise_for_failures()


async def test_where_everything_has_expired_the_run_is_no_success(tmp_path: Path) -> None:
    async with Simulator(world_of(*BAD)) as sim, client_of(sim) as client:
        sim.faults.add("expired-404")
        report = await download(client, tmp_path)
    assert not report.ok
    with pytest.raises(NotFoundError, match="all 2 artifacts have expired"):
        report.raise_for_failures()


async def test_what_failed_and_has_expired_since_is_settled(tmp_path: Path) -> None:
    async with Simulator(world_of(*GOOD, *BAD)) as sim, client_of(sim) as client:
        sim.faults.add("forbidden-403", match="/bad/")
        first = await download(client, tmp_path)
        sim.faults.clear()
        sim.faults.add("expired-410", match="/bad/")
        second = await download(client, tmp_path)
        missing = await anyio.to_thread.run_sync(missing_in, tmp_path)
    assert (first.failed, second.failed, second.expired) == (2, 0, 2)
    assert list(missing.failures) == []


async def test_a_host_that_was_shown_no_token_may_only_hide_the_file(tmp_path: Path) -> None:
    """Who is not let in may be answered 404: that would pass for success."""
    async with (
        RawHost(lambda asked: reply(404)) as other,
        Simulator(world_of(*GOOD, FakeArtifact("bad", url=f"{other.url}/bad"))) as sim,
        client_of(sim) as client,
    ):
        report = await download(client, tmp_path)
        assert not any("circle-token" in asked.headers for asked in other.asked)
    assert (report.files, report.failed, report.expired) == (4, 1, 0)
    assert [one.code for one in report.failures] == ["not_found"]


# --- pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "place"), [("html-200", "storage"), ("html-200", "artifact"), ("redirect-login", "artifact")]
)
async def test_a_sign_in_page_is_no_artifact_and_is_not_asked_for_again(tmp_path: Path, fault: str, place: Any) -> None:
    async with Simulator(world_of(*GOOD, *BAD)) as sim, client_of(sim) as client:
        struck = sim.faults.add(fault, match="/bad/", place=place)
        report = await download(client, tmp_path)
        assert struck.struck == len(BAD)
        assert sim.stats.leaks == 0
    assert files(tmp_path) == {f"0/{one.path}" for one in GOOD}
    assert {(one.code, one.reason) for one in report.failures} == {
        ("integrity", "the host sent a web page in the file's place")
    }
    assert (report.files, report.failed, report.stopped_by) == (4, 2, None)


@pytest.mark.parametrize("name", ["report.html", "report", "index.HTM"])
async def test_a_redirect_to_the_sign_in_page_is_told_from_an_artifact_by_where_it_leads(
    tmp_path: Path, name: str
) -> None:
    async with Simulator(world_of(FakeArtifact(name, size=10))) as sim, client_of(sim) as client:
        sim.faults.add("redirect-login")
        report = await download(client, tmp_path)
    assert [one.code for one in report.failures] == ["integrity"]
    assert files(tmp_path) == set()


async def test_a_half_file_outlives_a_page_in_its_place(tmp_path: Path) -> None:
    async with Simulator(world_of(FakeArtifact("x.bin", size=400_000))) as sim, client_of(sim) as client:
        sim.faults.add("cut-body", 1)
        sim.faults.add("html-200", 1)
        first = await download(client, tmp_path)
        second = await download(client, tmp_path)
        asked = [one.headers.get("Range") for one in sim.requests if one.origin == "storage"]
        assert (tmp_path / "0/x.bin").read_bytes() == sim.world.artifact_bytes(SLUG, 1, "x.bin")
    assert [one.code for one in first.failures] == ["integrity"]
    assert second.ok
    assert asked[0] is None
    assert asked[1] == asked[2] != None  # noqa: E711 -- a chain reads better


HTML, TAG = {"Content-Type": "text/html; charset=utf-8"}, {"ETag": '"5d41402a"'}


@pytest.mark.parametrize(
    ("name", "headers", "home", "expected"),
    [
        ("core.bin", HTML, False, True),
        ("logs.tar.gz", {"Content-Type": " Application/XHTML+xml"}, False, True),
        ("core.bin", {**HTML, "ETag": 'W/"5d41402a"'}, False, True),
        # what may well be the artifact
        ("core.bin", {**HTML, **TAG}, False, False),
        ("core.bin", {"Content-Type": "application/octet-stream"}, False, False),
        ("core.bin", {}, False, False),
        ("index.html", HTML, False, False),
        ("INDEX.HTM", HTML, False, False),
        ("page.xhtml", HTML, False, False),
        ("report", HTML, False, False),
        (".hidden", HTML, False, False),
        # a redirect to the API is to where people sign in
        ("report", HTML, True, True),
        ("index.html", HTML, True, True),
        ("index.html", {**HTML, **TAG}, True, False),
        ("core.bin", {"Content-Type": "application/json"}, True, False),
    ],
)
def test_only_what_nothing_speaks_for_is_a_page_in_a_files_place(
    name: str, headers: Mapping[str, str], home: bool, expected: bool
) -> None:
    assert is_page_instead(name, headers, home=home) is expected
