"""What the simulator answers is what the published API document says, field by field: the fake cannot lie.

The document is taken at its word and a little stricter: an object has no fields that the document does not name. The
known departures of the real service are switched off here, except in the last tests, which hold each to its place.
"""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
from api_document import DOCUMENT, FORMATS, resolved
from jsonschema import Draft202012Validator

from aiocircle.testing import ODDITIES, Simulator, SimulatorThread, World

USAGE = "/organizations/{org_id}/usage_export_job/{usage_export_job_id}"
STILL = datetime(2026, 11, 24, tzinfo=UTC).timestamp  # a clock
NOTHING_RAN = {"start": "2026-11-04T00:00:00Z", "end": "2026-11-04T00:00:00Z"}


@cache
def validator(template: str, method: str = "get", status: int = 200) -> Draft202012Validator:
    answer = DOCUMENT["paths"][template][method]["responses"][str(status)]
    return Draft202012Validator(resolved(answer["content"]["application/json"]["schema"]), format_checker=FORMATS)


def errors(template: str, value: Any, method: str = "get", status: int = 200) -> list[str]:
    found = validator(template, method, status).iter_errors(value)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]


def get(sim: Simulator, path: str) -> Any:
    request = urllib.request.Request(f"{sim.url}/api/v2{path}", headers={"Circle-Token": sim.token})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def send(sim: Simulator, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = json.dumps(body or {}).encode()
    request = urllib.request.Request(
        f"{sim.url}/api/v2{path}", data, {"Circle-Token": sim.token, "Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request) as reply:
        return reply.status, json.load(reply)


def pages(sim: Simulator, path: str) -> Iterator[Any]:
    token: str | None = None
    joint = "&" if "?" in path else "?"
    while True:
        page = get(sim, path if token is None else f"{path}{joint}page-token={quote(token, safe='')}")
        yield page
        token = page["next_page_token"]
        if token is None:
            return


def answers(sim: Simulator) -> Iterator[tuple[str, Any]]:
    """Yield the document's path and the answer, for every route, every page and every thing in the world."""
    yield "/me", get(sim, "/me")
    yield "/me/collaborations", get(sim, "/me/collaborations")
    yield "/user/{id}", get(sim, f"/user/{get(sim, '/me')['id']}")
    for slug in sim.world.projects:
        project = get(sim, f"/project/{slug}")
        yield "/project/{project-slug}", project
        yield from settings(sim, slug, project["id"])
        yield from of_organization(sim, project["organization_id"])
        for page in pages(sim, f"/pipeline?org-slug={quote(project['organization_slug'])}"):
            yield "/pipeline", page
        listing = list(pages(sim, f"/project/{slug}/pipeline"))
        yield from (("/project/{project-slug}/pipeline", page) for page in listing)
        for page in pages(sim, f"/project/{slug}/pipeline/mine"):
            yield "/project/{project-slug}/pipeline/mine", page
        for pipeline in (item for page in listing for item in page["items"]):
            number = pipeline["number"]
            yield "/project/{project-slug}/pipeline/{pipeline-number}", get(sim, f"/project/{slug}/pipeline/{number}")
            yield from below_pipeline(sim, slug, pipeline["id"])
        organization = project["organization_slug"]
        yield "/insights/{org-slug}/summary", get(sim, f"/insights/{organization}/summary")
        yield "/insights/pages/{project-slug}/summary", get(sim, f"/insights/pages/{slug}/summary")
        for page in pages(sim, f"/insights/{slug}/workflows"):
            yield "/insights/{project-slug}/workflows", page
            for item in page["items"]:
                yield from measures(sim, slug, quote(item["name"]))


def measures(sim: Simulator, slug: str, workflow: str) -> Iterator[tuple[str, Any]]:
    template, place = "/insights/{project-slug}/workflows/{workflow-name}", f"/insights/{slug}/workflows/{workflow}"
    series = f"/insights/time-series/{slug}/workflows/{workflow}/jobs"
    for path, name in ((place, template), (f"{place}/jobs", f"{template}/jobs")):
        for page in pages(sim, path):
            yield name, page
    for query in ("", "?granularity=hourly", "?start-date=2026-10-30T00:00:00Z&end-date=2026-11-01T00:00:00Z"):
        for page in pages(sim, series + query):
            yield "/insights/time-series/{project-slug}/workflows/{workflow-name}/jobs", page
    yield f"{template}/summary", get(sim, f"{place}/summary")
    yield f"{template}/test-metrics", get(sim, f"{place}/test-metrics")
    yield "/insights/{project-slug}/branches", get(sim, f"/insights/{slug}/branches?workflow-name={workflow}")
    yield "/insights/{project-slug}/flaky-tests", get(sim, f"/insights/{slug}/flaky-tests")


def settings(sim: Simulator, slug: str, project_id: str) -> Iterator[tuple[str, Any]]:
    for name, one, key in (("checkout-key", "fingerprint", "fingerprint"), ("envvar", "name", "name")):
        for page in pages(sim, f"/project/{slug}/{name}"):
            yield f"/project/{{project-slug}}/{name}", page
            for item in page["items"]:
                found = get(sim, f"/project/{slug}/{name}/{quote(item[key])}")
                assert found == item
                yield f"/project/{{project-slug}}/{name}/{{{one}}}", found
    yield from listed(sim, "/project/{project-slug}/schedule", f"/project/{slug}/schedule", "/schedule/{schedule-id}")
    hooks = f"/webhook?scope-id={project_id}&scope-type=project"
    yield from listed(sim, "/webhook", hooks, "/webhook/{webhook-id}")
    definitions = get(sim, f"/projects/{project_id}/pipeline-definitions")
    yield "/projects/{project_id}/pipeline-definitions", definitions


def of_organization(sim: Simulator, org_id: str) -> Iterator[tuple[str, Any]]:
    groups = f"/organizations/{org_id}/groups"
    yield from listed(
        sim, "/organizations/{org_id}/groups", groups, "/organizations/{org_id}/groups/{group_id}", org_id
    )
    yield from listed(sim, "/context", f"/context?owner-id={org_id}", "/context/{context_id}")
    for context in get(sim, f"/context?owner-id={org_id}")["items"]:
        for name in ("environment-variable", "restrictions"):
            for page in pages(sim, f"/context/{context['id']}/{name}"):
                yield f"/context/{{context_id}}/{name}", page
    deploys = f"?org-id={org_id}&page-size=2"
    for name, one in (("components", "component_id"), ("environments", "environment_id")):
        yield from listed(sim, f"/deploy/{name}", f"/deploy/{name}{deploys}", f"/deploy/{name}/{{{one}}}")
    place = f"/organizations/{org_id}/usage_export_job"
    _, created = send(sim, "POST", place, NOTHING_RAN)
    yield USAGE, get(sim, f"{place}/{created['usage_export_job_id']}")
    for component in get(sim, f"/deploy/components{deploys}")["items"]:
        for page in pages(sim, f"/deploy/components/{component['id']}/versions"):
            yield "/deploy/components/{component_id}/versions", page


def listed(sim: Simulator, template: str, path: str, one: str, *above: str) -> Iterator[tuple[str, Any]]:
    """Yield a listing's pages, and each of its items by its id, which must be what the listing had."""
    for page in pages(sim, path):
        yield template, page
        for item in page["items"]:
            place = one
            for value in (*above, item["id"]):
                place = re.sub(r"\{[^}]+\}", value, place, count=1)
            found = get(sim, place)
            assert found == item
            yield one, found


def below_pipeline(sim: Simulator, slug: str, identifier: str) -> Iterator[tuple[str, Any]]:
    yield "/pipeline/{pipeline-id}", get(sim, f"/pipeline/{identifier}")
    yield "/pipeline/{pipeline-id}/values", get(sim, f"/pipeline/{identifier}/values")
    yield "/pipeline/{pipeline-id}/config", get(sim, f"/pipeline/{identifier}/config")
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
    yield "/jobs/{job_id}", get(sim, f"/jobs/{job['id']}")
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
    with SimulatorThread(World(pipelines=23, oddities=()), page_size=7, clock=STILL) as sim:
        yield sim


def test_every_answer_is_what_the_document_says(strict: Simulator) -> None:
    seen = set()
    for template, value in answers(strict):
        assert errors(template, value) == [], template
        seen.add(template)
    assert len(seen) == 49
    assert {path for path, methods in DOCUMENT["paths"].items() if is_paginated(methods.get("get"))} <= seen


def is_paginated(operation: Any) -> bool:
    content = operation["responses"].get("200", {}).get("content") if operation else None
    schema = resolved(content["application/json"]["schema"]) if content else {}
    return "next_page_token" in schema.get("properties", {})


def actions(sim: Simulator, seconds: Callable[[float], None]) -> Iterator[tuple[str, str, int, Any]]:
    """Yield everything that may be done: the method, the document's path, the status and the answer."""
    slug = next(iter(sim.world.projects))
    definition = get(sim, f"/projects/{get(sim, f'/project/{slug}')['id']}/pipeline-definitions")["items"][0]["id"]
    run = "/project/{provider}/{organization}/{project}/pipeline/run"
    for branch in ("main", "skip-ci"):
        body = {"definition_id": definition, "config": {"branch": branch}}
        yield "post", run, *send(sim, "POST", f"/project/{slug}/pipeline/run", body)
    waiting = send(sim, "POST", f"/project/{slug}/pipeline", {"branch": "waits", "parameters": {"deploy": True}})
    yield "post", "/project/{project-slug}/pipeline", *waiting
    seconds(200)
    workflow = get(sim, f"/pipeline/{waiting[1]['id']}/workflow")["items"][0]["id"]
    (approval,) = (job for job in get(sim, f"/workflow/{workflow}/job")["items"] if job["status"] == "on_hold")
    place = f"/workflow/{workflow}/approve/{approval['approval_request_id']}"
    yield "post", "/workflow/{id}/approve/{approval_request_id}", *send(sim, "POST", place)
    seconds(10)
    (running,) = (job for job in get(sim, f"/workflow/{workflow}/job")["items"] if job["status"] == "running")
    place = f"/project/{slug}/job/{running['job_number']}/cancel"
    yield "post", "/project/{project-slug}/job/{job-number}/cancel", *send(sim, "POST", place)
    yield "post", "/jobs/{job-id}/cancel", *send(sim, "POST", f"/jobs/{running['id']}/cancel")
    yield "post", "/workflow/{id}/rerun", *send(sim, "POST", f"/workflow/{workflow}/rerun", {"from_failed": True})
    yield "post", "/workflow/{id}/cancel", *send(sim, "POST", f"/workflow/{workflow}/cancel")
    created = send(sim, "POST", f"/project/{slug}/envvar", {"name": "NEW", "value": "secret-9999"})
    yield "post", "/project/{project-slug}/envvar", *created
    yield "delete", "/project/{project-slug}/envvar/{name}", *send(sim, "DELETE", f"/project/{slug}/envvar/NEW")


def test_whatever_is_done_is_answered_as_the_document_says_and_so_is_what_comes_of_it() -> None:
    now = [1_800_000_000.0]

    def seconds(passed: float) -> None:
        now[0] += passed
        for template, value in answers(sim):
            assert errors(template, value) == [], template

    with SimulatorThread(World(pipelines=2, oddities=()), clock=lambda: now[0]) as sim:
        done = list(actions(sim, seconds))
        seconds(300)
    assert len(done) == 10
    for method, template, status, value in done:
        assert errors(template, value, method, status) == [], (method, template)


def test_a_usage_export_is_as_the_document_says_in_each_of_its_states() -> None:
    now = [datetime(2026, 11, 3, tzinfo=UTC).timestamp()]
    seen: dict[str, Any] = {}
    with SimulatorThread(World(pipelines=23, oddities=()), clock=lambda: now[0]) as sim:
        place = f"/organizations/{get(sim, f'/project/{next(iter(sim.world.projects))}')['organization_id']}"
        body = {"start": "2026-10-15T00:00:00Z", "end": "2026-11-03T00:00:00Z", "shared_org_ids": []}
        for sim.usage.failing in (0, 1):
            status, created = send(sim, "POST", f"{place}/usage_export_job", body)
            assert errors("/organizations/{org_id}/usage_export_job", created, "post", status) == []
            for _ in range(3):
                found = get(sim, f"{place}/usage_export_job/{created['usage_export_job_id']}")
                assert errors(USAGE, found) == []
                seen[found["state"]] = found
                now[0] += sim.usage.takes / 2
    assert seen.keys() == {"created", "processing", "completed", "failed"}
    assert seen["completed"]["download_urls"]
    assert seen["failed"]["error_reason"]


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
    "snake-case-answers": ("", ""),
    "snake-case-collaborations": ("/me/collaborations", ""),
    "null-download-urls": ("usage_export_job", ".download_urls: None is not of type 'array'"),
    "null-workflow-id": ("/pipeline/{pipeline-id}/workflow", ".id: None is not of type 'string'"),
}


def test_every_oddity_is_judged_here() -> None:
    assert set(DEPARTURES) == set(ODDITIES)


@pytest.mark.parametrize("oddity", DEPARTURES)
def test_an_oddity_leaves_the_document_where_it_says_and_nowhere_else(oddity: str) -> None:
    place, words = DEPARTURES[oddity]
    with SimulatorThread(World(pipelines=8, oddities=[oddity]), clock=STILL) as sim:
        found = [(template, error) for template, value in answers(sim) for error in errors(template, value)]
    assert found
    assert [each for each in found if place not in each[0] or words not in each[1]] == []


def test_snake_case_is_all_that_its_oddity_changes() -> None:
    with SimulatorThread(World(pipelines=8, oddities=["snake-case-answers"]), clock=STILL) as sim:
        found = {template for template, value in answers(sim) if errors(template, value)}
    keys, variables = "/project/{project-slug}/checkout-key", "/project/{project-slug}/envvar"
    hooks, flaky = ("/webhook", "/webhook/{webhook-id}"), "/insights/{project-slug}/flaky-tests"
    assert found == {keys, f"{keys}/{{fingerprint}}", variables, f"{variables}/{{name}}", *hooks, flaky}
