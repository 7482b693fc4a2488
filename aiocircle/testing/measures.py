"""Insights: what a project's runs amount to. Figures are invented, in proportion to the world's size."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from aiocircle.testing.answers import Json, timestamp
from aiocircle.testing.ids import Address, Kind
from aiocircle.testing.records import Pipeline, Project, Workflow
from aiocircle.testing.world import World

WINDOWS = {
    "last-24-hours": 1,
    "last-7-days": 7,
    "last-30-days": 30,
    "last-60-days": 60,
    "last-90-days": 90,
}
"""Reporting windows, in days."""

RECENT = 20
"""So many of the newest pipelines say which workflows, jobs and branches there are."""

_CREDITS = 120
_SLOTS = {"daily": (timedelta(days=1), 7), "hourly": (timedelta(hours=1), 48)}


class Measures:
    """Measures one world's runs. Durations are in seconds."""

    def __init__(self, world: World) -> None:
        self._world = world

    def workflow_names(self, project: Project) -> list[str]:
        """Return the names of the workflows of the newest pipelines, each once."""
        return list(dict.fromkeys(workflow.name for _, workflow in self._recent(project)))

    def job_names(self, project: Project, workflow_name: str) -> list[str]:
        """Return the names of a workflow's jobs, approvals left out."""
        runs = (workflow for _, workflow in self._recent(project) if workflow.name == workflow_name)
        return list(dict.fromkeys(job.name for run in runs for job in run.jobs if job.type != "approval"))

    def branches(self, project: Project, workflow_name: str | None = None) -> Json:
        """Return ``GET /insights/{slug}/branches``."""
        runs = ((pipeline, run) for pipeline, run in self._recent(project) if workflow_name in {None, run.name})
        names = dict.fromkeys(pipeline.branch for pipeline, _ in runs if pipeline.branch)
        return {**self._ids(project), "branches": list(names)}

    def workflow(self, project: Project, name: str, window: str) -> Json:
        """Return one workflow of ``GET /insights/{slug}/workflows``."""
        runs, failed = self._counts(window)
        metrics = _metrics(runs, failed, 600) | {"mttr": 1320, "total_recoveries": failed}
        return {
            "name": name,
            "metrics": metrics,
            **self._window(window),
            "project_id": self._ids(project)["project_id"],
        }

    def job(self, name: str, window: str) -> Json:
        """Return one job of ``GET /insights/{slug}/workflows/{name}/jobs``."""
        return {"name": name, "metrics": _metrics(*self._counts(window), 90), **self._window(window)}

    def summary(self, project: Project) -> Json:
        """Return ``GET /insights/{slug}/workflows/{name}/summary``."""
        runs, failed = self._counts("last-90-days")
        metrics = _metrics(runs, failed, 600) | {"mttr": 1320, "completed_runs": runs, **self._window("last-90-days")}
        trends = ("total_runs", "failed_runs", "success_rate", "p95_duration_secs", "median_duration_secs")
        more = ("total_credits_used", "mttr", "throughput")
        return {
            "metrics": metrics,
            "trends": dict.fromkeys((*trends, *more), 1.0),
            "workflow_names": self.workflow_names(project),
        }

    def slots(self, names: Sequence[str], granularity: str, begin: datetime, end: datetime) -> Iterator[Json]:
        """Yield the items of a time series, oldest first: each job in each slot that began in between."""
        width, count = _SLOTS[granularity]
        newest = self._world.plan.newest.replace(minute=0, second=0, microsecond=0)
        newest = newest.replace(hour=0) if granularity == "daily" else newest
        for back in reversed(range(count)):
            moment = newest - back * width
            if not begin <= moment <= end:
                continue
            for name in names:
                yield {
                    "name": name,
                    "min_started_at": timestamp(moment),
                    "max_ended_at": timestamp(moment + width / 2),
                    "timestamp": timestamp(moment),
                    "metrics": _slot_metrics(4, back % 2),
                }

    def flaky_tests(self, project: Project) -> Json:
        """Return ``GET /insights/{slug}/flaky-tests``: the tests of the newest reruns' first runs."""
        reruns = ((pipeline, run) for pipeline, run in self._recent(project) if run.status == "failed" and run.jobs)
        tests = [self._flaky(pipeline, run, place) for place, (pipeline, run) in enumerate(islice(reruns, 3))]
        body: Json = {"flaky-tests": tests, "total-flaky-tests": len(tests)}
        return _snake(body) if "snake-case-answers" in self._world.plan.oddities else body

    def _flaky(self, pipeline: Pipeline, run: Workflow, place: int) -> Json:
        job = next(job for job in run.jobs if job.status == "failed")
        return {
            "time-wasted": 90 * (place + 1),
            "workflow-created-at": timestamp(run.created_at),
            "workflow-id": run.id,
            "classname": f"tests.test_module_{place}",
            "pipeline-number": pipeline.number,
            "workflow-name": run.name,
            "test-name": f"test_case_{place}",
            "job-name": job.name,
            "job-number": job.number,
            "times-flaked": place + 2,
            "source": "pytest",
            "file": f"tests/test_module_{place}.py",
        }

    def _recent(self, project: Project) -> Iterator[tuple[Pipeline, Workflow]]:
        newest = islice(self._world.pipelines(project.slug), RECENT)
        return ((pipeline, workflow) for pipeline in newest for workflow in pipeline.workflows)

    def _counts(self, window: str) -> tuple[int, int]:
        """Return how many runs there were in a window, and how many of them failed."""
        runs = self._world.plan.pipelines * WINDOWS[window] // WINDOWS["last-90-days"]
        return runs, runs // 4

    def _window(self, window: str) -> Json:
        newest = self._world.plan.newest
        return {"window_start": timestamp(newest - timedelta(days=WINDOWS[window])), "window_end": timestamp(newest)}

    def _ids(self, project: Project) -> Json:
        make = self._world.ids.make
        return {
            "org_id": make(Address(Kind.ORGANIZATION, project.index)),
            "project_id": make(Address(Kind.PROJECT, project.index)),
        }


def _metrics(runs: int, failed: int, seconds: int) -> Json:
    return {
        "total_runs": runs,
        "successful_runs": runs - failed,
        "failed_runs": failed,
        "success_rate": (runs - failed) / runs if runs else 0.0,
        "total_credits_used": _CREDITS * runs,
        "throughput": 12.5,
        "duration_metrics": {
            "min": seconds * 9 // 10,
            "mean": seconds,
            "median": seconds,
            "p95": seconds * 11 // 10,
            "max": seconds * 7 // 6,
            "standard_deviation": 21.5,
        },
    }


def _slot_metrics(runs: int, failed: int) -> Json:
    return {
        "total_runs": runs,
        "failed_runs": failed,
        "successful_runs": runs - failed,
        "throughput": float(runs),
        "median_credits_used": _CREDITS,
        "total_credits_used": _CREDITS * runs,
        "duration_metrics": {"min": 80, "median": 90, "max": 110, "p95": 105, "total": 90 * runs},
    }


def _snake(body: Json) -> Json:
    """Return an object with underscores in the names of its fields and of those of its lists' items."""
    return {
        name.replace("-", "_"): [_snake(item) for item in value] if isinstance(value, list) else value
        for name, value in body.items()
    }
