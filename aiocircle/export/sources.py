"""The datasets that are not found by the fan-out: Insights, schedules and contexts, each by listings of its own.

A source yields pages of pairs, each a row and the item as the host gave it. What is asked about every workflow of a
project is asked about a few at once, in the order in which Insights lists them; one that fails is told in the stream,
as the fan-out does it, since the others still count.

Insights keeps 90 days and takes no longer span between ``start-date`` and ``end-date``, so a selection's time is cut to
that. Schedules, contexts, flaky tests and metrics are what is there now, whatever the selection's time.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from attrs import field, frozen

from aiocircle.api import Context, Insights, Projects, Schedule, operations
from aiocircle.api.insights import JobMetrics, JobTimeseries, WorkflowMetrics, WorkflowRun
from aiocircle.codec import Model
from aiocircle.crawl.ahead import in_turn
from aiocircle.crawl.fanout import JobRef, ListingFailed, Skipped, each, guarded
from aiocircle.errors import BadRequestError, DecodeError, NotFoundError
from aiocircle.export.found import Pair
from aiocircle.export.measures import (
    context_row,
    flaky_test_row,
    job_metrics_row,
    run_row,
    schedule_row,
    slot_row,
    summary_row,
    workflow_metrics_row,
)
from aiocircle.operation import Operation
from aiocircle.resource import Resource
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

M = TypeVar("M", bound=Model)

Listed = Sequence[Pair] | Skipped | ListingFailed
"""A page, or what could not be listed."""

KEPT = timedelta(days=90)
WHOLE_WINDOW = "last-90-days"
WORKFLOWS_AT_ONCE = 4

_APP = "circleci"  # the first segment of slugs that are not those of a repository
_NO_SCHEDULES = "projects of this kind have triggers in place of schedules"


@frozen(kw_only=True)
class Question:
    """What is asked about one project.

    Attributes:
        session: Who asks.
        slug: The project.
        branch: Only this branch, where the dataset knows branches; without it all of them together.
        since: The earliest moment, where the dataset knows times.
        until: The moment before which it ends.
        reporting_window: How far back metrics go, such as ``last-30-days``.
    """

    session: Session
    slug: ProjectSlug
    branch: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    reporting_window: str = WHOLE_WINDOW
    _names: dict[str, Sequence[str]] = field(factory=dict, init=False, repr=False, eq=False)

    @property
    def project(self) -> str:
        """The project, as rows name it."""
        return str(self.slug)

    def of_branch(self) -> dict[str, object]:
        """Return the parameters that say which branch, for operations that know all branches together."""
        return {"all-branches": True} if self.branch is None else {"branch": self.branch}

    def of_time(self) -> dict[str, object] | None:
        """Return the parameters that say which time, ``None`` where Insights has nothing of it any more."""
        if self.since is None and self.until is None:
            return {}
        now = datetime.fromtimestamp(self.session.clock.wall(), UTC)
        end = now if self.until is None else min(self.until, now)
        begin = now - KEPT if self.since is None else max(self.since, now - KEPT)
        return {"start-date": begin, "end-date": end} if begin < end else None

    def pages(
        self, operation: Operation, cls: type[M], query: Mapping[str, object], **path: object
    ) -> AsyncGenerator[Sequence[tuple[M, Mapping[str, Any]]], None]:
        """Yield the pages of a listing about the project."""
        return _pages(self.session, operation, cls, {"slug": self.slug, **path}, query)

    async def workflow_names(self, window: str = WHOLE_WINDOW) -> Sequence[str]:
        """Return the names of the workflows that ran in a reporting window; asked for once."""
        names = self._names.get(window)
        if names is None:
            query = {**self.of_branch(), "reporting-window": window}
            listed = (
                await Resource(self.session)
                .pairs(operations.INSIGHTS_WORKFLOWS, WorkflowMetrics, {"slug": self.slug}, query)
                .collect()
            )
            names = self._names[window] = [item.name for item, _ in listed if item.name]
        return names


Source = Callable[[Question], AsyncGenerator[Listed, None]]


async def insights_workflows(question: Question) -> AsyncGenerator[Listed, None]:
    """Yield metrics of the project's workflows."""
    asked, window = question, question.reporting_window
    query = {**asked.of_branch(), "reporting-window": window}
    async with aclosing(asked.pages(operations.INSIGHTS_WORKFLOWS, WorkflowMetrics, query)) as pages:
        async for page in pages:
            yield [(workflow_metrics_row(asked.project, asked.branch, window, item), json) for item, json in page]


async def insights_runs(question: Question) -> AsyncGenerator[Listed, None]:
    """Yield the runs of the project's workflows in the selection's time."""
    time = question.of_time()
    if time is None:
        return
    query = {**question.of_branch(), **time}

    async def of_workflow(name: str) -> AsyncGenerator[Listed, None]:
        listing = question.pages(operations.INSIGHTS_RUNS, WorkflowRun, query, workflow_name=name)
        async with aclosing(listing) as pages:
            async for page in pages:
                yield [(run_row(question.project, name, item), json) for item, json in page]

    async with aclosing(_of_each(question, await question.workflow_names(), "runs", of_workflow)) as found:
        async for listed in found:
            yield listed


async def insights_jobs(question: Question) -> AsyncGenerator[Listed, None]:
    """Yield metrics of the jobs of the project's workflows."""
    project, branch, window = question.project, question.branch, question.reporting_window
    query = {**question.of_branch(), "reporting-window": window}

    async def of_workflow(name: str) -> AsyncGenerator[Listed, None]:
        listing = question.pages(operations.INSIGHTS_JOBS, JobMetrics, query, workflow_name=name)
        async with aclosing(listing) as pages:
            async for page in pages:
                yield [(job_metrics_row(project, branch, window, name, item), json) for item, json in page]

    async with aclosing(_of_each(question, await question.workflow_names(window), "job metrics", of_workflow)) as found:
        async for listed in found:
            yield listed


async def insights_timeseries(question: Question) -> AsyncGenerator[Listed, None]:
    """Yield metrics of the jobs of the project's workflows day by day, in the selection's time.

    This operation does not know all branches together: without a branch the host takes the default one.
    """
    project, branch, time = question.project, question.branch, question.of_time()
    if time is None:
        return
    query = {"branch": branch, "granularity": "daily", **time}

    async def of_workflow(name: str) -> AsyncGenerator[Listed, None]:
        listing = question.pages(operations.INSIGHTS_JOB_TIMESERIES, JobTimeseries, query, workflow_name=name)
        async with aclosing(listing) as pages:
            async for page in pages:
                yield [(slot_row(project, branch, name, _timestamp(item), item), json) for item, json in page]

    async with aclosing(_of_each(question, await question.workflow_names(), "time series", of_workflow)) as found:
        async for listed in found:
            yield listed


async def insights_summary(question: Question) -> AsyncGenerator[Listed, None]:
    """Yield a summary of each of the project's workflows."""
    project, branch = question.project, question.branch
    insights = Insights(question.session)
    all_branches = True if branch is None else None

    async def of_workflow(name: str) -> AsyncGenerator[Listed, None]:
        call = insights.workflow_summary(question.slug, name, all_branches=all_branches, branch=branch)
        answer = await call.response()
        yield [(summary_row(project, branch, name, answer.value), answer.json or {})]

    async with aclosing(_of_each(question, await question.workflow_names(), "summary", of_workflow)) as found:
        async for listed in found:
            yield listed


async def flaky_tests(question: Question) -> AsyncGenerator[Listed, None]:
    """Yield the project's flaky tests, of all branches: the host does not tell them apart."""
    answer = await Insights(question.session).flaky_tests(question.slug).response()
    given = answer.json or {}
    items = given.get("flaky-tests") or given.get("flaky_tests") or ()
    tests = answer.value.flaky_tests
    yield [(flaky_test_row(question.project, item), json) for item, json in zip(tests, items, strict=True)]


async def schedules(question: Question) -> AsyncGenerator[Listed, None]:
    """Yield the project's schedules.

    Projects that are not those of a repository have none (GitHub App, GitLab); what the host answers about them is not
    documented, so a refusal is no failure there.
    """
    try:
        async with aclosing(question.pages(operations.SCHEDULES_LIST, Schedule, {})) as pages:
            async for page in pages:
                yield [(schedule_row(question.project, item), json) for item, json in page]
    except (BadRequestError, NotFoundError):
        if question.slug.vcs != _APP:
            raise
        yield Skipped(name=f"schedules of {question.project}", reason=_NO_SCHEDULES, ref=JobRef(slug=question.slug))


async def contexts(question: Question) -> AsyncGenerator[Listed, None]:
    """Yield the contexts of the project's organisation, which are those of its other projects as well."""
    slug, session = question.slug, question.session
    organization = f"{slug.vcs}/{slug.org}"
    owner: dict[str, object] = {"owner-slug": organization}
    if slug.vcs == _APP:  # the slugs of such organisations are opaque, so the owner is named by its id
        project = await Projects(session).get(slug)
        organization = project.organization_slug or organization
        owner = {"owner-id": project.organization_id} if project.organization_id else {"owner-slug": organization}
    async with aclosing(_pages(session, operations.CONTEXTS_LIST, Context, {}, owner)) as pages:
        async for page in pages:
            yield [(context_row(organization, item), json) for item, json in page]


SOURCES: Mapping[str, Source] = {
    "insights_workflows": insights_workflows,
    "insights_runs": insights_runs,
    "insights_jobs": insights_jobs,
    "insights_timeseries": insights_timeseries,
    "flaky_tests": flaky_tests,
    "insights_summary": insights_summary,
    "schedules": schedules,
    "contexts": contexts,
}
"""By the names of their tables."""


def _of_each(
    question: Question, names: Sequence[str], what: str, of_workflow: Callable[[str], AsyncGenerator[Listed, None]]
) -> AsyncGenerator[Listed, None]:
    """Yield what is listed about each workflow, in their order, with a few being asked about at once."""

    def begin(name: str) -> AsyncGenerator[Listed, None]:
        place = JobRef(slug=question.slug)
        return guarded(of_workflow(name), f"{what} of workflow {name}", alone=False, job=place)

    return in_turn(each(names), begin, WORKFLOWS_AT_ONCE)


async def _pages(
    session: Session, operation: Operation, cls: type[M], path: Mapping[str, object], query: Mapping[str, object]
) -> AsyncGenerator[Sequence[tuple[M, Mapping[str, Any]]], None]:
    async with aclosing(Resource(session).pairs(operation, cls, path, query).pages()) as pages:
        async for page in pages:
            yield page.items


def _timestamp(item: JobTimeseries) -> datetime:
    if item.timestamp is None:
        raise DecodeError(f"{operations.INSIGHTS_JOB_TIMESERIES.name}: a slot has no timestamp")
    return item.timestamp
