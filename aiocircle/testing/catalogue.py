"""What projects and organisations have besides their builds: contexts, variables, keys, schedules, webhooks, deploys.

A few of each, seeded; each method returns JSON values of one documented schema.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any

from aiocircle.testing.answers import Json, repository, timestamp
from aiocircle.testing.ids import Address, Kind
from aiocircle.testing.records import Project
from aiocircle.testing.world import World

CONTEXTS = ("deploy", "npm-publish", "signing")
CONTEXT_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "SLACK_TOKEN", "STAGE")
ENV_VARS = {"NPM_TOKEN": "npm-0001", "REGION": "eu-west-1", "SENTRY_DSN": "https://sentry.example.test/42"}
GROUPS = ("developers", "release managers", "security")
SCHEDULES = ("nightly", "weekly audit", "monthly cleanup")
WEBHOOKS = ("chat", "dashboard", "archive")
COMPONENTS = ("api", "web", "worker")
ENVIRONMENTS = ("development", "staging", "production")
DEFINITIONS = ("build", "release", "nightly")
VERSIONS = 4

_DAY = timedelta(days=1)
_TIMETABLES: tuple[Json, ...] = (
    {"per-hour": 1, "hours-of-day": [2], "days-of-week": ["MON", "TUE", "WED", "THU", "FRI"]},
    {"per-hour": 1, "hours-of-day": [6, 18], "days-of-week": ["SUN"]},
    {"per-hour": 2, "hours-of-day": [0], "days-of-month": [1, 15], "months": ["JAN", "JUL"]},
)


class Catalogue:
    """The settings of one world's projects and organisations. Environment variables can be changed."""

    def __init__(self, world: World, user: Json) -> None:
        self._world = world
        self._user = user
        self._snake = "snake-case-answers" in world.plan.oddities
        self._env_vars = {slug: dict(ENV_VARS) for slug in world.projects}
        self._changed: dict[tuple[str, str], datetime] = {}

    def project_of(self, identifier: str) -> Project | None:
        """Return the project of a project's UUID."""
        return self._named(identifier, Kind.PROJECT)

    def organization_of(self, identifier: str) -> Project | None:
        """Return the project that stands for an organisation, by the organisation's UUID."""
        return self._named(identifier, Kind.ORGANIZATION)

    def find(self, kind: Kind, identifier: str) -> tuple[Project, int] | None:
        """Return whose thing a UUID names, and which one it is."""
        project, address = self._named(identifier, kind), self._world.ids.read(identifier)
        return (project, address.pipeline) if project and address else None

    # An organisation's.

    def contexts(self, project: Project) -> list[Json]:
        """Return ``GET /context``."""
        return [
            {
                "id": self._id(Kind.CONTEXT, project, place),
                "name": name,
                "created_at": self._before(200 - place),
            }
            for place, name in enumerate(CONTEXTS)
        ]

    def context_variables(self, context_id: str) -> list[Json]:
        """Return ``GET /context/{id}/environment-variable``."""
        moments = {"created_at": self._before(150), "updated_at": self._before(20)}
        return [{"variable": name, **moments, "context_id": context_id} for name in CONTEXT_VARIABLES]

    def restrictions(self, project: Project, place: int) -> list[Json]:
        """Return ``GET /context/{id}/restrictions``: two projects and an expression."""
        context_id, project_id = self._id(Kind.CONTEXT, project, place), self._id(Kind.PROJECT, project)
        values = (
            ("project", {"restriction_value": project_id, "project_id": project_id, "name": project.name}),
            ("expression", {"restriction_value": 'pipeline.git.branch == "main"'}),
            ("group", {"restriction_value": self._id(Kind.GROUP, project, 1), "name": GROUPS[1]}),
        )
        return [
            {
                "id": self._id(Kind.RESTRICTION, project, 10 * place + number),
                "context_id": context_id,
                "restriction_type": kind,
                **value,
            }
            for number, (kind, value) in enumerate(values)
        ]

    def groups(self, project: Project) -> list[Json]:
        """Return ``GET /organizations/{id}/groups``."""
        return [
            {"id": self._id(Kind.GROUP, project, place), "name": name, "description": f"All {name}"}
            for place, name in enumerate(GROUPS)
        ]

    def components(self, project: Project) -> list[Json]:
        """Return ``GET /deploy/components``."""
        return [
            {
                "id": self._id(Kind.COMPONENT, project, place),
                "name": name,
                "project_id": self._id(Kind.PROJECT, project),
                "labels": [{"key": "team", "value": GROUPS[place]}],
                "release_count": VERSIONS,
                **self._moments(90, 1),
            }
            for place, name in enumerate(COMPONENTS)
        ]

    def versions(self, project: Project, place: int) -> list[Json]:
        """Return ``GET /deploy/components/{id}/versions``: what the project's last green pipelines deployed."""
        green = (
            (pipeline, workflow)
            for pipeline in self._world.pipelines(project.slug)
            for workflow in pipeline.workflows
            if workflow.status == "success" and workflow.jobs and workflow.jobs[-1].number is not None
        )
        return [
            {
                "name": f"1.{pipeline.number}.0",
                "environment_id": self._id(Kind.ENVIRONMENT, project, (number + place) % len(ENVIRONMENTS)),
                "namespace": "default",
                "is_live": number == 0,
                "pipeline_id": pipeline.id,
                "workflow_id": workflow.id,
                "job_id": workflow.jobs[-1].id,
                "job_number": workflow.jobs[-1].number,
                "last_deployed_at": timestamp(workflow.created_at),
            }
            for number, (pipeline, workflow) in zip(range(VERSIONS), green, strict=False)
        ]

    def environments(self, project: Project) -> list[Json]:
        """Return ``GET /deploy/environments``."""
        return [
            {
                "id": self._id(Kind.ENVIRONMENT, project, place),
                "name": name,
                "description": f"The {name} cluster",
                "labels": [],
                **self._moments(300, 30),
            }
            for place, name in enumerate(ENVIRONMENTS)
        ]

    # A project's.

    def env_vars(self, project: Project) -> list[Json]:
        """Return ``GET /project/{slug}/envvar``; values are masked."""
        return [self._env_var(project, name) for name in self._env_vars[project.slug]]

    def set_env_var(self, project: Project, name: str, value: str, moment: datetime) -> Json:
        """Set a variable and return it as the API does."""
        self._env_vars[project.slug][name] = value
        self._changed[project.slug, name] = moment
        return self._env_var(project, name)

    def delete_env_var(self, project: Project, name: str) -> bool:
        """Delete a variable; False if there is none."""
        return self._env_vars[project.slug].pop(name, None) is not None

    def _env_var(self, project: Project, name: str) -> Json:
        changed = self._changed.get((project.slug, name))
        created_at = self._before(100) if changed is None else timestamp(changed)
        value = f"xxxx{self._env_vars[project.slug][name][-4:]}"
        return {"name": name, "value": value, self._spelled("created-at"): created_at}

    def checkout_keys(self, project: Project, *, digest: str = "md5") -> list[Json]:
        """Return ``GET /project/{slug}/checkout-key``."""
        return [
            {
                self._spelled("public-key"): f"ssh-ed25519 AAAAC3Nza{project.index}{place} {project.name}\n",
                "type": kind,
                "fingerprint": _fingerprint(f"{project.slug} {place}", digest),
                "preferred": place == 0,
                self._spelled("created-at"): self._before(120 - place),
            }
            for place, kind in enumerate(("deploy-key", "github-user-key", "deploy-key"))
        ]

    def schedules(self, project: Project) -> list[Json]:
        """Return ``GET /project/{slug}/schedule``."""
        return [
            {
                "id": self._id(Kind.SCHEDULE, project, place),
                "name": name,
                "description": f"Runs the {name} jobs",
                "timetable": _TIMETABLES[place],
                "project-slug": project.slug,
                "parameters": {"branch": project.default_branch, "deploy": False},
                "actor": self._user,
                "created-at": self._before(60),
                "updated-at": self._before(6),
            }
            for place, name in enumerate(SCHEDULES)
        ]

    def webhooks(self, project: Project) -> list[Json]:
        """Return ``GET /webhook``."""
        return [
            {
                "id": self._id(Kind.WEBHOOK, project, place),
                "name": name,
                "url": f"https://hooks.example.test/{name}",
                self._spelled("verify-tls"): True,
                self._spelled("signing-secret"): "****",
                "scope": {"id": self._id(Kind.PROJECT, project), "type": "project"},
                "events": ["workflow-completed", "job-completed"][: 2 - place % 2],
                self._spelled("created-at"): self._before(80),
                self._spelled("updated-at"): self._before(8),
            }
            for place, name in enumerate(WEBHOOKS)
        ]

    def definitions(self, project: Project) -> list[Json]:
        """Return ``GET /projects/{id}/pipeline-definitions``."""
        repo = {"full_name": repository(project).removeprefix("https://github.com/"), "external_id": "123456"}
        return [
            {
                "id": self._id(Kind.DEFINITION, project, place),
                "name": name,
                "description": f"What a {name} does",
                "created_at": self._before(250),
                "config_source": {"provider": "github_app", "repo": repo, "file_path": f".circleci/{name}.yml"},
                "checkout_source": {"provider": "github_app", "repo": repo},
            }
            for place, name in enumerate(DEFINITIONS)
        ]

    def _named(self, identifier: str, kind: Kind) -> Project | None:
        address = self._world.ids.read(identifier)
        if address is None or address.kind is not kind:
            return None
        return next((one for one in self._world.projects.values() if one.index == address.project), None)

    def _id(self, kind: Kind, project: Project, place: int = 0) -> str:
        return self._world.ids.make(Address(kind, project.index, place))

    def _spelled(self, name: str) -> str:
        return name.replace("-", "_") if self._snake else name

    def _moments(self, created: int, updated: int) -> dict[str, Any]:
        return {"created_at": self._before(created), "updated_at": self._before(updated)}

    def _before(self, days: int) -> str:
        return timestamp(self._world.plan.newest - days * _DAY)


def _fingerprint(text: str, digest: str) -> str:
    if digest == "sha256":
        return f"SHA256:{hashlib.sha256(text.encode()).hexdigest()[:43]}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest().hex(":")
