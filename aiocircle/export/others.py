"""Streams of the datasets that are not found by the fan-out: of each project, and of each organisation once."""

from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from aiocircle.crawl.fanout import ListingFailed, Skipped, guarded
from aiocircle.export.found import AllOf, Missing, Pairs
from aiocircle.export.options import ExportOptions
from aiocircle.export.sources import SOURCES, Question, Source
from aiocircle.export.tables import TABLES
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

OF_ORGANIZATIONS = frozenset({"contexts"})


def others(
    session: Session, projects: Sequence[ProjectSlug], datasets: Collection[str], options: ExportOptions
) -> Iterator[AsyncGenerator[Any, None]]:
    """Return a stream of ``Pairs``, ``Missing`` and ``AllOf`` for each project and dataset that has a source.

    Args:
        session: Asks the API.
        projects: Whose data it is.
        datasets: Which of it; those of the fan-out are left out.
        options: Which part of it.
    """
    organizations: set[tuple[str, str]] = set()
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
            if name not in SOURCES or (name in OF_ORGANIZATIONS and (slug.vcs, slug.org) in organizations):
                continue
            yield _stream(name, SOURCES[name], question, alone=len(projects) == len(datasets) == 1)
        organizations.add((slug.vcs, slug.org))


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
    async with aclosing(guarded(source(question), what, alone=alone)) as listed:
        async for one in listed:
            if isinstance(one, Skipped | ListingFailed):
                is_whole = False
                yield Missing(name, one)
            else:
                if one:
                    owner = getattr(one[0][0], TABLES[name].owner)
                yield Pairs(name, one)
    if is_whole and TABLES[name].is_snapshot:
        yield AllOf(name, owner)
