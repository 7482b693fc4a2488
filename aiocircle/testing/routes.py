"""The API's routes: which request is which operation, and the true answer to each."""

import functools
from typing import NamedTuple
from urllib.parse import unquote

from aiocircle.testing.answers import Answers
from aiocircle.testing.builds import Builds
from aiocircle.testing.catalogue import Catalogue
from aiocircle.testing.exchange import Answer, json_answer, message_answer
from aiocircle.testing.insights import Insights
from aiocircle.testing.pages import Handlers, Lister, Page, PageTokens, Query, UnknownPageTokenError, number_of
from aiocircle.testing.posts import Posts
from aiocircle.testing.settings import Settings
from aiocircle.testing.usage import UsageExports
from aiocircle.testing.world import World

SHORT_PROVIDERS = {"github": "gh", "bitbucket": "bb"}
PREFIX = "/api/v2"

# {slug} stands for three segments, {org} for two, any other for one. Where two could match the longer comes first.
_GETS = (
    ("me", "/me"),
    ("me.collaborations", "/me/collaborations"),
    ("user", "/user/{id}"),
    ("project.pipelines.mine", "/project/{slug}/pipeline/mine"),
    ("project.pipeline", "/project/{slug}/pipeline/{number}"),
    ("project.pipelines", "/project/{slug}/pipeline"),
    ("project.job", "/project/{slug}/job/{number}"),
    ("project.job.artifacts", "/project/{slug}/{number}/artifacts"),
    ("project.job.tests", "/project/{slug}/{number}/tests"),
    ("project.keys", "/project/{slug}/checkout-key"),
    ("project.key", "/project/{slug}/checkout-key/{fingerprint}"),
    ("project.envvars", "/project/{slug}/envvar"),
    ("project.envvar", "/project/{slug}/envvar/{name}"),
    ("project.schedules", "/project/{slug}/schedule"),
    ("project", "/project/{slug}"),
    ("pipelines", "/pipeline"),
    ("pipeline.workflows", "/pipeline/{id}/workflow"),
    ("pipeline.values", "/pipeline/{id}/values"),
    ("pipeline.config", "/pipeline/{id}/config"),
    ("pipeline", "/pipeline/{id}"),
    ("workflow.jobs", "/workflow/{id}/job"),
    ("workflow", "/workflow/{id}"),
    ("job", "/jobs/{id}"),
    ("insights.timeseries", "/insights/time-series/{slug}/workflows/{name}/jobs"),
    ("insights.jobs", "/insights/{slug}/workflows/{name}/jobs"),
    ("insights.summary", "/insights/{slug}/workflows/{name}/summary"),
    ("insights.tests", "/insights/{slug}/workflows/{name}/test-metrics"),
    ("insights.workflow", "/insights/{slug}/workflows/{name}"),
    ("insights.workflows", "/insights/{slug}/workflows"),
    ("insights.branches", "/insights/{slug}/branches"),
    ("insights.flaky", "/insights/{slug}/flaky-tests"),
    ("insights.project", "/insights/pages/{slug}/summary"),
    ("insights.organization", "/insights/{org}/summary"),
    ("contexts", "/context"),
    ("context.variables", "/context/{id}/environment-variable"),
    ("context.restrictions", "/context/{id}/restrictions"),
    ("context", "/context/{id}"),
    ("groups", "/organizations/{id}/groups"),
    ("group", "/organizations/{id}/groups/{id}"),
    ("usage.export", "/organizations/{id}/usage_export_job/{id}"),
    ("webhooks", "/webhook"),
    ("webhook", "/webhook/{id}"),
    ("schedule", "/schedule/{id}"),
    ("definitions", "/projects/{id}/pipeline-definitions"),
    ("components", "/deploy/components"),
    ("component.versions", "/deploy/components/{id}/versions"),
    ("component", "/deploy/components/{id}"),
    ("environments", "/deploy/environments"),
    ("environment", "/deploy/environments/{id}"),
)
_POSTS = (
    ("project.run", "/project/{slug}/pipeline/run"),
    ("project.trigger", "/project/{slug}/pipeline"),
    ("project.job.cancel", "/project/{slug}/job/{number}/cancel"),
    ("project.envvar.create", "/project/{slug}/envvar"),
    ("workflow.rerun", "/workflow/{id}/rerun"),
    ("workflow.cancel", "/workflow/{id}/cancel"),
    ("workflow.approve", "/workflow/{id}/approve/{id}"),
    ("job.cancel", "/jobs/{id}/cancel"),
    ("usage.create", "/organizations/{id}/usage_export_job"),
)
_DELETES = (("project.envvar.delete", "/project/{slug}/envvar/{name}"),)
_WIDTHS = {"{slug}": 3, "{org}": 2}
_PATTERNS = {"GET": _GETS, "POST": _POSTS, "DELETE": _DELETES}
_LISTINGS = frozenset(
    {
        *("project.pipelines", "project.pipelines.mine", "project.job.artifacts", "project.job.tests"),
        *("project.keys", "project.envvars", "project.schedules", "pipelines", "pipeline.workflows", "workflow.jobs"),
        *("insights.workflows", "insights.workflow", "insights.jobs", "insights.timeseries"),
        *("contexts", "context.variables", "context.restrictions", "groups", "webhooks"),
        *("components", "component.versions", "environments"),
    }
)
_PAGE_SIZES = {"groups": "limit", "components": "page-size", "environments": "page-size"}


class Route(NamedTuple):
    """A matched path. ``template`` is how the document writes it; ``allowed`` tells whether it takes the method."""

    name: str
    template: str
    arguments: tuple[str, ...]
    allowed: bool = True

    @property
    def is_listing(self) -> bool:
        """Return whether the answer is a page of items."""
        return self.name in _LISTINGS


@functools.lru_cache(maxsize=4096)
def match(method: str, path: str) -> Route | None:
    """Return the route of a raw path. An encoded slash never separates segments, nor is it part of one."""
    if not path.startswith(PREFIX + "/") or "%2f" in path.lower():
        return None
    segments = path[len(PREFIX) + 1 :].split("/")
    own = _PATTERNS.get(method, ())
    for patterns in (own, *(others for others in _PATTERNS.values() if others is not own)):
        for name, template in patterns:
            arguments = _fit(template, segments)
            if arguments is not None:
                return Route(name, template, arguments, patterns is own)
    return None


def _fit(template: str, segments: list[str]) -> tuple[str, ...] | None:
    arguments = []
    rest = segments
    for part in template[1:].split("/"):
        width = _WIDTHS.get(part, 1)
        if len(rest) < width:
            return None
        taken, rest = rest[:width], rest[width:]
        if part[0] == "{":
            text = "/".join(map(unquote, taken))
            arguments.append(_short(text) if part in _WIDTHS else text)
        elif taken != [part]:
            return None
    return None if rest else tuple(arguments)


def _short(slug: str) -> str:
    """Return a slug in the form of `World`: CircleCI takes ``github`` and ``bitbucket`` for ``gh`` and ``bb``."""
    provider, _, rest = slug.partition("/")
    return f"{SHORT_PROVIDERS.get(provider, provider)}/{rest}"


class Api:
    """The true answers of one world. ``page_size`` is the number of items on a page."""

    def __init__(self, world: World, answers: Answers, tokens: PageTokens, page_size: int, usage: UsageExports) -> None:
        catalogue = Catalogue(world, answers.user())
        self._tokens = tokens
        self._page_size = page_size
        self._posts = Posts(world, catalogue, usage)
        self._gets: Handlers = {
            **Builds(world, answers).handlers(),
            **Insights(world, answers).handlers(),
            **Settings(world, catalogue).handlers(),
            **usage.handlers(),
        }

    def answer(self, route: Route, query: Query, body: bytes = b"", *, first_page: bool = False) -> Answer:
        """Return the answer of ``route``; a listing's is the page that the query names."""
        if route.name in self._posts:
            return self._posts.answer(route.name, body, *route.arguments) or _missing(route)
        found = self._gets[route.name](query, *route.arguments)
        if found is None:
            return _missing(route)
        if isinstance(found, Answer):
            return found
        return self._page(found, route, query, None if first_page else query.get("page-token"))

    def _page(self, lister: Lister, route: Route, query: Query, token: str | None) -> Answer:
        filters = sorted((name, value) for name, value in query.items() if name != "page-token")
        listing = f"{route.name} {route.arguments} {filters}"
        try:
            start = self._tokens.read(listing, token) if token else 0
        except UnknownPageTokenError:
            return message_answer(404, "Not Found")
        size = number_of(query.get(_PAGE_SIZES.get(route.name, ""), "")) or self._page_size
        page: Page = lister(start, size)
        following = None if page.next_start is None else self._tokens.make(listing, page.next_start)
        return json_answer({"items": page.items, "next_page_token": following, **page.more})


def _missing(route: Route) -> Answer:
    return message_answer(404, _NOT_FOUND.get(route.name) or _NOT_FOUND.get(route.name.partition(".")[0], "Not found"))


_NOT_FOUND = {
    "project": "Project not found",
    "project.job": "Job not found",
    "project.job.artifacts": "Job not found",
    "project.job.tests": "Job not found",
    "project.job.cancel": "Job not found",
    "project.pipeline": "Pipeline not found",
    "pipeline": "Pipeline not found",
    "workflow": "Workflow not found",
    "job": "Job not found",
}
