"""From what the fan-out finds, and what is listed of a job, to rows."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from aiocircle.api import Artifact, JobDetails, TestResult
from aiocircle.api.pipelines import Actor, Commit, PipelineTrigger, Vcs
from aiocircle.crawl.fanout import JobFound, PipelineFound, WorkflowFound
from aiocircle.export.rows import (
    ArtifactRow,
    JobDetailsRow,
    JobMessageRow,
    JobRow,
    JobTestRow,
    ParallelRunRow,
    PipelineErrorRow,
    PipelineRow,
    RawRow,
    WorkflowRow,
)
from aiocircle.export.tables import Table, utc
from aiocircle.export.texts import json_text

_NO_VCS, _NO_COMMIT, _NO_TRIGGER, _NO_ACTOR = Vcs(), Commit(), PipelineTrigger(), Actor()


def pipeline_row(found: PipelineFound) -> PipelineRow:
    """Return the row of a pipeline."""
    pipeline = found.pipeline
    vcs, trigger = pipeline.vcs or _NO_VCS, pipeline.trigger or _NO_TRIGGER
    commit = vcs.commit or _NO_COMMIT
    return PipelineRow(
        project=str(found.ref.slug),
        id=str(pipeline.id),
        number=pipeline.number,
        state=pipeline.state,
        created_at=utc(pipeline.created_at),
        updated_at=utc(pipeline.updated_at),
        branch=vcs.branch,
        tag=vcs.tag,
        revision=vcs.revision,
        commit_subject=commit.subject,
        commit_body=commit.body,
        trigger_type=trigger.type,
        trigger_received_at=utc(trigger.received_at),
        actor_login=(trigger.actor or _NO_ACTOR).login,
        vcs_provider=vcs.provider_name,
        target_repository_url=vcs.target_repository_url,
        origin_repository_url=vcs.origin_repository_url,
        review_id=vcs.review_id,
        review_url=vcs.review_url,
        errors=[PipelineErrorRow(error.type, error.message) for error in pipeline.errors],
        trigger_parameters=pipeline.trigger_parameters,
    )


def workflow_row(found: WorkflowFound) -> WorkflowRow:
    """Return the row of a workflow, which has an id."""
    workflow, ref = found.workflow, found.ref
    return WorkflowRow(
        project=str(ref.slug),
        pipeline_id=str(ref.pipeline_id),
        pipeline_number=ref.pipeline_number,
        pipeline_created_at=utc(found.pipeline.created_at),
        branch=ref.branch,
        id=str(workflow.id),
        name=workflow.name,
        status=workflow.status,
        tag=workflow.tag,
        created_at=utc(workflow.created_at),
        stopped_at=utc(workflow.stopped_at),
        duration_seconds=_seconds(workflow.created_at, workflow.stopped_at),
        started_by=_text(workflow.started_by),
        canceled_by=_text(workflow.canceled_by),
        errored_by=_text(workflow.errored_by),
        auto_rerun_number=workflow.auto_rerun_number,
        max_auto_reruns=workflow.max_auto_reruns,
    )


def job_row(found: JobFound) -> JobRow:
    """Return the row of a job, which has an id."""
    job, ref = found.job, found.ref
    return JobRow(
        project=str(ref.slug),
        pipeline_id=str(ref.pipeline_id),
        pipeline_number=ref.pipeline_number,
        pipeline_created_at=_created_at(found),
        branch=ref.branch,
        workflow_id=str(ref.workflow_id),
        workflow_name=ref.workflow_name,
        id=str(job.id),
        job_number=job.job_number,
        name=job.name,
        type=job.type,
        status=job.status,
        started_at=utc(job.started_at),
        stopped_at=utc(job.stopped_at),
        duration_seconds=_seconds(job.started_at, job.stopped_at),
        dependencies=[str(one) for one in job.dependencies],
        requires=job.requires,
        approved_by=_text(job.approved_by),
        approval_request_id=_text(job.approval_request_id),
        canceled_by=_text(job.canceled_by),
    )


def details_row(found: JobFound, details: JobDetails) -> JobDetailsRow:
    """Return the row of a job's details."""
    ref, executor = found.ref, details.executor
    return JobDetailsRow(
        project=str(ref.slug),
        pipeline_id=_text(ref.pipeline_id),
        pipeline_number=ref.pipeline_number,
        pipeline_created_at=_created_at(found),
        branch=ref.branch,
        workflow_id=_text(ref.workflow_id),
        workflow_name=ref.workflow_name,
        job_number=details.number,
        name=details.name,
        status=details.status,
        executor_type=executor.type if executor else None,
        resource_class=executor.resource_class if executor else None,
        parallelism=details.parallelism,
        created_at=utc(details.created_at),
        queued_at=utc(details.queued_at),
        started_at=utc(details.started_at),
        stopped_at=utc(details.stopped_at),
        queue_seconds=_seconds(details.queued_at, details.started_at),
        duration_seconds=None if details.duration is None else details.duration / 1000,
        contexts=[one.name or "" for one in details.contexts],
        parallel_runs=[ParallelRunRow(run.index, run.status) for run in details.parallel_runs],
        messages=[JobMessageRow(one.type, one.message, one.reason) for one in details.messages],
        organization=details.organization.name if details.organization else None,
        web_url=details.web_url,
    )


def artifact_row(found: JobFound, artifact: Artifact) -> ArtifactRow:
    """Return the row of one of a job's artifacts."""
    return ArtifactRow(*_place(found), artifact.node_index, artifact.path or "", artifact.url)


def test_row(found: JobFound, position: int, test: TestResult) -> JobTestRow:
    """Return the row of one of a job's tests."""
    return JobTestRow(
        *_place(found),
        position,
        test.name,
        test.classname,
        test.file,
        test.source,
        test.result,
        test.run_time,
        test.message,
    )


def raw_row(table: Table, row: Any, json: Mapping[str, Any]) -> RawRow:
    """Return the row that stands for an item of a table in exports of items as the host gave them."""
    values = [getattr(row, name) for name in table.key]
    return RawRow(
        key=str(values[0]) if len(values) == 1 else json_text(values),
        project=getattr(row, table.owner) or "",  # a row of usage may name no organisation
        pipeline_id=row.id if table.name == "pipelines" else getattr(row, "pipeline_id", None),
        pipeline_created_at=getattr(row, table.date) if table.date else None,
        workflow_id=row.id if table.name == "workflows" else getattr(row, "workflow_id", None),
        job_number=getattr(row, "job_number", None),
        json=json,
    )


def _place(
    found: JobFound,
) -> tuple[str, str | None, int | None, datetime | None, str | None, str | None, str | None, int, str | None]:
    ref = found.ref
    return (
        str(ref.slug),
        _text(ref.pipeline_id),
        ref.pipeline_number,
        _created_at(found),
        ref.branch,
        _text(ref.workflow_id),
        ref.workflow_name,
        ref.job_number or 0,
        ref.job_name,
    )


def _created_at(found: JobFound) -> datetime | None:
    return utc(found.pipeline.created_at) if found.pipeline else None


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return None if begin is None or end is None else (end - begin).total_seconds()
