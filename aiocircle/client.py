"""The client: settings, lifetime, and the API by resource.

::

    async with aiocircle.Client() as client:
        report = await client.download("gh/acme/web", job=1234, to="out")
"""

import copy
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack
from urllib.parse import urlsplit

import anyio.to_thread

from aiocircle.api.namespaces import Namespaces
from aiocircle.auth import AuthScheme, Token, TokenScope, budget_identity, find_token, parse_host
from aiocircle.clock import Clock, SystemClock
from aiocircle.crawl.selection import Selection, Slugs, Which, check_alone, selected
from aiocircle.credentials import Credentials
from aiocircle.download.again import Again, Missing, missing_in
from aiocircle.download.artifacts import Artifacts
from aiocircle.download.downloader import Download
from aiocircle.download.options import DownloadOptions
from aiocircle.download.planfile import Plan
from aiocircle.download.report import ItemOutcome, Report
from aiocircle.errors import ConfigurationError
from aiocircle.events import EventHandler, guarded, ignore
from aiocircle.nearby import Reach
from aiocircle.proxies import Proxies
from aiocircle.ratelimit.limiter import RateLimiter
from aiocircle.response import Call, Response
from aiocircle.retry import RetryPolicy
from aiocircle.session import JSON, Session
from aiocircle.timeouts import Timeouts
from aiocircle.transport import Transport

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import ClientSession

    from aiocircle.export.exports import Exports
    from aiocircle.ratelimit.address import StoreAddress

DEFAULT_HOST = "https://circleci.com"
DEFAULT_MAX_WAIT = 300.0

_SLUG = re.compile(r"^((?:/api/[^/]+)?/(?:project|insights(?:/pages|/time-series)?))/[^/]+/[^/]+/[^/]+")
_IDENTIFIER = re.compile(r"/(?:[0-9]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?=/|$)", re.IGNORECASE)


class Client(Namespaces):
    """An asynchronous client of CircleCI's API v2, on Cloud or a Server.

    All requests of a client share one rate limiter, whoever makes them. Use it as an asynchronous context manager.

    Args:
        token: A personal API token. Without it the environment (``CIRCLE_TOKEN`` and its like) and the official command
            line's files are asked; without any, requests are anonymous, which public projects allow.
        host: The API's origin; without it ``CIRCLE_HOST``, else Cloud.
        auth: How the token is shown: the ``Circle-Token`` header, ``Bearer`` or ``Basic``.
        artifact_hosts: Further hosts (``name`` or ``name:port``) that may see the token because they serve artifacts;
            the API's own origin and ``circle-artifacts.com`` may always.
        timeouts: Time limits.
        retry: How often and how long a request is repeated.
        max_wait: Seconds: the longest standstill of the rate limit to sit out before ``WaitTooLongError``.
        session: An aiohttp session to use as it is; it is never closed. aiohttp itself repeats some requests once,
            which only a session of our own can prevent. Its default headers and cookies go wherever it
            sends them, and its connector decides what names may lead to. It has an SSL context and proxies of its own,
            so it excludes ``ssl_context`` and ``trust_env``.
        ssl_context: Says which authorities are trusted, and which certificate is shown to a host that asks for one. By
            default the system's authorities are trusted, or those of ``SSL_CERT_FILE``, and none is shown.
        trust_env: Go through the proxies that ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` name. ``~/.netrc`` is
            never read, and this machine is asked without a proxy.
        allow_http: Let the token travel unencrypted to a host that is not this machine.
        on_event: Receives every event, in the event loop. What it raises is logged and changes nothing.
        clock: Where time comes from.
        limiter: Where the rate limit's state lies, to share the token's budget with other processes:
            ``sqlite:PATH`` for those of this host, ``redis://host:6379/0`` (or ``rediss://``) for those of several.
            Without it the budget is this client's own.

    Raises:
        ConfigurationError: The token, the host, the limiter or a proxy is malformed, or a setting would be without
            effect.
    """

    def __init__(
        self,
        token: str | Token | None = None,
        *,
        host: str | None = None,
        auth: AuthScheme | str = AuthScheme.CIRCLE_TOKEN,
        artifact_hosts: Sequence[str] = (),
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        max_wait: float = DEFAULT_MAX_WAIT,
        session: "ClientSession | None" = None,
        ssl_context: "SSLContext | None" = None,
        trust_env: bool = False,
        allow_http: bool = False,
        on_event: EventHandler = ignore,
        clock: Clock | None = None,
        limiter: str | None = None,
    ) -> None:
        self.host = parse_host(host or os.environ.get("CIRCLE_HOST") or DEFAULT_HOST, allow_http=allow_http)
        found = find_token(explicit=token, token_file=None, environ=os.environ, home=Path.home(), host=self.host)
        self._token = found.token if found else None
        self._scheme = AuthScheme(auth)
        self._scope = TokenScope.of(self.host, artifact_hosts)
        self._timeouts = timeouts or Timeouts()
        self._retry = retry or RetryPolicy()
        self._max_wait = max_wait
        if session is not None and (ssl_context is not None or trust_env):
            problem = "ssl_context and trust_env are without effect on a session of your own"
            raise ConfigurationError(problem, hint="give them to its connector, and to the session itself")
        self._given_session = session
        self._ssl_context = ssl_context
        self._proxies = Proxies.of_environment() if trust_env else Proxies()
        self._on_event = guarded(on_event)
        self._clock = clock or SystemClock()
        self._shared = None if limiter is None else _parse_store(limiter)
        self._session: Session | None = None
        self._root: Self | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(host={self.host!r})"

    async def __aenter__(self) -> Self:
        if self._root is not None:
            raise ConfigurationError("a client from with_options() is open as long as the one it was made from")
        if self._session is not None:
            raise ConfigurationError("the client is open already")
        limiter = RateLimiter(
            clock=self._clock,
            random=random.random,
            on_event=self._on_event,
            store=None if self._shared is None else self._shared.store(self._clock.monotonic),
            identity=budget_identity(self._token, self.host),
        )
        reach = Reach(urlsplit(self.host).hostname or "")
        self._session = session = Session(
            Transport(self._given_session, proxies=self._proxies, reach=reach, ssl_context=self._ssl_context),
            limiter,
            origin=self.host,
            credentials=Credentials(self._token, self._scheme, self._scope),
            policy=self._retry,
            timeouts=self._timeouts,
            max_wait=self._max_wait,
            clock=self._clock,
            on_event=self._on_event,
            reach=reach,
        )
        try:
            await session.__aenter__()
        except BaseException:
            self._session = None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self._opened
        self._session = None
        await session.__aexit__(kind, error, trace)

    @property
    def artifacts(self) -> Artifacts:
        """Files that jobs stored; ``plan`` lists those of many jobs for a download."""
        return Artifacts(self._opened)

    @property
    def export(self) -> "Exports":
        """Datasets row by row, or to files: ``async for row in client.export.jobs("gh/acme/web")``."""
        from aiocircle.export.exports import Exports  # noqa: PLC0415 -- who downloads needs no tables

        return Exports(self._opened)

    @property
    def limiter(self) -> RateLimiter:
        """The rate limiter; its ``snapshot()`` says what is being waited for."""
        return self._opened.limiter

    def with_options(
        self, *, timeouts: Timeouts | None = None, retry: RetryPolicy | None = None, max_wait: float | None = None
    ) -> Self:
        """Return a client with other settings, which shares the connections and the rate limiter with this one.

        It is open as long as this one is, and nothing is changed here. What is not given stays as it is.

        Args:
            timeouts: Time limits.
            retry: How often and how long a request is repeated.
            max_wait: Seconds: the longest standstill of the rate limit to sit out.
        """
        other = copy.copy(self)
        other._root = self._root or self  # noqa: SLF001 -- our own
        other._timeouts = timeouts or self._timeouts  # noqa: SLF001
        other._retry = retry or self._retry  # noqa: SLF001
        other._max_wait = self._max_wait if max_wait is None else max_wait  # noqa: SLF001
        return other

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        accept: str = JSON,
        group: str | None = None,
        idempotent: bool | None = None,
        within: float | None = None,
    ) -> Response[Any]:
        """Ask the host for something that has no method here, under the same rate limit, retries and errors.

        Args:
            method: HTTP method.
            path: Already quoted: from the root if it begins with ``/api/``, as in ``/api/v1.1/projects``, else below
                ``/api/v2``.
            query: Parameters; ``None`` is left out, an array repeats its key, times and UUIDs are spelled.
            body: A JSON value; models, times and UUIDs in it are spelled.
            accept: The media type to ask for.
            group: What shares a budget with this; without it the path, its query, slug, numbers and ids taken out.
            idempotent: Carrying it out twice does no harm; without it the method decides.
            within: Seconds for all of it, waits and repetitions included.

        Returns:
            The answer. Its ``value`` is JSON; text, if something else was asked for and came; ``None`` if it is empty.

        Raises:
            ConfigurationError: Something in it cannot be sent.
            APIError: The host refused.
            DecodeError: JSON was asked for, and something else came.
            DeadlineError: It was not over ``within`` the time given.
        """
        session = self._opened
        request = session.request(
            f"{method} {path}",
            method,
            path,
            group=_group_of(path) if group is None else group,
            query=query,
            body=body,
            idempotent=idempotent,
            accept=accept,
        )
        call: Call[Any] = Call(session.ask(request))
        return await (call if within is None else call.within(within)).response()

    def download(
        self,
        what: Slugs | Selection | Plan,
        to: str | Path,
        *,
        options: DownloadOptions | None = None,
        on_outcome: Callable[[ItemOutcome], None] | None = None,
        **which: Unpack[Which],
    ) -> Download:
        """Fetch the artifacts of a job, a workflow, a pipeline, the latest pipeline, or all pipelines.

        Await it for the report, or enter it to follow what becomes of each item; see ``Download``. Files that are
        complete from an earlier run are not fetched again. Cancelling leaves nothing unfinished under a final name.

        Args:
            what: The project or the projects, of which ``which`` says more; or all of it as a ``Selection``, or a
                ``Plan`` from ``artifacts.plan``.
            to: A directory; ``s3://``, ``gs://`` or ``az://`` and a bucket; an archive (``.tar``, ``.zip``); ``-``.
            options: Concurrency, globs, layout.
            on_outcome: Called with the outcome of every item.
            which: Of the projects: what ``Selection`` takes, such as ``job=1234`` or ``since=timedelta(days=30)``.

        Returns:
            The run, not yet begun. Items that failed are in its report and raise nothing; see
            ``Report.raise_for_failures``.

        Raises:
            ConfigurationError: The selection or an option cannot work.
            APIError: The selection does not exist, or the token may not see it.
            StoreError: The output cannot be written.
        """
        if isinstance(what, Plan):
            check_alone(which)
            what.check_host(self.host)
        else:
            what = selected(what, which)
        return Download(self._opened, what, to, options or DownloadOptions(), on_outcome)

    async def download_failed(
        self,
        *,
        to: str | Path,
        options: DownloadOptions | None = None,
        on_outcome: Callable[[ItemOutcome], None] | None = None,
    ) -> Report:
        """Fetch what failed in earlier runs, to the names that it was to have.

        Args:
            to: Where those runs fetched to.
            options: Concurrency.
            on_outcome: Called with the outcome of every item.

        Returns:
            What became of it.

        Raises:
            ConfigurationError: Those runs were about another host.
            StoreError: There is no ledger, or the output cannot be written.
        """
        missing = await anyio.to_thread.run_sync(missing_in, to, _state_in(options))
        return await self.prepare_failed(missing, to, options, on_outcome).run()

    def prepare_failed(
        self,
        missing: Missing,
        to: str | Path,
        options: DownloadOptions | None = None,
        on_outcome: Callable[[ItemOutcome], None] | None = None,
    ) -> Download:
        """Return a download of what failed that has not begun.

        Raises:
            ConfigurationError: It is of another host.
        """
        if missing.origin not in {None, self.host}:
            raise ConfigurationError(f"{to} holds files of {missing.origin}, and this is a client of {self.host}")
        return Again(self._opened, missing, to, options or DownloadOptions(), on_outcome)

    @property
    def _opened(self) -> Session:
        session = (self._root or self)._session  # noqa: SLF001 -- our own
        if session is None:
            raise ConfigurationError("the client is not open", hint="use it as 'async with Client() as client:'")
        if self._root is None:
            return session
        return session.adapted(policy=self._retry, timeouts=self._timeouts, max_wait=self._max_wait)


def _group_of(path: str) -> str:
    """Return what things of one kind have in common; a group for each of them would grow without end."""
    return _IDENTIFIER.sub("/{id}", _SLUG.sub(r"\1/{slug}", path.partition("?")[0]))


def _parse_store(text: str) -> "StoreAddress":
    from aiocircle.ratelimit.address import parse_store  # noqa: PLC0415 -- most clients share nothing

    return parse_store(text)


def _state_in(options: DownloadOptions | None) -> Path | None:
    return None if options is None or options.state is None else Path(options.state)
