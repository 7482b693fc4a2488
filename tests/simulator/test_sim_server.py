"""The server: who may ask, what is answered, where the bytes are, and that it closes at once."""

import asyncio
import base64
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import aiohttp
import pytest
from sim_client import api, ask, hop, list_all, listed, with_token

from aiocircle.testing import FakeArtifact, GeneratedArtifacts, KongLimits, Simulator, SimulatorThread, World

SLUG = "gh/acme/web"


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    """A simulator of a small world, for tests that only look."""
    world = World(pipelines=45)
    world.add_job(SLUG, 9000, [FakeArtifact("a b+c/é.txt", size=1000), FakeArtifact("../../x", 1, body=b"traversal")])
    world.add_job(SLUG, 9001, GeneratedArtifacts("many", 45, 3), tests=45)
    with SimulatorThread(world) as running:
        yield running


@pytest.fixture
def fresh() -> Iterator[Simulator]:
    """A simulator of its own, for tests that count."""
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=300_000), FakeArtifact("empty", body=b"")])
    with SimulatorThread(world) as running:
        yield running


# Who may ask.


@pytest.mark.parametrize(
    "header",
    [
        ("Circle-Token", "{token}"),
        ("Authorization", "Bearer {token}"),
        ("Authorization", "bearer {token}"),
        ("Authorization", "Basic {basic}"),
    ],
)
def test_the_token_is_accepted_in_every_documented_form(sim: Simulator, header: tuple[str, str]) -> None:
    basic = base64.b64encode(f"{sim.token}:".encode()).decode()
    value = header[1].format(token=sim.token, basic=basic)
    assert ask(f"{sim.url}/api/v2/me", {header[0]: value}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Circle-Token": "wrong"},
        {"Circle-Token": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic " + base64.b64encode(b"ccipat_simulator:password").decode()},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Digest ccipat_simulator"},
    ],
)
def test_a_missing_or_wrong_token_is_a_401_with_a_message(sim: Simulator, headers: dict[str, str]) -> None:
    reply = ask(f"{sim.url}/api/v2/me", headers)
    assert reply.status == 401
    assert set(reply.json()) == {"message"}


def test_a_token_in_the_query_is_refused_even_beside_a_header(sim: Simulator) -> None:
    reply = ask(f"{sim.url}/api/v2/me?circle-token={sim.token}", with_token(sim))
    assert reply.status == 401
    assert "deprecated" in reply.json()["message"]


def test_a_file_needs_the_token_too(sim: Simulator) -> None:
    job = sim.world.job(SLUG, 9000)
    assert job is not None
    assert ask(listed(sim, job)[0]["url"]).status == 401


# What is answered.


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/project/gh/acme/none",
        "/project/gh%2Facme%2Fweb",
        "/project/gh/acme%2fweb/x",
        "/project/gh/acme/web/99999/artifacts",
        "/project/gh/acme/web/x/artifacts",
        "/project/gh/acme/web/job/0",
        "/pipeline/00000000-0000-4000-8000-000000000000",
        "/workflow/x/job",
        "/project/gh/acme/web/pipeline/4711",
        "/project/gh/acme/web/",
    ],
)
def test_what_does_not_exist_is_a_404_with_a_message(sim: Simulator, path: str) -> None:
    reply = api(sim, path)
    assert reply.status == 404
    assert set(reply.json()) == {"message"}


def test_an_approval_has_no_details_and_no_artifacts(sim: Simulator) -> None:
    jobs = [
        j for p in sim.world.pipelines(SLUG) for w in p.workflows for j in w.jobs if j.type == "approval" and j.number
    ]
    assert jobs
    for path in (f"/project/{SLUG}/job/{jobs[0].number}", f"/project/{SLUG}/{jobs[0].number}/artifacts"):
        assert api(sim, path).status == 404


def test_answers_are_compact_json_with_a_request_id_and_the_route(sim: Simulator) -> None:
    reply = api(sim, f"/project/{SLUG}/pipeline")
    assert reply.body == json.dumps(reply.json(), separators=(",", ":")).encode()
    assert reply.header("Content-Type") == "application/json"
    assert reply.header("X-route") == "/project/{slug}/pipeline"
    assert reply.header("X-Request-Id") != api(sim, "/me").header("X-Request-Id")


def test_gzip_is_used_when_asked_for(sim: Simulator) -> None:
    plain = api(sim, f"/project/{SLUG}/pipeline")
    packed = api(sim, f"/project/{SLUG}/pipeline", Accept_Encoding="gzip, deflate")
    assert plain.header("Content-Encoding") is None
    assert packed.header("Content-Encoding") == "gzip"
    assert len(packed.body) < len(plain.body) / 2
    assert packed.json() == plain.json()


def test_only_reading_is_simulated(sim: Simulator) -> None:
    assert ask(f"{sim.url}/api/v2/me", {**with_token(sim), "Content-Length": "0"}, method="POST").status == 405


# Pages.


@pytest.mark.parametrize(
    ("path", "count"),
    [
        (f"/project/{SLUG}/pipeline", 47),
        (f"/project/{SLUG}/9001/artifacts", 45),
        (f"/project/{SLUG}/9001/tests", 45),
    ],
)
def test_pages_join_to_the_whole_without_gap_or_double(sim: Simulator, path: str, count: int) -> None:
    first = api(sim, path).json()
    assert len(first["items"]) == 20
    items = list_all(sim, path)
    assert len(items) == count
    assert len({str(item) for item in items}) == count


def test_the_branch_filter_holds_on_every_page(sim: Simulator) -> None:
    everything = list_all(sim, f"/project/{SLUG}/pipeline")
    for branch in ("main", "feature/größe"):
        found = list_all(sim, f"/project/{SLUG}/pipeline?branch={quote(branch)}")
        assert found == [p for p in everything if p.get("vcs", {}).get("branch") == branch]
        assert found
    assert list_all(sim, f"/project/{SLUG}/pipeline?branch=none") == []


def test_insights_list_the_runs_of_a_branch_or_of_all(sim: Simulator) -> None:
    path = f"/insights/{SLUG}/workflows/build-and-test"
    assert {run["branch"] for run in list_all(sim, path)} == {"main"}
    assert len(list_all(sim, f"{path}?all-branches=true")) > len(list_all(sim, path)) > 20


def test_a_token_must_be_percent_encoded(sim: Simulator) -> None:
    token = api(sim, f"/project/{SLUG}/pipeline").json()["next_page_token"]
    assert {"+", "/"} & set(token)
    assert api(sim, f"/project/{SLUG}/pipeline?page-token={quote(token, safe='')}").status == 200


def test_a_token_of_another_listing_or_an_invented_one_is_a_404(sim: Simulator) -> None:
    token = quote(api(sim, f"/project/{SLUG}/pipeline").json()["next_page_token"], safe="")
    assert api(sim, f"/project/{SLUG}/9001/artifacts?page-token={token}").status == 404
    assert api(sim, f"/project/{SLUG}/pipeline?branch=main&page-token={token}").status == 404
    assert api(sim, f"/project/{SLUG}/pipeline?page-token=abc").status == 404
    assert api(sim, f"/project/{SLUG}/pipeline?page-token=%C3%A9").status == 404


def test_the_page_size_can_be_chosen() -> None:
    with SimulatorThread(World(pipelines=7), page_size=3) as sim:
        assert len(api(sim, f"/project/{SLUG}/pipeline").json()["items"]) == 3
        assert len(list_all(sim, f"/project/{SLUG}/pipeline")) == 7


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


def first_url(sim: Simulator) -> str:
    job = sim.world.job(SLUG, 1)
    assert job is not None
    url: str = listed(sim, job)[0]["url"]
    return url


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


# Counting.


def test_the_counters(fresh: Simulator) -> None:
    location = hop(fresh, first_url(fresh))
    ask(location, {"Range": "bytes=0-99"})
    assert (fresh.stats.fetches[1, 0, "f"], fresh.stats.completed[1, 0, "f"]) == (1, 0)
    ask(location)
    ask(location, {"Range": "bytes=299000-"})
    assert (fresh.stats.fetches[1, 0, "f"], fresh.stats.completed[1, 0, "f"]) == (3, 2)
    assert fresh.stats.requests == {"project.job.artifacts": 1, "output": 1, "storage": 3}
    assert fresh.stats.total == 5
    assert fresh.stats.bytes_sent >= 100 + 300_000 + 1000
    held = fresh.stats
    fresh.stats.reset()
    assert fresh.stats is held
    assert (held.total, held.bytes_sent, dict(held.fetches)) == (0, 0, {})


def test_a_broken_off_file_is_not_complete() -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=50_000_000)])
    with SimulatorThread(world) as sim:
        host, _, port = hop(sim, first_url(sim)).split("/")[2].partition(":")
        target = hop(sim, first_url(sim)).split(sim.storage_url)[1]
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection.recv(1000)
        deadline = time.monotonic() + 5
        while sim.stats.in_flight and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sim.stats.in_flight == 0
        assert (sim.stats.fetches[1, 0, "f"], sim.stats.completed[1, 0, "f"]) == (1, 0)


def test_the_log_is_bounded_and_tells_the_headers(fresh: Simulator) -> None:
    ask(f"{fresh.url}/api/v2/me?x=1", {**with_token(fresh), "User-Agent": "test/1"})
    last = fresh.requests[-1]
    assert (last.origin, last.method, last.path) == ("api", "GET", "/api/v2/me?x=1")
    assert last.headers["Circle-Token"] == fresh.token
    assert last.headers["User-Agent"] == "test/1"
    with SimulatorThread(World(pipelines=0), log_size=2) as small:
        for _ in range(5):
            api(small, "/me")
        assert len(small.requests) == 2


@pytest.mark.anyio
async def test_requests_in_flight_are_counted_and_latency_is_kept() -> None:
    async with Simulator(World(pipelines=0), latency=0.15) as sim, aiohttp.ClientSession() as session:

        async def me() -> int:
            async with session.get(f"{sim.url}/api/v2/me", headers=with_token(sim)) as response:
                return response.status

        began = time.monotonic()
        assert await asyncio.gather(*(me() for _ in range(8))) == [200] * 8
        assert 0.14 < time.monotonic() - began < 1
        assert sim.stats.max_in_flight == 8
        assert sim.stats.in_flight == 0


# Limits.


def test_limits_reject_with_kongs_answer() -> None:
    limits = KongLimits({"minute": 2}, clock=lambda: 1_700_000_000.0)
    with SimulatorThread(World(pipelines=0), limits=limits, other_tokens=["other"]) as sim:
        first, _, third = (api(sim, "/me") for _ in range(3))
        assert (first.status, first.header("X-RateLimit-Remaining-Minute")) == (200, "1")
        assert third.status == 429
        assert third.header("Retry-After") == third.header("RateLimit-Reset") == "40"
        assert third.header("X-Kong-Response-Latency") is not None
        assert third.body == b'{"message":"API rate limit exceeded"}'
        assert sim.stats.limited == 1
        assert ask(f"{sim.url}/api/v2/me", {"Circle-Token": "other"}).status == 200
        assert ask(f"{sim.url}/api/v2/me", {"Circle-Token": "wrong"}).status == 401


def test_limits_show_on_404_and_not_on_files(sim: Simulator) -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=5)])
    with SimulatorThread(world, limits=KongLimits({"hour": 100})) as limited:
        assert api(limited, "/nothing").header("RateLimit-Limit") == "100"
        reply = ask(first_url(limited), with_token(limited))
        assert reply.header("RateLimit-Limit") is None
        assert api(sim, "/me").header("RateLimit-Limit") is None


# Closing.


@pytest.mark.parametrize("fault", ["stall", "stall-half", "slow-drip", "silence@storage"])
def test_closing_waits_for_nobody(fault: str) -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=1_000_000)])
    thread = SimulatorThread(world, faults=[fault])
    with thread as sim:
        location = hop(sim, first_url(sim))
        target, port = location.split(sim.storage_url)[1], int(sim.storage_url.rpartition(":")[2])
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        for client in clients:
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        deadline = time.monotonic() + 5
        while sim.stats.in_flight < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sim.stats.in_flight == 20
        began = time.monotonic()
    assert time.monotonic() - began < 1
    for client in clients:
        client.close()


def test_closing_does_not_wait_for_a_client_that_does_not_read() -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=100_000_000)])
    with SimulatorThread(world) as sim:
        target = hop(sim, first_url(sim)).split(sim.storage_url)[1]
        client = socket.create_connection(("127.0.0.1", int(sim.storage_url.rpartition(":")[2])))
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        client.recv(10)
        began = time.monotonic()
    assert time.monotonic() - began < 1
    client.close()


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    with SimulatorThread(World(pipelines=0)) as sim:
        port = int(sim.url.rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)), SimulatorThread(World(pipelines=0), port=port):
            pass
        assert api(sim, "/me").status == 200


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=sim -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@pytest.mark.anyio
async def test_https_is_served_with_a_context_and_the_foreign_origin_stays_http(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    world = World(pipelines=0)
    job = world.add_job(SLUG, 1, [FakeArtifact("f", size=700_000)])
    async with Simulator(world, ssl_context=context) as sim, aiohttp.ClientSession() as session:
        assert sim.url.startswith("https://127.0.0.1:")
        assert sim.storage_url.startswith("https://")
        assert sim.foreign_url.startswith("http://")
        url = f"{sim.url}/output/job/{job.id}/artifacts/0/f"
        async with session.get(url, headers=with_token(sim), ssl=trust, allow_redirects=False) as reply:
            location = reply.headers["Location"]
        async with session.get(location, ssl=trust) as reply:
            assert await reply.read() == world.artifact_bytes(SLUG, 1, "f")
