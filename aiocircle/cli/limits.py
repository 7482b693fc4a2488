"""``aiocircle limits``: what the host says about its rate limit, what is used of it, and who waits.

Looking must cost little. The host is asked once; whoever watches asks again when the shortest window worth watching has
reset, or every ten seconds where there is none. The last request of a window is left to others.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from shutil import get_terminal_size
from typing import Annotated, Any

import attrs
from cyclopts import Parameter

import aiocircle
from aiocircle.cli import tables
from aiocircle.cli.buckets import TABLE, Line, Told
from aiocircle.cli.exits import ExitCode, UsageError
from aiocircle.cli.interrupts import run
from aiocircle.cli.narrator import Narrator
from aiocircle.cli.output import Output, fit
from aiocircle.cli.settings import (
    CHOICE,
    FLAT,
    USUAL_CONNECTION,
    USUAL_DISPLAY,
    Access,
    Connection,
    Display,
    find_access,
)
from aiocircle.errors import (
    AioCircleError,
    APIError,
    AuthenticationError,
    ForbiddenError,
    RateLimitedError,
    WaitTooLongError,
)
from aiocircle.ratelimit.bucket import QuotaState, name_of
from aiocircle.ratelimit.facts import RateFacts

REFRESH = 1 / 4  # seconds
EVERY = 10.0  # seconds between two requests where no window tells when
SHORT = 2.0  # seconds; a window up to that is gone before anybody has read of it
SOONEST = 1.0  # seconds between two requests
PATIENCE = 2.0  # seconds to stand in line: a longer wait is what is to be shown
ANYBODYS = "/openapi.json"  # may be asked for without a token, and has no project in it
NO_HEADERS = RateFacts()
SOON, WRITTEN = 0.1, 10  # seconds between two looks into a shared store, and how often it is looked for an answer


def at_least_a_second(_type: Any, value: float | None) -> None:
    """Refuse to ask the host more often than that, and what is no number."""
    if value is not None and not value >= SOONEST:
        raise ValueError("It must be at least 1.")


def _choice(text: str, **more: Any) -> Parameter:
    return Parameter(help=text, group=CHOICE, **more)


@attrs.frozen(kw_only=True)
class Watching:
    """How long to look.

    Attributes:
        once: Print it and leave.
        watch: Go on until stopped.
        interval: Seconds between two requests.
    """

    once: Annotated[bool, _choice("Print it once, also on a terminal.")] = False
    watch: Annotated[bool, _choice("Go on until Ctrl-C, also in a pipe.")] = False
    interval: Annotated[
        float | None,
        _choice(
            "Watching, ask the host so often (when a window resets).", metavar="SECONDS", validator=at_least_a_second
        ),
    ] = None

    def goes_on(self, *, by_default: bool) -> bool:
        """Return whether to go on until stopped.

        Raises:
            UsageError: The flags contradict each other.
        """
        if self.once and self.watch:
            raise UsageError("--once and --watch contradict each other")
        going = self.watch or (by_default and not self.once)
        if self.interval is not None and not going:
            raise UsageError("--interval is for watching", hint="add --watch")
        return going


USUAL_WATCHING = Watching()


def limits(
    *,
    watching: Annotated[Watching, FLAT] = USUAL_WATCHING,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Show what the host says about its rate limit, what is used of it, who waits and until when."""
    output = Output(quiet=display.quiet, as_json=display.as_json)
    drawn = tables.is_terminal() and not output.as_json and not (display.verbose and sys.stderr.isatty())
    goes_on = watching.goes_on(by_default=drawn)
    access = find_access(connection)

    async def look() -> ExitCode:
        async with access.client(on_event=Narrator(output, display.verbose)) as client:
            host = _Host(client, access)
            await host.ask()
            if not goes_on:
                _tell(host, output)
                return ExitCode.OK
            with suppress(asyncio.CancelledError):  # how watching ends
                await (_draw(host, watching.interval) if drawn else _print(host, watching.interval, output))
        return ExitCode.OK

    with access.explained():
        return run(look)


@attrs.define(eq=False)
class _Host:
    """The host that is asked, and what it said last. Processes that share its budget may know of it as well."""

    client: "aiocircle.Client"
    access: Access
    rate: RateFacts = NO_HEADERS
    asked_at: float = 0.0
    problem: str | None = None

    async def ask(self) -> None:
        """Send one request, unless it is the last. That the budget is used up is no error, but what is to be shown."""
        await self.refresh()
        self.problem = None
        try:
            if any(quota.remaining <= 1 and quota.resets_in > 0 for quota in self.quotas()):
                self.problem = "not asked: what is left of a window is left to others"
            else:
                await self._ask()
        except RateLimitedError:
            self.problem = "the host refused: the limit is used up"
        except WaitTooLongError as error:
            self.problem = f"not asked: nothing goes out for {error.wait:.0f} s"
        finally:
            self.asked_at = time.monotonic()

    async def _ask(self) -> None:
        retry = aiocircle.RetryPolicy(attempts=self.access.settings.retries + 1, refusals=0)
        client = self.client.with_options(retry=retry, max_wait=PATIENCE)
        try:
            self.rate = await _answer(client, anonymous=self.access.token is None)
        finally:
            await self._written()

    async def refresh(self) -> None:
        """Read what other processes know, if the budget is shared."""
        await self.client.limiter.refresh(self.access.host)

    async def _written(self) -> None:
        """Wait until what was answered stands in the store, if the budget is shared; but not for long."""
        if self.access.settings.limiter is None:
            return
        answered = {name_of(fact) for fact in self.rate.quotas if fact.remaining is not None}
        for _ in range(WRITTEN):
            await asyncio.sleep(SOON)
            await self.refresh()
            if answered <= {quota.name for quota in self.quotas()}:
                return

    async def ask_on(self, interval: float | None) -> None:
        """Ask again and again, at most so often. A host that fails in between may come back."""
        while True:
            await asyncio.sleep(until_next(self.quotas(), interval))
            try:
                await self.ask()
            except (AuthenticationError, ForbiddenError):
                raise
            except AioCircleError as error:
                self.problem = str(error)

    def quotas(self) -> Sequence[QuotaState]:
        """Return every quota that is known."""
        return [quota for bucket in self.client.limiter.snapshot() for quota in bucket.quotas]

    def told(self) -> list[Told]:
        """Return all buckets; what the last answer said goes with the one that it was charged to."""
        buckets = self.client.limiter.snapshot()
        return [Told(bucket, self.rate.quotas if len(buckets) == 1 else ()) for bucket in buckets]

    def lines(self, columns: int) -> Iterator[Line]:
        """Yield everything for people in so many columns."""
        wall = time.time()
        for told in self.told():
            yield from told.lines(wall, columns)
        if self.access.token is None:
            yield "  there is no token: the host was asked anonymously", "yellow"
        if self.problem:
            yield f"  {self.problem}", "yellow"


async def _answer(client: "aiocircle.Client", *, anonymous: bool) -> RateFacts:
    if not anonymous:
        return (await client.users.me().response()).rate
    try:
        return (await client.request("GET", ANYBODYS)).rate
    except RateLimitedError:
        raise
    except APIError:  # a refusal is an answer, and the limiter has read its headers
        return NO_HEADERS


def until_next(quotas: Sequence[QuotaState], interval: float | None) -> float:
    """Return seconds from an answer to the next request: one for each window, and never the last that it allows."""
    resets = [quota.resets_in for quota in quotas if (quota.window or quota.resets_in) > SHORT]
    after = interval if interval is not None else min(resets, default=EVERY)
    exhausted = [quota.resets_in for quota in quotas if quota.remaining <= 1]
    return max(SOONEST, after, *exhausted)


def _tell(host: _Host, output: Output) -> None:
    if not output.as_json:
        columns = get_terminal_size().columns if tables.is_terminal() else TABLE
        for text, _style in host.lines(columns):
            output.data(fit(text).rstrip())
        return
    for told in host.told():
        output.record("bucket", {**told.values(), "problem": host.problem})


async def _print(host: _Host, interval: float | None, output: Output) -> None:
    """Print the state after every answer."""
    asking = asyncio.create_task(host.ask_on(interval))
    shown = 0.0
    try:
        while not asking.done():
            if host.asked_at != shown:
                shown = host.asked_at
                _tell(host, output)
            await asyncio.sleep(REFRESH)
        await asking
    finally:
        asking.cancel()


async def _draw(host: _Host, interval: float | None) -> None:
    """Draw the state a few times a second; the last one stays on the terminal."""
    from aiocircle.cli.display import Board  # noqa: PLC0415 -- rich is for terminals

    asking = asyncio.create_task(host.ask_on(interval))
    try:
        with Board() as board:
            while not asking.done():
                await host.refresh()
                asked = f"  {'asked':11}{time.monotonic() - host.asked_at:.0f} s ago; Ctrl-C ends", "dim"
                board.show([(fit(text), style) for text, style in (*host.lines(board.width), asked)])
                await asyncio.sleep(REFRESH)
        await asking
    finally:
        asking.cancel()
