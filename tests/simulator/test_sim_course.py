"""What requests set in motion: a function of the clock, and nothing else."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sim_client import api, list_all

from aiocircle.testing import Simulator, SimulatorThread, World
from aiocircle.testing.course import Script

SLUG = "gh/acme/web"


class Moment:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def moment() -> Moment:
    return Moment()


@pytest.fixture
def sim(moment: Moment) -> Iterator[Simulator]:
    with SimulatorThread(World(pipelines=12), clock=moment) as simulator:
        yield simulator


@pytest.fixture
def post(sim: Simulator) -> Callable[..., tuple[int, Any]]:
    def send(path: str, body: Any = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{sim.url}/api/v2{path}", data, {"Circle-Token": sim.token}, method="POST")
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return send


Post = Callable[..., tuple[int, Any]]


def workflows(sim: Simulator, pipeline: str) -> list[Any]:
    return list_all(sim, f"/pipeline/{pipeline}/workflow")


def statuses(sim: Simulator, workflow: str) -> list[str]:
    return [job["status"] for job in list_all(sim, f"/workflow/{workflow}/job")]


def test_a_triggered_pipeline_begins_runs_and_ends(sim: Simulator, post: Post, moment: Moment) -> None:
    status, pipeline = post(f"/project/{SLUG}/pipeline", {"branch": "main"})
    assert (status, pipeline["state"], pipeline["number"]) == (201, "pending", 13)
    assert list_all(sim, f"/project/{SLUG}/pipeline")[0]["id"] == pipeline["id"]
    assert workflows(sim, pipeline["id"]) == []
    moment.now += 5
    (workflow,) = workflows(sim, pipeline["id"])
    assert api(sim, f"/pipeline/{pipeline['id']}").json()["state"] == "created"
    assert (workflow["status"], workflow["stopped_at"]) == ("running", None)
    assert statuses(sim, workflow["id"]) == ["running", "blocked", "blocked", "blocked"]
    moment.now += 20
    assert statuses(sim, workflow["id"]) == ["success", "running", "blocked", "blocked"]
    moment.now += 60
    (workflow,) = workflows(sim, pipeline["id"])
    assert workflow["status"] == "success"
    assert workflow["stopped_at"] is not None
    jobs = list_all(sim, f"/workflow/{workflow['id']}/job")
    assert {job["status"] for job in jobs} == {"success"}
    compiled = api(sim, f"/project/{SLUG}/job/{jobs[0]['job_number']}").json()
    assert (compiled["duration"], compiled["pipeline"]["id"]) == (20_000, pipeline["id"])
    assert len(list_all(sim, f"/project/{SLUG}/{jobs[0]['job_number']}/artifacts")) == 8


def test_two_worlds_with_the_same_clock_are_the_same(moment: Moment) -> None:
    ends = []
    for _ in range(2):
        world = World(pipelines=3)
        world.course.start(moment, 10)
        pipeline = world.trigger(SLUG, branch="fails")
        moment.now += 5
        ends.append(world.pipeline_by_id(pipeline.id))
    assert ends[0] == ends[1]
    assert ends[0]
    assert [job.status for job in ends[0].workflows[0].jobs] == ["success", "failed", "blocked", "blocked"]


def test_speed_makes_it_end_sooner(moment: Moment) -> None:
    world = World(pipelines=0)
    world.course.start(moment, 100)
    pipeline = world.trigger(SLUG, branch="main")
    moment.now += 1
    found = world.pipeline_by_id(pipeline.id)
    assert found
    assert found.workflows[0].status == "success"


def test_an_errored_pipeline_never_gets_workflows(sim: Simulator, post: Post, moment: Moment) -> None:
    pipeline = post(f"/project/{SLUG}/pipeline", {"branch": "broken-config"})[1]["id"]
    moment.now += 500
    found = api(sim, f"/pipeline/{pipeline}").json()
    assert (found["state"], len(found["errors"]), workflows(sim, pipeline)) == ("errored", 1, [])


def test_what_a_branch_does_can_be_said(sim: Simulator, post: Post, moment: Moment) -> None:
    sim.world.course.scripts["quick"] = Script("failed", delay=0, job_seconds=1)
    pipeline = post(f"/project/{SLUG}/pipeline", {"branch": "quick"})[1]["id"]
    moment.now += 2
    assert workflows(sim, pipeline)[0]["status"] == "failed"


def test_the_new_endpoint_wants_a_definition_and_tells_why_nothing_was_triggered(sim: Simulator, post: Post) -> None:
    project = api(sim, f"/project/{SLUG}").json()["id"]
    definition = api(sim, f"/projects/{project}/pipeline-definitions").json()["items"][0]["id"]
    run = f"/project/{SLUG}/pipeline/run"
    assert post(run, {"definition_id": definition, "config": {"tag": "v1"}})[0] == 201
    status, told = post(run, {"definition_id": definition, "config": {"branch": "skip-ci"}})
    assert (status, list(told)) == (200, ["message"])
    assert post(run, {"definition_id": project})[0] == 404
    assert post(run, {"definition_id": "x"})[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        {"branch": "a", "tag": "b"},
        {"branch": 1},
        {"parameters": []},
        {"parameters": {str(n): n for n in range(101)}},
        {"parameters": {"a": [1]}},
        [],
        b'{"branch',
        b"[" * 30_000,
    ],
)
def test_a_body_that_makes_no_sense_is_a_400_with_a_message(post: Post, body: Any) -> None:
    status, told = post(f"/project/{SLUG}/pipeline", body)
    assert (status, list(told)) == (400, ["message"])


def test_an_approval_is_waited_for_and_lets_the_rest_run(sim: Simulator, post: Post, moment: Moment) -> None:
    pipeline = post(f"/project/{SLUG}/pipeline", {"branch": "waits"})[1]["id"]
    moment.now += 1000
    workflow = workflows(sim, pipeline)[0]["id"]
    assert statuses(sim, workflow) == ["success", "success", "success", "on_hold", "blocked"]
    request = list_all(sim, f"/workflow/{workflow}/job")[3]["approval_request_id"]
    assert post(f"/workflow/{workflow}/approve/{workflow}")[0] == 404
    assert post(f"/workflow/{workflow}/approve/{request}")[0] == 202
    assert statuses(sim, workflow)[3:] == ["success", "running"]
    moment.now += 20
    assert api(sim, f"/workflow/{workflow}").json()["status"] == "success"
    assert post(f"/workflow/{workflow}/approve/{request}")[0] == 404


def test_a_workflow_that_was_only_described_can_be_approved_and_cancelled(
    sim: Simulator, post: Post, moment: Moment
) -> None:
    held = [flow for number in (3, 6) for flow in workflows(sim, sim_pipeline(sim, number))]
    assert [flow["status"] for flow in held] == ["on_hold", "on_hold"]
    first, second = (flow["id"] for flow in held)
    request = list_all(sim, f"/workflow/{first}/job")[3]["approval_request_id"]
    assert post(f"/workflow/{first}/approve/{request}")[0] == 202
    moment.now += 30
    assert api(sim, f"/workflow/{first}").json()["status"] == "success"
    assert post(f"/workflow/{second}/cancel")[0] == 202
    assert statuses(sim, second)[:3] == ["success"] * 3
    assert statuses(sim, second)[3:] == ["canceled"] * 2


def sim_pipeline(sim: Simulator, number: int) -> str:
    return str(api(sim, f"/project/{SLUG}/pipeline/{number}").json()["id"])


def test_a_rerun_is_a_new_workflow_that_succeeds(sim: Simulator, post: Post, moment: Moment) -> None:
    pipeline = sim_pipeline(sim, 4)
    failed = workflows(sim, pipeline)[0]
    assert failed["status"] == "failed"
    status, told = post(f"/workflow/{failed['id']}/rerun", {"from_failed": True})
    assert status == 202
    assert workflows(sim, pipeline)[-1]["id"] == told["workflow_id"]
    assert statuses(sim, told["workflow_id"])[:2] == ["success", "running"]
    before, after = (list_all(sim, f"/workflow/{one}/job")[0] for one in (failed["id"], told["workflow_id"]))
    assert before["job_number"] == after["job_number"]
    moment.now += 100
    assert statuses(sim, told["workflow_id"]) == ["success"] * 3 + ["on_hold", "blocked"]
    assert post(f"/workflow/{workflows(sim, pipeline)[1]['id']}/rerun", {"from_failed": True})[0] == 400


def test_cancelling_leaves_what_has_ended(sim: Simulator, post: Post, moment: Moment) -> None:
    pipeline = post(f"/project/{SLUG}/pipeline", {"branch": "main"})[1]["id"]
    moment.now += 30
    workflow = workflows(sim, pipeline)[0]["id"]
    running = list_all(sim, f"/workflow/{workflow}/job")[1]
    assert post(f"/project/{SLUG}/job/{running['job_number']}/cancel")[0] == 200
    moment.now += 1
    assert statuses(sim, workflow) == ["success", "canceled", "blocked", "blocked"]
    assert api(sim, f"/workflow/{workflow}").json()["status"] == "canceled"
    assert post(f"/workflow/{workflow}/cancel")[0] == 202
    assert statuses(sim, workflow) == ["success", "canceled", "blocked", "blocked"]


def test_what_does_not_exist_cannot_be_changed(post: Post) -> None:
    nothing = "00000000-0000-4000-8000-000000000000"
    for path in (
        "/project/gh/acme/none/pipeline",
        "/project/gh/acme/none/pipeline/run",
        f"/workflow/{nothing}/rerun",
        f"/workflow/{nothing}/cancel",
        f"/workflow/{nothing}/approve/{nothing}",
        f"/project/{SLUG}/job/99999/cancel",
        f"/jobs/{nothing}/cancel",
        "/project/gh/acme/none/envvar",
    ):
        status, told = post(path, {})
        assert (status, list(told)) == (404, ["message"])


def test_a_body_is_in_the_log(sim: Simulator, post: Post) -> None:
    post(f"/project/{SLUG}/pipeline", {"branch": "main"})
    assert json.loads(sim.requests[-1].body) == {"branch": "main"}
