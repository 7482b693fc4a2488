"""One request from beginning to end: reserve -> send -> observe -> decide.

* *reserve*: a turn at the rate limiter, for every hop and every repetition.
* *send*: through the transport, with headers built anew for each hop. The token goes to the API's own origin and to
  allowed artifact hosts only; signed storage addresses get none. https never continues as http.
* *observe*: the answer's headers teach the bucket.
* *decide*: consume the answer, or repeat by the policy, or raise.

Repetition always starts at the address first asked for, since a signed one expires.
"""

import copy
import json
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, TypeVar

from attrs import define, evolve
from multidict import CIMultiDict
from yarl import URL

from aiocircle.addresses import origin_named, parse_address
from aiocircle.clock import Clock
from aiocircle.codec import parse_json
from aiocircle.credentials import Credentials
from aiocircle.errors import (
    APIError,
    ConfigurationError,
    ConnectError,
    DecodeError,
    TransportError,
    UnsafeAddressError,
)
from aiocircle.events import DeprecationNoticed, Event, EventHandler, RequestSent, Retried, kinds_of
from aiocircle.failures import NEARBY_HINT
from aiocircle.nearby import Reach
from aiocircle.operation import IDEMPOTENT_METHODS
from aiocircle.ratelimit.facts import RateFacts
from aiocircle.ratelimit.limiter import Permit, RateLimiter, Route
from aiocircle.redaction import safe_url
from aiocircle.refusals import REDIRECTS, refusal_of
from aiocircle.request import FILE_HEADERS, USER_AGENT, Request
from aiocircle.response import Response
from aiocircle.retry import Failure, RetryPolicy, is_refusal
from aiocircle.timeouts import Timeouts
from aiocircle.transport import Answer, Transport
from aiocircle.wire import json_value, query_text

logger = logging.getLogger("aiocircle")

T = TypeVar("T")

API_PATH = "/api/v2"
JSON = "application/json"
MAX_HOPS = 10
MAX_JSON = 64 * 1024 * 1024  # bytes; a page of twenty items has a few thousand
REFUSALS = frozenset({429, 503})
UNSATISFIABLE = 416
SAFE_METHODS = frozenset({"GET", "HEAD"})


@define
class _Tries:
    """What one request has been through."""

    began: float | None = None  # when the first try left; how long it stood in line before is no part of them
    failures: int = 0
    refusals: int = 0
    place: Permit | None = None  # the place in line that the request comes back to


class Session:
    """Sends requests to one host with one token, under one rate limiter.

    Args:
        transport: How requests are sent.
        limiter: Whose turn it is.
        origin: The API's origin, ``https://circleci.com``.
        credentials: The token, and who may see it.
        policy: How often and how long a request is repeated.
        timeouts: Time limits.
        max_wait: Seconds: the longest standstill of the rate limit to sit out.
        clock: Where time comes from.
        on_event: Receives what happens.
        reach: Which addresses near this machine files may come from.
    """

    def __init__(
        self,
        transport: Transport,
        limiter: RateLimiter,
        *,
        origin: str,
        credentials: Credentials,
        policy: RetryPolicy,
        timeouts: Timeouts,
        max_wait: float,
        clock: Clock,
        on_event: EventHandler,
        reach: Reach,
    ) -> None:
        self._transport = transport
        self._reach = reach
        self.limiter = limiter
        self.origin = origin
        self._home = origin_named(URL(origin))
        self._credentials = credentials
        self._policy = policy
        self._timeouts = timeouts
        self._max_wait = max_wait
        self.clock = clock
        self.emit = on_event
        self._kinds = kinds_of(on_event)
        self._noticed: set[str] = set()

    def adapted(self, *, policy: RetryPolicy, timeouts: Timeouts, max_wait: float) -> "Session":
        """Return a session with other settings, which shares everything else with this one."""
        other = copy.copy(self)
        other._policy, other._timeouts, other._max_wait = policy, timeouts, max_wait  # noqa: SLF001 -- our own
        return other

    def unrepeated(self) -> "Session":
        """Return a session that gives up at once, for what is not needed; it shares everything else with this one."""
        return self.adapted(
            policy=RetryPolicy(attempts=1, refusals=0), timeouts=self._timeouts, max_wait=self._max_wait
        )

    def watched(self, kind: type[Event]) -> bool:
        """Tell whether anybody looks at events of this kind; what happens with every file asks first."""
        return self._kinds is None or kind in self._kinds

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        try:
            await self.limiter.open()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            await self.limiter.aclose()
        finally:
            await self._transport.__aexit__(*error)

    def request(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        group: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        idempotent: bool | None = None,
        accept: str = JSON,
    ) -> Request:
        """Return a request to the API, not yet sent.

        Args:
            operation: Its name, for people.
            method: HTTP method.
            path: Already quoted: from the root if it begins with ``/api/``, else below ``/api/v2``.
            group: The route group: the path's template.
            query: Parameters; those that are ``None`` are left out, an array repeats its key.
            body: A JSON value.
            idempotent: Carrying it out twice does no harm. Without it the method decides: POST and PATCH are repeated
                only when they were surely not carried out.
            accept: The media type to ask for.

        Raises:
            ConfigurationError: Something in it cannot be sent.
        """
        method = method.upper()
        if not (method.isascii() and method.isalpha()):
            raise ConfigurationError(f"{method!r} is no HTTP method")
        if not path.startswith("/"):
            raise ConfigurationError(f"the path {path!r} does not begin with a slash")
        if "#" in path:
            raise ConfigurationError(f"the path {path!r} has a fragment, which is not sent", hint="quote it: %23")
        if not (accept.isascii() and accept.isprintable()):
            raise ConfigurationError(f"{accept!r} is no media type")
        root = "" if path.startswith("/api/") else API_PATH
        more = query_text(query or {})
        headers = {"Accept": accept, "User-Agent": USER_AGENT}
        if body is not None:
            headers["Content-Type"] = JSON
        return Request(
            operation=operation,
            url=self._url(f"{root}{path}{more.replace('?', '&', 1) if '?' in path else more}"),
            method=method,
            group=group,
            headers=headers,
            body=None if body is None else json.dumps(json_value(body)).encode(),
            idempotent=method in IDEMPOTENT_METHODS if idempotent is None else idempotent,
        )

    def _url(self, target: str) -> URL:
        try:
            return parse_address(f"{self.origin}{target}")
        except UnsafeAddressError:
            raise ConfigurationError(f"the path {target!r} holds what no address can", hint="quote it") from None

    async def ask(self, request: Request) -> Response[Any]:
        """Send a request to the API and return its answer, whose value is JSON, or ``None`` where the body is empty.

        The value is text where something else than JSON was asked for and came.

        Raises:
            APIError: The host refused.
            TransportError: No answer came.
            WaitTooLongError: The rate limit asks for more patience than ``max_wait``.
            DecodeError: The answer is not JSON.
        """

        async def consume(answer: Answer) -> Response[Any]:
            body = await answer.read(MAX_JSON)
            if len(body) > MAX_JSON:
                problem = f"{request.operation}: the answer is longer than {MAX_JSON >> 20} MiB"
                raise DecodeError(problem, hint="no answer of the API is")
            value: Any = None
            is_text = request.headers["Accept"] != JSON and "json" not in answer.headers.get("Content-Type", "")
            if is_text:
                value = body.decode("utf-8", "replace")
            elif body.strip():
                value = parse_json(body, what=request.operation, hide=self._credentials.hide)
            return Response(
                status=answer.status,
                headers=CIMultiDict(answer.headers),  # which, unlike theirs, can be copied and pickled
                value=value,
                json=None if is_text else value,
                rate=answer.rate or RateFacts(),
            )

        return await self.call(request, consume)

    async def fetch(
        self,
        url: str,
        consume: Callable[[Answer], Awaitable[T]],
        conditions: Callable[[], Awaitable[Mapping[str, str]]] | None = None,
        refused: Callable[[], None] | None = None,
        *,
        operation: str = "GET artifact",
        anonymous: bool = False,
    ) -> T:
        """Get a file by the address the API listed, through its redirects, and return what ``consume`` makes of it.

        Each attempt calls ``consume`` anew with a 2xx answer; a ``TransportError`` it raises leads to the next attempt.
        ``conditions`` may give further headers to each attempt, those of a range; then 416 is an answer, too.
        ``refused`` is called when the host pushes back: it refuses for lack of budget, or the connection fails.
        ``anonymous`` is for an address that is signed already: no credential goes there, whose host it may ever be.

        Raises:
            UnsafeAddressError: The address, or a redirect of it, may not be followed.
            APIError: The host refused.
            TransportError: No complete answer came, however often it was tried.
        """
        request = Request(
            operation=operation,
            url=self._address(url),
            headers=FILE_HEADERS,
            bulk=True,
            anonymous=anonymous,
            conditions=conditions,
        )
        return await self.call(request, consume, refused)

    async def call(
        self,
        request: Request,
        consume: Callable[[Answer], Awaitable[T]],
        refused: Callable[[], None] | None = None,
    ) -> T:
        """Send a request until it succeeds or the policy gives up; the general form of ``ask`` and ``fetch``."""
        tries = _Tries()
        while True:
            try:
                return await self._attempt(request, consume, tries)
            except (APIError, TransportError) as error:
                after = self._next_delay(request, _failure_of(error, request), tries)
                if after is None:
                    raise
                reason = str(error)
                if refused is not None and (isinstance(error, TransportError) or error.status in REFUSALS):
                    refused()
            attempt = tries.failures + tries.refusals
            self.emit(Retried(operation=request.operation, attempt=attempt, after=after, reason=reason))
            if after:
                await self.clock.sleep(after)

    async def _attempt(self, request: Request, consume: Callable[[Answer], Awaitable[T]], tries: _Tries) -> T:
        more = {} if request.conditions is None else await request.conditions()
        if more:
            request = evolve(request, headers={**request.headers, **more})
        answer = await self._follow(request, tries)
        try:
            answer.tries = tries.failures + tries.refusals
            if 200 <= answer.status < 300 or (more and answer.status == UNSATISFIABLE):  # noqa: PLR2004 -- HTTP's successes
                return await consume(answer)
            shown, hide = self._credentials.are_shown(request), self._credentials.hide
            raise await refusal_of(request, answer, authenticated=shown, wall=self.clock.wall(), hide=hide)
        finally:
            answer.close()

    async def _follow(self, request: Request, tries: _Tries) -> Answer:
        """Send the request and follow where it leads. 3xx of anything but GET and HEAD is left as an answer."""
        here = request
        for _ in range(MAX_HOPS + 1):
            answer = await self._exchange(here, tries)
            location = answer.headers.get("Location")
            if answer.status not in REDIRECTS or location is None or request.method not in SAFE_METHODS:
                answer.redirected = here is not request
                answer.home = answer.redirected and origin_named(here.url) == self._home
                return answer
            await answer.drain()
            here = evolve(here, url=self._address(location, here.url))
        raise UnsafeAddressError(f"{request.operation}: more than {MAX_HOPS} redirects")

    def _address(self, text: str, base: URL | None = None) -> URL:
        """Return an address that the host named; one that leads where only this machine could ask is refused."""
        url = parse_address(text, base=base)
        refusal = self._reach.refusal(url.raw_host or "")
        if refusal is not None:
            raise UnsafeAddressError(f"{safe_url(str(url))} {refusal}", hint=NEARBY_HINT)
        return url

    async def _exchange(self, request: Request, tries: _Tries) -> Answer:
        url = request.url
        origin = origin_named(url)
        permit = self.limiter.free(origin) if request.bulk and tries.place is None else None
        if permit is None:
            route = Route(origin, request.group, not request.bulk)
            permit = await self.limiter.acquire(route, max_wait=self._max_wait, again=tries.place)
        tries.place = None
        began = self.clock.monotonic()
        if tries.began is None:
            tries.began = began
        try:
            answer = await self._transport.open(
                request.method,
                url,
                headers=self._credentials.headers(request, origin),
                body=request.body,
                timeouts=self._timeouts,
                bulk=request.bulk,
            )
        except BaseException:
            self.limiter.lost(permit)
            tries.place = permit
            self._tell(request, None, began)
            raise
        if self.watched(RequestSent):
            self._tell(request, answer.status, began)
        answer.rate = self.limiter.answered(permit, answer.status, answer.header_fields())
        if answer.status in REFUSALS:
            tries.place = permit
        if not request.bulk:
            self._notice_deprecation(request, answer)
        return answer

    def _tell(self, request: Request, status: int | None, began: float) -> None:
        if self.watched(RequestSent):
            seconds = self.clock.monotonic() - began
            url = safe_url(str(request.url))
            self.emit(RequestSent(method=request.method, url=url, status=status, seconds=seconds))

    def _next_delay(self, request: Request, failure: Failure, tries: _Tries) -> float | None:
        if is_refusal(failure):
            tries.refusals += 1
        else:
            tries.failures += 1
        return self._policy.next_delay(
            failure,
            idempotent=request.idempotent,
            failures=tries.failures,
            refusals=tries.refusals,
            # The bytes of a large file may take hours; what they cost is not held against the next try.
            elapsed=0.0 if request.bulk or tries.began is None else self.clock.monotonic() - tries.began,
            random=random.random(),  # noqa: S311 -- spreads retries, keeps no secret
        )

    def _notice_deprecation(self, request: Request, answer: Answer) -> None:
        deprecation, sunset = answer.headers.get("Deprecation"), answer.headers.get("Sunset")
        if (deprecation or sunset) and request.operation not in self._noticed:
            self._noticed.add(request.operation)
            hide = self._credentials.hide
            deprecation, sunset = deprecation and hide(deprecation), sunset and hide(sunset)
            logger.warning(
                "%s is going to be removed (deprecation: %s, sunset: %s)", request.operation, deprecation, sunset
            )
            self.emit(DeprecationNoticed(operation=request.operation, deprecation=deprecation, sunset=sunset))


def _failure_of(error: APIError | TransportError, request: Request) -> Failure:
    if isinstance(error, APIError):
        # Storage refuses an expired signature with 403; the artifact's own address leads to a new one.
        stale = request.bulk and error.redirected and error.status == 403  # noqa: PLR2004
        return Failure(status=error.status, retry_after=error.retry_after, stale_signature=stale)
    if isinstance(error, ConnectError):
        return Failure(sent=False, permanent=error.permanent)
    return Failure()
