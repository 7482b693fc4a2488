"""``client.artifacts``: what the API offers, and a plan of many jobs' artifacts, which only this floor can make."""

from contextlib import aclosing
from typing import Unpack

from aiocircle import api
from aiocircle.crawl.selection import Selection, Slugs, Which, selected
from aiocircle.download.filters import artifact_filter, note_unwanted
from aiocircle.download.layout import FIELDS
from aiocircle.download.options import DownloadOptions
from aiocircle.download.plan import JobListed, Listed, Planner, PlanStep
from aiocircle.download.planfile import Packer, Plan
from aiocircle.download.report import ItemOutcome, Tally, outcome_of
from aiocircle.errors import ConfigurationError
from aiocircle.events import ItemPlanned, ListingEnded


class Artifacts(api.Artifacts):
    """Files that jobs stored, listed job by job or planned for a download."""

    async def plan(
        self, what: Slugs | Selection, *, options: DownloadOptions | None = None, **which: Unpack[Which]
    ) -> Plan:
        """List what ``client.download`` would fetch of the same selection, and fetch nothing.

        The plan is what ``client.download`` takes, at once or later, or ``save`` writes to a file.

        Args:
            what: The project or the projects, of which ``which`` says more; or all of it as a ``Selection``.
            options: Globs and nodes; the others belong to the download.
            which: As for ``client.download``, such as ``job=1234`` or ``since=timedelta(days=30)``.

        Returns:
            The plan; some twenty bytes of memory for an artifact. What could not be listed is among the failures of
            its ``report`` and not in it.

        Raises:
            ConfigurationError: The selection or an option cannot work.
            APIError: The selection does not exist, or the token may not see it.
        """
        selection, options = selected(what, which), options or DownloadOptions()
        if options.shard is not None or options.min_size is not None or options.max_size is not None:
            raise ConfigurationError(
                "a plan holds all parts and all sizes, which are not known before the download",
                hint="choose them when the plan is carried out: --from FILE --shard I/N, --min-size, --max-size",
            )
        wanted = artifact_filter(options.include, options.exclude, options.nodes)
        session, tally = self._session, Tally()
        began, before = session.clock.monotonic(), session.limiter.totals()
        packer = Packer(session.origin, selection)
        async with aclosing(Planner(session, FIELDS, tally.seen).steps(selection)) as steps:
            async for step in steps:
                if not isinstance(step, Listed):
                    _count(step, tally)
                    continue
                for artifact in step.artifacts:
                    if not wanted(artifact):
                        note_unwanted(artifact, options, tally.seen)
                        continue
                    packer.add(step.job, artifact)
                    tally.add(ItemOutcome(target="", status="planned"))
                    session.emit(ItemPlanned(target=artifact.path or "", total=tally.counts["planned"]))
        session.emit(ListingEnded(total=tally.counts.get("planned", 0)))
        report = tally.report(
            output="",
            seconds=session.clock.monotonic() - began,
            before=before,
            after=session.limiter.totals(),
            stopped_by=None,
        )
        return packer.plan(report)


def _count(step: PlanStep, tally: Tally) -> None:
    if isinstance(step, JobListed):
        tally.jobs += 1
    elif not isinstance(step, Listed):
        tally.add(outcome_of(step))
