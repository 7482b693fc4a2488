"""The rows of every dataset: flat, typed, with the unit in the name where there is one.

A row is a tuple with names, since that is what every format takes: a database's parameters, a line of CSV, the columns
of an Arrow batch. Identifiers are texts as the host spells them. Times are in UTC. Durations are in seconds, whatever
unit the API gives them in; rates lie between 0 and 1; credits are CircleCI's.

What the key of a table is made of is never ``None``; anything else may be, since documented-required fields are absent
in practice (quirks, section 3). The rows of jobs and of what lies below them repeat when their pipeline was created:
it is what exports are divided by, and what tells where an incremental run goes on.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple


class PipelineErrorRow(NamedTuple):
    """Why a pipeline's configuration was refused."""

    type: str | None
    message: str | None


class PipelineRow(NamedTuple):
    """A pipeline. Success and failure belong to its workflows."""

    project: str
    id: str
    number: int | None
    state: str | None
    created_at: datetime | None
    updated_at: datetime | None
    branch: str | None
    tag: str | None
    revision: str | None
    commit_subject: str | None
    commit_body: str | None
    trigger_type: str | None
    trigger_received_at: datetime | None
    actor_login: str | None
    vcs_provider: str | None
    target_repository_url: str | None
    origin_repository_url: str | None
    review_id: str | None
    review_url: str | None
    errors: Sequence[PipelineErrorRow]
    trigger_parameters: Mapping[str, Any]


class WorkflowRow(NamedTuple):
    """A workflow of a pipeline; a rerun is another one of the same name. ``duration_seconds`` is from begin to stop."""

    project: str
    pipeline_id: str
    pipeline_number: int | None
    pipeline_created_at: datetime | None
    branch: str | None
    id: str
    name: str | None
    status: str | None
    tag: str | None
    created_at: datetime | None
    stopped_at: datetime | None
    duration_seconds: float | None
    started_by: str | None
    canceled_by: str | None
    errored_by: str | None
    auto_rerun_number: int | None
    max_auto_reruns: int | None


class JobRow(NamedTuple):
    """A job of a workflow, approvals and such as never ran included. A rerun may list a job of the workflow before."""

    project: str
    pipeline_id: str
    pipeline_number: int | None
    pipeline_created_at: datetime | None
    branch: str | None
    workflow_id: str
    workflow_name: str | None
    id: str
    job_number: int | None
    name: str | None
    type: str | None
    status: str | None
    started_at: datetime | None
    stopped_at: datetime | None
    duration_seconds: float | None
    dependencies: Sequence[str]
    requires: Mapping[str, Any]
    approved_by: str | None
    approval_request_id: str | None
    canceled_by: str | None


class ParallelRunRow(NamedTuple):
    """One node of a parallel job."""

    node_index: int
    status: str | None


class JobMessageRow(NamedTuple):
    """What CircleCI has to say about a job."""

    type: str | None
    message: str | None
    reason: str | None


class JobDetailsRow(NamedTuple):
    """What is known of a job that ran; ``queue_seconds`` is from queue to start, ``duration_seconds`` the host's."""

    project: str
    pipeline_id: str | None
    pipeline_number: int | None
    pipeline_created_at: datetime | None
    branch: str | None
    workflow_id: str | None
    workflow_name: str | None
    job_number: int
    name: str | None
    status: str | None
    executor_type: str | None
    resource_class: str | None
    parallelism: int | None
    created_at: datetime | None
    queued_at: datetime | None
    started_at: datetime | None
    stopped_at: datetime | None
    queue_seconds: float | None
    duration_seconds: float | None
    contexts: Sequence[str]
    parallel_runs: Sequence[ParallelRunRow]
    messages: Sequence[JobMessageRow]
    organization: str | None
    web_url: str | None


class ArtifactRow(NamedTuple):
    """A file that a job stored, as listed, which tells no size. ``path`` is untrusted, ``url`` as it was given."""

    project: str
    pipeline_id: str | None
    pipeline_number: int | None
    pipeline_created_at: datetime | None
    branch: str | None
    workflow_id: str | None
    workflow_name: str | None
    job_number: int
    job_name: str | None
    node_index: int
    path: str
    url: str | None


class JobTestRow(NamedTuple):
    """The result of one test; ``position`` is its place in its job's listing, since nothing else tells tests apart."""

    project: str
    pipeline_id: str | None
    pipeline_number: int | None
    pipeline_created_at: datetime | None
    branch: str | None
    workflow_id: str | None
    workflow_name: str | None
    job_number: int
    job_name: str | None
    position: int
    name: str | None
    classname: str | None
    file: str | None
    source: str | None
    result: str | None
    run_seconds: float | None
    message: str | None


class WorkflowMetricsRow(NamedTuple):
    """Metrics of a workflow over a window that ends now. ``branch`` is empty for all branches together."""

    project: str
    branch: str
    reporting_window: str
    workflow_name: str
    window_start: datetime | None
    window_end: datetime | None
    total_runs: int | None
    successful_runs: int | None
    failed_runs: int | None
    success_rate: float | None
    runs_per_day: float | None
    mean_seconds_to_recovery: int | None
    total_recoveries: int | None
    median_credits_used: int | None
    total_credits_used: int | None
    min_seconds: int | None
    mean_seconds: int | None
    median_seconds: int | None
    p95_seconds: int | None
    max_seconds: int | None
    standard_deviation_seconds: float | None


class JobMetricsRow(NamedTuple):
    """Metrics of a job of a workflow over a window that ends now. ``branch`` is empty for all branches together."""

    project: str
    branch: str
    reporting_window: str
    workflow_name: str
    job_name: str
    window_start: datetime | None
    window_end: datetime | None
    total_runs: int | None
    successful_runs: int | None
    failed_runs: int | None
    success_rate: float | None
    runs_per_day: float | None
    median_credits_used: int | None
    total_credits_used: int | None
    min_seconds: int | None
    mean_seconds: int | None
    median_seconds: int | None
    p95_seconds: int | None
    max_seconds: int | None
    standard_deviation_seconds: float | None


class WorkflowRunRow(NamedTuple):
    """A run of a workflow as Insights has it, with its credits."""

    project: str
    workflow_name: str
    id: str
    status: str | None
    branch: str | None
    created_at: datetime | None
    stopped_at: datetime | None
    duration_seconds: int | None
    credits_used: int | None
    is_approval: bool | None


class JobTimeseriesRow(NamedTuple):
    """Metrics of a job of a workflow in the day that begins at ``timestamp``; ``branch`` is empty if none was named."""

    project: str
    branch: str
    workflow_name: str
    job_name: str
    timestamp: datetime
    min_started_at: datetime | None
    max_ended_at: datetime | None
    total_runs: int | None
    successful_runs: int | None
    failed_runs: int | None
    runs_per_day: float | None
    median_credits_used: int | None
    total_credits_used: int | None
    min_seconds: int | None
    median_seconds: int | None
    p95_seconds: int | None
    max_seconds: int | None
    total_seconds: int | None


class FlakyTestRow(NamedTuple):
    """A test that passed and failed on the same commit; the job is the last in which it did."""

    project: str
    workflow_name: str
    job_name: str
    classname: str
    test_name: str
    file: str
    source: str | None
    times_flaked: int | None
    wasted_seconds: int | None
    pipeline_number: int | None
    workflow_id: str | None
    workflow_created_at: datetime | None
    job_number: int | None


class WorkflowSummaryRow(NamedTuple):
    """Metrics of a workflow over the last 90 days; a trend is the factor to the 90 days before."""

    project: str
    branch: str
    workflow_name: str
    window_start: datetime | None
    window_end: datetime | None
    total_runs: int | None
    completed_runs: int | None
    successful_runs: int | None
    failed_runs: int | None
    success_rate: float | None
    runs_per_day: float | None
    mean_seconds_to_recovery: int | None
    total_credits_used: int | None
    median_seconds: int | None
    p95_seconds: int | None
    total_runs_trend: float | None
    failed_runs_trend: float | None
    success_rate_trend: float | None
    runs_per_day_trend: float | None
    mean_seconds_to_recovery_trend: float | None
    total_credits_used_trend: float | None
    median_seconds_trend: float | None
    p95_seconds_trend: float | None


class ScheduleRow(NamedTuple):
    """A scheduled pipeline; hours are in UTC."""

    project: str
    id: str
    name: str | None
    description: str | None
    per_hour: int | None
    hours_of_day: Sequence[int]
    days_of_week: Sequence[str]
    days_of_month: Sequence[int]
    months: Sequence[str]
    parameters: Mapping[str, Any]
    actor_login: str | None
    created_at: datetime | None
    updated_at: datetime | None


class ContextRow(NamedTuple):
    """A context of an organisation."""

    organization: str
    id: str
    name: str | None
    created_at: datetime | None


class UsageRow(NamedTuple):
    """What a run of a job cost, or a seat, from an export of usage data; everything but ``id`` is as CircleCI names it.

    ``id`` is the job's id and the day of its run, or a digest of what a row says that belongs to no job, such as that
    of a seat. Percentages are of the resource class's processors and memory. ``more`` has the columns that are not
    known here, and texts that are not what their column should have, by the columns' names.
    """

    id: str
    organization_id: str | None
    organization_name: str | None
    organization_created_date: datetime | None
    project_id: str | None
    project_name: str | None
    project_created_date: datetime | None
    last_build_finished_at: datetime | None
    vcs_name: str | None
    vcs_url: str | None
    vcs_branch: str | None
    pipeline_id: str | None
    pipeline_created_at: datetime | None
    pipeline_number: int | None
    is_unregistered_user: bool | None
    pipeline_trigger_source: str | None
    pipeline_trigger_user_id: str | None
    workflow_id: str | None
    workflow_name: str | None
    workflow_first_job_queued_at: datetime | None
    workflow_first_job_started_at: datetime | None
    workflow_stopped_at: datetime | None
    is_workflow_successful: bool | None
    job_name: str | None
    job_run_number: int | None
    job_id: str | None
    job_run_date: datetime | None
    job_run_queued_at: datetime | None
    job_run_started_at: datetime | None
    job_run_stopped_at: datetime | None
    job_build_status: str | None
    resource_class: str | None
    operating_system: str | None
    executor: str | None
    parallelism: int | None
    job_run_seconds: float | None
    median_cpu_utilization_pct: float | None
    max_cpu_utilization_pct: float | None
    median_ram_utilization_pct: float | None
    max_ram_utilization_pct: float | None
    compute_credits: float | None
    dlc_credits: float | None
    user_credits: float | None
    storage_credits: float | None
    network_credits: float | None
    lease_credits: float | None
    lease_overage_credits: float | None
    ipranges_credits: float | None
    total_credits: float | None
    more: Mapping[str, Any]


class GapRow(NamedTuple):
    """Something that is missing in an export, and why: ``what`` is in words, ``code`` the error's."""

    dataset: str
    project: str
    pipeline_id: str
    workflow_id: str
    job_number: int
    what: str
    reason: str
    code: str
    seen_at: datetime


class RawRow(NamedTuple):
    """An item as the host gave it, and where it belongs: what ``--raw`` exports have in place of typed columns.

    ``key`` is what tells items of one dataset apart: an id, or a JSON list where it takes several values. Of what
    belongs to no pipeline, ``pipeline_created_at`` is its own time. ``json`` has every field as the host named it.
    """

    key: str
    project: str
    pipeline_id: str | None
    pipeline_created_at: datetime | None
    workflow_id: str | None
    job_number: int | None
    json: Mapping[str, Any]
