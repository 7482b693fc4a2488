"""Usage data: what each run of a job cost, as CircleCI's exports have it. Not on Server.

An export is a job of the host's: it is created for a span of 31 days at most, asked about until it is over, and then
has any number of files, or none where nothing ran. The host admits ten requests an hour, organisation and kind for
creating and for asking. So a longer time is split, the exports of its spans are created ahead as far as that admits,
and one is asked about every six minutes, the first time a minute after its creation.

Files lie at signed addresses, which are good for about a day and a half and show what they are signed with: no
credential goes there, and when they are over the export is asked for new ones. A file is fetched again from its
beginning if that fails, before any of its rows is handed out (`aiocircle.export.usage_files`). Where the host exchanges
the files meanwhile, rows come twice; they are told apart by ``id``, so that the later takes the place of the earlier.

Whoever keeps the exports that were created, and hands them in again, does not create them twice.
"""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from attrs import define, frozen

from aiocircle.api import Projects, UsageExport, UsageExports
from aiocircle.clock import Clock
from aiocircle.endings import in_thread
from aiocircle.errors import (
    AuthenticationError,
    BadRequestError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    RateLimitedError,
    UsageExportError,
    WaitTooLongError,
)
from aiocircle.events import UsageAwaited
from aiocircle.export.rows import UsageRow
from aiocircle.export.usage_files import LONGEST, Record, Records, UsageFile
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug
from aiocircle.transport import Answer

T = TypeVar("T")

LONGEST_SPAN: Final = timedelta(days=31)
OLDEST: Final = timedelta(days=365) - timedelta(minutes=5)  # before now; the clocks need not agree
HOUR: Final = 3600.0  # seconds
ADMITTED: Final = 10  # requests in an hour
BETWEEN_LOOKS: Final = 360.0  # seconds
SLACK: Final = timedelta(days=1)  # what began "30 days ago" began later when it is said again
WORTH_A_SPAN: Final = timedelta(hours=1)  # behind a kept export; the data is renewed once a day
FIRST_LOOK: Final = 60.0  # seconds after the creation
PATIENCE: Final = 5 * 3600.0  # seconds; the host gives up after four hours
AT_ONCE: Final = 1000  # rows
WRITE: Final = 1024 * 1024  # bytes
FRESH_ADDRESSES: Final = 2  # times that new addresses are asked for in vain

_REFUSED = (BadRequestError, AuthenticationError, ForbiddenError, NotFoundError, GoneError)


@frozen(kw_only=True)
class UsageJob:
    """An export that the host was told to make.

    Attributes:
        organization_id: Of which organisation.
        export_id: Its id.
        start: Its first moment.
        end: Its last moment.
    """

    organization_id: str
    export_id: str
    start: datetime
    end: datetime


@frozen(kw_only=True)
class UsagePage:
    """Some rows of an export.

    Attributes:
        job: The export.
        pairs: Each row with the record that it was made of.
        is_last: Nothing more comes of this export, and it need not be kept.
    """

    job: UsageJob
    pairs: Sequence[tuple[UsageRow, Record]]
    is_last: bool = False


OnJob = Callable[[UsageJob], Awaitable[None]]


async def organization_of(session: Session, slug: ProjectSlug) -> str:
    """Return the id of the organisation that a project belongs to.

    Raises:
        UsageExportError: The host does not tell.
    """
    project = await Projects(session).get(slug)
    if project.organization_id is None:
        raise UsageExportError(f"the host does not tell which organisation {slug} belongs to")
    return str(project.organization_id)


async def usage_rows(
    session: Session,
    organization_id: str,
    start: datetime,
    end: datetime,
    *,
    on_job: OnJob,
    resume: Iterable[UsageJob] = (),
    longest: int = LONGEST,
) -> AsyncGenerator[UsagePage, None]:
    """Yield the usage data of an organisation in a time, span by span, in pages of about a thousand rows.

    The time is cut to what the host takes: a year back, and nothing to come.

    Args:
        session: Who asks.
        organization_id: Of which organisation; see `organization_of`.
        start: The first moment, with a time zone.
        end: The last moment.
        on_job: Awaited with each export as soon as it is created, before anything else is done.
        resume: Exports that an earlier run created and did not bring to their last page. One that begins where a span
            does, or up to a day before, and does not reach beyond the time, is taken in place of a new one. What is
            left behind the last of them is not asked for unless it is an hour.
        longest: Bytes to which a file may unpack.

    Raises:
        UsageExportError: The host has no such exports, one failed, or its files are not what they should be.
        APIError: The host refused.
        TransportError: No complete answer came, however often it was tried.
        StoreError: There is no room for temporary files.
    """
    now = datetime.fromtimestamp(session.clock.wall(), UTC)
    kept = [job for job in resume if job.organization_id == organization_id]
    spans = _spans(max(start, now - OLDEST), min(end, now), kept)
    exports = _Exports(session, organization_id, on_job, longest)
    for place, span in enumerate(spans):
        await exports.create(span)
        for later in spans[place + 1 :]:
            if exports.admits_creation:
                await exports.create(later)
        job, urls = await exports.completed(span)
        async with aclosing(exports.pages(job, urls)) as pages:
            async for page in pages:
                yield page


@define
class _Span:
    """A part of the time. ``is_kept``: its export was created by an earlier run."""

    start: datetime
    end: datetime
    job: UsageJob | None = None
    is_kept: bool = False


def _spans(start: datetime, end: datetime, kept: Sequence[UsageJob]) -> list[_Span]:
    """Return the spans that a time is split into, each with the export that is there of it already, if any."""
    spans: list[_Span] = []
    while start < end and not (spans and spans[-1].is_kept and end - start < WORTH_A_SPAN):
        fitting = [job for job in kept if start - SLACK <= job.start <= start < job.end <= end]
        job = max(fitting, key=lambda one: one.end, default=None)
        end_of_span = min(start + LONGEST_SPAN, end) if job is None else job.end
        span = _Span(start, end_of_span, job, job is not None)
        spans.append(span)
        start = span.end
    return spans


class _Pace:
    """Counts the requests of the last hour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spent: deque[float] = deque(maxlen=ADMITTED)

    @property
    def wait(self) -> float:
        """Seconds until another one is admitted."""
        if len(self._spent) < ADMITTED:
            return 0.0
        return max(0.0, self._spent[0] + HOUR - self._clock.monotonic())

    async def turn(self) -> None:
        """Wait until another one is admitted, and count it."""
        if wait := self.wait:
            await self._clock.sleep(wait)
        self._spent.append(self._clock.monotonic())


class _Exports:
    """The exports of one organisation, under the host's limits."""

    def __init__(self, session: Session, organization_id: str, on_job: OnJob, longest: int) -> None:
        self._session = session
        self._clock = session.clock
        self._api = UsageExports(session)
        self._organization_id = organization_id
        self._on_job = on_job
        self._longest = longest
        self._creations, self._looks = _Pace(session.clock), _Pace(session.clock)
        self._due: dict[str, float] = {}  # when an export may be asked about

    @property
    def admits_creation(self) -> bool:
        """Whether an export can be created without waiting."""
        return not self._creations.wait

    async def create(self, span: _Span) -> None:
        """Create the export of a span, unless it is there."""
        if span.job is not None:
            return
        organization_id = self._organization_id
        try:
            answer = await self._patiently(
                self._creations, lambda: self._api.create(organization_id, start=span.start, end=span.end)
            )
        except NotFoundError:
            raise UsageExportError(
                "this host exports no usage data of this organisation",
                hint="a Server has none; on CircleCI's cloud the token's owner must belong to the organisation",
            ) from None
        if answer.usage_export_job_id is None:
            raise UsageExportError("the host created an export of usage data and did not say which")
        export_id = str(answer.usage_export_job_id)
        span.job = UsageJob(organization_id=organization_id, export_id=export_id, start=span.start, end=span.end)
        self._due[export_id] = self._clock.monotonic() + FIRST_LOOK
        await self._on_job(span.job)

    async def completed(self, span: _Span) -> tuple[UsageJob, Sequence[str]]:
        """Wait until the export of a span is completed, and return it with the addresses of its files.

        One that an earlier run left, and that failed or is forgotten by the host, is created once more.

        Raises:
            UsageExportError: It failed, or takes too long.
        """
        until = self._clock.monotonic() + PATIENCE
        while self._clock.monotonic() <= until:
            await self.create(span)
            assert span.job is not None
            answer = await self._look_if_there(span.job)
            state = "forgotten" if answer is None else answer.state
            if answer is not None and state == "completed":
                return span.job, answer.download_urls
            if state not in {"failed", "forgotten"}:
                continue
            if not span.is_kept:
                reason = (answer.error_reason if answer else None) or f"the host has {state} it and does not say why"
                raise UsageExportError(f"an export of usage data failed: {reason}", hint="try again, or a shorter time")
            span.job, span.is_kept = None, False
        raise UsageExportError(f"an export of usage data was not over within {PATIENCE / HOUR:g} hours")

    async def pages(self, job: UsageJob, urls: Sequence[str]) -> AsyncGenerator[UsagePage, None]:
        """Yield the rows of an export that is completed, file by file."""
        place = 0
        while place < len(urls):
            async with _open_file(self._longest) as file:
                fresh = await self._received(job, urls, place, file)
                if _places(fresh) != _places(urls):  # other files, of which nothing has been handed out
                    urls, place = fresh, 0
                    continue
                urls, place = fresh, place + 1
                async with aclosing(_batches(file)) as batches:
                    async for pairs in batches:
                        yield UsagePage(job=job, pairs=pairs)
        yield UsagePage(job=job, pairs=(), is_last=True)

    async def _received(self, job: UsageJob, urls: Sequence[str], place: int, file: UsageFile) -> Sequence[str]:
        """Receive a file, and return the addresses that are good now; if others have come, it may be another file."""
        known, status = _places(urls), 0
        for _ in range(FRESH_ADDRESSES + 1):
            try:
                await self._session.fetch(
                    urls[place], lambda answer: _receive(answer, file), operation="GET usage data", anonymous=True
                )
            except _REFUSED as error:
                status = error.status
            else:
                return urls
            answer = await self._look(job)
            urls = answer.download_urls
            if _places(urls) != known:
                return urls
        raise UsageExportError(f"the storage of usage data answers {status} to the addresses that the host just signed")

    async def _look_if_there(self, job: UsageJob) -> UsageExport | None:
        try:
            return await self._look(job)
        except NotFoundError:
            return None

    async def _look(self, job: UsageJob) -> UsageExport:
        wait = self._due.get(job.export_id, 0.0) - self._clock.monotonic()
        if wait > 0:
            self._session.emit(UsageAwaited(seconds=wait))
            await self._clock.sleep(wait)
        answer = await self._patiently(self._looks, lambda: self._api.get(job.organization_id, job.export_id))
        self._due[job.export_id] = self._clock.monotonic() + BETWEEN_LOOKS
        return answer

    async def _patiently(self, pace: _Pace, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask when the host admits it; others may have spent the same hour's requests."""
        for again in reversed(range(ADMITTED)):
            await pace.turn()
            try:
                return await ask()
            except (RateLimitedError, WaitTooLongError):
                if not again:
                    raise
            await self._clock.sleep(BETWEEN_LOOKS)
        raise AssertionError


def _places(urls: Sequence[str]) -> list[str]:
    """Return addresses without what they are signed with."""
    return [url.partition("?")[0] for url in urls]


async def _receive(answer: Answer, file: UsageFile) -> None:
    """Bring a body to disk."""
    await in_thread(None, file.begin)
    parts: list[bytes] = []
    size = 0
    while not answer.is_over and (chunk := await answer.chunk()):
        parts.append(chunk)
        size += len(chunk)
        if size >= WRITE:
            await in_thread(None, file.take, b"".join(parts))
            parts, size = [], 0
    await in_thread(None, file.end, b"".join(parts))


@asynccontextmanager
async def _open_file(longest: int) -> AsyncGenerator[UsageFile, None]:
    file = await in_thread(None, UsageFile, longest)
    try:
        yield file
    finally:
        await in_thread(None, file.close)


async def _batches(file: UsageFile) -> AsyncGenerator[Sequence[tuple[UsageRow, Record]], None]:
    records: Records = await in_thread(None, file.records)
    while pairs := await in_thread(None, records.batch, AT_ONCE):
        yield pairs
