"""The API's routes: which path is which operation, and the true answer to each."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

from aiocircle.testing.answers import Answers
from aiocircle.testing.exchange import Answer, json_answer, message_answer
from aiocircle.testing.pages import Lister, Page, PageTokens, UnknownPageTokenError, list_found, list_sequence
from aiocircle.testing.records import Job, Project
from aiocircle.testing.world import World

SHORT_PROVIDERS = {"github": "gh", "bitbucket": "bb"}
PREFIX = "/api/v2"

# {slug} stands for three segments, any other name for one. The longer pattern comes first where two could match.
_PATTERNS = (
    ("me", "/me"),
    ("me.collaborations", "/me/collaborations"),
    ("project.pipelines.mine", "/project/{slug}/pipeline/mine"),
    ("project.pipeline", "/project/{slug}/pipeline/{number}"),
    ("project.pipelines", "/project/{slug}/pipeline"),
    ("project.job", "/project/{slug}/job/{number}"),
    ("project.job.artifacts", "/project/{slug}/{number}/artifacts"),
    ("project.job.tests", "/project/{slug}/{number}/tests"),
    ("project", "/project/{slug}"),
    ("pipeline.workflows", "/pipeline/{id}/workflow"),
    ("pipeline", "/pipeline/{id}"),
    ("workflow.jobs", "/workflow/{id}/job"),
    ("workflow", "/workflow/{id}"),
    ("insights.workflow", "/insights/{slug}/workflows/{name}"),
    ("insights.workflows", "/insights/{slug}/workflows"),
)


class Route(NamedTuple):
    """A matched path. ``template`` is how the document writes it."""

    name: str
    template: str
    arguments: tuple[str, ...]

    @property
    def is_listing(self) -> bool:
        """Return whether the answer is a page of items."""
        return self.name in _LISTINGS


_LISTINGS = {
    "project.pipelines",
    "project.pipelines.mine",
    "project.job.artifacts",
    "project.job.tests",
    "pipeline.workflows",
    "workflow.jobs",
    "insights.workflows",
    "insights.workflow",
}


@functools.lru_cache(maxsize=4096)
def match(path: str) -> Route | None:
    """Return the route of a raw path. An encoded slash never separates segments, nor is it part of one."""
    if not path.startswith(PREFIX + "/") or "%2f" in path.lower():
        return None
    segments = path[len(PREFIX) + 1 :].split("/")
    for name, template in _PATTERNS:
        arguments = _fit(template, segments)
        if arguments is not None:
            return Route(name, template, arguments)
    return None


def _fit(template: str, segments: list[str]) -> tuple[str, ...] | None:
    arguments = []
    rest = segments
    for part in template[1:].split("/"):
        width = 3 if part == "{slug}" else 1
        if len(rest) < width:
            return None
        taken, rest = rest[:width], rest[width:]
        if part[0] == "{":
            text = "/".join(map(unquote, taken))
            arguments.append(_short(text) if part == "{slug}" else text)
        elif taken != [part]:
            return None
    return None if rest else tuple(arguments)


def _short(slug: str) -> str:
    """Return a slug in the form of `World`: CircleCI takes ``github`` and ``bitbucket`` for ``gh`` and ``bb``."""
    provider, _, rest = slug.partition("/")
    return f"{SHORT_PROVIDERS.get(provider, provider)}/{rest}"


class Api:
    """The true answers of one world. ``page_size`` is the number of items on a page."""

    def __init__(self, world: World, answers: Answers, tokens: PageTokens, page_size: int) -> None:
        self._world = world
        self._answers = answers
        self._tokens = tokens
        self._page_size = page_size
        self._routes: dict[str, Callable[..., Answer | Lister | None]] = {
            "me": lambda _query: json_answer(answers.user()),
            "me.collaborations": lambda _query: json_answer(answers.collaborations()),
            "project": self._project,
            "project.pipelines": self._pipelines,
            "project.pipelines.mine": self._pipelines,
            "project.pipeline": self._pipeline_by_number,
            "project.job": self._job,
            "project.job.artifacts": self._artifacts,
            "project.job.tests": self._tests,
            "pipeline": self._pipeline,
            "pipeline.workflows": self._workflows,
            "workflow": self._workflow,
            "workflow.jobs": self._jobs,
            "insights.workflows": self._insights,
            "insights.workflow": self._runs,
        }

    def answer(self, route: Route, query: dict[str, str], *, first_page: bool = False) -> Answer:
        """Return the answer of ``route``; a listing's is the page that the query names."""
        found = self._routes[route.name](query, *route.arguments)
        if found is None:
            return message_answer(404, _NOT_FOUND.get(route.name, "Not found"))
        if isinstance(found, Answer):
            return found
        return self._page(found, route, query, None if first_page else query.get("page-token"))

    def _page(self, lister: Lister, route: Route, query: dict[str, str], token: str | None) -> Answer:
        filters = sorted((name, value) for name, value in query.items() if name != "page-token")
        listing = f"{route.name} {route.arguments} {filters}"
        try:
            start = self._tokens.read(listing, token) if token else 0
        except UnknownPageTokenError:
            return message_answer(404, "Not Found")
        page: Page = lister(start, self._page_size)
        following = None if page.next_start is None else self._tokens.make(listing, page.next_start)
        return json_answer({"items": page.items, "next_page_token": following})

    def _project(self, _query: dict[str, str], slug: str) -> Answer | None:
        project = self._world.projects.get(slug)
        return None if project is None else json_answer(self._answers.project(project))

    def _pipelines(self, query: dict[str, str], slug: str) -> Lister | None:
        world, branch = self._world, query.get("branch")
        if slug not in world.projects:
            return None

        def scan(start: int) -> Iterator[tuple[int, Any]]:
            # A place is the number of newer pipelines: a new one shifts the pages, as it does in fact.
            newest = world.newest_number(slug)
            for place in range(start, newest):
                number = newest - place
                pipeline = world.pipeline(slug, number) if branch in {None, world.branch(slug, number)} else None
                if pipeline is not None:
                    yield place, self._answers.pipeline(pipeline)

        return list_found(scan)

    def _pipeline_by_number(self, _query: dict[str, str], slug: str, number: str) -> Answer | None:
        pipeline = self._world.pipeline(slug, _number(number))
        return None if pipeline is None else json_answer(self._answers.pipeline(pipeline))

    def _pipeline(self, _query: dict[str, str], identifier: str) -> Answer | None:
        pipeline = self._world.pipeline_by_id(identifier)
        return None if pipeline is None else json_answer(self._answers.pipeline(pipeline))

    def _workflows(self, _query: dict[str, str], identifier: str) -> Lister | None:
        pipeline = self._world.pipeline_by_id(identifier)
        if pipeline is None:
            return None
        return list_sequence(pipeline.workflows, lambda workflow: self._answers.workflow(pipeline, workflow))

    def _workflow(self, _query: dict[str, str], identifier: str) -> Answer | None:
        found = self._world.workflow_by_id(identifier)
        return None if found is None else json_answer(self._answers.workflow(*found))

    def _jobs(self, _query: dict[str, str], identifier: str) -> Lister | None:
        found = self._world.workflow_by_id(identifier)
        return None if found is None else list_sequence(found[1].jobs, self._answers.workflow_job)

    def _build(self, slug: str, number: str) -> Job | None:
        """Return a job that has details: an approval has a number and nothing behind it."""
        job = self._world.job(slug, _number(number)) if slug in self._world.projects else None
        return None if job is None or job.type == "approval" else job

    def _job(self, _query: dict[str, str], slug: str, number: str) -> Answer | None:
        job = self._build(slug, number)
        found = job and self._world.workflow_of(job)
        return json_answer(self._answers.job(*found, job)) if job and found else None

    def _artifacts(self, _query: dict[str, str], slug: str, number: str) -> Lister | None:
        job = self._build(slug, number)
        return None if job is None else list_sequence(job.artifacts, lambda item: self._answers.artifact(job, item))

    def _tests(self, _query: dict[str, str], slug: str, number: str) -> Lister | None:
        job = self._build(slug, number)
        return None if job is None else list_sequence(range(job.tests), lambda index: self._answers.test(job, index))

    def _insights(self, _query: dict[str, str], slug: str) -> Lister | None:
        project = self._world.projects.get(slug)
        if project is None:
            return None
        return list_sequence(
            _workflow_names(self._world, project), lambda n: self._answers.workflow_metrics(project, n)
        )

    def _runs(self, query: dict[str, str], slug: str, name: str) -> Lister | None:
        """List the runs of a workflow: of the default branch unless the query says otherwise."""
        world = self._world
        project = world.projects.get(slug)
        if project is None:
            return None
        branch = None if query.get("all-branches") == "true" else query.get("branch", project.default_branch)
        everything = (
            (pipeline, workflow)
            for pipeline in world.pipelines(slug)
            if branch in {None, pipeline.branch}
            for workflow in pipeline.workflows
            if workflow.name == name and workflow.id is not None
        )

        def scan(start: int) -> Iterator[tuple[int, Any]]:
            for place, run in enumerate(everything):
                if place >= start:
                    yield place, self._answers.workflow_run(*run)

        return list_found(scan)


_NOT_FOUND = {
    "project": "Project not found",
    "project.pipelines": "Project not found",
    "project.pipelines.mine": "Project not found",
    "project.job": "Job not found",
    "project.job.artifacts": "Job not found",
    "project.job.tests": "Job not found",
    "pipeline": "Pipeline not found",
    "project.pipeline": "Pipeline not found",
    "workflow": "Workflow not found",
}


_TOO_LONG = 19


def _number(text: str) -> int:
    """Return the number in a path, or 0, which nothing has."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _TOO_LONG else 0


def _workflow_names(world: World, project: Project) -> list[str]:
    """Return the names of the workflows of the newest pipelines, each once."""
    names: dict[str, None] = {}
    for _, pipeline in zip(range(20), world.pipelines(project.slug), strict=False):
        names.update(dict.fromkeys(workflow.name for workflow in pipeline.workflows))
    return list(names)
