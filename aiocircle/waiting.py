"""Waiting for a pipeline until its workflows have ended.

A pipeline says little about itself: its state becomes ``created`` and stays so, and success and failure belong to its
workflows. What follows from that:

* workflows appear seconds after the pipeline, so none at all is no end;
* an ``errored`` pipeline never gets any, and says why;
* a rerun is a new workflow of the same name, and the newest of each name counts;
* a setup workflow is followed by others, or by none: once it has ended well, more are waited for only for a while;
* a workflow that is on hold waits for a person, so waiting goes on.

Looks come in growing intervals, within the client's rate limit like every request.
"""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from attrs import frozen

from aiocircle.clock import Clock, SystemClock
from aiocircle.crawl.fanout import ENDED

if TYPE_CHECKING:
    from aiocircle.api import Pipeline, Workflow
    from aiocircle.client import Client

FIRST_PAUSE = 2.0
LONGEST_PAUSE = 15.0
GROWTH = 1.4
SETTLING = 30.0  # seconds for which a setup pipeline whose workflows have ended well may bring about more

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

Verdict = Literal["success", "failed", "errored", "waiting"]


@frozen
class Outcome:
    """What has become of a pipeline.

    Attributes:
        pipeline: The pipeline.
        workflows: The newest of each name.
        verdict: ``success``: all workflows succeeded; ``failed``: one ended otherwise; ``errored``: the pipeline was
            refused and has no workflows; ``waiting``: it is not over, and the time limit passed.
    """

    pipeline: "Pipeline"
    workflows: "tuple[Workflow, ...]" = ()
    verdict: Verdict = "waiting"


async def wait_for_pipeline(
    client: "Client",
    pipeline_id: UUID | str,
    *,
    timeout: float,  # noqa: ASYNC109 -- what is known when it passes is returned, which no cancel scope could do
    on_change: Callable[[Outcome], None] | None = None,
    clock: Clock | None = None,
) -> Outcome:
    """Look at a pipeline until all of its workflows have ended, and return what became of it.

    Args:
        client: An open client.
        pipeline_id: The pipeline.
        timeout: Seconds to wait at most. Then the outcome's verdict is ``waiting``.
        on_change: Called with the outcome so far, whenever it is another one.
        clock: Where time comes from.

    Raises:
        APIError: The host refused.
        DeadlineError: Not even one look was possible within the time.
    """
    clock = clock or SystemClock()
    began = changed = clock.monotonic()
    outcome = Outcome(await client.pipelines.get(pipeline_id).within(timeout))
    shown: object = None
    for pause in _pauses():
        left = timeout - (clock.monotonic() - began)
        outcome = await _look(client, outcome, left)
        now = clock.monotonic()
        if _looks(outcome) != shown:
            shown, changed = _looks(outcome), now
            if on_change is not None:
                on_change(outcome)
        unsettled = outcome.verdict == "success" and outcome.pipeline.state != "created" and now - changed < SETTLING
        left = timeout - (now - began)
        if left <= 0 or (outcome.verdict != "waiting" and not unsettled):
            break
        await clock.sleep(min(pause, left))
    return outcome


async def _look(client: "Client", before: Outcome, left: float) -> Outcome:
    """Return the outcome now, or the one before where it takes longer than the time that is left."""
    try:
        async with asyncio.timeout(max(left, 0.0)):
            pipeline = before.pipeline
            if pipeline.state != "created":
                pipeline = await client.pipelines.get(pipeline.id)
            workflows = _newest(await client.workflows.list(pipeline.id).collect())
    except TimeoutError:
        return before
    return Outcome(pipeline, workflows, _verdict(pipeline, workflows))


def _newest(workflows: "list[Workflow]") -> "tuple[Workflow, ...]":
    """Return the newest workflow of each name. One without an id has been seen, and is none."""
    in_order = sorted(workflows, key=lambda one: one.created_at or _LONG_AGO)
    return tuple({one.name: one for one in in_order if one.id is not None}.values())


def _verdict(pipeline: "Pipeline", workflows: "tuple[Workflow, ...]") -> Verdict:
    if pipeline.state == "errored":
        return "errored"
    statuses = {one.status for one in workflows}
    if not statuses or not statuses <= ENDED:
        return "waiting"
    return "success" if statuses == {"success"} else "failed"


def _looks(outcome: Outcome) -> object:
    return outcome.pipeline.state, [(one.id, one.status) for one in outcome.workflows]


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * GROWTH, LONGEST_PAUSE)
