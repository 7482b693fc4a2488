"""The API by resource: ``client.artifacts.list(...)`` and its like.

Each method is an operation's path, its parameters and its model. Lists return a ``Paginator``, which asks for nothing
until it is iterated over. Slugs are opaque: three segments, quoted one by one, slashes literal.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote
from uuid import UUID

from attrs import frozen

from aiocircle.api.models import Artifact, Job, JobDetails, Pipeline, Project, TestResult, User, Workflow
from aiocircle.codec import Model, decode
from aiocircle.errors import ConfigurationError, DecodeError
from aiocircle.events import PageFetched
from aiocircle.pagination import Paginator
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

M = TypeVar("M", bound=Model)

Slug = str | ProjectSlug


@frozen
class Resource:
    """A part of the API, bound to a session."""

    _session: Session

    async def _get(self, cls: type[M], operation: str, template: str, **segments: object) -> M:
        value = await self._session.json(operation, _fill(template, segments), group=template)
        return decode(cls, value, what=operation)

    def _list(
        self,
        cls: type[M],
        operation: str,
        template: str,
        *,
        key: Callable[[M], Hashable] | None,
        page_token: str | None,
        query: Mapping[str, str | None] | None = None,
        **segments: object,
    ) -> Paginator[M]:
        path = _fill(template, segments)

        async def fetch(token: str | None) -> tuple[Sequence[M], str | None]:
            parameters = {**(query or {}), "page-token": token}
            value = await self._session.json(operation, path, group=template, query=parameters)
            items, next_token = _split(value, operation)
            return decode(list[cls], items, what=operation), next_token  # type: ignore[valid-type]

        def on_page(number: int, items: int) -> None:
            self._session.emit(PageFetched(operation=operation, number=number, items=items))

        return Paginator(fetch, key=key, page_token=page_token, what=operation, on_page=on_page)


class Users(Resource):
    """Who the token belongs to."""

    def me(self) -> Awaitable[User]:
        """Return the token's user: the cheapest way to tell whether a token is good."""
        return self._get(User, "get current user", "/me")


class Projects(Resource):
    """Projects by slug."""

    def get(self, slug: Slug) -> Awaitable[Project]:
        """Return a project."""
        return self._get(Project, "get project", "/project/{slug}", slug=slug)


class Pipelines(Resource):
    """Pipelines of a project, newest first."""

    def list(self, slug: Slug, *, branch: str | None = None, page_token: str | None = None) -> Paginator[Pipeline]:
        """List a project's pipelines, those of one branch if given, newest first."""
        return self._list(
            Pipeline,
            "list pipelines",
            "/project/{slug}/pipeline",
            key=_id_of,
            page_token=page_token,
            query={"branch": branch},
            slug=slug,
        )

    def get(self, pipeline_id: UUID | str) -> Awaitable[Pipeline]:
        """Return a pipeline by id."""
        return self._get(Pipeline, "get pipeline", "/pipeline/{id}", id=pipeline_id)

    def get_by_number(self, slug: Slug, number: int) -> Awaitable[Pipeline]:
        """Return a pipeline by its number in a project."""
        return self._get(Pipeline, "get pipeline", "/project/{slug}/pipeline/{number}", slug=slug, number=number)


class Workflows(Resource):
    """Workflows of a pipeline."""

    def list(self, pipeline_id: UUID | str, *, page_token: str | None = None) -> Paginator[Workflow]:
        """List a pipeline's workflows, reruns included. One may have no id."""
        return self._list(
            Workflow, "list workflows", "/pipeline/{id}/workflow", key=_id_of, page_token=page_token, id=pipeline_id
        )

    def get(self, workflow_id: UUID | str) -> Awaitable[Workflow]:
        """Return a workflow."""
        return self._get(Workflow, "get workflow", "/workflow/{id}", id=workflow_id)


class Jobs(Resource):
    """Jobs of a workflow, and a job by number."""

    def list(self, workflow_id: UUID | str, *, page_token: str | None = None) -> Paginator[Job]:
        """List a workflow's jobs, approvals and jobs that never ran included."""
        return self._list(Job, "list jobs", "/workflow/{id}/job", key=_id_of, page_token=page_token, id=workflow_id)

    def get(self, slug: Slug, number: int) -> Awaitable[JobDetails]:
        """Return a job's details; 404 for an approval."""
        return self._get(JobDetails, "get job details", "/project/{slug}/job/{number}", slug=slug, number=number)


class Artifacts(Resource):
    """Files that jobs stored."""

    def list(self, slug: Slug, job_number: int, *, page_token: str | None = None) -> Paginator[Artifact]:
        """List a job's artifacts, all parallel nodes together. The listing is complete once the job has ended."""
        return self._list(
            Artifact,
            "list artifacts",
            "/project/{slug}/{number}/artifacts",
            key=lambda artifact: (artifact.node_index, artifact.path, artifact.url),
            page_token=page_token,
            slug=slug,
            number=job_number,
        )


class Tests(Resource):
    """Test results that jobs stored."""

    __test__ = False  # pytest shall not take it for a test

    def list(self, slug: Slug, job_number: int, *, page_token: str | None = None) -> Paginator[TestResult]:
        """List a job's test results; empty, too, where the host finds them too large (250 MB)."""
        return self._list(
            TestResult,
            "list tests",
            "/project/{slug}/{number}/tests",
            key=None,
            page_token=page_token,
            slug=slug,
            number=job_number,
        )


def _id_of(item: Pipeline | Workflow | Job) -> Hashable:
    return item.id


def _fill(template: str, segments: Mapping[str, object]) -> str:
    return template.format(**{name: _quoted(name, value) for name, value in segments.items()})


def _quoted(name: str, value: object) -> str:
    if name == "slug":
        return (value if isinstance(value, ProjectSlug) else ProjectSlug.parse(str(value))).path
    text = str(value)
    if text in {"", ".", ".."}:
        raise ConfigurationError(f"{text!r} cannot be the {name} of anything")  # and would lead to another operation
    return quote(text, safe="")


def _split(value: object, operation: str) -> tuple[list[object], str | None]:
    """Take a page apart. A missing token is the end; anything else that is no page is an error."""
    items = value.get("items") if isinstance(value, dict) else None
    token = value.get("next_page_token") if isinstance(value, dict) else None
    if not isinstance(items, list) or not (token is None or isinstance(token, str)):
        raise DecodeError(
            f"{operation}: the answer is not a page of items",
            problems=("an object with an array 'items' expected @ $",),
            hint="is the host an API of CircleCI, version 2?",
        )
    return items, token
