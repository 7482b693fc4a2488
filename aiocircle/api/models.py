"""What the API answers, as frozen values.

Fields may be absent on the wire although the document requires them (quirks, section 3); those are ``None`` here.
Status words are open strings. Times are aware. Unknown keys are kept in ``extra``.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from attrs import frozen

from aiocircle.codec import Model


@frozen(kw_only=True)
class User(Model):
    """A user: ``id``, ``login`` at the code host, display ``name``."""

    id: UUID
    login: str | None = None
    name: str | None = None


@frozen(kw_only=True)
class VcsInfo(Model):
    """Where a project's code lives."""

    vcs_url: str | None = None
    provider: str | None = None
    default_branch: str | None = None


@frozen(kw_only=True)
class Project(Model):
    """A project; ``slug`` is its address in every other call."""

    slug: str
    name: str | None = None
    id: UUID | None = None
    organization_name: str | None = None
    organization_slug: str | None = None
    organization_id: UUID | None = None
    vcs_info: VcsInfo | None = None


@frozen(kw_only=True)
class Vcs(Model):
    """The commit a pipeline ran for; ``branch`` or ``tag``, never both."""

    provider_name: str | None = None
    origin_repository_url: str | None = None
    target_repository_url: str | None = None
    revision: str | None = None
    branch: str | None = None
    tag: str | None = None


@frozen(kw_only=True)
class PipelineError(Model):
    """Why a pipeline's configuration was refused."""

    type: str | None = None
    message: str | None = None


@frozen(kw_only=True)
class Pipeline(Model):
    """A pipeline. ``state`` stays ``created`` for good: success and failure belong to its workflows."""

    id: UUID
    number: int | None = None
    project_slug: str | None = None
    state: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    errors: Sequence[PipelineError] = ()
    vcs: Vcs | None = None


@frozen(kw_only=True)
class Workflow(Model):
    """A workflow of a pipeline; a rerun is a new one of the same name. ``id`` has been seen null."""

    id: UUID | None = None
    name: str | None = None
    status: str | None = None
    pipeline_id: UUID | None = None
    pipeline_number: int | None = None
    project_slug: str | None = None
    created_at: datetime | None = None
    stopped_at: datetime | None = None


@frozen(kw_only=True)
class Job(Model):
    """A job of a workflow. ``job_number`` is absent until it is dispatched; ``type`` is ``build`` or ``approval``."""

    name: str | None = None
    id: UUID | None = None
    job_number: int | None = None
    type: str | None = None
    status: str | None = None
    project_slug: str | None = None
    dependencies: Sequence[UUID] = ()
    started_at: datetime | None = None
    stopped_at: datetime | None = None


@frozen(kw_only=True)
class ParallelRun(Model):
    """One node of a parallel job."""

    index: int
    status: str | None = None


@frozen(kw_only=True)
class Executor(Model):
    """What a job ran on."""

    type: str | None = None
    resource_class: str | None = None


@frozen(kw_only=True)
class WorkflowRef(Model):
    """The workflow a job ran in last."""

    id: UUID | None = None
    name: str | None = None


@frozen(kw_only=True)
class PipelineRef(Model):
    """The pipeline a job belongs to."""

    id: UUID | None = None


@frozen(kw_only=True)
class JobDetails(Model):
    """A job by number. ``duration`` is in milliseconds."""

    number: int
    name: str | None = None
    status: str | None = None
    web_url: str | None = None
    parallelism: int | None = None
    parallel_runs: Sequence[ParallelRun] = ()
    duration: int | None = None
    executor: Executor | None = None
    latest_workflow: WorkflowRef | None = None
    pipeline: PipelineRef | None = None
    created_at: datetime | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None


@frozen(kw_only=True)
class Artifact(Model):
    """A file that a job stored.

    Attributes:
        path: Its name as the job gave it: untrusted.
        url: Its address, to be used as listed.
        node_index: The parallel node it comes from, counted from 0.
    """

    path: str | None = None
    url: str | None = None
    node_index: int = 0


@frozen(kw_only=True)
class TestResult(Model):
    """The result of one test. ``run_time`` is in seconds."""

    __test__ = False  # pytest shall not take it for a test

    name: str | None = None
    classname: str | None = None
    result: str | None = None
    run_time: float | None = None
    message: str | None = None
    file: str | None = None
    source: str | None = None
