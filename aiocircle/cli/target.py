"""Which artifacts are meant, from addresses and flags together.

The most specific thing that an address names wins: job, workflow, pipeline, branch. A flag may name something more
specific, or repeat what the address says; it may not contradict it. Several projects can only be named as wholes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from attrs import frozen
from cyclopts import Parameter

import aiocircle
from aiocircle.cli.exits import UsageError
from aiocircle.cli.quantities import moment
from aiocircle.cli.settings import SELECTION, more_than_zero
from aiocircle.errors import ConfigurationError
from aiocircle.slugs import Target, parse_target

_HINT = (
    "give a job's address, or --job N, --workflow UUID, --pipeline N, --latest or --all (both with an optional "
    "--branch NAME), or --since DATE"
)
_NARROWEST_FIRST = ("job", "workflow", "pipeline")
_WIDE = ("latest", "all", "since", "until")


def _selecting(text: str, metavar: str | None = None, **more: Any) -> Parameter:
    return Parameter(help=text, metavar=metavar, group=SELECTION, **more)


@frozen(kw_only=True)
class Chosen:
    """What the flags select; the names are those of ``aiocircle.Selection``, in the singular where they repeat."""

    job: Annotated[int | None, _selecting("A job, by its number.", "N", validator=more_than_zero)] = None
    workflow: Annotated[str | None, _selecting("All jobs of a workflow, by its id.", "UUID")] = None
    pipeline: Annotated[
        int | None, _selecting("All jobs of a pipeline, by its number.", "N", validator=more_than_zero)
    ] = None
    latest: Annotated[bool, _selecting("The newest pipeline.")] = False
    all: Annotated[bool, _selecting("All pipelines.")] = False
    since: Annotated[str | None, _selecting("All pipelines created since: 2026-11-01, 30d, 12h.", "DATE")] = None
    until: Annotated[str | None, _selecting("All pipelines created before that.", "DATE")] = None
    branch: Annotated[str | None, _selecting("Of these, the ones of this branch.", "NAME")] = None
    workflow_name: Annotated[tuple[str, ...], _selecting("Only workflows named so; repeatable.", "GLOB")] = ()
    job_name: Annotated[tuple[str, ...], _selecting("Only jobs named so; repeatable.", "GLOB")] = ()
    status: Annotated[tuple[str, ...], _selecting("Only jobs of this status; repeatable.", "STATUS")] = ()
    all_reruns: Annotated[bool, _selecting("Every workflow, not the newest of each name only.")] = False
    projects_file: Annotated[Path | None, _selecting("More projects, one on a line.", "FILE")] = None

    def filters(self) -> dict[str, Any]:
        """Return what limits the jobs of whatever is selected."""
        return {
            "workflow_names": self.workflow_name,
            "job_names": self.job_name,
            "statuses": self.status,
            "all_reruns": self.all_reruns,
        }


NOTHING_CHOSEN = Chosen()


def targets(addresses: Sequence[str], chosen: Chosen) -> list[Target]:
    """Return what is named, on the command line and in a file of projects.

    Raises:
        UsageError: Nothing is, or the file cannot be read, or several things are that are not whole projects.
        ConfigurationError: Something is no address.
    """
    found = [parse_target(address) for address in addresses]
    if chosen.projects_file is not None:
        found += _from_file(chosen.projects_file)
    if not found:
        raise UsageError("which project? TARGET is missing", hint="give one, such as gh/acme/web, or its web address")
    if len(found) > 1:
        for address, target in zip(addresses, found, strict=False):
            if _named(target) or target.branch is not None:
                raise UsageError(f"of several projects each is a whole one, and {address} names a part of it")
        if len({target.host for target in found}) > 1:
            raise UsageError("the projects are on different hosts", hint="one run downloads from one host")
    return found


def whole_projects(addresses: Sequence[str], file: Path | None) -> tuple[tuple[str, ...], str | None]:
    """Return the slugs of the projects that are named, on the command line and in a file, and their host if known.

    Raises:
        UsageError: There are none, or one of them names a part of a project.
        ConfigurationError: Something is no address.
    """
    chosen = Chosen(projects_file=file)
    if not addresses and file is None:
        raise UsageError("which project? --project is missing", hint="give one, such as --project gh/acme/web")
    found = targets(addresses, chosen)
    for target in found:
        if _named(target) or target.branch is not None:
            raise UsageError(
                "an export is of whole projects", hint="--branch, --since and --until choose a part of them"
            )
    return tuple(str(target.slug) for target in found), found[0].host


def selection(named: Sequence[Target], chosen: Chosen) -> "aiocircle.Selection":
    """Return what addresses and flags select together.

    Raises:
        UsageError: They select nothing, two things, or contradict each other.
        ConfigurationError: The workflow's id is none, or a filter has no meaning for what is selected.
    """
    target, slugs = named[0], [target.slug for target in named]
    in_address = _named(target)
    wanted = {"job": chosen.job, "workflow": _workflow_id(chosen.workflow), "pipeline": chosen.pipeline}
    flags = {name: value for name, value in wanted.items() if value is not None}
    wide = [word for word in _WIDE if getattr(chosen, word)]
    _check(in_address, flags, wide)
    together = in_address | flags
    narrowest = next((name for name in _NARROWEST_FIRST if name in together), None)
    if narrowest is None:
        return aiocircle.Selection(
            slugs,
            latest=not wide or "latest" in wide,
            all=chosen.all,
            since=moment("--since", chosen.since),
            until=moment("--until", chosen.until),
            branch=_branch(target, chosen, wide),
            **chosen.filters(),
        )
    for flag in (flags.keys() - in_address.keys() - {narrowest}) | ({"branch"} if chosen.branch is not None else set()):
        raise UsageError(f"a {narrowest} is named already, so --{flag} has no meaning", hint=_HINT)
    return aiocircle.Selection(slugs, **{narrowest: together[narrowest]}, **chosen.filters())


def _check(in_address: dict[str, Any], flags: dict[str, Any], wide: list[str]) -> None:
    """Refuse flags that contradict the address or each other."""
    for name, value in flags.items():
        if in_address.get(name, value) != value:
            raise UsageError(f"the address names the {name} {in_address[name]}, and --{name} another: {value}")
    if wide and in_address:
        raise UsageError(f"the address names a {next(iter(in_address))}, which --{wide[0]} contradicts")
    if "latest" in wide and len(wide) > 1:
        raise UsageError(f"--latest is one pipeline, and --{wide[1]} asks for all", hint=_HINT)
    if len(flags.keys() - in_address.keys()) + bool(wide) > 1:
        raise UsageError("only one of --job, --workflow, --pipeline, --latest and --all can be meant", hint=_HINT)


def _named(target: Target) -> dict[str, Any]:
    parts = {"job": target.job_number, "workflow": target.workflow_id, "pipeline": target.pipeline_number}
    return {name: value for name, value in parts.items() if value is not None}


def _branch(target: Target, chosen: Chosen, wide: list[str]) -> str | None:
    if chosen.branch is not None and target.branch not in {None, chosen.branch}:
        raise UsageError(f"the address names the branch {target.branch!r}, and --branch another: {chosen.branch!r}")
    if target.branch is None and not wide:
        what = "a branch selects only with --latest or --all" if chosen.branch else "which artifacts?"
        raise UsageError(what, hint=_HINT)
    return chosen.branch or target.branch


def _workflow_id(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text is not None else None
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is not a workflow's id", hint="it is a UUID, as in the workflow's web address"
        ) from None


def _from_file(path: Path) -> list[Target]:
    """Return the projects of a file: one on a line; empty lines, and what follows a ``#``, are nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"the file of projects {path} cannot be read: {why.lower()}") from None
    found = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            target = parse_target(text)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}, line {number}: {error}", hint=error.hint) from None
        if _named(target) or target.branch is not None:
            raise UsageError(f"{path}, line {number}: of several projects each is a whole one, and this is a part")
        found.append(target)
    if not found:
        raise UsageError(f"the file of projects {path} names none")
    return found
