"""Every fault of the simulator: listings."""

import gzip
from typing import Any

import pytest
import sim_faulty
from sim_client import api, listed
from sim_faulty import LISTING, SLUG

from aiocircle.testing import Simulator
from aiocircle.testing.records import Job

sim = sim_faulty.sim


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
