"""The faults of hosts that mean harm or have lost their way do what their names say, seen from a raw socket."""

import socket
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest
from sim_client import ask, hop, listed, with_token

from aiocircle.testing import FakeArtifact, Simulator, SimulatorThread, World

SLUG = "gh/acme/web"
SIZE = 600_000


@pytest.fixture
def sim() -> Iterator[Simulator]:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=SIZE)])
    with SimulatorThread(world) as running:
        yield running


def file_url(sim: Simulator) -> str:
    job = sim.world.job(SLUG, 1)
    assert job is not None
    url: str = listed(sim, job)[0]["url"]
    return url


def signed(sim: Simulator) -> str:
    return hop(sim, file_url(sim))


def truth(sim: Simulator, generation: int = 0) -> bytes:
    job = sim.world.job(SLUG, 1)
    assert job is not None
    return sim.world.content(job, job.artifacts[0], generation).read(0, SIZE)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("redirect-link-local", "http://169.254.169.254/"),
        ("redirect-link-local-mapped", "http://[::ffff:a9fe:a9fe]/"),
        ("redirect-link-local-number", "http://2852039166/"),
    ],
)
def test_a_redirect_to_the_metadata_service(sim: Simulator, name: str, begins: str) -> None:
    url = file_url(sim)
    sim.faults.add(name)
    reply = ask(url, with_token(sim))
    assert reply.status == 302
    assert reply.location.startswith(begins)


def test_a_redirect_to_a_sign_in_page(sim: Simulator) -> None:
    url = file_url(sim)
    sim.faults.add("redirect-login")
    page = ask(hop(sim, url))
    assert (page.status, page.header("Content-Type")) == (200, "text/html; charset=utf-8")
    assert page.header("ETag") is None


def received(sim: Simulator, seconds: float) -> bytes:
    """Return what comes from the storage within so many seconds."""
    url = signed(sim)
    port = int(sim.storage_url.rpartition(":")[2])
    end, came = time.monotonic() + seconds, b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(f"GET {url.removeprefix(sim.storage_url)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while (left := end - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                chunk = connection.recv(1 << 20)
            except TimeoutError:
                break
            assert chunk, "it has ended"
            came += chunk
    return came


def test_a_body_without_an_end(sim: Simulator) -> None:
    sim.faults.add("endless")
    assert len(received(sim, 1)) > SIZE + 100_000


def test_an_endless_drip(sim: Simulator) -> None:
    sim.faults.add("endless-drip", seconds=0.05)
    head, _, body = received(sim, 1).partition(b"\r\n\r\n")
    assert b"chunked" in head
    assert 3 <= body.count(b"1\r\n\0\r\n") <= 20


def test_hints_without_an_end(sim: Simulator) -> None:
    sim.faults.add("endless-hints", seconds=0.05)
    came = received(sim, 1)
    assert 3 <= came.count(b"HTTP/1.1 103") <= 20
    assert b"200" not in came


def test_a_slow_head(sim: Simulator) -> None:
    sim.faults.add("slow-head", seconds=0.05)
    came = received(sim, 1)
    assert 3 <= len(came) <= 20
    assert b"HTTP/1.1 200 ".startswith(came[:13])


def test_a_drip_after_a_part(sim: Simulator) -> None:
    sim.faults.add("slow-drip", rate=10, part=0.5)
    assert SIZE // 2 <= len(received(sim, 1)) <= SIZE // 2 + 1000


def test_a_date_as_the_only_validator(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("last-modified-only")
    first = ask(url)
    date = first.header("Last-Modified") or ""
    assert first.header("ETag") is None
    assert time.time() - parsedate_to_datetime(date).timestamp() > 3600
    part = ask(url, {"Range": "bytes=100-", "If-Range": date})
    assert (part.status, part.body, part.header("Last-Modified")) == (206, truth(sim)[100:], date)
    assert ask(url, {"Range": "bytes=100-", "If-Range": "Mon, 02 Nov 2026 09:30:00 GMT"}).status == 200


def test_a_date_of_this_moment(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("last-modified-young")
    reply = ask(url)
    assert reply.header("ETag") is None
    assert abs(time.time() - parsedate_to_datetime(reply.header("Last-Modified") or "").timestamp()) < 10


@pytest.mark.parametrize(("name", "status"), [("changed-object-modified", 200), ("changed-object-modified-206", 206)])
def test_a_changed_object_of_which_only_the_date_tells(sim: Simulator, name: str, status: int) -> None:
    url = signed(sim)
    sim.faults.add(name)
    first = ask(url)
    date = first.header("Last-Modified") or ""
    second = ask(url, {"Range": "bytes=100-", "If-Range": date})
    assert (first.header("ETag"), second.header("ETag")) == (None, None)
    assert first.body == truth(sim)
    assert second.header("Last-Modified") not in {None, date}
    assert (second.status, second.body) == (status, truth(sim, 1)[100 if status == 206 else 0 :])
