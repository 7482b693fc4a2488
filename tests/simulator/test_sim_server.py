"""The simulator's answers: who may ask, what is listed, what is counted."""

import asyncio
import base64
import json
import socket
import time
from urllib.parse import quote

import aiohttp
import pytest
import sim_served
from sim_client import api, ask, hop, list_all, listed, with_token
from sim_served import SLUG, first_url
from yarl import URL

from aiocircle.testing import FakeArtifact, KongLimits, Simulator, SimulatorThread, World

fresh = sim_served.fresh
sim = sim_served.sim


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


@pytest.mark.anyio
async def test_each_connection_carries_no_more_than_it_may() -> None:
    size = 1024 * 1024
    world = World(pipelines=0)
    job = world.add_job(SLUG, 1, [FakeArtifact("f", size=size)])
    async with Simulator(world, rate=4 * size) as sim, aiohttp.ClientSession() as session:

        async def fetch() -> float:
            began = time.monotonic()
            listed_at = f"{sim.artifact_url}/output/job/{job.id}/artifacts/0/f"
            async with session.get(listed_at, headers=with_token(sim), allow_redirects=False) as redirect:
                signed = URL(redirect.headers["Location"], encoded=True)
            async with session.get(signed) as response:
                assert len(await response.read()) == size
            return time.monotonic() - began

        both = await asyncio.gather(fetch(), fetch())
        assert min(both) > 0.15, "what the sockets hold is sent at once"


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
