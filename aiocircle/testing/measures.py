"""Insights: what a project's runs amount to. Figures are invented, in proportion to the world's size."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from aiocircle.testing.answers import Answers, Json, timestamp
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
_LAST_RUNS, _MOST_TESTS = 10, 10
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

    def project_summary(self, project: Project, window: str, branches: Sequence[str], names: Sequence[str]) -> Json:
        """Return ``GET /insights/pages/{slug}/summary``; no branches or names are all of them."""
        runs, failed = self._counts(window)
        workflows = [name for name in self.workflow_names(project) if name in names or not names]
        known: list[str] = self.branches(project)["branches"]
        wanted = [branch for branch in known if branch in branches or not branches]
        part = {"total_credits_used": _CREDITS * runs, "p95_duration_secs": 660.0, "total_runs": runs}
        metrics = part | {"success_rate": _rate(runs, failed)}
        trends = dict.fromkeys(metrics, 1.0)
        return {
            **self._ids(project),
            "project_data": _summary(runs, failed, 600),
            "project_workflow_data": [
                {"workflow_name": name, "metrics": metrics, "trends": trends} for name in workflows
            ],
            "project_workflow_branch_data": [
                {"workflow_name": name, "branch": branch, "metrics": metrics, "trends": trends}
                for name in workflows
                for branch in wanted
            ],
            "all_branches": known,
            "all_workflows": self.workflow_names(project),
        }

    def org_summary(self, projects: Sequence[Project], window: str, names: Sequence[str]) -> Json:
        """Return ``GET /insights/{org-slug}/summary``; no names are all projects."""
        runs, failed = self._counts(window)
        wanted = [project for project in projects if project.name in names or not names]
        whole = _summary(runs, failed, 600)
        parts = ("total_credits_used", "total_duration_secs", "total_runs", "success_rate")
        each = {word: {part: whole[word][part] for part in parts} for word in ("metrics", "trends")}
        return {
            "org_data": _summary(runs * len(wanted), failed * len(wanted), 600),
            "org_project_data": [{"project_name": project.name, **each} for project in wanted],
            "all_projects": [project.name for project in projects],
        }

    def test_metrics(self, project: Project, name: str, answers: Answers) -> Json:
        """Return ``GET /insights/{slug}/workflows/{name}/test-metrics``: what the tests of the last runs did."""
        runs = [(pipeline, run) for pipeline, run in self._recent(project) if run.name == name and run.id]
        told = [_TestRun(pipeline.number, run, answers) for pipeline, run in runs[:_LAST_RUNS]]
        tests = _test_statistics(told)
        failing = sorted((test for test in tests if test["failed_runs"]), key=lambda test: -test["failed_runs"])
        slowest = sorted(tests, key=lambda test: -test["p95_duration"])
        counts = [run.counts for run in told]
        return {
            "average_test_count": sum(count["total"] for count in counts) // max(len(counts), 1),
            "most_failed_tests": failing[:_MOST_TESTS],
            "most_failed_tests_extra": max(0, len(failing) - _MOST_TESTS),
            "slowest_tests": slowest[:_MOST_TESTS],
            "slowest_tests_extra": max(0, len(slowest) - _MOST_TESTS),
            "total_test_runs": len(told),
            "test_runs": [run.json() for run in told],
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


class _TestRun:
    """The tests of one run of a workflow."""

    def __init__(self, number: int, run: Workflow, answers: Answers) -> None:
        self._number = number
        self._run = run
        self.tests = [(job.name, answers.test(job, index)) for job in run.jobs for index in range(job.tests)]
        results = [test["result"] for _, test in self.tests]
        self.counts = {word: results.count(word) for word in ("error", "failure", "skipped", "success")}
        self.counts["total"] = len(results)

    def json(self) -> Json:
        """Return an item of ``test_runs``."""
        return {
            "pipeline_number": self._number,
            "workflow_id": self._run.id,
            "success_rate": _rate(self.counts["total"], self.counts["failure"]),
            "test_counts": self.counts,
        }


def _test_statistics(runs: Sequence[_TestRun]) -> list[Json]:
    """Return figures of each test, in the order of their first runs."""
    found: dict[tuple[str, str, str], list[Json]] = {}
    for run in runs:
        for job_name, test in run.tests:
            found.setdefault((job_name, test["classname"], test["name"]), []).append(test)
    return [
        {
            "p95_duration": sorted(float(test["run_time"]) for test in tests)[(len(tests) - 1) * 95 // 100],
            "total_runs": len(tests),
            "classname": classname,
            "failed_runs": failed,
            "flaky": 0 < failed < len(tests),
            "source": tests[0]["source"],
            "file": tests[0].get("file"),
            "job_name": job_name,
            "test_name": name,
        }
        for (job_name, classname, name), tests in found.items()
        for failed in [sum(test["result"] == "failure" for test in tests)]
    ]


def _rate(runs: int, failed: int) -> float:
    return (runs - failed) / runs if runs else 0.0


def _summary(runs: int, failed: int, seconds: int) -> Json:
    metrics = {
        "total_runs": runs,
        "total_duration_secs": runs * seconds,
        "total_credits_used": _CREDITS * runs,
        "success_rate": _rate(runs, failed),
        "throughput": 12.5,
    }
    return {"metrics": metrics, "trends": dict.fromkeys(metrics, 1.0)}


def _metrics(runs: int, failed: int, seconds: int) -> Json:
    return {
        "total_runs": runs,
        "successful_runs": runs - failed,
        "failed_runs": failed,
        "success_rate": _rate(runs, failed),
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
