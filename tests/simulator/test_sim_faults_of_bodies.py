"""Every fault of the simulator: bodies of files."""

import gzip
import socket
import time

import pytest
import sim_faulty
from sim_client import ask, hop
from sim_faulty import SIZE, SLUG, file_url

from aiocircle.testing import Simulator

sim = sim_faulty.sim


def signed(sim: Simulator) -> str:
    return hop(sim, file_url(sim))


def truth(sim: Simulator) -> bytes:
    return sim.world.artifact_bytes(SLUG, 1, "f")


def test_a_cut_body(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("cut-body", times=1)
    reply = ask(url)
    assert (reply.status, reply.header("Content-Length"), reply.ended) == (200, str(SIZE), True)
    assert reply.body == truth(sim)[: SIZE // 2]
    assert not sim.stats.completed
    assert ask(url).body == truth(sim)


def test_a_cut_range_is_cut_in_its_middle(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("cut-body")
    reply = ask(url, {"Range": "bytes=100-299"})
    assert (reply.status, reply.header("Content-Length")) == (206, "200")
    assert reply.body == truth(sim)[100:200]


def test_a_cut_chunked_body(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("cut-chunked")
    reply = ask(url)
    assert (reply.header("Transfer-Encoding"), reply.header("Content-Length")) == ("chunked", None)
    assert reply.ended
    assert not reply.body.endswith(b"0\r\n\r\n")
    assert SIZE // 2 < len(reply.body) < SIZE // 2 + 1000


@pytest.mark.parametrize(("name", "length"), [("short-length", SIZE - 7), ("wrong-length", SIZE + 7)])
def test_a_length_that_lies(sim: Simulator, name: str, length: int) -> None:
    url = signed(sim)
    sim.faults.add(name)
    reply = ask(url)
    assert reply.header("Content-Length") == str(length)
    assert reply.body == truth(sim)
    assert reply.ended


def test_a_slow_drip(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("slow-drip", rate=100)
    began = time.monotonic()
    reply = ask(url, {"Range": "bytes=0-39"})
    assert 0.3 < time.monotonic() - began < 3
    assert reply.body == truth(sim)[:40]


@pytest.mark.parametrize(("name", "sent"), [("stall", 0), ("stall-half", SIZE // 2)])
def test_a_stall(sim: Simulator, name: str, sent: int) -> None:
    url = signed(sim)
    sim.faults.add(name)
    reply = ask(url, timeout=0.5)
    assert (reply.status, reply.ended) == (200, False)
    assert reply.body == truth(sim)[:sent]


@pytest.mark.parametrize(
    ("name", "lengths"),
    [
        ("close-delimited", []),
        ("http-1.0", []),
        ("junk-length", ["many"]),
        ("double-length", [str(SIZE), str(SIZE + 1)]),
    ],
)
def test_an_ill_framed_body(sim: Simulator, name: str, lengths: list[str]) -> None:
    url = signed(sim)
    sim.faults.add(name)
    reply = ask(url)
    assert reply.headers("Content-Length") == lengths
    assert reply.body == truth(sim)
    assert reply.ended


def test_http_1_0_says_so(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("http-1.0")
    port = int(sim.storage_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {url.removeprefix(sim.storage_url)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.recv(8) == b"HTTP/1.0"


def test_early_hints_come_before_the_answer(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("early-hints")
    reply = ask(url)
    assert reply.status == 103
    assert reply.body.startswith(b"HTTP/1.1 200")
    assert reply.body.endswith(truth(sim))


def test_a_header_bomb(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("header-bomb")
    assert len(ask(url).fields) > 10_000


def test_an_encoding_that_nobody_asked_for(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("encoding-forced")
    reply = ask(url, {"Accept-Encoding": "identity"})
    assert reply.header("Content-Encoding") == "gzip"
    assert reply.header("Content-Length") == str(len(reply.body))
    assert gzip.decompress(reply.body) == truth(sim)


def test_a_page_in_the_files_place(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("html-200")
    reply = ask(url)
    assert reply.status == 200
    assert reply.header("Content-Type") == "text/html; charset=utf-8"
    assert b"Sign in" in reply.body


def test_a_refused_range(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("range-refused")
    reply = ask(url, {"Range": "bytes=5-"})
    assert (reply.status, reply.header("Content-Range")) == (200, None)
    assert reply.body == truth(sim)


def test_ranges_that_nobody_announces(sim: Simulator) -> None:
    url = signed(sim)
    assert ask(url).header("Accept-Ranges") == "bytes"
    sim.faults.add("ranges-unannounced")
    assert ask(url).header("Accept-Ranges") is None
    reply = ask(url, {"Range": "bytes=0-39"})
    assert (reply.status, reply.body) == (206, truth(sim)[:40])


def test_an_unsatisfiable_range(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("range-unsatisfiable")
    assert ask(url, {"Range": "bytes=5-"}).status == 416
    assert ask(url).status == 200


def test_a_wrong_content_range(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("wrong-content-range")
    reply = ask(url, {"Range": "bytes=100-199"})
    assert (reply.status, reply.header("Content-Range")) == (206, f"bytes 107-206/{SIZE + 7}")
    assert reply.body == truth(sim)[100:200]


def test_an_unasked_part(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("range-unasked")
    reply = ask(url)
    assert (reply.status, reply.header("Content-Range")) == (206, f"bytes 0-{SIZE // 2 - 1}/{SIZE}")
    assert reply.body == truth(sim)[: SIZE // 2]


def test_a_changed_object_is_never_given_in_part(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("changed-object")
    first = ask(url)
    etag = first.header("ETag")
    assert etag is not None
    second = ask(url, {"Range": "bytes=100-", "If-Range": etag})
    assert first.body == truth(sim)
    assert second.status == 200
    assert second.header("ETag") != etag
    assert len(second.body) == SIZE
    assert second.body != first.body


def test_a_changed_object_may_be_given_in_part_by_a_careless_server(sim: Simulator) -> None:
    url = signed(sim)
    sim.faults.add("changed-object-206")
    first = ask(url)
    second = ask(url, {"Range": "bytes=100-", "If-Range": first.header("ETag") or ""})
    assert second.status == 206
    assert second.header("ETag") != first.header("ETag")
    assert second.body != first.body[100:]


def test_validators(sim: Simulator) -> None:
    url = signed(sim)
    strong = ask(url).header("ETag")
    sim.faults.add("no-validator", times=1)
    reply = ask(url)
    assert (reply.header("ETag"), reply.header("Last-Modified")) == (None, None)
    sim.faults.add("weak-etag", times=1)
    assert ask(url).header("ETag") == f"W/{strong}"
    sim.faults.add("wrong-digest", times=1)
    reply = ask(url)
    assert (reply.header("Repr-Digest") or "").startswith("sha-256=:")
    assert reply.body == truth(sim)
