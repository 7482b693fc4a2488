"""What the simulator answers is what the published API document says, field by field: the fake cannot lie.

The document is taken at its word and a little stricter: an object has no fields that the document does not name. The
known departures of the real service are switched off here, except in the last tests, which hold each to its place.
"""

import json
import urllib.request
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
from api_document import DOCUMENT, FORMATS, resolved
from jsonschema import Draft202012Validator

from aiocircle.testing import ODDITIES, Simulator, SimulatorThread, World


@cache
def validator(template: str) -> Draft202012Validator:
    answer = DOCUMENT["paths"][template]["get"]["responses"]["200"]
    return Draft202012Validator(resolved(answer["content"]["application/json"]["schema"]), format_checker=FORMATS)


def errors(template: str, value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in validator(template).iter_errors(value)]


def get(sim: Simulator, path: str) -> Any:
    request = urllib.request.Request(f"{sim.url}/api/v2{path}", headers={"Circle-Token": sim.token})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def pages(sim: Simulator, path: str) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = get(sim, path if token is None else f"{path}?page-token={quote(token, safe='')}")
        yield page
        token = page["next_page_token"]
        if token is None:
            return


def answers(sim: Simulator) -> Iterator[tuple[str, Any]]:
    """Yield the document's path and the answer, for every route, every page and every thing in the world."""
    yield "/me", get(sim, "/me")
    yield "/me/collaborations", get(sim, "/me/collaborations")
    for slug in sim.world.projects:
        yield "/project/{project-slug}", get(sim, f"/project/{slug}")
        listing = list(pages(sim, f"/project/{slug}/pipeline"))
        yield from (("/project/{project-slug}/pipeline", page) for page in listing)
        for page in pages(sim, f"/project/{slug}/pipeline/mine"):
            yield "/project/{project-slug}/pipeline/mine", page
        for pipeline in (item for page in listing for item in page["items"]):
            number = pipeline["number"]
            yield "/project/{project-slug}/pipeline/{pipeline-number}", get(sim, f"/project/{slug}/pipeline/{number}")
            yield from below_pipeline(sim, slug, pipeline["id"])
        for page in pages(sim, f"/insights/{slug}/workflows"):
            yield "/insights/{project-slug}/workflows", page
            for item in page["items"]:
                for runs in pages(sim, f"/insights/{slug}/workflows/{quote(item['name'])}"):
                    yield "/insights/{project-slug}/workflows/{workflow-name}", runs


def below_pipeline(sim: Simulator, slug: str, identifier: str) -> Iterator[tuple[str, Any]]:
    yield "/pipeline/{pipeline-id}", get(sim, f"/pipeline/{identifier}")
    for page in pages(sim, f"/pipeline/{identifier}/workflow"):
        yield "/pipeline/{pipeline-id}/workflow", page
        for workflow in page["items"]:
            if workflow["id"] is None:
                continue
            yield "/workflow/{id}", get(sim, f"/workflow/{workflow['id']}")
            for jobs in pages(sim, f"/workflow/{workflow['id']}/job"):
                yield "/workflow/{id}/job", jobs
                for job in jobs["items"]:
                    yield from below_job(sim, slug, job)


def below_job(sim: Simulator, slug: str, job: Any) -> Iterator[tuple[str, Any]]:
    if job["type"] == "approval" or "job_number" not in job:
        return
    number = job["job_number"]
    yield "/project/{project-slug}/job/{job-number}", get(sim, f"/project/{slug}/job/{number}")
    for page in pages(sim, f"/project/{slug}/{number}/artifacts"):
        yield "/project/{project-slug}/{job-number}/artifacts", page
    for page in pages(sim, f"/project/{slug}/{number}/tests"):
        yield "/project/{project-slug}/{job-number}/tests", page


@pytest.fixture(scope="module")
def strict() -> Iterator[Simulator]:
    with SimulatorThread(World(pipelines=23, oddities=())) as sim:
        yield sim


def test_every_answer_is_what_the_document_says(strict: Simulator) -> None:
    seen = set()
    for template, value in answers(strict):
        assert errors(template, value) == [], template
        seen.add(template)
    assert len(seen) == 15


def test_the_validation_can_fail(strict: Simulator) -> None:
    """A fake of the fake: each kind of lie is found."""
    template = "/workflow/{id}"
    found = next(value for name, value in answers(strict) if name == template)
    lies = [
        {**found, "id": "not a uuid"},
        {**found, "created_at": "2026-11-02 09:30"},
        {**found, "pipeline_number": "7"},
        {**found, "status": "splendid"},
        {**found, "surprise": 1},
        {**found, "name": None},
        {key: value for key, value in found.items() if key != "started_by"},
    ]
    assert [bool(errors(template, lie)) for lie in lies] == [True] * len(lies)
    assert errors(template, {**found, "stopped_at": None}) == []


# Where the document is left on purpose, and only there.
DEPARTURES = {
    "null-started-at": ("/workflow/{id}/job", ".started_at: None is not of type 'string'"),
    "unlisted-trigger": ("pipeline", ".trigger.type: "),
    "skipped-status": ("/workflow/{id}/job", ".status: 'skipped' is not one of"),
    "loose-tests": ("/tests", ""),
    "snake-case-collaborations": ("/me/collaborations", ""),
    "null-workflow-id": ("/pipeline/{pipeline-id}/workflow", ".id: None is not of type 'string'"),
}


def test_every_oddity_is_judged_here() -> None:
    assert set(DEPARTURES) == set(ODDITIES)


@pytest.mark.parametrize("oddity", DEPARTURES)
def test_an_oddity_leaves_the_document_where_it_says_and_nowhere_else(oddity: str) -> None:
    place, words = DEPARTURES[oddity]
    with SimulatorThread(World(pipelines=8, oddities=[oddity])) as sim:
        found = [(template, error) for template, value in answers(sim) for error in errors(template, value)]
    assert found
    assert [each for each in found if place not in each[0] or words not in each[1]] == []
