"""Pipelines, workflows, jobs and what they stored: the answers to reading requests."""

import functools
import heapq
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from aiocircle.testing.answers import Answers, Json, organization_slug
from aiocircle.testing.exchange import Answer, json_answer
from aiocircle.testing.pages import Handlers, Lister, Query, list_found, list_sequence, number_of
from aiocircle.testing.records import Job, Pipeline
from aiocircle.testing.world import World

MOST_RECENT = 250
"""So many pipelines ``GET /pipeline`` lists at most."""


class Builds:
    """Pipelines, workflows, jobs and what they stored."""

    def __init__(self, world: World, answers: Answers) -> None:
        self._world = world
        self._answers = answers

    def handlers(self) -> Handlers:
        """Return what answers each route."""
        return {
            "me": lambda _query: json_answer(self._answers.user()),
            "me.collaborations": lambda _query: json_answer(self._answers.collaborations()),
            "user": self._user,
            "project": self._project,
            "project.pipelines": self._pipelines,
            "project.pipelines.mine": self._pipelines,
            "project.pipeline": self._pipeline_by_number,
            "project.job": self._job,
            "project.job.artifacts": self._artifacts,
            "project.job.tests": self._tests,
            "pipelines": self._recent,
            "pipeline": functools.partial(self._pipeline, self._answers.pipeline),
            "pipeline.values": functools.partial(self._pipeline, self._answers.values),
            "pipeline.config": functools.partial(self._pipeline, self._answers.config),
            "pipeline.workflows": self._workflows,
            "workflow": self._workflow,
            "workflow.jobs": self._jobs,
            "job": self._job_by_id,
        }

    def _user(self, _query: Query, identifier: str) -> Answer | None:
        user = self._answers.user()
        return json_answer(user) if user["id"] == identifier else None

    def _project(self, _query: Query, slug: str) -> Answer | None:
        project = self._world.projects.get(slug)
        return None if project is None else json_answer(self._answers.project(project))

    def _pipelines(self, query: Query, slug: str) -> Lister | None:
        world, branch = self._world, query.get("branch")
        if slug not in world.projects:
            return None

        def scan(start: int) -> Iterator[tuple[int, Any]]:
            # A place is the number of newer pipelines: a new one shifts the pages, as it does in fact.
            newest = world.newest_number(slug)
            for place in range(start, newest):
                number = newest - place
                pipeline = world.pipeline(slug, number) if branch in {None, world.branch(slug, number)} else None
                if pipeline is not None:
                    yield place, self._answers.pipeline(pipeline)

        return list_found(scan)

    def _recent(self, query: Query) -> Lister:
        """List the newest pipelines of all projects, or of those of one organisation."""
        asked = query.get("org-slug")
        projects = [one for one in self._world.projects.values() if asked in {None, organization_slug(one)}]
        each = (self._world.pipelines(project.slug) for project in projects)
        newest_first = heapq.merge(*each, key=lambda pipeline: pipeline.created_at, reverse=True)
        found: list[Pipeline] = list(islice(newest_first, MOST_RECENT))
        return list_sequence(found, self._answers.pipeline)

    def _pipeline_by_number(self, _query: Query, slug: str, number: str) -> Answer | None:
        pipeline = self._world.pipeline(slug, number_of(number))
        return None if pipeline is None else json_answer(self._answers.pipeline(pipeline))

    def _pipeline(self, shown: Callable[[Pipeline], Json], _query: Query, identifier: str) -> Answer | None:
        pipeline = self._world.pipeline_by_id(identifier)
        return None if pipeline is None else json_answer(shown(pipeline))

    def _workflows(self, _query: Query, identifier: str) -> Lister | None:
        pipeline = self._world.pipeline_by_id(identifier)
        if pipeline is None:
            return None
        return list_sequence(pipeline.workflows, lambda workflow: self._answers.workflow(pipeline, workflow))

    def _workflow(self, _query: Query, identifier: str) -> Answer | None:
        found = self._world.workflow_by_id(identifier)
        return None if found is None else json_answer(self._answers.workflow(*found))

    def _jobs(self, _query: Query, identifier: str) -> Lister | None:
        found = self._world.workflow_by_id(identifier)
        return None if found is None else list_sequence(found[1].jobs, self._answers.workflow_job)

    def _build(self, slug: str, number: str) -> Job | None:
        """Return a job that has details: an approval has a number and nothing behind it."""
        job = self._world.job(slug, number_of(number)) if slug in self._world.projects else None
        return None if job is None or job.type == "approval" else job

    def _job(self, _query: Query, slug: str, number: str) -> Answer | None:
        job = self._build(slug, number)
        found = job and self._world.workflow_of(job)
        return json_answer(self._answers.job(*found, job)) if job and found else None

    def _job_by_id(self, _query: Query, identifier: str) -> Answer | None:
        job = self._world.job_by_id(identifier)
        found = job and self._world.workflow_of(job)
        return json_answer(self._answers.job_by_id(*found, job)) if job and found else None

    def _artifacts(self, _query: Query, slug: str, number: str) -> Lister | None:
        job = self._build(slug, number)
        return None if job is None else list_sequence(job.artifacts, lambda item: self._answers.artifact(job, item))

    def _tests(self, _query: Query, slug: str, number: str) -> Lister | None:
        job = self._build(slug, number)
        return None if job is None else list_sequence(range(job.tests), lambda index: self._answers.test(job, index))
