"""Every fault of the simulator: refusals, redirects, and how one is switched on."""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import sim_faulty
from sim_client import Reply, api, ask, hop, list_all, with_token
from sim_faulty import LISTING, SLUG, file_url

from aiocircle.testing import FAULTS, FakeArtifact, Simulator, SimulatorThread, World
from aiocircle.testing.faults import parse_fault

sim = sim_faulty.sim


def test_every_fault_has_a_test_here() -> None:
    here = "".join(one.read_text(encoding="utf-8") for one in Path(__file__).parent.glob("test_sim_faults*.py"))
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
