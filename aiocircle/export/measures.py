"""From what Insights measures, and what projects and organisations are set to, to rows."""

from datetime import datetime

from aiocircle.api import Context, Schedule
from aiocircle.api.insights import (
    DurationMetrics,
    FlakyTest,
    JobMetrics,
    JobTimeseries,
    RunMetrics,
    SummaryTrends,
    WorkflowMetrics,
    WorkflowRun,
    WorkflowSummary,
)
from aiocircle.api.schedules import Timetable
from aiocircle.export.rows import (
    ContextRow,
    FlakyTestRow,
    JobMetricsRow,
    JobTimeseriesRow,
    ScheduleRow,
    WorkflowMetricsRow,
    WorkflowRunRow,
    WorkflowSummaryRow,
)
from aiocircle.export.tables import utc

_NO_METRICS, _NO_DURATIONS, _NO_TRENDS, _NO_TIMETABLE = RunMetrics(), DurationMetrics(), SummaryTrends(), Timetable()


def workflow_metrics_row(project: str, branch: str | None, window: str, item: WorkflowMetrics) -> WorkflowMetricsRow:
    """Return the row of a workflow's metrics."""
    metrics = item.metrics or _NO_METRICS
    durations = metrics.duration_metrics or _NO_DURATIONS
    return WorkflowMetricsRow(
        project=project,
        branch=branch or "",
        reporting_window=window,
        workflow_name=item.name or "",
        window_start=utc(item.window_start),
        window_end=utc(item.window_end),
        total_runs=metrics.total_runs,
        successful_runs=metrics.successful_runs,
        failed_runs=metrics.failed_runs,
        success_rate=metrics.success_rate,
        runs_per_day=metrics.throughput,
        mean_seconds_to_recovery=metrics.mttr,
        total_recoveries=metrics.total_recoveries,
        median_credits_used=metrics.median_credits_used,
        total_credits_used=metrics.total_credits_used,
        min_seconds=durations.min,
        mean_seconds=durations.mean,
        median_seconds=durations.median,
        p95_seconds=durations.p95,
        max_seconds=durations.max,
        standard_deviation_seconds=durations.standard_deviation,
    )


def job_metrics_row(project: str, branch: str | None, window: str, workflow: str, item: JobMetrics) -> JobMetricsRow:
    """Return the row of a job's metrics."""
    metrics = item.metrics or _NO_METRICS
    durations = metrics.duration_metrics or _NO_DURATIONS
    return JobMetricsRow(
        project=project,
        branch=branch or "",
        reporting_window=window,
        workflow_name=workflow,
        job_name=item.name or "",
        window_start=utc(item.window_start),
        window_end=utc(item.window_end),
        total_runs=metrics.total_runs,
        successful_runs=metrics.successful_runs,
        failed_runs=metrics.failed_runs,
        success_rate=metrics.success_rate,
        runs_per_day=metrics.throughput,
        median_credits_used=metrics.median_credits_used,
        total_credits_used=metrics.total_credits_used,
        min_seconds=durations.min,
        mean_seconds=durations.mean,
        median_seconds=durations.median,
        p95_seconds=durations.p95,
        max_seconds=durations.max,
        standard_deviation_seconds=durations.standard_deviation,
    )


def run_row(project: str, workflow: str, item: WorkflowRun) -> WorkflowRunRow:
    """Return the row of a workflow's run."""
    return WorkflowRunRow(
        project=project,
        workflow_name=workflow,
        id=str(item.id),
        status=item.status,
        branch=item.branch,
        created_at=utc(item.created_at),
        stopped_at=utc(item.stopped_at),
        duration_seconds=item.duration,
        credits_used=item.credits_used,
        is_approval=item.is_approval,
    )


def slot_row(
    project: str, branch: str | None, workflow: str, timestamp: datetime, item: JobTimeseries
) -> JobTimeseriesRow:
    """Return the row of a job's metrics in one slot, which begins at a timestamp."""
    metrics = item.metrics or _NO_METRICS
    durations = metrics.duration_metrics or _NO_DURATIONS
    return JobTimeseriesRow(
        project=project,
        branch=branch or "",
        workflow_name=workflow,
        job_name=item.name or "",
        timestamp=utc(timestamp) or timestamp,
        min_started_at=utc(item.min_started_at),
        max_ended_at=utc(item.max_ended_at),
        total_runs=metrics.total_runs,
        successful_runs=metrics.successful_runs,
        failed_runs=metrics.failed_runs,
        runs_per_day=metrics.throughput,
        median_credits_used=metrics.median_credits_used,
        total_credits_used=metrics.total_credits_used,
        min_seconds=durations.min,
        median_seconds=durations.median,
        p95_seconds=durations.p95,
        max_seconds=durations.max,
        total_seconds=durations.total,
    )


def flaky_test_row(project: str, item: FlakyTest) -> FlakyTestRow:
    """Return the row of a flaky test."""
    return FlakyTestRow(
        project=project,
        workflow_name=item.workflow_name or "",
        job_name=item.job_name or "",
        classname=item.classname or "",
        test_name=item.test_name or "",
        file=item.file or "",
        source=item.source,
        times_flaked=item.times_flaked,
        wasted_seconds=item.time_wasted,
        pipeline_number=item.pipeline_number,
        workflow_id=None if item.workflow_id is None else str(item.workflow_id),
        workflow_created_at=utc(item.workflow_created_at),
        job_number=item.job_number,
    )


def summary_row(project: str, branch: str | None, workflow: str, item: WorkflowSummary) -> WorkflowSummaryRow:
    """Return the row of a workflow's summary."""
    metrics, trends = item.metrics or _NO_METRICS, item.trends or _NO_TRENDS
    durations = metrics.duration_metrics or _NO_DURATIONS
    return WorkflowSummaryRow(
        project=project,
        branch=branch or "",
        workflow_name=workflow,
        window_start=utc(metrics.window_start),
        window_end=utc(metrics.window_end),
        total_runs=metrics.total_runs,
        completed_runs=metrics.completed_runs,
        successful_runs=metrics.successful_runs,
        failed_runs=metrics.failed_runs,
        success_rate=metrics.success_rate,
        runs_per_day=metrics.throughput,
        mean_seconds_to_recovery=metrics.mttr,
        total_credits_used=metrics.total_credits_used,
        median_seconds=durations.median,
        p95_seconds=durations.p95,
        total_runs_trend=trends.total_runs,
        failed_runs_trend=trends.failed_runs,
        success_rate_trend=trends.success_rate,
        runs_per_day_trend=trends.throughput,
        mean_seconds_to_recovery_trend=trends.mttr,
        total_credits_used_trend=trends.total_credits_used,
        median_seconds_trend=trends.median_duration_secs,
        p95_seconds_trend=trends.p95_duration_secs,
    )


def schedule_row(project: str, item: Schedule) -> ScheduleRow:
    """Return the row of a schedule."""
    timetable = item.timetable or _NO_TIMETABLE
    return ScheduleRow(
        project=project,
        id=str(item.id),
        name=item.name,
        description=item.description,
        per_hour=timetable.per_hour,
        hours_of_day=timetable.hours_of_day,
        days_of_week=timetable.days_of_week,
        days_of_month=timetable.days_of_month,
        months=timetable.months,
        parameters=item.parameters,
        actor_login=item.actor.login if item.actor else None,
        created_at=utc(item.created_at),
        updated_at=utc(item.updated_at),
    )


def context_row(organization: str, item: Context) -> ContextRow:
    """Return the row of a context."""
    return ContextRow(organization=organization, id=str(item.id), name=item.name, created_at=utc(item.created_at))
