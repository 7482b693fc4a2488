"""What an argument names: a project, a pipeline, a workflow or a job, by its id or by a web address."""

import re
from uuid import UUID

from attrs import frozen

import aiocircle
from aiocircle.cli.exits import UsageError
from aiocircle.errors import ConfigurationError
from aiocircle.slugs import ProjectSlug, Target, parse_target

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@frozen
class NamedWorkflow:
    """A workflow, and the host of the address that it was named by."""

    id: UUID
    host: str | None = None


@frozen
class NamedPipeline:
    """A pipeline by its id, or by its number in a project."""

    id: UUID | None = None
    slug: ProjectSlug | None = None
    number: int | None = None
    host: str | None = None

    async def find_id(self, client: "aiocircle.Client") -> UUID:
        """Return its id; asks for it if only its number is known."""
        if self.id is not None:
            return self.id
        assert self.slug is not None
        assert self.number is not None
        return (await client.pipelines.get_by_number(self.slug, self.number)).id


@frozen
class NamedJob:
    """A job by its number in a project."""

    slug: ProjectSlug
    number: int
    host: str | None = None


def workflow_named(argument: str) -> NamedWorkflow:
    """Return the workflow that an id or an address names.

    Raises:
        ConfigurationError: It is neither.
    """
    if _UUID.fullmatch(argument.strip()):
        return NamedWorkflow(UUID(argument.strip()))
    target = _target(argument)
    if target is None or target.workflow_id is None:
        raise ConfigurationError(
            f"{argument!r} names no workflow", hint="give its id, a UUID, or the workflow's web address"
        )
    return NamedWorkflow(target.workflow_id, target.host)


def pipeline_named(argument: str, number: int | None) -> NamedPipeline:
    """Return the pipeline that an id, an address, or a project and a number name.

    Raises:
        UsageError: No pipeline is named, or two are.
        ConfigurationError: The argument is no address.
    """
    if _UUID.fullmatch(argument.strip()):
        if number is not None:
            raise UsageError("the pipeline's id names it already, so --pipeline has no meaning")
        return NamedPipeline(UUID(argument.strip()))
    hint = "give its id or web address, or a project and --pipeline N"
    try:
        target = parse_target(argument)
    except ConfigurationError as error:
        error.hint = hint
        raise
    named = one_of("pipeline", target.pipeline_number, number)
    if named is None:
        raise UsageError("which pipeline?", hint=hint)
    return NamedPipeline(None, target.slug, named, target.host)


def job_named(argument: str, number: int | None) -> NamedJob:
    """Return the job that an address, or a project and a number name.

    Raises:
        UsageError: No job is named, or two are.
        ConfigurationError: The argument is no address.
    """
    target = parse_target(argument)
    named = one_of("job", target.job_number, number)
    if named is None:
        raise UsageError("which job?", hint="give its web address, or a project and the job's number")
    return NamedJob(target.slug, named, target.host)


def one_of(what: str, in_address: int | None, given: int | None) -> int | None:
    """Return a number that the address or a flag names; both may name the same.

    Raises:
        UsageError: They name two.
    """
    if in_address is not None and given is not None and in_address != given:
        raise UsageError(f"the address names the {what} {in_address}, and the arguments another: {given}")
    return given if in_address is None else in_address


def _target(argument: str) -> Target | None:
    try:
        return parse_target(argument)
    except ConfigurationError:
        return None
