"""Every fault does what its name says, seen from a raw socket."""

import gzip
import socket
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from sim_client import Reply, api, ask, hop, list_all, listed, with_token

from aiocircle.testing import FAULTS, FakeArtifact, GeneratedArtifacts, Simulator, SimulatorThread, World
from aiocircle.testing.faults import parse_fault
from aiocircle.testing.records import Job

SLUG = "gh/acme/web"
SIZE = 600_000
LISTING = f"/project/{SLUG}/2/artifacts"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=SIZE)])
    world.add_job(SLUG, 2, GeneratedArtifacts("many", 45, 3))
    with SimulatorThread(world) as running:
        yield running


def file_url(sim: Simulator) -> str:
    job = sim.world.job(SLUG, 1)
    assert job is not None
    url: str = listed(sim, job)[0]["url"]
    return url


def signed(sim: Simulator) -> str:
    return hop(sim, file_url(sim))


def truth(sim: Simulator) -> bytes:
    return sim.world.artifact_bytes(SLUG, 1, "f")


def test_every_fault_has_a_test_here() -> None:
    here = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_sim_faults*.py"))
    assert [name for name in FAULTS if f'"{name}"' not in here] == []


# Refusals and breakdowns.

STATUSES: dict[str, tuple[int, Callable[[Reply], bool]]] = {
    "429-retry-after-seconds": (429, lambda r: r.header("Retry-After") == "1"),
    "429-retry-after-date": (429, lambda r: -1 <= _seconds_until(r.header("Retry-After")) <= 3),
    "429-retry-after-day": (429, lambda r: r.header("Retry-After") == "86400"),
    "429-retry-after-junk": (429, lambda r: r.header("Retry-After") == "soon"),
    "429-retry-after-negative": (429, lambda r: r.header("Retry-After") == "-5"),
    "429-reset-only": (429, lambda r: (r.header("RateLimit-Reset"), r.header("Retry-After")) == ("1", None)),
    "429-reset-epoch": (429, lambda r: abs(int(r.header("X-RateLimit-Reset") or 0) - time.time()) < 5),
    "429-bare": (429, lambda r: not r.body and not any("rate" in name or "retry" in name for name, _ in r.fields)),
    "500": (500, lambda r: r.json() == {"message": "Internal server error."}),
    "502-html": (502, lambda r: r.header("Content-Type") == "text/html" and b"Bad Gateway" in r.body),
    "503-retry-after": (503, lambda r: r.header("Retry-After") == "1"),
    "503-bare": (503, lambda r: not r.body and r.header("Retry-After") is None),
    "504-html": (504, lambda r: b"Time-out" in r.body),
    "token-revoked": (401, lambda r: "message" in r.json()),
    "bad-request": (400, lambda r: "message" in r.json()),
}


def _seconds_until(date: str | None) -> float:
    assert date is not None
    return parsedate_to_datetime(date).timestamp() - time.time()


@pytest.mark.parametrize("name", STATUSES)
def test_a_refusal(sim: Simulator, name: str) -> None:
    status, holds = STATUSES[name]
    armed = sim.faults.add(name, times=1)
    reply = api(sim, "/me")
    assert reply.status == status
    assert holds(reply), reply
    assert api(sim, "/me").status == 200
    assert armed.struck == sim.stats.faulted[name] == 1


def test_the_figures_of_a_fault_can_be_set(sim: Simulator) -> None:
    sim.faults.add("429-retry-after-seconds", seconds=7)
    assert api(sim, "/me").header("Retry-After") == "7"


@pytest.mark.parametrize(("name", "status"), [("forbidden-403", 403), ("expired-404", 404), ("expired-410", 410)])
def test_a_file_that_is_not_given(sim: Simulator, name: str, status: int) -> None:
    url = file_url(sim)
    sim.faults.add(name)
    assert ask(url, with_token(sim)).status == status


def test_a_token_is_revoked_in_the_middle_of_a_run(sim: Simulator) -> None:
    url = file_url(sim)
    sim.faults.add("token-revoked", after=2)
    asked = [f"{sim.url}/api/v2/me", url, url, f"{sim.url}/api/v2/me"]
    assert [ask(each, with_token(sim)).status for each in asked] == [200, 302, 401, 401]


@pytest.mark.parametrize("name", ["drop", "reset"])
def test_a_connection_that_ends_without_an_answer(sim: Simulator, name: str) -> None:
    sim.faults.add(name, times=1)
    try:
        received = api(sim, "/me").status
        ended_by_reset = False
    except ConnectionResetError:
        received, ended_by_reset = 0, True
    assert received == 0
    assert ended_by_reset == (name == "reset")
    assert api(sim, "/me").status == 200


def test_silence(sim: Simulator) -> None:
    sim.faults.add("silence")
    reply = ask(f"{sim.url}/api/v2/me", with_token(sim), timeout=0.3)
    assert (reply.status, reply.ended) == (0, False)


# Redirects.


def test_an_expired_signature_is_helped_by_asking_again(sim: Simulator) -> None:
    url = file_url(sim)
    sim.faults.add("expired-signature", times=1)
    expired = hop(sim, url)
    for _ in range(2):
        assert ask(expired).status == 403
    assert b"Request has expired" in ask(expired).body
    assert ask(hop(sim, url)).status == 200


def test_redirects_astray(sim: Simulator) -> None:
    url = file_url(sim)
    path = url.removeprefix(sim.url)
    expected = {
        "redirect-loop": url,
        "redirect-http-downgrade": sim.foreign_url + path,
        "redirect-foreign": f"{sim.foreign_url}/elsewhere",
        "redirect-there-and-back": f"{sim.foreign_url}/back/artifact{path}",
        "redirect-file": "file:///etc/passwd",
    }
    for name, location in expected.items():
        sim.faults.add(name, times=1)
        assert hop(sim, url) == location


def test_there_and_back_comes_back(sim: Simulator) -> None:
    url = file_url(sim)
    sim.faults.add("redirect-there-and-back", times=1)
    assert ask(hop(sim, url)).location == url


def test_a_redirect_without_a_location(sim: Simulator) -> None:
    url = file_url(sim)
    sim.faults.add("redirect-no-location")
    reply = ask(url, with_token(sim))
    assert (reply.status, reply.header("Location")) == (302, None)


def test_a_redirect_of_another_status(sim: Simulator) -> None:
    url = file_url(sim)
    for status in (301, 303, 307, 308):
        sim.faults.clear()
        sim.faults.add("redirect-status", status=status)
        reply = ask(url, with_token(sim))
        assert reply.status == status
        assert ask(reply.location).status == 200


def test_a_relative_redirect(sim: Simulator) -> None:
    url = file_url(sim)
    sim.faults.add("redirect-relative")
    location = hop(sim, url)
    assert location.startswith("//127.0.0.1:")
    assert ask(f"http:{location}").status == 200


def test_a_redirected_listing(sim: Simulator) -> None:
    sim.faults.add("redirect-json")
    assert api(sim, LISTING).location == f"{sim.foreign_url}/elsewhere"


# Bodies.


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


# Listings.


def page(sim: Simulator, token: str | None = None, listing: str = LISTING) -> Any:
    path = listing if token is None else f"{listing}?page-token={token.replace('+', '%2B').replace('/', '%2F')}"
    return api(sim, path).json()


def walk(sim: Simulator, pages: int) -> tuple[list[str | None], list[list[Any]]]:
    """Follow so many pages and return their tokens and items."""
    tokens: list[str | None] = []
    items: list[list[Any]] = []
    for _ in range(pages):
        answer = page(sim, tokens[-1] if tokens else None)
        tokens.append(answer["next_page_token"])
        items.append(answer["items"])
    return tokens, items


def true_pages(sim: Simulator) -> list[list[Any]]:
    job = sim.world.job(SLUG, 2)
    assert isinstance(job, Job)
    items = listed(sim, job)
    return [items[:20], items[20:40], items[40:]]


def test_a_repeated_token(sim: Simulator) -> None:
    pages = true_pages(sim)
    sim.faults.add("page-token-repeated")
    tokens, items = walk(sim, 5)
    assert len(set(tokens)) == 1
    assert items == [pages[0], *[pages[1]] * 4]


def test_a_repeated_token_on_a_listing_of_one_page(sim: Simulator) -> None:
    sim.faults.add("page-token-repeated")
    one = f"/project/{SLUG}/1/artifacts"
    token = page(sim, listing=one)["next_page_token"]
    assert token
    assert page(sim, token, one)["next_page_token"] == token


def test_a_cycle_of_tokens(sim: Simulator) -> None:
    sim.faults.add("page-token-cycle")
    tokens, items = walk(sim, 5)
    assert tokens == ["cycle+A", "cycle+B", "cycle+A", "cycle+B", "cycle+A"]
    assert all(items)


@pytest.mark.parametrize(("name", "full"), [("page-repeated", True), ("page-empty-forever", False)])
def test_pages_without_end(sim: Simulator, name: str, full: bool) -> None:
    pages = true_pages(sim)
    sim.faults.add(name)
    tokens, items = walk(sim, 6)
    assert len(set(tokens)) == 6
    assert None not in tokens
    assert items == ([pages[0]] * 6 if full else [[]] * 6)


def test_an_absent_token_on_the_last_page(sim: Simulator) -> None:
    sim.faults.add("page-token-absent")
    tokens, _ = walk(sim, 2)
    assert all(tokens)
    assert set(page(sim, tokens[-1])) == {"items"}


def test_an_empty_token_on_the_last_page(sim: Simulator) -> None:
    sim.faults.add("page-token-empty")
    tokens, _ = walk(sim, 3)
    assert tokens[2] == ""
    assert all(tokens[:2])


def test_a_token_that_leads_to_a_404(sim: Simulator) -> None:
    sim.faults.add("page-token-404")
    token = page(sim)["next_page_token"]
    assert set(page(sim, token)) == {"message"}


def test_spoiled_items(sim: Simulator) -> None:
    first = true_pages(sim)[0]
    sim.faults.add("items-null", times=1)
    assert page(sim)["items"] is None
    sim.faults.add("items-duplicated", times=1)
    assert page(sim)["items"] == [item for item in first for _ in range(2)]
    sim.faults.add("unknown-fields", times=1)
    spoiled = page(sim)
    assert spoiled["extra"] == 1
    assert all(item["new-field"] == {"deep": [1]} for item in spoiled["items"])


def test_json_that_is_none(sim: Simulator) -> None:
    whole = api(sim, LISTING).body
    sim.faults.add("json-cut", times=1)
    cut = api(sim, LISTING)
    assert (cut.status, cut.body) == (200, whole[: len(whole) // 2])
    sim.faults.add("json-html-200", times=1)
    page_of_html = api(sim, LISTING)
    assert (page_of_html.status, page_of_html.header("Content-Type")) == (200, "text/html")
    sim.faults.add("json-shape", times=1)
    assert api(sim, LISTING).json() == [1, 2, 3]


def test_a_json_bomb(sim: Simulator) -> None:
    sim.faults.add("json-bomb", mib=8)
    reply = api(sim, LISTING)
    assert reply.header("Content-Encoding") == "gzip"
    assert len(reply.body) < 20_000
    assert len(gzip.decompress(reply.body)) > 8 * 1024 * 1024
    assert reply.json() == {"items": [], "next_page_token": None}


def test_faults_of_listings_leave_single_answers_alone(sim: Simulator) -> None:
    sim.faults.add("items-null", times=1)
    assert api(sim, "/me").json()["login"] == "octo"
    assert page(sim)["items"] is None


# Switching on.


def test_a_fault_strikes_so_often_after_so_many_where_it_matches(sim: Simulator) -> None:
    armed = sim.faults.add("500", times=2, after=1, match="/artifacts$")
    assert api(sim, "/me").status == 200
    assert [api(sim, LISTING).status for _ in range(5)] == [200, 500, 500, 200, 200]
    assert (armed.met, armed.struck) == (5, 2)


def test_faults_take_turns_in_the_order_of_adding(sim: Simulator) -> None:
    sim.faults.add("500", times=1)
    sim.faults.add("503-bare", times=2)
    assert [api(sim, "/me").status for _ in range(4)] == [500, 503, 503, 200]


def test_a_fault_can_be_moved_to_another_place(sim: Simulator) -> None:
    url = file_url(sim)
    location = hop(sim, url)
    sim.faults.add("500", place="storage")
    assert (api(sim, "/me").status, ask(url, with_token(sim)).status, ask(location).status) == (200, 302, 500)
    sim.faults.clear()
    sim.faults.add("cut-body", place="api")
    reply = api(sim, LISTING)
    assert len(reply.body) == int(reply.header("Content-Length") or 0) // 2


def test_faults_are_written_in_short() -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=5)])
    with SimulatorThread(world, faults=["500:1+2@artifact", "429-bare"]) as sim:
        first, second = sim.faults
        assert (first.kind.name, first.times, first.after, first.places) == ("500", 1, 2, ("artifact",))
        assert (second.kind.name, second.times, second.after, second.places) == ("429-bare", None, 0, ("api",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nope", "no such fault: 'nope'"),
        ("500:x", "a fault is written NAME"),
        ("", "a fault is written NAME"),
        ("500@moon", "no such place: 'moon'"),
    ],
)
def test_nonsense_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_fault(text, Simulator(World(pipelines=0)).faults)


def test_an_unknown_setting_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="fault slow-drip has no setting 'speed'; it has: rate"):
        Simulator(World(pipelines=0)).faults.add("slow-drip", speed=2)


def test_the_true_listing_is_untouched_without_faults(sim: Simulator) -> None:
    assert len(list_all(sim, LISTING)) == 45
