"""What the commands do that change something: trigger, wait, rerun, cancel, approve."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from aiocircle.testing import Simulator, World
from aiocircle.testing.course import Script
from aiocircle.testing.ids import Address, Kind

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]
SLUG = "gh/acme/web"


@pytest.fixture
def quick(circleci_factory: Callable[..., Simulator]) -> Simulator:
    """A simulator in which a pipeline takes a second."""
    return circleci_factory(World(pipelines=12), speed=90)


@pytest.fixture
def act(aiocircle: Run, quick: Simulator) -> Run:
    def run(*arguments: object, code: int = 0) -> Result:
        result = aiocircle(*arguments, "--host", quick.url)
        assert (result.returncode, "Traceback" in result.stderr) == (code, False), result.stderr
        return result

    return run


def _objects(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def _workflow(simulator: Simulator, number: int, index: int = 0) -> str:
    pipeline = simulator.world.pipeline(SLUG, number)
    assert pipeline
    return str(pipeline.workflows[index].id)


def _body(simulator: Simulator) -> Any:
    return json.loads(next(request.body for request in reversed(simulator.requests) if request.method == "POST"))


def test_a_pipeline_is_triggered_with_typed_parameters(act: Run, quick: Simulator) -> None:
    parameters = ["deploy=true", "count=3", "image-tag=4.8.2", "version=4.8", 'quoted="7"', "text=a=b", "empty="]
    flags = [flag for one in parameters for flag in ("-p", one)]
    result = act("trigger", SLUG, "--branch", "main", *flags)
    assert result.stdout.startswith("pipeline 13 (pending), ")
    assert _body(quick) == {
        "branch": "main",
        "parameters": {
            "deploy": True,
            "count": 3,
            "image-tag": "4.8.2",
            "version": "4.8",
            "quoted": "7",
            "text": "a=b",
            "empty": "",
        },
    }
    (made,) = _objects(act("trigger", SLUG, "--tag", "v1", "--json"))
    assert (made["type"], made["number"], made["state"]) == ("pipeline", 14, "pending")
    assert _body(quick) == {"tag": "v1"}
    act("trigger", "https://app.circleci.com/pipelines/gh/acme/web?branch=dev")
    assert _body(quick) == {"branch": "dev"}


def test_a_definition_leads_to_the_new_endpoint(act: Run, quick: Simulator) -> None:
    project = quick.world.projects[SLUG]
    definition = quick.world.ids.make(Address(Kind.DEFINITION, project.index, 0))
    assert "pipeline 13" in act("trigger", SLUG, "--definition", definition, "--branch", "main", "-p", "a=1").stdout
    ref = {"branch": "main"}
    assert _body(quick) == {"definition_id": definition, "config": ref, "checkout": ref, "parameters": {"a": 1}}
    skipped = act("trigger", SLUG, "--definition", definition, "--branch", "skip-ci", code=1)
    assert skipped.stdout == ""
    assert "no pipeline was triggered: The pipeline was not triggered: the commit skips CI" in skipped.stderr


def test_waiting_ends_with_0_when_all_workflows_have_succeeded(act: Run) -> None:
    result = act("trigger", SLUG, "--branch", "main", "--wait")
    first, titles, row = result.stdout.splitlines()
    assert first.startswith("pipeline 13")
    assert titles.split()[:2] == ["NAME", "STATUS"]
    assert row.split()[:2] == ["build-and-test", "success"]
    assert "build-and-test: success" in result.stderr


def test_waiting_ends_with_9_when_a_workflow_has_failed(act: Run) -> None:
    result = act("trigger", SLUG, "--branch", "fails", "--wait", "--json", code=9)
    kinds = [one["type"] for one in _objects(result)]
    assert kinds == ["pipeline", "workflow", "outcome"]
    assert _objects(result)[-1]["verdict"] == "failed"
    assert "1 of 1 workflow of pipeline 13 did not succeed (build-and-test: failed)" in result.stderr


def test_waiting_for_an_errored_pipeline_ends_with_9_and_its_errors(act: Run) -> None:
    result = act("trigger", SLUG, "--branch", "broken-config", "--wait", code=9)
    assert "pipeline 13 was refused: Config does not conform to schema" in result.stderr


def test_waiting_ends_with_8_when_the_time_is_over(act: Run, quick: Simulator) -> None:
    result = act("trigger", SLUG, "--branch", "waits", "--wait", "--timeout", "3", code=8)
    assert "not over within 3 s (build-and-test: on_hold)" in result.stderr
    assert f"aiocircle approve {_workflow(quick, 13)}" in result.stderr
    quick.world.course.scripts["late"] = Script(delay=1_000_000)
    late = act("trigger", SLUG, "--branch", "late", "--wait", "--timeout", "1", code=8)
    assert "no workflow appeared" in late.stderr
    assert "hint: its configuration may select none" in late.stderr


def test_waiting_can_be_stopped(
    start: Callable[..., "subprocess.Popen[str]"], circleci_factory: Callable[..., Simulator]
) -> None:
    simulator = circleci_factory(World(pipelines=0), speed=0)
    process = start("trigger", SLUG, "--branch", "main", "--wait", "--host", simulator.url)
    deadline = time.monotonic() + 20
    while simulator.stats.requests["pipeline.workflows"] < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=5)
    assert process.returncode == 6
    assert "aiocircle: stopped" in said


def test_a_workflow_is_run_again_as_a_whole_or_from_what_failed(act: Run, quick: Simulator) -> None:
    failed = _workflow(quick, 4)
    new = act("rerun", failed, "--from-failed").stdout.strip()
    assert new == _workflow(quick, 4, -1)
    assert _body(quick) == {"from_failed": True}
    address = f"https://app.circleci.com/pipelines/gh/acme/web/4/workflows/{failed}"
    (told,) = _objects(act("rerun", address, "--json"))
    assert told == {"type": "rerun", "workflow_id": _workflow(quick, 4, -1), "of": failed}
    refused = act("rerun", _workflow(quick, 4, 1), "--from-failed", code=4)
    assert "There is nothing to run again." in refused.stderr


def test_a_workflow_is_cancelled(act: Run, quick: Simulator) -> None:
    held = _workflow(quick, 3)
    assert act("cancel", held).stdout == f"workflow {held}: Accepted.\n"
    found = quick.world.workflow_by_id(held)
    assert found
    assert found[1].status == "canceled"


def test_a_job_is_cancelled_by_number_and_by_address(
    aiocircle: Run, circleci_factory: Callable[..., Simulator]
) -> None:
    world = World(pipelines=0)
    for number in (7, 8):
        world.add_job(SLUG, number, status="running")
    simulator = circleci_factory(world, speed=0)
    flow = _workflow(simulator, 2)
    address = f"https://app.circleci.com/pipelines/gh/acme/web/2/workflows/{flow}/jobs/8"
    for arguments, number in (((SLUG, "--job", 7), 7), ((address,), 8)):
        result = aiocircle("cancel", *arguments, "--host", simulator.url)
        assert result.stdout == f"job {number}: Job canceled successfully.\n", result.stderr
        job = world.job(SLUG, number)
        assert job
        assert job.status == "canceled"


def test_a_job_that_waits_is_approved(act: Run, quick: Simulator) -> None:
    first, second = _workflow(quick, 3), _workflow(quick, 6)
    assert act("approve", first).stdout == "hold for release: Accepted.\n"
    (told,) = _objects(act("approve", second, "hold for release", "--json"))
    assert told == {"type": "approval", "of": "hold for release", "workflow_id": second, "message": "Accepted."}
    assert "no job of this workflow waits" in act("approve", first, code=5).stderr
    other = act("approve", _workflow(quick, 9), "another", code=5).stderr
    assert "'another' does not wait to be approved" in other
    assert "hint: these do: 'hold for release'" in other


def test_several_jobs_that_wait_must_be_told_apart(aiocircle: Run, circleci_factory: Callable[..., Simulator]) -> None:
    world = World(pipelines=0)
    job = world.add_job(SLUG, name="one", type="approval", status="on_hold")
    world.add_job(SLUG, name="other", type="approval", status="on_hold", beside=job)
    simulator = circleci_factory(world)
    flow = _workflow(simulator, 1)
    unclear = aiocircle("approve", flow, "--host", simulator.url)
    assert unclear.returncode == 2
    assert "'one', 'other'" in unclear.stderr
    assert aiocircle("approve", flow, "other", "--host", simulator.url).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["trigger", SLUG, "--branch", "a", "--tag", "b"], 2, "exclude each other"),
        (["trigger", SLUG, "-p", "novalue"], 2, "KEY=VALUE"),
        (["trigger", SLUG, "--wait", "--timeout", "0"], 2, "more than 0"),
        (["rerun", "nonsense"], 7, "names no workflow"),
        (["cancel", SLUG], 7, "names no workflow"),
        (["approve", "42"], 7, "names no workflow"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(
    aiocircle: Run, arguments: list[str], code: int, words: str
) -> None:
    result = aiocircle(*arguments, "--host", "http://127.0.0.1:1")
    assert result.returncode == code, result.stderr
    assert words in result.stderr
