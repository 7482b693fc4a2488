"""Waiting for a pipeline, in a time of its own: sleeping moves the clock that the simulator goes by."""

from collections.abc import Awaitable, Callable, Iterator

import pytest

from aiocircle import Client
from aiocircle.clock import SystemClock
from aiocircle.testing import Simulator, SimulatorThread, World
from aiocircle.testing.course import Script
from aiocircle.waiting import LONGEST_PAUSE, Outcome, wait_for_pipeline

pytestmark = pytest.mark.anyio
SLUG = "gh/acme/web"
Wait = Callable[..., Awaitable[Outcome]]


class Leaping(SystemClock):
    """A clock that is moved by sleeping, and by nothing else."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Leaping:
    return Leaping()


@pytest.fixture
def sim(clock: Leaping) -> Iterator[Simulator]:
    with SimulatorThread(World(pipelines=8), clock=clock.monotonic) as simulator:
        yield simulator


@pytest.fixture
def wait(sim: Simulator, clock: Leaping) -> Wait:
    async def until_the_end(
        branch: str, timeout: float = 3600, on_change: Callable[[Outcome], None] | None = None
    ) -> Outcome:
        async with Client(sim.token, host=sim.url) as client:
            made = await client.pipelines.trigger(SLUG, branch=branch)
            assert made.id
            return await wait_for_pipeline(client, made.id, timeout=timeout, on_change=on_change, clock=clock)

    return until_the_end


async def test_a_pipeline_is_followed_until_its_workflows_have_succeeded(wait: Wait, clock: Leaping) -> None:
    seen: list[Outcome] = []
    outcome = await wait("main", on_change=seen.append)
    assert outcome.verdict == "success"
    assert [one.name for one in outcome.workflows] == ["build-and-test"]
    assert [(one.pipeline.state, [flow.status for flow in one.workflows]) for one in seen] == [
        ("pending", []),
        ("created", ["running"]),
        ("created", ["success"]),
    ]
    assert seen[-1] == outcome


async def test_looks_come_in_growing_intervals_up_to_a_quarter_of_a_minute(
    wait: Wait, sim: Simulator, clock: Leaping
) -> None:
    sim.world.course.scripts["slow"] = Script(job_seconds=100)
    await wait("slow")
    assert clock.slept[0] == 2
    assert clock.slept == sorted(clock.slept)
    assert max(clock.slept) == LONGEST_PAUSE
    assert sum(clock.slept) < 404 + LONGEST_PAUSE
    asked = sim.stats.requests
    assert asked["pipeline.workflows"] == len(clock.slept) + 1
    assert asked["pipeline"] < 8  # once it is created, a pipeline does not change


async def test_a_failed_workflow_is_told(wait: Wait) -> None:
    outcome = await wait("fails")
    assert (outcome.verdict, outcome.workflows[0].status) == ("failed", "failed")


async def test_an_errored_pipeline_is_not_waited_for_and_says_why(wait: Wait, clock: Leaping) -> None:
    outcome = await wait("broken-config")
    assert (outcome.verdict, outcome.workflows) == ("errored", ())
    assert [error.type for error in outcome.pipeline.errors] == ["config"]
    assert sum(clock.slept) < 10


async def test_what_waits_for_a_person_is_waited_for_until_the_time_is_over(wait: Wait, clock: Leaping) -> None:
    outcome = await wait("waits", timeout=500)
    assert (outcome.verdict, outcome.workflows[0].status) == ("waiting", "on_hold")
    assert sum(clock.slept) == pytest.approx(500)


async def test_workflows_that_never_appear_are_waited_for_until_the_time_is_over(wait: Wait, sim: Simulator) -> None:
    sim.world.course.scripts["late"] = Script(delay=10_000)
    outcome = await wait("late", timeout=60)
    assert (outcome.verdict, outcome.workflows) == ("waiting", ())


async def test_the_newest_workflow_of_a_name_counts(sim: Simulator, clock: Leaping) -> None:
    pipeline = sim.world.pipeline(SLUG, 4)
    assert pipeline
    assert [one.status for one in pipeline.workflows] == ["failed", "success"]
    async with Client(sim.token, host=sim.url) as client:
        outcome = await wait_for_pipeline(client, pipeline.id, timeout=60, clock=clock)
    assert outcome.verdict == "success"
    assert str(outcome.workflows[0].id) == pipeline.workflows[1].id
    assert clock.slept == []


async def test_after_a_setup_workflow_others_are_waited_for_a_while(clock: Leaping) -> None:
    world = World(pipelines=19)
    pipeline = world.pipeline(SLUG, 19)
    assert pipeline
    assert (pipeline.state, [one.status for one in pipeline.workflows]) == ("setup", ["success"])
    with SimulatorThread(world, clock=clock.monotonic) as sim:
        async with Client(sim.token, host=sim.url) as client:
            outcome = await wait_for_pipeline(client, pipeline.id, timeout=600, clock=clock)
    assert outcome.verdict == "success"
    assert 30 <= sum(clock.slept) < 30 + LONGEST_PAUSE
