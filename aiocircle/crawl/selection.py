"""Which jobs are meant: of one or several projects, by what leads to them and by what they are called.

A selection is a value and asks nobody. What it says about jobs is decided before their artifacts are asked for; which
of a job's artifacts are wanted is another question (`aiocircle.download.filters`).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypedDict
from uuid import UUID

from attrs import field, frozen

from aiocircle.errors import ConfigurationError
from aiocircle.given import one_of, several
from aiocircle.slugs import ProjectSlug

Slugs = str | ProjectSlug | Iterable[str | ProjectSlug]

HINT = (
    "--job N, --workflow UUID, --pipeline N, --latest with an optional --branch NAME, or all pipelines: --all, or "
    "--since DATE"
)


class Which(TypedDict, total=False):
    """What may be said about a selection besides its projects; see `Selection`."""

    job: int | None
    workflow: UUID | str | None
    pipeline: int | None
    latest: bool
    all: bool
    branch: str | None
    since: datetime | timedelta | None
    until: datetime | None
    workflow_names: Sequence[str]
    job_names: Sequence[str]
    statuses: Sequence[str]
    all_reruns: bool


def _slugs(projects: Slugs) -> tuple[ProjectSlug, ...]:
    given = (projects,) if isinstance(projects, str | ProjectSlug) else projects
    slugs = (one if isinstance(one, ProjectSlug) else ProjectSlug.parse(one) for one in given)
    return tuple(dict.fromkeys(slugs))


def _uuid(value: UUID | str | None) -> UUID | None:
    if value is None or isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError(
            f"{value!r} is not a workflow's id", hint="it is a UUID, as in the workflow's web address"
        ) from None


def moment_of(value: datetime | timedelta | None) -> datetime | None:
    """Return a moment in UTC: of a duration, so long ago; a date without a time zone is taken as UTC.

    Raises:
        ConfigurationError: UTC has no date for it, or it is neither.
    """
    if value is None:
        return None
    if not isinstance(value, datetime | timedelta):
        raise ConfigurationError(f"{value!r} is no datetime", hint="or, for so long ago, a timedelta")
    try:
        if isinstance(value, timedelta):
            return datetime.now(UTC) - value
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ConfigurationError(f"there is no date for {value}", hint="choose one nearer to today") from None


@frozen
class Selection:
    """Which jobs: exactly one of a job, a workflow, a pipeline, the latest pipeline, or all pipelines.

    Attributes:
        projects: A project's slug, or several; each one counts once.
        job: A job's number.
        workflow: A workflow's id.
        pipeline: A pipeline's number.
        latest: The newest pipeline of each project.
        all: All pipelines; said already by ``since`` or ``until``.
        branch: Only pipelines of this branch; with ``latest`` or all of them.
        since: Only pipelines created then or later; a ``timedelta`` is so long ago.
        until: Only pipelines created before that.
        workflow_names: Globs over the names of workflows; empty for every one.
        job_names: Globs over the names of jobs.
        statuses: Statuses of jobs, such as ``failed``.
        all_reruns: All workflows; without it, of several of one name in a pipeline the newest counts.

    Raises:
        ConfigurationError: It selects nothing, says two things that contradict each other, or something is of another
            kind than said here.
    """

    projects: tuple[ProjectSlug, ...] = field(converter=_slugs)
    job: int | None = field(default=None, kw_only=True, validator=one_of(int))
    workflow: UUID | None = field(default=None, kw_only=True, converter=_uuid)
    pipeline: int | None = field(default=None, kw_only=True, validator=one_of(int))
    latest: bool = field(default=False, kw_only=True, validator=one_of(bool))
    all: bool = field(default=False, kw_only=True, validator=one_of(bool))
    branch: str | None = field(default=None, kw_only=True, validator=one_of(str))
    since: datetime | None = field(default=None, kw_only=True, converter=moment_of)
    until: datetime | None = field(default=None, kw_only=True, converter=moment_of)
    workflow_names: tuple[str, ...] = field(default=(), kw_only=True, converter=several)
    job_names: tuple[str, ...] = field(default=(), kw_only=True, converter=several)
    statuses: tuple[str, ...] = field(default=(), kw_only=True, converter=several)
    all_reruns: bool = field(default=False, kw_only=True, validator=one_of(bool))

    def __attrs_post_init__(self) -> None:
        if not self.projects:
            raise ConfigurationError("no project is named", hint="name one, such as gh/acme/web")
        named = [word for word in ("job", "workflow", "pipeline") if getattr(self, word) is not None]
        if len(named) + self.latest + self.is_whole != 1:
            raise ConfigurationError(
                "say which artifacts: exactly one of a job, a workflow, a pipeline, the latest pipeline, or all",
                hint=HINT,
            )
        if named:
            self._check_parts(named[0])
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ConfigurationError("no pipeline is created since a moment and before an earlier one")

    @property
    def is_whole(self) -> bool:
        """Whether all pipelines are meant, of a branch or a time perhaps."""
        return self.all or self.since is not None or self.until is not None

    @property
    def is_one_job(self) -> bool:
        """Whether a job is named."""
        return self.job is not None

    def _check_parts(self, named: str) -> None:
        """Refuse what cannot be true, or adds nothing, where a part of one project is named."""
        if len(self.projects) > 1:
            raise ConfigurationError(f"a {named} belongs to one project, and {len(self.projects)} are named")
        if self.branch is not None:
            raise ConfigurationError(
                f"a branch alone selects no pipeline, and the {named} has one",
                hint="add --latest for its newest pipeline, or --all for all of them",
            )
        meaningless = {
            "job": ("workflow_names", "job_names", "statuses", "all_reruns"),
            "workflow": ("workflow_names", "all_reruns"),
            "pipeline": (),
        }
        for word in meaningless[named]:
            if getattr(self, word):
                raise ConfigurationError(f"a {named} is named already, so {word.replace('_', ' ')} choose nothing")


def selected(what: Slugs | Selection, which: Which) -> Selection:
    """Return a selection that was given as such, or in words beside its projects.

    Raises:
        ConfigurationError: It was given in both ways, or selects nothing.
    """
    if not isinstance(what, Selection):
        return Selection(what, **which)
    check_alone(which)
    return what


def check_alone(which: Which) -> None:
    """Refuse words beside what says all.

    Raises:
        ConfigurationError: There are some.
    """
    if which:
        raise ConfigurationError(f"a selection or plan says all, so {next(iter(which))} has no meaning beside it")
