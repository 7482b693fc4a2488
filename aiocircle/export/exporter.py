"""One run of an export: collect into the state, then write the files.

All that blocks happens in one thread of the run's own, in the order in which it is asked for: SQLite's connection and
the sinks are never used by two at once.
"""

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

from aiocircle.download.outputs import is_directory
from aiocircle.endings import ended, in_thread
from aiocircle.errors import ConfigurationError, PartialExportError
from aiocircle.events import TableWritten
from aiocircle.export.collecting import Collector
from aiocircle.export.marks import Sweep
from aiocircle.export.options import ExportOptions
from aiocircle.export.others import others
from aiocircle.export.publishing import Publisher
from aiocircle.export.sinks import Sink, open_sink
from aiocircle.export.state import State
from aiocircle.export.sweep import Asks, Period
from aiocircle.export.tables import TABLES
from aiocircle.export.usage import UsageJob
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

T = TypeVar("T")


@frozen(kw_only=True)
class ExportReport:
    """What an export did.

    Attributes:
        output: Where the files lie.
        rows: Rows that this run collected or saw again, by dataset.
        totals: Rows that the export holds now, by dataset.
        expired: What the host no longer knows; each is a row of ``gaps``.
        failed: Listings that failed; each is a row of ``gaps``, and the next run asks again.
        failures: The first thousand of them, in words.
        is_written: The files are up to date; not if the run was broken off.
        seconds: Duration of the run.
        requests: HTTP requests sent.
        refusals: Requests the host refused for lack of budget (429, 503).
        waits: How often a budget was waited for.
        waited: Seconds during which one was waited for.
    """

    output: str
    rows: Mapping[str, int]
    totals: Mapping[str, int]
    expired: int
    failed: int
    failures: Sequence[str]
    is_written: bool
    seconds: float
    requests: int
    refusals: int
    waits: int
    waited: float

    def raise_for_failures(self) -> None:
        """Raise if something is missing that the next run may get.

        Raises:
            PartialExportError: It is.
        """
        if self.failed:
            hint = "run the same command again: what is complete is not asked for again"
            raise PartialExportError(self.failed, self.failures[0], hint=hint)


class Export:
    """One run, which happens once. ``await`` it for the report; ``report`` may be asked for at any time.

    Args:
        session: Sends requests.
        projects: Whose data it is.
        datasets: Which.
        output: The directory.
        options: How.

    Raises:
        ConfigurationError: The output is no directory.
    """

    def __init__(
        self,
        session: Session,
        projects: Sequence[ProjectSlug],
        datasets: Sequence[str],
        output: str | Path,
        options: ExportOptions,
    ) -> None:
        if not is_directory(str(output)):
            hint = "choose a directory with -o; what lies there may be copied anywhere"
            raise ConfigurationError(f"{output} is no directory, and exports go to one", hint=hint)
        self._session = session
        self._projects = projects
        self._datasets = datasets
        self._output = Path(output)
        self._options = options
        self._collector: Collector | None = None
        self._totals: Mapping[str, int] = {}
        self._is_written = False
        self._is_begun = False
        self._began = session.clock.monotonic()
        self._before = session.limiter.totals()
        self._ended: float | None = None

    def __await__(self) -> Generator[Any, None, ExportReport]:
        return self.run().__await__()

    async def run(self) -> ExportReport:
        """Export everything selected and return the report; failures of single listings are in it.

        Raises:
            AioCircleError: What was selected does not exist, or the output cannot be written.
            ConfigurationError: It has begun before.
        """
        if self._is_begun:
            raise ConfigurationError("a run happens once", hint="ask for another one")
        self._is_begun = True
        threads = ThreadPoolExecutor(1, thread_name_prefix="aiocircle-export")

        async def ask(function: Callable[..., T], *arguments: Any) -> T:
            return await in_thread(threads, function, *arguments)

        opened = ExitStack()  # knows of the state even if this task is cancelled while it is being opened
        try:
            sinks = await ask(self._sinks)  # what is not installed is said before anything is asked for
            state = await ask(lambda: opened.enter_context(closing(self._state())))
            await self._collect(state, ask)
            await ask(state.end_run)  # before anything is written, or a run that goes on might add to what has been
            await self._publish(state, sinks, threads)
        finally:
            try:
                await ask(opened.close)
            finally:
                self._ended = self._session.clock.monotonic()
                threads.shutdown(wait=False)
        return self.report

    @property
    def report(self) -> ExportReport:
        """What has been done so far."""
        until = self._ended if self._ended is not None else self._session.clock.monotonic()
        before, after = self._before, self._session.limiter.totals()
        collector = self._collector
        return ExportReport(
            output=str(self._output),
            rows={name: collector.counts[name] for name in self._datasets} if collector else {},
            totals=self._totals,
            expired=collector.expired if collector else 0,
            failed=collector.failed if collector else 0,
            failures=[f"{one.what}: {one.error}" for one in collector.failures] if collector else (),
            is_written=self._is_written,
            seconds=until - self._began,
            requests=after.requests - before.requests,
            refusals=after.refusals - before.refusals,
            waits=after.waits - before.waits,
            waited=after.waited - before.waited,
        )

    def _sinks(self) -> dict[str, Sink]:
        """Return the sinks by what tells their outputs from others of the same state."""
        options = self._options
        sinks: dict[str, Sink] = {}
        for name in options.formats:
            settings = options.settings_of(name)
            target = " ".join((name, *(f"{key}={value}" for key, value in sorted(settings.items()))))
            sinks[target] = open_sink(name, self._output, sync=options.sync, **settings)
        return sinks

    def _state(self) -> State:
        now = datetime.fromtimestamp(self._session.clock.wall(), UTC)
        origin, raw = self._session.origin, self._options.raw
        return State(self._output, origin=origin, raw=raw, now=now, datasets=self._datasets)

    async def _collect(self, state: State, ask: Asks) -> None:
        options = self._options
        period = Period(since=options.since, until=options.until, branch=options.branch, look_back=options.look_back)
        collector = Collector(self._session, state, ask, self._projects, self._datasets, period, raw=options.raw)
        self._collector = collector
        tables = [*collector.tables.values(), TABLES["gaps"]]
        await ask(state.use, tables, collector.looked_for)
        await collector.run(others(self._session, self._projects, self._datasets, options, _Memory(state, ask)))
        self._totals = {table.name: await ask(state.count, table) for table in tables}

    async def _publish(self, state: State, sinks: Mapping[str, Sink], threads: ThreadPoolExecutor) -> None:
        assert self._collector is not None
        loop = asyncio.get_running_loop()
        session = self._session

        def told(table: str, target: str, rows: int) -> None:
            if session.watched(TableWritten):
                event = TableWritten(table=table, format=target.partition(" ")[0], rows=rows)
                loop.call_soon_threadsafe(session.emit, event)

        publisher = Publisher(state, [*self._collector.tables.values(), TABLES["gaps"]], told)
        publishing = loop.run_in_executor(threads, publisher.publish, sinks)
        try:
            await asyncio.shield(publishing)
        except asyncio.CancelledError:
            publisher.stop()
            await ended(publishing)
            raise
        self._is_written = True


@frozen
class _Memory:
    """What earlier runs did about usage data, from the state."""

    state: State
    ask: Asks

    async def sweep(self, scope: str) -> Sweep:
        return await self.ask(self.state.sweep, scope)

    async def usage_jobs(self) -> Sequence[UsageJob]:
        return await self.ask(self.state.usage_jobs)

    async def add_usage_job(self, job: UsageJob) -> None:
        await self.ask(self.state.add_usage_job, job)
