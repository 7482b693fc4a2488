"""The simulator's files: their listing, the redirect to signed storage, ranges."""

from urllib.parse import unquote

import pytest
import sim_served
from sim_client import ask, hop, listed, with_token
from sim_served import SLUG, first_url

from aiocircle.testing import FakeArtifact, Simulator, SimulatorThread, World

fresh = sim_served.fresh
sim = sim_served.sim


# Files.


def test_a_listed_file_has_path_node_and_address_and_nothing_else(sim: Simulator) -> None:
    job = sim.world.job(SLUG, 9000)
    assert job is not None
    first, second = listed(sim, job)
    base = f"{sim.url}/output/job/{job.id}/artifacts"
    assert first == {"path": "a b+c/é.txt", "node_index": 0, "url": f"{base}/0/a+b%2Bc/%C3%A9.txt"}
    assert second == {"path": "../../x", "node_index": 1, "url": f"{base}/1/../../x"}


def test_every_listed_file_leads_to_its_bytes(sim: Simulator) -> None:
    for number in (9000, 9001):
        job = sim.world.job(SLUG, number)
        assert job is not None
        for item in listed(sim, job):
            reply = ask(hop(sim, item["url"]))
            assert reply.status == 200
            assert reply.body == sim.world.artifact_bytes(SLUG, number, item["path"], item["node_index"])
            assert reply.header("Content-Length") == str(len(reply.body))


HOSTILE = [
    "../../x",
    "/etc/passwd",
    "C:\\x",
    "a\0b",
    "a\r\nb",
    "\ud800",
    "",
    " ",
    "//x",
    "%2e%2e/x",
    "a//b",
    "~",
    "x/",
    "?#&;=",
]


def test_files_of_any_name_lead_to_their_bytes() -> None:
    world = World(pipelines=0)
    job = world.add_job(SLUG, 1, [FakeArtifact(path, size=50) for path in [*HOSTILE, "é" * 2000]])
    with SimulatorThread(world) as sim:
        items = listed(sim, job)
        assert [item["path"] for item in items] == [artifact.path for artifact in job.artifacts]
        for item in items:
            assert ask(hop(sim, item["url"])).body == world.artifact_bytes(SLUG, 1, item["path"])
        assert sim.stats.completed.total() == len(items)


@pytest.mark.parametrize(
    "path",
    [
        "/output/job/x",
        "/output/job/x/artifacts/0/f",
        "/output/job/{id}/artifacts/0/%FF",
        "/output/job/{id}/artifacts/x/f",
        "/output/job/{id}/artifacts/" + "9" * 5000 + "/f",
        "/api/v2/project/gh/acme/web/" + "9" * 5000 + "/artifacts",
    ],
)
def test_an_address_that_was_never_listed_is_a_404(fresh: Simulator, path: str) -> None:
    job = fresh.world.job(SLUG, 1)
    assert job is not None
    assert ask(fresh.url + path.replace("{id}", job.id), with_token(fresh)).status == 404


def test_the_redirect_leads_to_another_origin_with_a_signed_query(fresh: Simulator) -> None:
    location = hop(fresh, first_url(fresh))
    assert location.startswith(f"{fresh.storage_url}/bucket/")
    for name in ("X-Amz-Date=", "X-Amz-Expires=300", "X-Amz-Signature="):
        assert name in location


def test_a_tampered_or_unsigned_address_is_refused_in_xml(fresh: Simulator) -> None:
    location = hop(fresh, first_url(fresh))
    for bad in (
        location.replace("/f?", "/g?"),
        location.replace("X-Amz-Expires=300", "X-Amz-Expires=30000"),
        location[:-1] + ("0" if location[-1] != "0" else "1"),
        location.partition("?")[0],
        location.partition("&X-Amz-Signature")[0],
    ):
        reply = ask(bad)
        assert reply.status == 403, bad
        assert reply.header("Content-Type") == "application/xml"
        assert b"<Error><Code>" in reply.body


def test_another_spelling_of_a_signed_address_is_the_same_address(fresh: Simulator) -> None:
    location = hop(fresh, first_url(fresh))
    path, _, query = location.partition("?")
    reordered = "&".join(reversed(unquote(query).split("&")))
    assert ask(f"{path}?{reordered}").status == 200


def test_a_signed_address_expires() -> None:
    now = [1_700_000_000.0]
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=5)])
    with SimulatorThread(world, signature_ttl=60, clock=lambda: now[0]) as sim:
        location = hop(sim, first_url(sim))
        now[0] += 60
        assert ask(location).status == 200
        now[0] += 2
        reply = ask(location)
        assert reply.status == 403
        assert b"Request has expired" in reply.body
        assert ask(hop(sim, first_url(sim))).status == 200


@pytest.mark.parametrize("name", ["Circle-Token", "Authorization", "Cookie", "Proxy-Authorization"])
def test_a_credential_at_the_storage_is_refused_and_counted(fresh: Simulator, name: str) -> None:
    location = hop(fresh, first_url(fresh))
    assert fresh.stats.leaks == 0
    assert ask(location, {name: "anything"}).status == 400
    assert fresh.stats.leaks == 1
    assert not fresh.stats.completed


def test_a_credential_at_the_foreign_origin_is_counted(fresh: Simulator) -> None:
    assert ask(f"{fresh.foreign_url}/x").status == 200
    assert (fresh.stats.foreign, fresh.stats.leaks) == (1, 0)
    ask(f"{fresh.foreign_url}/x", with_token(fresh))
    assert (fresh.stats.foreign, fresh.stats.leaks) == (2, 1)


def test_files_may_have_an_origin_of_their_own() -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=5)])
    with SimulatorThread(world, artifact_origin=True) as sim:
        url = first_url(sim)
        assert len({sim.url, sim.storage_url, sim.artifact_url}) == 3
        assert url.startswith(sim.artifact_url)
        assert ask(url).status == 401
        assert ask(hop(sim, url)).status == 200
        assert ask(url.replace(sim.artifact_url, sim.url), with_token(sim)).status == 404


def test_an_address_can_be_anything() -> None:
    world = World(pipelines=0)
    urls = ["file:///etc/passwd", "{foreign}/x", "", "//host", "{storage}/bucket"]
    job = world.add_job(SLUG, 1, [FakeArtifact(str(n), body=b"", url=url) for n, url in enumerate(urls)])
    with SimulatorThread(world) as sim:
        shown = [item["url"] for item in listed(sim, job)]
        assert shown == ["file:///etc/passwd", f"{sim.foreign_url}/x", "", "//host", f"{sim.storage_url}/bucket"]


# Ranges.


@pytest.mark.parametrize(
    ("asked", "status", "content_range", "start", "stop"),
    [
        ("bytes=0-", 206, "bytes 0-299999/300000", 0, 300_000),
        ("bytes=100-199", 206, "bytes 100-199/300000", 100, 200),
        ("bytes=299999-", 206, "bytes 299999-299999/300000", 299_999, 300_000),
        ("bytes=299990-999999", 206, "bytes 299990-299999/300000", 299_990, 300_000),
        ("bytes=-10", 206, "bytes 299990-299999/300000", 299_990, 300_000),
        ("bytes=-999999", 206, "bytes 0-299999/300000", 0, 300_000),
        ("bytes=300000-", 416, "bytes */300000", 0, 0),
        ("bytes=-0", 416, "bytes */300000", 0, 0),
        ("bytes=5-4", 200, None, 0, 300_000),
        ("bytes=0-1,5-6", 200, None, 0, 300_000),
        ("lines=1-2", 200, None, 0, 300_000),
        ("bytes=-", 200, None, 0, 300_000),
        ("bytes=" + "9" * 5000 + "-", 200, None, 0, 300_000),
    ],
)
def test_ranges(fresh: Simulator, asked: str, status: int, content_range: str | None, start: int, stop: int) -> None:
    reply = ask(hop(fresh, first_url(fresh)), {"Range": asked})
    assert (reply.status, reply.header("Content-Range")) == (status, content_range)
    if status != 416:
        assert reply.body == fresh.world.artifact_bytes(SLUG, 1, "f")[start:stop]


def test_if_range_guards_a_part(fresh: Simulator) -> None:
    location = hop(fresh, first_url(fresh))
    etag = ask(location).header("ETag")
    assert etag is not None
    assert not etag.startswith("W/")
    assert ask(location, {"Range": "bytes=5-", "If-Range": etag}).status == 206
    assert ask(location, {"Range": "bytes=5-", "If-Range": '"other"'}).status == 200
    assert ask(location, {"Range": "bytes=5-", "If-Range": f"W/{etag}"}).status == 200


def test_head_tells_the_size_and_sends_nothing(fresh: Simulator) -> None:
    reply = ask(hop(fresh, first_url(fresh)), method="HEAD")
    assert (reply.status, reply.header("Content-Length"), reply.body) == (200, "300000", b"")
    assert reply.header("Accept-Ranges") == "bytes"
    assert not fresh.stats.fetches
