"""What a webhook tells: the event, and the artifacts that there are now.

The maps of a payload are open: fields may be added to them at any time, and are kept in ``extra``.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import frozen

from aiocircle.codec import Model, decode
from aiocircle.crawl.selection import Selection
from aiocircle.errors import ConfigurationError, DecodeError

TYPE_HEADER = "circleci-event-type"


@frozen(kw_only=True)
class Named(Model):
    """A webhook or an organisation."""

    id: UUID | None = None
    name: str | None = None


@frozen(kw_only=True)
class EventProject(Model):
    """The project in which it happened."""

    slug: str
    id: UUID | None = None
    name: str | None = None


@frozen(kw_only=True)
class FinishedJob(Model):
    """A job that has ended.

    Attributes:
        status: ``success``, ``failed``, ``canceled`` or ``unauthorized``.
    """

    id: UUID | None = None
    number: int | None = None
    name: str | None = None
    status: str | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None


@frozen(kw_only=True)
class EventWorkflow(Model):
    """The workflow that has ended, or that the job belongs to.

    Attributes:
        status: ``success``, ``failed``, ``error``, ``canceled`` or ``unauthorized``; absent where a job has ended.
    """

    id: UUID
    name: str | None = None
    status: str | None = None
    url: str | None = None
    created_at: datetime | None = None
    stopped_at: datetime | None = None


@frozen(kw_only=True)
class Person(Model):
    """Somebody as a commit names them."""

    name: str | None = None
    email: str | None = None


@frozen(kw_only=True)
class Commit(Model):
    """The commit that a pipeline ran on."""

    subject: str | None = None
    body: str | None = None
    author: Person | None = None
    authored_at: datetime | None = None
    committer: Person | None = None
    committed_at: datetime | None = None


@frozen(kw_only=True)
class EventVcs(Model):
    """What a pipeline ran on: a branch or a tag."""

    provider_name: str | None = None
    origin_repository_url: str | None = None
    target_repository_url: str | None = None
    revision: str | None = None
    branch: str | None = None
    tag: str | None = None
    commit: Commit | None = None


@frozen(kw_only=True)
class EventTrigger(Model):
    """What began a pipeline: ``webhook``, ``api``, ``schedule`` and others."""

    type: str | None = None


@frozen(kw_only=True)
class EventPipeline(Model):
    """The pipeline that the workflow belongs to.

    Attributes:
        vcs: Absent where the pipeline was not begun by a change in GitHub or Bitbucket.
        trigger_parameters: What the trigger knew, by its kind (``circleci``, ``git``, ``gitlab`` ...): JSON as it came.
    """

    id: UUID | None = None
    number: int | None = None
    created_at: datetime | None = None
    trigger: EventTrigger | None = None
    trigger_parameters: Mapping[str, Any] | None = None
    vcs: EventVcs | None = None


@frozen(kw_only=True)
class WebhookEvent(Model):
    """Something happened. Of a type not known here everything else is in ``extra``, as JSON.

    Attributes:
        id: The same in every delivery of the event.
        type: ``workflow-completed``, ``job-completed``, ``ping``, or what there will be.
    """

    id: str
    type: str
    happened_at: datetime | None = None
    webhook: Named | None = None


@frozen(kw_only=True)
class Ping(WebhookEvent):
    """Somebody tried the webhook out."""


@frozen(kw_only=True)
class WorkflowCompleted(WebhookEvent):
    """A workflow has ended, all its jobs with it."""

    project: EventProject
    workflow: EventWorkflow
    organization: Named | None = None
    pipeline: EventPipeline | None = None

    def selection(self) -> Selection:
        """Return the artifacts of all the workflow's jobs, for ``client.download``.

        Raises:
            ConfigurationError: The project's slug is none.
        """
        return Selection(self.project.slug, workflow=self.workflow.id)


@frozen(kw_only=True)
class JobCompleted(WebhookEvent):
    """A job has ended, and its artifacts are complete."""

    project: EventProject
    job: FinishedJob
    workflow: EventWorkflow | None = None
    organization: Named | None = None
    pipeline: EventPipeline | None = None

    def selection(self) -> Selection:
        """Return the job's artifacts, for ``client.download``; no listing is needed to find the job.

        Raises:
            ConfigurationError: The project's slug is none, or the job has no number because it never ran.
        """
        if self.job.number is None:
            raise ConfigurationError("the job has no number, so there is nothing to fetch", hint="it never ran")
        return Selection(self.project.slug, job=self.job.number)


_TYPES: Mapping[str, type[WebhookEvent]] = {
    "workflow-completed": WorkflowCompleted,
    "job-completed": JobCompleted,
    "ping": Ping,
}


def parse_event(body: bytes, headers: Mapping[str, str] | None = None) -> WebhookEvent:
    """Return the event that a delivery tells of. Verify it first.

    Args:
        body: The request's body.
        headers: The request's header fields. They are not signed: ``circleci-event-type`` is asked only where the body
            does not say of what type it is.

    Raises:
        DecodeError: The body is not JSON, or not an event.
    """
    value = _json(body)
    kind = value.get("type") or _field(headers or {}, TYPE_HEADER)
    cls = _TYPES.get(kind, WebhookEvent) if isinstance(kind, str) else WebhookEvent
    try:
        return decode(cls, {**value, "type": kind}, what="webhook")
    except DecodeError as error:
        problems = error.problems
    raise DecodeError(f"the webhook's body has an unexpected shape ({problems[0]})", problems=problems)


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DecodeError("the webhook's body is not a JSON object", hint="CircleCI sends no such body")
    return value


def _field(headers: Mapping[str, str], name: str) -> str | None:
    return next((value for key, value in headers.items() if key.lower() == name), None)
