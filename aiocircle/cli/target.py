"""Which artifacts are meant, from an address and flags together.

The most specific thing that the address names wins: job, workflow, pipeline, branch. A flag may name something more
specific, or repeat what the address says; it may not contradict it.
"""

from typing import Annotated, Any
from uuid import UUID

from attrs import frozen
from cyclopts import Parameter

import aiocircle
from aiocircle.cli.exits import UsageError
from aiocircle.cli.settings import SELECTION
from aiocircle.errors import ConfigurationError
from aiocircle.slugs import Target

_HINT = "give a job's address, or --job N, --workflow UUID, --pipeline N, or --latest with an optional --branch NAME"
_NARROWEST_FIRST = ("job", "workflow", "pipeline")


def _selecting(text: str, metavar: str | None = None) -> Parameter:
    return Parameter(help=text, metavar=metavar, group=SELECTION)


@frozen(kw_only=True)
class Chosen:
    """What the flags select; the names are those of ``aiocircle.Selection``."""

    job: Annotated[int | None, _selecting("A job, by its number.", "N")] = None
    workflow: Annotated[str | None, _selecting("All jobs of a workflow, by its id.", "UUID")] = None
    pipeline: Annotated[int | None, _selecting("All jobs of a pipeline, by its number.", "N")] = None
    latest: Annotated[bool, _selecting("The newest pipeline.")] = False
    branch: Annotated[str | None, _selecting("With --latest: the newest one of this branch.", "NAME")] = None


NOTHING_CHOSEN = Chosen()


def selection(target: Target, chosen: Chosen) -> "aiocircle.Selection":
    """Return what the address and the flags select together.

    Raises:
        UsageError: They select nothing, two things, or contradict each other.
        ConfigurationError: The workflow's id is none.
    """
    named = _named(target)
    wanted = {"job": chosen.job, "workflow": _workflow_id(chosen.workflow), "pipeline": chosen.pipeline}
    flags = {name: value for name, value in wanted.items() if value is not None}
    for name, value in flags.items():
        if named.get(name, value) != value:
            raise UsageError(f"the address names the {name} {named[name]}, and --{name} another: {value}")
    if chosen.latest and named:
        raise UsageError(f"the address names a {next(iter(named))}, which --latest contradicts")
    if len(flags.keys() - named.keys()) + chosen.latest > 1:
        raise UsageError("only one of --job, --workflow, --pipeline and --latest can be meant", hint=_HINT)
    together = named | flags
    narrowest = next((name for name in _NARROWEST_FIRST if name in together), None)
    if narrowest is None:
        return aiocircle.Selection(target.slug, latest=True, branch=_branch(target, chosen))
    for flag in (flags.keys() - named.keys() - {narrowest}) | ({"branch"} if chosen.branch is not None else set()):
        raise UsageError(f"a {narrowest} is named already, so --{flag} has no meaning", hint=_HINT)
    return aiocircle.Selection(target.slug, **{narrowest: together[narrowest]})


def _named(target: Target) -> dict[str, Any]:
    parts = {"job": target.job_number, "workflow": target.workflow_id, "pipeline": target.pipeline_number}
    return {name: value for name, value in parts.items() if value is not None}


def _branch(target: Target, chosen: Chosen) -> str | None:
    if chosen.branch is not None and target.branch not in {None, chosen.branch}:
        raise UsageError(f"the address names the branch {target.branch!r}, and --branch another: {chosen.branch!r}")
    if target.branch is None and not chosen.latest:
        raise UsageError("a branch selects only with --latest" if chosen.branch else "which artifacts?", hint=_HINT)
    return chosen.branch or target.branch


def _workflow_id(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text is not None else None
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is not a workflow's id", hint="it is a UUID, as in the workflow's web address"
        ) from None
