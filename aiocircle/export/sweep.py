"""Which pipelines a run has to look at, so that runs together cover a history without holes and without doing it twice.

Pipelines can only be listed from the newest on, page by page, and when one was created is all that never changes:
``updated_at`` does not move when a pipeline is run again (quirks, section 2; peers, section 5). Hence:

* A *sweep* goes from the newest pipeline back to where the ones before it began. That the time is covered is recorded
  at its end, not before: new ones come first, so a sweep that was broken off leaves a hole behind it.
* One that was broken off goes on at the page at which it was; if the host no longer knows that page, from the start,
  where what is complete already costs its page and nothing more. Afterwards a second one fetches what came since.
  A sweep that is to leave out the newest always begins at the start: of a page it cannot tell what came before it.
* Where runs leave a hole between what they covered, the newer part is remembered, which later ones go on from.
* A rerun adds a workflow to an old pipeline. So a sweep looks some days further back than it would have to, and lists
  the workflows there once more; jobs of workflows that have ended are not listed again. Where it is the first one of
  its datasets, and others had brought these, it looks back from the newest pipeline of those. It also sees what became
  of pipelines that were still being set up. Nothing tells of reruns of older pipelines that had come to their end: they
  are missed, until a sweep for the same datasets looks back far enough.
* Pipelines of which more may come, as their workflows had not ended or something of them failed, are looked at again
  in every run, however old they are, until the host has forgotten them.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

from attrs import evolve, frozen

from aiocircle.api import Pipeline, Vcs
from aiocircle.crawl.fanout import Crawl, PipelineFound, found_pipeline
from aiocircle.errors import PaginationError
from aiocircle.export.marks import PipelineMark, Sweep
from aiocircle.export.state import State
from aiocircle.slugs import ProjectSlug

T = TypeVar("T")

RECENT = 2000  # pipelines that may have been handed out without being saved yet: many more than are under way


class Asks(Protocol):
    """Calls a blocking function of a state where it may block."""

    async def __call__(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what the function returns."""
        ...


@frozen
class PageRead:
    """All pipelines of a page have been handed out; ``sweep`` holds once they and all below them are saved."""

    scope: str
    sweep: Sweep


@frozen(kw_only=True)
class Period:
    """Which pipelines of a project are wanted.

    Attributes:
        since: Those created then or later.
        until: And before that.
        branch: Of this branch.
        look_back: How much further back than necessary a run looks for reruns.
    """

    since: datetime | None = None
    until: datetime | None = None
    branch: str | None = None
    look_back: timedelta = timedelta(days=3)


class Sweeper:
    """Yields the pipelines that have to be looked at.

    Args:
        crawl: Lists pipelines.
        state: What earlier runs covered.
        ask: Calls the state's functions.
        period: Which are wanted.
        datasets: What is to be complete for them, as bits.
        goes_on: Whether anything below pipelines is wanted.
        now: The time.
    """

    def __init__(
        self, crawl: Crawl, state: State, ask: Asks, period: Period, datasets: int, *, goes_on: bool, now: datetime
    ) -> None:
        self._crawl = crawl
        self._state = state
        self._ask = ask
        self._period = period
        self._datasets = datasets
        self._goes_on = goes_on
        self._now = now

    async def pipelines(self, slug: ProjectSlug) -> AsyncGenerator[PipelineFound | PageRead, None]:
        """Yield the pipelines of a project, with a ``PageRead`` behind those of each page.

        Raises:
            AioCircleError: They cannot be listed.
        """
        branch = self._period.branch
        scope = f"{slug} {self._datasets}" + ("" if branch is None else f" {branch}")
        sweep = await self._ask(self._state.sweep, scope)
        others = self._known(await self._ask(self._state.newest_complete, str(slug), self._datasets))
        recent: deque[UUID] = deque(maxlen=RECENT)
        for token in (None,) if sweep.token is None or self._period.until is not None else (sweep.token, None):
            again = _earlier(sweep.newest or others, self._period.look_back)
            async with aclosing(self._sweep(slug, scope, sweep, token, again)) as found:
                async for one in found:
                    if isinstance(one, PageRead):
                        sweep = one.sweep
                    else:
                        recent.append(one.pipeline.id)
                    yield one
        async with aclosing(self._open_ones(slug)) as pipelines:
            async for pipeline in pipelines:
                if pipeline.pipeline.id not in recent:
                    yield pipeline

    async def _sweep(
        self, slug: ProjectSlug, scope: str, before: Sweep, token: str | None, again: datetime | None
    ) -> AsyncGenerator[PipelineFound | PageRead, None]:
        wanted, until = self._period.since, self._period.until
        since = begin_of(before, self._period)
        newest = before.token_newest if token is not None else None
        listing = self._crawl.pages(slug, since=since, until=until, page_token=token)
        begun = False
        try:
            async with aclosing(listing) as pages:
                async for found, next_token in pages:
                    begun = True
                    newest = _latest(newest, *(self._known(one.pipeline.created_at) for one in found))
                    for one in await self._marked(found, again):
                        yield one
                    if next_token is not None:
                        reached = before if until else evolve(before, token=next_token, token_newest=newest)
                        yield PageRead(scope, reached)
        except PaginationError:
            if token is None or begun:
                raise
            yield PageRead(scope, evolve(before, token=None, token_newest=None))
            return
        yield PageRead(scope, covered_by(before, wanted, newest, until))

    def _known(self, created_at: datetime | None) -> datetime | None:
        """Return a date up to which there is nothing new: a wrong one that lies ahead would hide all that comes."""
        return created_at and min(created_at, self._now)

    async def _marked(self, found: Sequence[PipelineFound], again: datetime | None) -> list[PipelineFound]:
        """Return pipelines with the mark of whether what is below them has to be looked at: since ``again``, of all."""
        if not found or not self._goes_on:
            return [evolve(one, goes_on=False) for one in found]
        ids = [str(one.pipeline.id) for one in found]
        closed = await self._ask(self._state.closed, ids, self._datasets)
        seen = await self._ask(self._state.seen, ids, self._datasets)

        def is_due(one: PipelineFound) -> bool:
            identity, created_at = str(one.pipeline.id), one.pipeline.created_at
            if identity in seen:
                return False
            return identity not in closed or (again is not None and created_at is not None and created_at >= again)

        return [evolve(one, goes_on=is_due(one)) for one in found]

    async def _open_ones(self, slug: ProjectSlug) -> AsyncGenerator[PipelineFound, None]:
        if not self._goes_on:
            return
        last: PipelineMark | None = None
        asked = (self._state.open_pipelines, str(slug), self._datasets, self._period.branch, self._period.since)
        while marks := await self._ask(*asked, last):
            for mark in marks:
                yield _found(slug, mark)
            last = marks[-1]


def begin_of(before: Sweep, period: Period) -> datetime | None:
    """Return how far back a sweep has to go; ``None`` for the very beginning."""
    since = period.since
    if before.newest is None or _is_wider(before, since):
        return since
    again = _earlier(before.newest, period.look_back)
    return _latest(since, again)


def covered_by(before: Sweep, since: datetime | None, newest: datetime | None, until: datetime | None = None) -> Sweep:
    """Return what is covered when a sweep has come to its end.

    Args:
        before: What was covered before it.
        since: Back to when it was to go, if it had not to stop at that.
        newest: When the newest pipeline was created that it found.
        until: Before when pipelines had to be created, if it left out later ones.
    """
    ended = evolve(before, token=None, token_newest=None)
    if before.newest is None:
        return Sweep(since=since, newest=newest)
    if since is not None and since > before.newest:
        return ended if newest is None else Sweep(since=since, newest=newest)
    if not _is_wider(before, since):
        return evolve(ended, newest=_latest(before.newest, newest))
    end = until or newest
    if end is None or (before.since is not None and end < before.since):
        return ended
    return Sweep(since=since, newest=_latest(before.newest, newest))


def _is_wider(before: Sweep, since: datetime | None) -> bool:
    return before.since is not None and (since is None or since < before.since)


def _earlier(moment: datetime | None, span: timedelta) -> datetime | None:
    if moment is None:
        return None
    try:
        return moment - span
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _found(slug: ProjectSlug, mark: PipelineMark) -> PipelineFound:
    """Return a pipeline of an earlier run, as much of it as what lies below it needs."""
    return found_pipeline(
        slug,
        Pipeline(
            id=UUID(mark.id),
            number=mark.number,
            state=mark.state,
            created_at=mark.created_at,
            vcs=Vcs(branch=mark.branch),
        ),
    )
