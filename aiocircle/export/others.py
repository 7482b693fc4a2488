"""Streams of the datasets that are not found by the fan-out: of each project, and of each organisation once."""

from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from aiocircle.crawl.fanout import JobRef, ListingFailed, Skipped, guarded
from aiocircle.export.found import AllOf, Missing, Pairs, UsageDone
from aiocircle.export.marks import Sweep
from aiocircle.export.options import ExportOptions
from aiocircle.export.sources import SOURCES, Question, Source
from aiocircle.export.sweep import PageRead, Period, begin_of, covered_by
from aiocircle.export.tables import TABLES
from aiocircle.export.usage import UsageJob, organization_of, usage_rows
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

OF_ORGANIZATIONS = frozenset({"contexts"})
USUAL_USAGE = timedelta(days=31)  # of usage data, where no time is named: what one export of them holds


class Memory(Protocol):
    """What earlier runs did about usage data."""

    async def sweep(self, scope: str) -> Sweep:
        """Return what is covered."""
        ...

    async def usage_jobs(self) -> Sequence[UsageJob]:
        """Return exports of usage data that were created and not brought to their end."""
        ...

    async def add_usage_job(self, job: UsageJob) -> None:
        """Remember one that was created."""


class NoMemory:
    """That of somebody who begins anew each time."""

    async def sweep(self, scope: str) -> Sweep:  # noqa: ARG002 -- the protocol's
        """Return that nothing is covered."""
        return Sweep()

    async def usage_jobs(self) -> Sequence[UsageJob]:
        """Return none."""
        return ()

    async def add_usage_job(self, job: UsageJob) -> None:
        """Forget it."""


def others(
    session: Session,
    projects: Sequence[ProjectSlug],
    datasets: Collection[str],
    options: ExportOptions,
    memory: Memory,
) -> Iterator[AsyncGenerator[Any, None]]:
    """Return a stream of ``Pairs``, ``Missing`` and ``AllOf`` for each project and dataset that has a source.

    Args:
        session: Asks the API.
        projects: Whose data it is.
        datasets: Which of it; those of the fan-out are left out.
        options: Which part of it.
        memory: What earlier runs did.
    """
    first_of_each = {(slug.vcs, slug.org): slug for slug in reversed(projects)}.values()
    if "usage" in datasets:  # which takes the host minutes: first, to be under way while others are asked for
        yield from (_usage(session, slug, options, memory) for slug in projects if slug in first_of_each)
    for slug in projects:
        question = Question(
            session=session,
            slug=slug,
            branch=options.branch,
            since=options.since,
            until=options.until,
            reporting_window=options.reporting_window,
        )
        for name in datasets:
            if name in SOURCES and (name not in OF_ORGANIZATIONS or slug in first_of_each):
                yield _stream(name, SOURCES[name], question, alone=len(projects) == len(datasets) == 1)


async def one_after_another(streams: Iterable[AsyncGenerator[Any, None]]) -> AsyncGenerator[Any, None]:
    """Yield what several streams yield, the first one's first."""
    for stream in streams:
        async with aclosing(stream) as found:
            async for one in found:
                yield one


async def _stream(name: str, source: Source, question: Question, *, alone: bool) -> AsyncGenerator[Any, None]:
    what = f"{name.replace('_', ' ')} of {question.project}"
    is_whole = True
    owner = f"{question.slug.vcs}/{question.slug.org}" if name in OF_ORGANIZATIONS else question.project
    place = None if name in OF_ORGANIZATIONS else JobRef(slug=question.slug)
    async with aclosing(guarded(source(question), what, alone=alone, job=place, expires=False)) as listed:
        async for one in listed:
            if isinstance(one, Skipped | ListingFailed):
                is_whole = False
                yield Missing(name, one)
            else:
                if one:
                    owner = getattr(one[0][0], TABLES[name].owner)
                yield Pairs(name, one)
    if is_whole and TABLES[name].is_snapshot:
        asked = {"branch": question.branch or "", "reporting_window": question.reporting_window}
        yield AllOf(name, owner, {column: asked[column] for column in asked if column in TABLES[name].key})


async def _usage(
    session: Session, slug: ProjectSlug, options: ExportOptions, memory: Memory
) -> AsyncGenerator[Any, None]:
    """Yield the usage data of a project's organisation, of the time that is not covered yet."""
    now = datetime.fromtimestamp(session.clock.wall(), UTC)
    end = min(options.until or now, now)
    since = options.since or end - USUAL_USAGE

    async def listing() -> AsyncGenerator[Any, None]:
        organization = await organization_of(session, slug)
        scope = f"usage {organization}"
        before = await memory.sweep(scope)
        start = begin_of(before, Period(since=since, look_back=options.look_back)) or since
        kept = await memory.usage_jobs()
        listed = usage_rows(session, organization, start, end, on_job=memory.add_usage_job, resume=kept)
        async with aclosing(listed) as pages:
            async for page in pages:
                if page.pairs:
                    yield Pairs("usage", page.pairs)
                if page.is_last:
                    yield UsageDone(page.job.export_id)
        yield PageRead(scope, covered_by(before, since, end, end))

    async with aclosing(guarded(listing(), f"usage of {slug.vcs}/{slug.org}", alone=False, expires=False)) as found:
        async for one in found:
            yield Missing("usage", one) if isinstance(one, Skipped | ListingFailed) else one
