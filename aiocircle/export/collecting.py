"""Everything a run asks for, as one stream, and what becomes of it: rows and marks, saved together.

The stream has the order of the listings, so a mark stands behind all it is about: that a workflow is complete comes
behind its jobs and what there is of them, that a page is behind the last of its pipelines. Whatever has come so far can
be committed at any moment. It is when there are many rows or a few pipelines are complete, and behind each page.

What cannot be had becomes a row of ``gaps``. Its pipeline stays open then and is looked at again by the next run,
unless the host has forgotten it, which no repetition would change.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from attrs import evolve

from aiocircle.crawl.ahead import in_turn
from aiocircle.crawl.fanout import (
    ENDED,
    EXPIRED,
    PROJECTS_AT_ONCE,
    AllBelow,
    Crawl,
    JobFound,
    JobRef,
    ListingFailed,
    PipelineFound,
    Skipped,
    WorkflowFound,
    each,
    guarded,
)
from aiocircle.crawl.selection import Selection
from aiocircle.events import RowsCollected
from aiocircle.export.convert import job_row, pipeline_row, raw_row, workflow_row
from aiocircle.export.datasets import FANNED_OUT, OF_JOBS, bits_of
from aiocircle.export.details import PIPELINES_AT_ONCE, Details
from aiocircle.export.found import AllOf, Missing, Pair, Pairs, UsageDone
from aiocircle.export.marks import Collected, PipelineMark
from aiocircle.export.rows import GapRow
from aiocircle.export.state import State
from aiocircle.export.sweep import Asks, PageRead, Period, Sweeper
from aiocircle.export.tables import TABLES, raw_table
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

ROWS_AT_ONCE = 2000
STREAMS_AT_ONCE = 32  # the fan-out and those besides it: what hides one round trip behind others
MARKS_AT_ONCE = 4  # pipelines that are complete; a kill costs no more of them, and what is under way
SETTLED = timedelta(days=1)  # after which a pipeline without workflows gets none any more; in fact, after seconds
KEPT_FAILURES = 1000  # in memory for the report; all of them are rows of ``gaps``


class Collector:
    """Collects datasets into a state.

    Args:
        session: Asks the API.
        state: Takes what comes.
        ask: Calls the state's functions.
        projects: Whose data it is.
        datasets: What is wanted.
        period: Which pipelines.
        raw: Rows are items as the host gave them.
    """

    def __init__(
        self,
        session: Session,
        state: State,
        ask: Asks,
        projects: Sequence[ProjectSlug],
        datasets: Sequence[str],
        period: Period,
        *,
        raw: bool,
    ) -> None:
        self._session = session
        self._state = state
        self._ask = ask
        self._projects = projects
        self._period = period
        self._fanned_out = [name for name in FANNED_OUT if name in datasets]
        self._bits = bits_of(datasets)
        self._bits_of_jobs = bits_of(set(datasets) & set(OF_JOBS))
        self._below_pipelines = bool(set(self._fanned_out) - {"pipelines"})
        self._below_workflows = bool(set(self._fanned_out) - {"pipelines", "workflows"})
        places = ("pipelines", "workflows", "jobs")
        depth = bool(self._fanned_out) + self._below_pipelines + self._below_workflows
        self.looked_for = frozenset((*datasets, *places[:depth]))
        self.tables = {name: raw_table(TABLES[name]) if raw else TABLES[name] for name in datasets}
        self._raw = raw
        self._collected = Collected()
        self.counts: Counter[str] = Counter()
        self.expired = 0
        self.failed = 0
        self.failures: list[ListingFailed] = []
        self._now = datetime.fromtimestamp(session.clock.wall(), UTC)
        # Of the pipeline and the workflow that the stream is at: it goes through them one after another.
        self._workflows = 0
        self._is_open = False
        self._is_broken = False
        self._workflow_is_broken = False
        self._job_lacks_something = False
        self._handlers: Mapping[type, Callable[[Any], None]] = {
            PipelineFound: self._pipeline,
            WorkflowFound: self._workflow,
            JobFound: self._job,
            AllBelow: self._all_below,
            Pairs: lambda one: self._put(one.dataset, one.pairs),
            Missing: lambda one: self._missing(one.dataset, one.why),
            Skipped: lambda one: self._skipped(None, one),
            ListingFailed: lambda one: self._failed(None, one),
            UsageDone: lambda one: self._collected.usage_jobs.append(one.export_id),
            PageRead: lambda one: self._collected.sweeps.update({one.scope: one.sweep}),
            AllOf: lambda one: self._collected.complete.append((self.tables[one.dataset], one.owner, one.part)),
        }

    async def run(self, others: Iterable[AsyncGenerator[Any, None]] = ()) -> None:
        """Collect everything.

        Args:
            others: Streams of ``Pairs``, ``AllOf``, ``Skipped`` and ``ListingFailed`` besides the fan-out; a few are
                followed at once.

        Raises:
            AioCircleError: What was selected cannot be listed at all, or saved.
        """
        self._collected.checked += [(project, "", "") for project in ("", *map(str, self._projects))]
        streams = chain((self._fan_out(),) if self._fanned_out else (), others)
        async with aclosing(in_turn(each(streams), lambda stream: stream, STREAMS_AT_ONCE)) as everything:
            async for one in everything:
                self._handlers[type(one)](one)
                if isinstance(one, PageRead | AllOf | UsageDone) or self._is_much():
                    await self._save()
        await self._save()

    def _fan_out(self) -> AsyncGenerator[Any, None]:
        selection = Selection(self._projects, all=True, branch=self._period.branch, all_reruns=True)
        crawl = Crawl(self._session, selection, self._choose, PIPELINES_AT_ONCE)
        goes_on, now = self._below_pipelines, self._now
        sweeper = Sweeper(crawl, self._state, self._ask, self._period, self._bits, goes_on=goes_on, now=now)

        def pipelines(slug: ProjectSlug) -> AsyncGenerator[Any, None]:
            listing, alone = sweeper.pipelines(slug), len(self._projects) == 1
            return guarded(listing, f"pipelines of {slug}", alone=alone, job=JobRef(slug=slug), expires=False)

        found: AsyncGenerator[Any, None] = in_turn(each(self._projects), pipelines, PROJECTS_AT_ONCE)
        if self._below_pipelines:
            found = crawl.below(found)
        wanted = set(self._fanned_out) & set(OF_JOBS)
        details = Details(self._session, wanted, self._is_known, with_json=self._raw)
        return details.behind(found)

    def _is_much(self) -> bool:
        return self._collected.count >= ROWS_AT_ONCE or len(self._collected.pipelines) >= MARKS_AT_ONCE

    async def _choose(self, _found: PipelineFound, workflows: Sequence[WorkflowFound]) -> Sequence[WorkflowFound]:
        """Return workflows with the mark of whether their jobs are to be listed."""
        if not self._below_workflows:
            return [evolve(one, goes_on=False) for one in workflows]
        ids = [str(one.workflow.id) for one in workflows]
        ended = await self._ask(self._state.ended, ids, self._bits)
        return [evolve(one, goes_on=str(one.workflow.id) not in ended) for one in workflows]

    async def _is_known(self, found: JobFound) -> bool:
        """Tell whether a job was complete before its workflow ended, which may be on hold for months."""
        workflow, number = found.workflow, found.ref.job_number
        if workflow is None or workflow.status in ENDED or number is None:
            return False
        return await self._ask(self._state.has_job, str(workflow.id), number, self._bits_of_jobs)

    # --- what comes ---------------------------------------------------------------------------------------------------

    def _pipeline(self, found: PipelineFound) -> None:
        if "pipelines" in self.tables and found.json:
            self._put("pipelines", [(pipeline_row(found), found.json)])
        self._workflows, self._is_open, self._is_broken = 0, False, False
        if found.goes_on:
            self._collected.checked.append((str(found.ref.slug), str(found.ref.pipeline_id), ""))
        elif not self._below_pipelines:
            self._mark(found)

    def _workflow(self, found: WorkflowFound) -> None:
        if "workflows" in self.tables:
            self._put("workflows", [(workflow_row(found), found.json)])
        self._workflows += 1
        self._workflow_is_broken = False
        if found.workflow.status not in ENDED:
            self._is_open = True
        if found.goes_on:
            place = (str(found.ref.slug), str(found.ref.pipeline_id), str(found.ref.workflow_id))
            self._collected.checked.append(place)

    def _job(self, found: JobFound) -> None:
        self._job_lacks_something = False
        if found.job.id is None:
            self._skipped("jobs", Skipped(name=found.job.name, reason="the job has no id", ref=found.ref))
        elif "jobs" in self.tables:
            self._put("jobs", [(job_row(found), found.json)])

    def _all_below(self, below: AllBelow) -> None:
        found = below.found
        if isinstance(found, PipelineFound):
            self._is_open = self._is_open or self._is_broken or (not self._workflows and self._may_get_workflows(found))
            self._mark(found)
        elif isinstance(found, WorkflowFound):
            if found.workflow.status in ENDED and not self._workflow_is_broken:
                self._collected.workflows[str(found.workflow.id)] = self._bits
        elif found.workflow is not None and found.workflow.status not in ENDED and not self._job_lacks_something:
            self._collected.jobs.append((str(found.workflow.id), found.ref.job_number or 0, self._bits_of_jobs))

    def _may_get_workflows(self, found: PipelineFound) -> bool:
        created_at = found.pipeline.created_at
        return found.pipeline.state != "errored" and created_at is not None and created_at > self._now - SETTLED

    def _mark(self, found: PipelineFound) -> None:
        mark = PipelineMark(
            id=str(found.pipeline.id),
            project=str(found.ref.slug),
            number=found.ref.pipeline_number,
            created_at=found.pipeline.created_at,
            branch=found.ref.branch,
            state=found.pipeline.state,
            datasets=self._bits,
            covered=0 if self._is_broken else self._bits,
            is_open=self._is_open,
        )
        self._collected.pipelines.append(mark)

    # --- what is missing ----------------------------------------------------------------------------------------------

    def _missing(self, dataset: str | None, why: Skipped | ListingFailed) -> None:
        self._job_lacks_something = True
        if isinstance(why, Skipped):
            self._skipped(dataset, why)
        else:
            self._failed(dataset, why)

    def _skipped(self, dataset: str | None, skipped: Skipped) -> None:
        self.expired += skipped.reason == EXPIRED
        code = "expired" if skipped.reason == EXPIRED else "skipped"
        self._gap(dataset, skipped.ref, skipped.name or "", skipped.reason, code)

    def _failed(self, dataset: str | None, failed: ListingFailed) -> None:
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(failed)
        self._is_broken = self._workflow_is_broken = True
        self._gap(dataset, failed.job, failed.what, str(failed.error), failed.error.code)

    def _gap(self, dataset: str | None, ref: JobRef | None, what: str, reason: str, code: str) -> None:
        row = GapRow(
            dataset=dataset or _dataset_below(ref),
            project=str(ref.slug) if ref else "",
            pipeline_id=str(ref.pipeline_id or "") if ref else "",
            workflow_id=str(ref.workflow_id or "") if ref else "",
            job_number=(ref.job_number or 0) if ref else 0,
            what=what,
            reason=reason,
            code=code,
            seen_at=self._now,
        )
        self._collected.add(TABLES["gaps"], [row])

    # --- what is kept -------------------------------------------------------------------------------------------------

    def _put(self, dataset: str, pairs: Sequence[Pair]) -> None:
        rows: list[tuple[Any, ...]] = [row for row, _ in pairs]
        if self._raw:
            rows = [raw_row(TABLES[dataset], row, json) for row, json in pairs]
        self._collected.add(self.tables[dataset], rows)
        self.counts[dataset] += len(rows)
        if self._session.watched(RowsCollected):
            self._session.emit(RowsCollected(dataset=dataset, rows=len(rows), total=self.counts[dataset]))

    async def _save(self) -> None:
        collected, self._collected = self._collected, Collected()
        await self._ask(self._state.save, collected)


def _dataset_below(ref: JobRef | None) -> str:
    """Return the dataset that is looked for in a place."""
    if ref is None or ref.pipeline_id is None:
        return "pipelines"
    return "workflows" if ref.workflow_id is None else "jobs"
