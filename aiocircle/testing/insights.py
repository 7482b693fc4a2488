"""Insights: the answers to reading requests."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from aiocircle.testing.answers import Answers, organization_slug
from aiocircle.testing.exchange import Answer, json_answer, message_answer
from aiocircle.testing.measures import WINDOWS, Measures
from aiocircle.testing.pages import Handlers, Lister, Query, list_found, list_sequence
from aiocircle.testing.world import World

_WIDEST = timedelta(days=90)
_NO_SPAN = "start-date and end-date are 90 days apart at most"


class Insights:
    """What was measured about the runs of one world."""

    def __init__(self, world: World, answers: Answers) -> None:
        self._world = world
        self._answers = answers
        self._measures = Measures(world)

    def handlers(self) -> Handlers:
        """Return what answers each route."""
        return {
            "insights.workflows": self._workflows,
            "insights.workflow": self._runs,
            "insights.jobs": self._jobs,
            "insights.timeseries": self._timeseries,
            "insights.summary": self._summary,
            "insights.branches": self._branches,
            "insights.flaky": self._flaky_tests,
            "insights.tests": self._tests,
            "insights.project": self._project,
            "insights.organization": self._organization,
        }

    def _workflows(self, query: Query, slug: str) -> Answer | Lister | None:
        project, window = self._world.projects.get(slug), query.get("reporting-window", "last-90-days")
        if project is None:
            return None
        if window not in WINDOWS:
            return message_answer(400, f"reporting-window is one of {', '.join(WINDOWS)}")
        names = self._measures.workflow_names(project)
        return list_sequence(names, lambda name: self._measures.workflow(project, name, window))

    def _runs(self, query: Query, slug: str, name: str) -> Answer | Lister | None:
        """List the runs of a workflow: of the default branch unless the query says otherwise."""
        world = self._world
        project = world.projects.get(slug)
        if project is None:
            return None
        span = _span(query)
        if span is None:
            return message_answer(400, _NO_SPAN)
        branch = None if query.get("all-branches") == "true" else query.get("branch", project.default_branch)
        everything = (
            (pipeline, workflow)
            for pipeline in world.pipelines(slug)
            if branch in {None, pipeline.branch}
            for workflow in pipeline.workflows
            if workflow.name == name and workflow.id is not None and span[0] <= workflow.created_at <= span[1]
        )

        def scan(start: int) -> Iterator[tuple[int, Any]]:
            for place, run in enumerate(everything):
                if place >= start:
                    yield place, self._answers.workflow_run(*run)

        return list_found(scan)

    def _jobs(self, query: Query, slug: str, name: str) -> Answer | Lister | None:
        project, window = self._world.projects.get(slug), query.get("reporting-window", "last-90-days")
        if project is None:
            return None
        if window not in WINDOWS:
            return message_answer(400, f"reporting-window is one of {', '.join(WINDOWS)}")
        wanted = query.get("job-name")
        names = [job for job in self._measures.job_names(project, name) if wanted in {None, job}]
        return list_sequence(names, lambda job: self._measures.job(job, window))

    def _timeseries(self, query: Query, slug: str, name: str) -> Answer | Lister | None:
        project, granularity = self._world.projects.get(slug), query.get("granularity", "daily")
        if project is None:
            return None
        span = _span(query)
        if granularity not in {"daily", "hourly"} or span is None:
            return message_answer(400, f"granularity is daily or hourly; {_NO_SPAN}")
        names = self._measures.job_names(project, name)
        return list_sequence(list(self._measures.slots(names, granularity, *span)), lambda slot: slot)

    def _summary(self, _query: Query, slug: str, name: str) -> Answer | None:
        project = self._world.projects.get(slug)
        if project is None or name not in self._measures.workflow_names(project):
            return None
        return json_answer(self._measures.summary(project))

    def _branches(self, query: Query, slug: str) -> Answer | None:
        project = self._world.projects.get(slug)
        return None if project is None else json_answer(self._measures.branches(project, query.get("workflow-name")))

    def _flaky_tests(self, _query: Query, slug: str) -> Answer | None:
        project = self._world.projects.get(slug)
        return None if project is None else json_answer(self._measures.flaky_tests(project))

    def _tests(self, _query: Query, slug: str, name: str) -> Answer | None:
        project = self._world.projects.get(slug)
        if project is None or name not in self._measures.workflow_names(project):
            return None
        return json_answer(self._measures.test_metrics(project, name, self._answers))

    def _project(self, query: Query, slug: str) -> Answer | None:
        project, window = self._world.projects.get(slug), query.get("reporting-window", "last-90-days")
        if project is None:
            return None
        if window not in WINDOWS:
            return message_answer(400, f"reporting-window is one of {', '.join(WINDOWS)}")
        branches, names = _values(query, "branches"), _values(query, "workflow-names")
        return json_answer(self._measures.project_summary(project, window, branches, names))

    def _organization(self, query: Query, slug: str) -> Answer | None:
        projects = [one for one in self._world.projects.values() if organization_slug(one) == slug]
        window = query.get("reporting-window", "last-90-days")
        if not projects:
            return None
        if window not in WINDOWS:
            return message_answer(400, f"reporting-window is one of {', '.join(WINDOWS)}")
        return json_answer(self._measures.org_summary(projects, window, _values(query, "project-names")))


def _values(query: Query, name: str) -> list[str]:
    return query[name].split(",") if name in query else []


def _span(query: Query) -> tuple[datetime, datetime] | None:
    """Return the time that a query is about; None if it is not one that the API takes."""
    begin, end = _moment(query.get("start-date")), _moment(query.get("end-date"))
    if (end and not begin) or (begin and end and end - begin > _WIDEST):
        return None
    return begin or datetime.min.replace(tzinfo=UTC), end or datetime.max.replace(tzinfo=UTC)


def _moment(text: str | None) -> datetime | None:
    """Return a moment of a query; None where there is none, or none that can be read."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
