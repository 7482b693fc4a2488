"""``aiocircle trigger``: a new pipeline, and on request what becomes of it."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from attrs import define, field, frozen
from cyclopts import Parameter

import aiocircle
from aiocircle.cli import tables
from aiocircle.cli.asking import answered
from aiocircle.cli.exits import ExitCode, UsageError
from aiocircle.cli.output import Output, counted, fit
from aiocircle.cli.settings import CHOICE, FLAT, USUAL_CONNECTION, USUAL_DISPLAY, Connection, Display, more_than_zero
from aiocircle.cli.workflows import COLUMNS
from aiocircle.errors import AioCircleError, DeadlineError
from aiocircle.slugs import ProjectSlug, parse_target
from aiocircle.unset import UNSET

if TYPE_CHECKING:
    from aiocircle.api import PipelineNotTriggered, PipelineTriggered
    from aiocircle.waiting import Outcome

Value = bool | int | str


class NotTriggeredError(AioCircleError):
    """The host took the request and triggered nothing."""

    code = "not_triggered"


class PipelineFailedError(AioCircleError):
    """A workflow of the pipeline did not succeed, or the pipeline was refused."""

    code = "pipeline_failed"


@frozen(kw_only=True)
class Triggering:
    """What to trigger.

    Attributes:
        branch: Of this branch.
        tag: Of this tag.
        parameter: Pipeline parameters, ``key=value``.
        definition: A pipeline definition's id.
        wait: Wait for its end.
        timeout: Seconds to wait at most.
    """

    branch: Annotated[str | None, Parameter(help="Of this branch.", metavar="NAME", group=CHOICE)] = None
    tag: Annotated[str | None, Parameter(help="Of this tag.", metavar="NAME", group=CHOICE)] = None
    parameter: Annotated[
        tuple[str, ...],
        Parameter(alias="-p", help="A pipeline parameter; repeatable.", metavar="KEY=VALUE", group=CHOICE),
    ] = ()
    definition: Annotated[str | None, Parameter(help="Of this pipeline definition.", metavar="UUID", group=CHOICE)] = (
        None
    )
    wait: Annotated[bool, Parameter(help="Wait until its workflows have ended.", group=CHOICE)] = False
    timeout: Annotated[
        float | None,
        Parameter(
            help="With --wait: so long at most (3600).", metavar="SECONDS", group=CHOICE, validator=more_than_zero
        ),
    ] = None


OF_THE_DEFAULT_BRANCH = Triggering()
USUAL_TIMEOUT = 3600.0


def trigger(
    project: Annotated[str, Parameter(show=False)],
    /,
    *,
    what: Annotated[Triggering, FLAT] = OF_THE_DEFAULT_BRANCH,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Trigger a pipeline, and with --wait follow it to its end."""
    target = parse_target(project)
    if target.pipeline_number or target.workflow_id or target.job_number:
        raise UsageError(
            "the address names what has run already, and a pipeline is triggered in a project",
            hint=f"aiocircle rerun runs a workflow again; aiocircle trigger {target.slug} makes a new pipeline",
        )
    if what.branch is not None and what.tag is not None:
        raise UsageError("--branch and --tag exclude each other", hint="a pipeline is of one of them")
    if what.timeout is not None and not what.wait:
        raise UsageError("--timeout is for waiting", hint="add --wait")
    parameters = read_parameters(what.parameter)
    branch = what.branch if what.tag is not None else what.branch or target.branch

    async def ask(client: "aiocircle.Client", output: Output) -> ExitCode | None:
        made = await _trigger(client, target.slug, what, branch, parameters)
        if made.id is None:
            raise NotTriggeredError("the host named no pipeline, so nothing is known of one")
        if output.as_json:
            output.record("pipeline", tables.values_of(made, "pipeline"))
        else:
            output.data(fit(f"pipeline {made.number or '?'} ({made.state or '?'}), {made.id}"))
        return await _follow(client, made, what.timeout or USUAL_TIMEOUT, output) if what.wait else None

    return answered(ask, connection, display, host=target.host)


def read_parameters(given: Sequence[str]) -> dict[str, Value]:
    """Return pipeline parameters: ``true``, ``false``, whole numbers and quoted text as JSON has them, else text.

    Raises:
        UsageError: One is not ``key=value``, or comes twice.
    """
    parameters: dict[str, Value] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not key or not equals:
            raise UsageError(f"a parameter is KEY=VALUE, and {one!r} is not", hint="such as -p image-tag=4.8.2")
        if key in parameters:
            raise UsageError(f"the parameter {key!r} is given twice", hint="which value is meant?")
        parameters[key] = _typed(value)
    return parameters


def _typed(text: str) -> Value:
    """Return a value of the type it is written as: the declared type decides at the host, and it does not convert."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, Value) else text


async def _trigger(
    client: "aiocircle.Client",
    slug: ProjectSlug,
    what: Triggering,
    branch: str | None,
    parameters: dict[str, Value],
) -> "PipelineTriggered":
    if what.definition is None:
        return await client.pipelines.trigger(
            slug, branch=branch or UNSET, tag=what.tag or UNSET, parameters=parameters or UNSET
        )
    ref = {"tag": what.tag} if what.tag else {"branch": branch} if branch else UNSET
    made = await client.pipelines.run(
        slug, definition_id=what.definition, config=ref, checkout=ref, parameters=parameters or UNSET
    )
    return _made(made)


def _made(answer: "PipelineTriggered | PipelineNotTriggered") -> "PipelineTriggered":
    from aiocircle.api import PipelineTriggered  # noqa: PLC0415 -- not before there is an answer

    if isinstance(answer, PipelineTriggered):
        return answer
    raise NotTriggeredError(f"no pipeline was triggered: {answer.message or '(the host gave no reason)'}")


async def _follow(
    client: "aiocircle.Client",
    made: "PipelineTriggered",
    limit: float,
    output: Output,
) -> ExitCode:
    from aiocircle.waiting import wait_for_pipeline  # noqa: PLC0415 -- only who waits needs it

    assert made.id is not None
    outcome = await wait_for_pipeline(client, made.id, timeout=limit, on_change=_Teller(output))
    if output.as_json:
        for workflow in outcome.workflows:
            output.record("workflow", tables.values_of(workflow, "workflow"))
        errors = [tables.values_of(error, "error") for error in outcome.pipeline.errors]
        output.record("outcome", {"verdict": outcome.verdict, "pipeline": str(made.id), "errors": errors})
    elif outcome.workflows:
        tables.show(output, "workflow", outcome.workflows, COLUMNS)
    return _judge(outcome, limit, output)


@define
class _Teller:
    """Says on stderr how it goes on, nothing twice."""

    output: Output
    said: dict[str, str] = field(factory=dict)

    def __call__(self, outcome: "Outcome") -> None:
        if not outcome.workflows and outcome.verdict == "waiting":
            self._say("pipeline", f"pipeline {outcome.pipeline.number}: {outcome.pipeline.state}, no workflows yet")
        for workflow in outcome.workflows:
            waits = f"; aiocircle approve {workflow.id}" if workflow.status == "on_hold" else ""
            self._say(str(workflow.id), f"{workflow.name}: {workflow.status}{waits}")

    def _say(self, about: str, line: str) -> None:
        if self.said.get(about) != line:
            self.said[about] = line
            self.output.note(line)


def _judge(outcome: "Outcome", limit: float, output: Output) -> ExitCode:
    number = outcome.pipeline.number
    if outcome.verdict == "success":
        return ExitCode.OK
    if outcome.verdict == "errored":
        reasons = "; ".join(error.message or error.type or "?" for error in outcome.pipeline.errors)
        output.complain(PipelineFailedError(f"pipeline {number} was refused: {reasons or 'no reason given'}"))
        return ExitCode.PARTIAL
    unlucky = [one for one in outcome.workflows if one.status != "success"]
    told = ", ".join(f"{one.name}: {one.status}" for one in unlucky) or "no workflow appeared"
    if outcome.verdict == "failed":
        of = counted(len(outcome.workflows), "workflow")
        output.complain(PipelineFailedError(f"{len(unlucky)} of {of} of pipeline {number} did not succeed ({told})"))
        return ExitCode.PARTIAL
    hint = None if outcome.workflows else "its configuration may select none for this branch or these parameters"
    raise DeadlineError(f"pipeline {number} was not over within {limit:g} s ({told})", hint=hint)
