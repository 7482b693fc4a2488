"""Settings of projects and organisations: the answers to reading requests."""

from collections.abc import Callable, Sequence

from aiocircle.testing.answers import Json, organization_slug
from aiocircle.testing.catalogue import Catalogue
from aiocircle.testing.exchange import Answer, json_answer, message_answer
from aiocircle.testing.ids import Kind
from aiocircle.testing.pages import Handlers, Lister, Page, Query, list_sequence, number_of
from aiocircle.testing.records import Project
from aiocircle.testing.world import World

Found = Answer | Lister | None


class Settings:
    """What the projects and organisations of one world have besides their builds."""

    def __init__(self, world: World, catalogue: Catalogue) -> None:
        self._world = world
        self._catalogue = catalogue

    def handlers(self) -> Handlers:
        """Return what answers each route."""
        found = self._catalogue
        return {
            "project.keys": self._keys,
            "project.key": self._key,
            "project.envvars": self._of_project(found.env_vars),
            "project.envvar": self._env_var,
            "project.schedules": self._of_project(found.schedules),
            "schedule": self._one(Kind.SCHEDULE, found.schedules),
            "contexts": self._contexts,
            "context": self._one(Kind.CONTEXT, found.contexts),
            "context.variables": self._context_variables,
            "context.restrictions": self._restrictions,
            "groups": self._groups,
            "group": lambda query, _organization, group: self._one(Kind.GROUP, found.groups)(query, group),
            "webhooks": self._webhooks,
            "webhook": self._one(Kind.WEBHOOK, found.webhooks),
            "definitions": self._definitions,
            "components": self._deploys(found.components),
            "component": self._one(Kind.COMPONENT, found.components),
            "component.versions": self._versions,
            "environments": self._deploys(found.environments),
            "environment": self._one(Kind.ENVIRONMENT, found.environments),
        }

    def _of_project(self, listed: Callable[[Project], Sequence[Json]]) -> Callable[[Query, str], Found]:
        """Return the handler of something that a project has several of."""

        def handler(_query: Query, slug: str) -> Found:
            project = self._world.projects.get(slug)
            return None if project is None else _listed(listed(project))

        return handler

    def _one(self, kind: Kind, listed: Callable[[Project], Sequence[Json]]) -> Callable[[Query, str], Found]:
        """Return the handler of one thing by its UUID."""

        def handler(_query: Query, identifier: str) -> Found:
            place = self._catalogue.find(kind, identifier)
            return None if place is None else json_answer(listed(place[0])[place[1]])

        return handler

    def _deploys(self, listed: Callable[[Project], Sequence[Json]]) -> Callable[[Query], Found]:
        """Return the handler of a listing that wants an organisation and the size of a page."""

        def handler(query: Query) -> Found:
            if not number_of(query.get("page-size", "")):
                return message_answer(400, "page-size is required")
            project = self._catalogue.organization_of(query.get("org-id", ""))
            return message_answer(404, "Organization not found") if project is None else _listed(listed(project))

        return handler

    def _keys(self, query: Query, slug: str) -> Found:
        project = self._world.projects.get(slug)
        return (
            None
            if project is None
            else _listed(self._catalogue.checkout_keys(project, digest=query.get("digest", "md5")))
        )

    def _key(self, _query: Query, slug: str, fingerprint: str) -> Found:
        project = self._world.projects.get(slug)
        keys = [] if project is None else self._catalogue.checkout_keys(project)
        return next((json_answer(key) for key in keys if key["fingerprint"] == fingerprint), None)

    def _env_var(self, _query: Query, slug: str, name: str) -> Found:
        project = self._world.projects.get(slug)
        variables = [] if project is None else self._catalogue.env_vars(project)
        return next((json_answer(variable) for variable in variables if variable["name"] == name), None)

    def _contexts(self, query: Query) -> Found:
        slugs = {organization_slug(project): project for project in reversed(self._world.projects.values())}
        project = self._catalogue.organization_of(query.get("owner-id", "")) or slugs.get(query.get("owner-slug", ""))
        return message_answer(404, "Owner not found") if project is None else _listed(self._catalogue.contexts(project))

    def _context_variables(self, _query: Query, identifier: str) -> Found:
        place = self._catalogue.find(Kind.CONTEXT, identifier)
        return None if place is None else _listed(self._catalogue.context_variables(identifier))

    def _restrictions(self, _query: Query, identifier: str) -> Found:
        place = self._catalogue.find(Kind.CONTEXT, identifier)
        return None if place is None else _listed(self._catalogue.restrictions(*place))

    def _groups(self, _query: Query, identifier: str) -> Found:
        project = self._catalogue.organization_of(identifier)
        if project is None:
            return None
        groups = self._catalogue.groups(project)

        def lister(start: int, limit: int) -> Page:
            page = _listed(groups)(start, limit)
            return page._replace(more={"total_count": len(groups)})

        return lister

    def _webhooks(self, query: Query) -> Found:
        if query.get("scope-type") != "project":
            return message_answer(400, "scope-type is project")
        project = self._catalogue.project_of(query.get("scope-id", ""))
        return (
            message_answer(404, "Project not found") if project is None else _listed(self._catalogue.webhooks(project))
        )

    def _definitions(self, _query: Query, identifier: str) -> Found:
        project = self._catalogue.project_of(identifier)
        return None if project is None else json_answer({"items": self._catalogue.definitions(project)})

    def _versions(self, _query: Query, identifier: str) -> Found:
        place = self._catalogue.find(Kind.COMPONENT, identifier)
        return None if place is None else _listed(self._catalogue.versions(*place))


def _listed(items: Sequence[Json]) -> Lister:
    return list_sequence(items, lambda item: item)
