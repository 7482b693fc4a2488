"""Exports of a history that changes, by any commands and kills: in the end every promised row is there, once.

What is promised of a run that came to its end (README, "Exports"): all pipelines of its time; all workflows of those,
but such as were added to a pipeline older than what it looks back to; their jobs, and what there is of these. What was
seen before it had ended is seen again. What is seen by a run that goes on, within hours, is of when it was seen first.
"""

import asyncio
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, cast

import pyarrow.dataset
import pytest
from attrs import define, field
from changing_host import BEGIN, ChangingHost, Job, Pipeline, Workflow

from aiocircle.errors import ServerError
from aiocircle.export.exporter import Export, ExportReport
from aiocircle.export.options import ExportOptions
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

SLUGS = ("gh/acme/web", "gh/acme/api")
DATASETS = (
    ("pipelines",),
    ("workflows",),
    ("jobs",),
    ("pipelines", "workflows", "jobs"),
    ("pipelines", "workflows", "jobs", "tests"),
    ("workflows", "tests", "schedules"),
    ("job_details", "artifacts"),
    ("schedules",),
    ("pipelines", "workflows", "jobs", "job_details", "artifacts", "tests", "schedules"),
)
EVERYTHING = DATASETS[-1]
KEYS = {
    "pipelines": ("id",),
    "workflows": ("id",),
    "jobs": ("workflow_id", "id"),
    "job_details": ("project", "job_number"),
    "artifacts": ("project", "job_number", "path"),
    "tests": ("project", "job_number", "position"),
    "schedules": ("project", "id"),
    "gaps": ("dataset", "project", "pipeline_id", "workflow_id", "job_number", "what"),
}
GOES_ON = timedelta(hours=12)
Rows = dict[tuple[Any, ...], dict[str, Any]]
Scope = tuple[str, tuple[str, ...], str | None]  # project, datasets, branch


@define(kw_only=True)
class Command:
    datasets: tuple[str, ...] = EVERYTHING
    projects: tuple[str, ...] = SLUGS
    options: ExportOptions = field(factory=ExportOptions)

    @property
    def is_plain(self) -> bool:
        return (self.options.since, self.options.until, self.options.branch) == (None, None, None)

    def wants(self, pipeline: Pipeline) -> bool:
        options = self.options
        return (
            options.branch in {None, pipeline.branch}
            and (options.since is None or pipeline.created_at >= options.since)
            and (options.until is None or pipeline.created_at < options.until)
        )


@define(eq=False)
class Story:
    """A host, an output, and what is known of the commands so far."""

    random: Random
    out: Path
    host: ChangingHost
    newest: dict[Scope, datetime] = field(factory=dict)  # of the pipelines that any command so far was to bring
    covered: set[Scope] = field(factory=set)  # what such commands covered as came to their end
    asked: dict[datetime, set[str]] = field(factory=dict)  # datasets of the commands, by when
    cut: list[datetime] = field(factory=list)  # when those began that were broken off since one came to its end

    # --- what happens -------------------------------------------------------------------------------------------------

    def change(self) -> None:
        host, draw = self.host, self.random
        if draw.random() < 0.7:
            host.pass_time(
                draw.choice((timedelta(minutes=5), timedelta(hours=7), timedelta(days=1), timedelta(days=5)))
            )
        for slug in SLUGS:
            for _ in range(draw.choice((0, 0, 1, 2, 5))):
                host.trigger(slug)
            for pipeline in host.projects[slug][-6:] + host.projects[slug][:2]:
                if pipeline.workflows and draw.random() < 0.15:
                    host.add_workflow(pipeline, is_rerun=True)
            ids = [f"00000000-0000-4000-800{SLUGS.index(slug)}-{n:012}" for n in range(5)]
            host.schedules[slug] = draw.sample(ids, draw.randint(0, 4))
        for workflow in host.workflows():
            if workflow.status in {"running", "on_hold"} and draw.random() < 0.25:
                host.progress(workflow)
        if draw.random() < 0.3:
            host.era += 1
        if draw.random() < 0.2:
            host.gone.update(path for path in self.paths() if draw.random() < 0.05)

    def paths(self) -> Iterable[str]:
        for slug in SLUGS:
            for pipeline in self.host.projects[slug]:
                yield f"/pipeline/{pipeline.id}/workflow"
                for workflow in pipeline.workflows:
                    yield f"/workflow/{workflow.id}/job"
                    for job in workflow.jobs:
                        if job.number is not None:
                            yield f"/project/{slug}/{job.number}/tests"
                            yield f"/project/{slug}/job/{job.number}"

    def command(self) -> Command:
        draw = self.random
        ago = [None, None, None, *(self.host.now - timedelta(days=days) for days in (1, 4, 12))]
        since, until = draw.choice(ago), draw.choice(ago) if draw.random() < 0.3 else None
        if since is not None and until is not None and since >= until:
            until = None
        options = ExportOptions(
            since=since,
            until=until,
            branch="main" if draw.random() < 0.15 else None,
            look_back=timedelta(days=draw.choice((3, 3, 3, 0, 30))),
            formats=draw.choice((("jsonl",), ("jsonl",), ("sqlite",), ("sqlite", "jsonl"), ("parquet",))),
        )
        projects = draw.choice((SLUGS, SLUGS, SLUGS[:1], SLUGS[1:]))
        return Command(datasets=draw.choice(DATASETS), projects=projects, options=options)

    def run(self, command: Command, *, kill_at: int | None = None) -> ExportReport | None:
        """Carry out a command, and compare what it wrote with what it promises, if it came to its end."""
        self.asked.setdefault(self.host.now, set()).update(command.datasets)
        report = asyncio.run(self._run(command, kill_at))
        if report is not None and not report.failed:
            self.compare(command)
        self.cut = [] if report is not None else [*self.cut, self.host.now]
        for slug in command.projects:
            scope = (slug, command.datasets, command.options.branch)
            wanted = [one.created_at for one in self.host.projects[slug] if command.wants(one)]
            if wanted:
                self.newest[scope] = max([*wanted, self.newest.get(scope, BEGIN)])
                if report is not None and not report.failed:
                    self.covered.add(scope)
        return report

    async def _run(self, command: Command, kill_at: int | None) -> ExportReport | None:
        slugs = [ProjectSlug.parse(slug) for slug in command.projects]
        export = Export(cast("Session", self.host), slugs, command.datasets, self.out, command.options)
        running = asyncio.ensure_future(export.run())
        self.host.kill_at, self.host.killed = kill_at, running.cancel
        with suppress(asyncio.CancelledError, ServerError):  # the latter if nothing else was asked for
            return await running
        return None

    # --- what is promised ---------------------------------------------------------------------------------------------

    def compare(self, command: Command) -> None:
        for name in command.options.formats:
            found = {dataset: read(self.out, name, dataset) for dataset in (*command.datasets, "gaps")}
            for slug in command.projects:
                self.compare_project(command, slug, found)
            for dataset in command.datasets:
                if dataset != "schedules":
                    assert found[dataset].keys() <= self.everything(dataset), dataset

    def compare_project(self, command: Command, slug: str, found: dict[str, Rows]) -> None:
        for dataset in command.datasets:
            rows, there = self.held(command, slug, dataset), found[dataset]
            assert not rows.keys() - there.keys(), (dataset, "is missing")
            assert not {key for key, row in rows.items() if any(there[key][one] != row[one] for one in row)}, dataset
            if dataset == "schedules":
                assert {key for key, row in there.items() if row["project"] == slug} == rows.keys()
        if command.is_plain and not self.host.gone:  # below what is gone nothing is asked for again
            bad = {key[:3] for key, row in found["gaps"].items() if self.is_closed_by(command, slug, key, row)}
            assert not bad

    def is_closed_by(self, command: Command, slug: str, key: tuple[Any, ...], gap: dict[str, Any]) -> bool:
        """Tell whether a command has to get what is missing: not if it was missing for other datasets only."""
        dataset, project, _, workflow, *_ = key
        if gap["code"] == "expired" or workflow or project != slug or dataset not in command.datasets:
            return False
        seen_at = gap["seen_at"]
        moment = datetime.fromisoformat(seen_at) if isinstance(seen_at, str) else seen_at
        return bool(self.asked[moment] & set(command.datasets))

    def everything(self, dataset: str) -> set[tuple[Any, ...]]:
        plain = Command()
        return {key for slug in SLUGS for key in self.held(plain, slug, dataset, all_of_it=True)}

    def held(self, command: Command, slug: str, dataset: str, *, all_of_it: bool = False) -> Rows:
        """Return the rows of a project that a command promises, or all that there are."""
        if dataset == "schedules":
            return {(slug, one): {} for one in self.host.schedules[slug]}
        rows: Rows = {}
        for pipeline in self.host.projects[slug]:
            if not command.wants(pipeline):
                continue
            if dataset == "pipelines":
                rows[pipeline.id,] = {"number": pipeline.number}
            if f"/pipeline/{pipeline.id}/workflow" in self.host.gone and not all_of_it:
                continue
            for workflow in pipeline.workflows:
                if all_of_it or self.is_promised(command, slug, pipeline, workflow):
                    self.hold(rows, slug, dataset, workflow, all_of_it=all_of_it)
        return rows

    def hold(self, rows: Rows, slug: str, dataset: str, workflow: Workflow, *, all_of_it: bool) -> None:
        if dataset == "workflows":
            rows[workflow.id,] = {"status": workflow.status}
        if f"/workflow/{workflow.id}/job" in self.host.gone and not all_of_it:
            return
        for job in workflow.jobs:
            if dataset == "jobs":
                rows[workflow.id, job.id] = {"status": job.status}
            if not job.has_run:
                continue
            if all_of_it or not self._is_gone(slug, dataset, job):
                keys: dict[str, list[tuple[Any, ...]]] = {
                    "job_details": [(slug, job.number)],
                    "artifacts": [(slug, job.number, f"file {place}") for place in range(job.artifacts)],
                    "tests": [(slug, job.number, place) for place in range(job.tests)],
                }
                rows.update({key: {} for key in keys.get(dataset, ())})

    def _is_gone(self, slug: str, dataset: str, job: Job) -> bool:
        path = {"job_details": f"/project/{slug}/job/{job.number}", "tests": f"/project/{slug}/{job.number}/tests"}
        return path.get(dataset) in self.host.gone

    def is_promised(self, command: Command, slug: str, pipeline: Pipeline, workflow: Workflow) -> bool:
        if any(began > self.host.now - GOES_ON and workflow.changed_at >= began for began in self.cut):
            return False
        scope = (slug, command.datasets, command.options.branch)
        others = max((at for (of, *_), at in self.newest.items() if of == slug), default=None)
        before = self.newest.get(scope) if scope in self.covered else others
        if workflow.rerun_of is None or before is None:
            return True
        return pipeline.created_at >= before - command.options.look_back


def read(out: Path, form: str, dataset: str) -> Rows:
    """Return the rows of a table by their keys, each of which there is once."""
    rows: list[dict[str, Any]]
    if form == "jsonl":
        rows = [json.loads(line) for line in (out / f"{dataset}.jsonl").read_text().splitlines()]
    elif form == "sqlite":
        with closing(sqlite3.connect(out / "export.sqlite")) as database:
            database.row_factory = sqlite3.Row
            rows = [dict(row) for row in database.execute(f"SELECT * FROM {dataset}")]
    else:
        rows = pyarrow.dataset.dataset(out / dataset, partitioning="hive").to_table().to_pylist()
    found = {tuple(row[name] for name in KEYS[dataset]): row for row in rows}
    assert len(found) == len(rows), (form, dataset)
    return found


def tell(seed: int, out: Path) -> None:
    """Carry out a story: changes and commands, and in the end plain runs."""
    draw = Random(seed)
    host = ChangingHost(draw, {slug: [] for slug in SLUGS})
    story = Story(draw, out, host)
    for _ in range(draw.randint(0, 14)):
        host.trigger(draw.choice(SLUGS))
        host.pass_time(timedelta(hours=draw.choice((1, 9, 30))))
    for _ in range(draw.randint(1, 8)):
        story.change()
        host.broken = {one for one in [*story.paths(), *_listings()] if draw.random() < 0.04}
        if draw.random() < 0.7:
            host.broken.clear()
        story.run(story.command(), kill_at=draw.choice((None, None, draw.randint(1, 60), draw.randint(1, 12))))
    host.broken.clear()
    story.change()
    if draw.random() < 0.5:
        host.pass_time(GOES_ON + timedelta(hours=1))
    formats = ("jsonl", "sqlite", "parquet") if draw.random() < 0.3 else ("jsonl", "sqlite")
    assert story.run(Command(options=ExportOptions(formats=formats))) is not None
    story.newest.clear()
    last = story.run(Command(options=ExportOptions(look_back=host.now - BEGIN + timedelta(days=1), formats=formats)))
    assert last is not None
    assert not last.failed


def _listings() -> Iterable[str]:
    for slug in SLUGS:
        yield f"/project/{slug}/schedule"
        yield f"/project/{slug}/pipeline"


@pytest.mark.parametrize("seed", range(int(os.environ.get("STORIES", "30"))))
def test_every_promised_row_is_there_once_whatever_happened_before(seed: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tell(seed, Path(directory))
