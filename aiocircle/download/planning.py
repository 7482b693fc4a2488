"""From a selection to a plan in a file: all of the listing, none of the files."""

from contextlib import aclosing
from pathlib import Path

from attrs import evolve

from aiocircle.download.filters import artifact_filter
from aiocircle.download.layout import FIELDS
from aiocircle.download.options import DownloadOptions
from aiocircle.download.plan import JobListed, Listed, Planner, PlanStep
from aiocircle.download.planfile import Plan, PlanWriter
from aiocircle.download.report import ItemOutcome, Tally, outcome_of
from aiocircle.download.selection import Selection
from aiocircle.errors import ConfigurationError
from aiocircle.events import ItemPlanned, ListingEnded
from aiocircle.session import Session


async def write_plan(session: Session, selection: Selection, path: Path, options: DownloadOptions, host: str) -> Plan:
    """List what is selected, write it to a file, and return the plan.

    Args:
        session: Asks the API.
        selection: Which jobs.
        path: The file.
        options: Globs and nodes; the others belong to the download.
        host: The API's origin.

    Raises:
        AioCircleError: The selection cannot be listed; there is no file then.
        ConfigurationError: An option cannot be decided before the download.
        StoreError: The file cannot be written.
    """
    if options.shard is not None or options.min_size is not None or options.max_size is not None:
        raise ConfigurationError(
            "a plan holds all parts and all sizes, which are not known before the download",
            hint="choose them when the plan is carried out: --from FILE --shard I/N, --min-size, --max-size",
        )
    wanted = artifact_filter(options.include, options.exclude, options.nodes)
    began, before = session.clock.monotonic(), session.limiter.totals()
    tally = Tally()
    steps = Planner(session, FIELDS).steps(selection)
    async with PlanWriter(path, host, selection) as writer, aclosing(steps):
        async for step in steps:
            if not isinstance(step, Listed):
                _count(step, tally)
                continue
            for artifact in filter(wanted, step.artifacts):
                await writer.add(step.job, artifact)
                tally.add(ItemOutcome(target="", status="planned"))
                total = tally.counts["planned"]
                session.emit(ItemPlanned(target=artifact.path or "", total=total))
    session.emit(ListingEnded(total=tally.counts.get("planned", 0)))
    report = tally.report(
        output=str(path),
        seconds=session.clock.monotonic() - began,
        before=before,
        after=session.limiter.totals(),
        stopped_by=None,
    )
    return evolve(Plan(path, host, selection.is_one_job), report=report)


def _count(step: PlanStep, tally: Tally) -> None:
    if isinstance(step, JobListed):
        tally.jobs += 1
    elif not isinstance(step, Listed):
        tally.add(outcome_of(step))
