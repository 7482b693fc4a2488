"""What may be done, and not only read: trigger, rerun, cancel, approve, and environment variables."""

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from aiocircle.testing.answers import timestamp
from aiocircle.testing.catalogue import Catalogue
from aiocircle.testing.exchange import Answer, json_answer, message_answer
from aiocircle.testing.ids import Kind
from aiocircle.testing.pages import number_of
from aiocircle.testing.records import Job, Pipeline, Project, Workflow
from aiocircle.testing.usage import UsageExports
from aiocircle.testing.world import World

Action = Callable[..., Answer | None]
"""(body, path arguments) -> the answer; None for 404."""

MOST_PARAMETERS = 100


class RefusedError(Exception):
    """The body is not one that the API takes; the text is its message."""


class Posts:
    """Changes one world."""

    def __init__(self, world: World, catalogue: Catalogue, usage: UsageExports) -> None:
        self._world = world
        self._catalogue = catalogue
        self._actions: dict[str, Action] = {
            "project.trigger": self._trigger,
            "project.run": self._run,
            "workflow.rerun": self._rerun,
            "workflow.cancel": self._cancel,
            "workflow.approve": self._approve,
            "project.job.cancel": self._cancel_by_number,
            "job.cancel": self._cancel_by_id,
            "project.envvar.create": self._create_env_var,
            "project.envvar.delete": self._delete_env_var,
            "usage.create": usage.create,
        }

    def __contains__(self, name: str) -> bool:
        return name in self._actions

    def answer(self, name: str, body: bytes, *arguments: str) -> Answer | None:
        """Carry out a request and return what the API says to it."""
        try:
            return self._actions[name](_object(body), *arguments)
        except RefusedError as refusal:
            return message_answer(400, str(refusal))

    def _trigger(self, body: Mapping[str, Any], slug: str) -> Answer | None:
        project = self._world.projects.get(slug)
        if project is None:
            return None
        if project.is_app:
            raise RefusedError("This endpoint does not support this project.")
        _check_parameters(body)
        return json_answer(self._triggered(project, _ref(body)), 201)

    def _run(self, body: Mapping[str, Any], slug: str) -> Answer | None:
        project = self._world.projects.get(slug)
        if project is None:
            return None
        _check_parameters(body)
        definition = body.get("definition_id")
        if not _is_uuid(definition):
            raise RefusedError("definition_id is not a UUID")
        if definition not in {found["id"] for found in self._catalogue.definitions(project)}:
            return message_answer(404, "Pipeline definition not found")
        ref = _ref(body.get("config") or body.get("checkout") or {})
        if self._world.course.script_of(ref.get("branch") or ref.get("tag")).outcome == "skipped":
            return json_answer({"message": "The pipeline was not triggered: the commit skips CI"})
        return json_answer(self._triggered(project, ref), 201)

    def _triggered(self, project: Project, ref: Mapping[str, str]) -> dict[str, Any]:
        given = ref or {"branch": project.default_branch}
        pipeline = self._world.trigger(project.slug, branch=given.get("branch"), tag=given.get("tag"))
        return {
            "id": pipeline.id,
            "state": pipeline.state,
            "number": pipeline.number,
            "created_at": timestamp(pipeline.created_at),
        }

    def _rerun(self, body: Mapping[str, Any], identifier: str) -> Answer | None:
        found = self._world.workflow_by_id(identifier)
        if found is None:
            return None
        if body.get("from_failed") and body.get("jobs"):
            raise RefusedError("from_failed and jobs exclude each other")
        again = _again(found[1], body)
        if not again:
            raise RefusedError("There is nothing to run again.")
        number = self._world.free_number(found[0].project.slug)
        return json_answer({"workflow_id": self._world.course.rerun(*found, again, number)}, 202)

    def _cancel(self, _body: Mapping[str, Any], identifier: str) -> Answer | None:
        found = self._world.workflow_by_id(identifier)
        if found is None:
            return None
        self._world.course.cancel(*found)
        return message_answer(202, "Accepted.")

    def _approve(self, _body: Mapping[str, Any], identifier: str, request_id: str) -> Answer | None:
        found = self._world.workflow_by_id(identifier)
        job = found and self._waiting_job(found[1], request_id)
        if not found or job is None:
            return message_answer(404, "Approval request not found") if found else None
        self._world.course.approve(*found, job, self._world.free_number(found[0].project.slug))
        return message_answer(202, "Accepted.")

    def _waiting_job(self, workflow: Workflow, request_id: str) -> Job | None:
        waiting = (job for job in workflow.jobs if job.type == "approval" and job.status == "on_hold")
        make = self._world.ids.make
        return next((job for job in waiting if make(job.address._replace(kind=Kind.APPROVAL)) == request_id), None)

    def _cancel_by_number(self, _body: Mapping[str, Any], slug: str, number: str) -> Answer | None:
        job = self._world.job(slug, number_of(number)) if slug in self._world.projects else None
        return self._cancel_job(job)

    def _cancel_by_id(self, _body: Mapping[str, Any], identifier: str) -> Answer | None:
        return self._cancel_job(self._world.job_by_id(identifier))

    def _cancel_job(self, job: Job | None) -> Answer | None:
        found: tuple[Pipeline, Workflow] | None = self._world.workflow_of(job) if job else None
        if job is None or found is None:
            return None
        self._world.course.cancel(*found, job)
        return message_answer(200, "Job canceled successfully.")

    def _create_env_var(self, body: Mapping[str, Any], slug: str) -> Answer | None:
        project = self._world.projects.get(slug)
        if project is None:
            return None
        name, value = body.get("name"), body.get("value")
        if not isinstance(name, str) or not isinstance(value, str):
            raise RefusedError("name and value are strings")
        return json_answer(self._catalogue.set_env_var(project, name, value, self._world.course.moment()), 201)

    def _delete_env_var(self, _body: Mapping[str, Any], slug: str, name: str) -> Answer | None:
        project = self._world.projects.get(slug)
        if project is None or not self._catalogue.delete_env_var(project, name):
            return None
        return message_answer(200, "Environment variable deleted.")


def _object(body: bytes) -> Mapping[str, Any]:
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RefusedError("The body is not a JSON object.")
    return value


def _ref(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the branch or the tag of a body; neither means the default branch."""
    given = {name: body[name] for name in ("branch", "tag") if body.get(name) is not None}
    if len(given) > 1:
        raise RefusedError("branch and tag exclude each other")
    if not all(isinstance(value, str) for value in given.values()):
        raise RefusedError("branch and tag are strings")
    return given


def _check_parameters(body: Mapping[str, Any]) -> None:
    parameters = body.get("parameters", {})
    if not isinstance(parameters, dict) or len(parameters) > MOST_PARAMETERS:
        raise RefusedError(f"parameters are an object of at most {MOST_PARAMETERS} entries")
    if not all(isinstance(value, bool | int | str) for value in parameters.values()):
        raise RefusedError("a parameter is a string, an integer or a boolean")


def _again(workflow: Workflow, body: Mapping[str, Any]) -> frozenset[int]:
    """Return the places of the jobs that a rerun runs."""
    places = enumerate(workflow.jobs)
    if body.get("jobs"):
        return frozenset(place for place, job in places if job.id in body["jobs"])
    if not body.get("from_failed"):
        return frozenset(place for place, _ in places)
    failed = [place for place, job in places if job.status in {"failed", "canceled"}]
    return frozenset(range(failed[0], len(workflow.jobs))) if failed else frozenset()


def _is_uuid(value: Any) -> bool:
    try:
        uuid.UUID(value)
    except (ValueError, TypeError, AttributeError):
        return False
    return True
