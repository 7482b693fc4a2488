"""One request from beginning to end: reserve -> send -> observe -> decide.

* *reserve*: a turn at the rate limiter, for every hop and every repetition.
* *send*: through the transport, with headers built anew for each hop. The token goes to the API's own origin and to
  allowed artifact hosts only; signed storage addresses get none. https never continues as http.
* *observe*: the answer's headers teach the bucket.
* *decide*: consume the answer, or repeat by the policy, or raise.

Repetition always starts at the address first asked for, since a signed one expires.
"""

import json
import logging
import platform
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

from attrs import define, evolve, field, frozen
from yarl import URL

from aiocircle._version import __version__
from aiocircle.auth import AuthScheme, Token, TokenScope, redact, safe_url
from aiocircle.clock import Clock
from aiocircle.codec import parse_json
from aiocircle.errors import APIError, ConnectError, DecodeError, TransportError, UnsafeAddressError, api_error_class
from aiocircle.events import DeprecationNoticed, EventHandler, RequestSent, Retried, ignore
from aiocircle.hosts import DEFAULT_PORTS, normal_host
from aiocircle.ratelimit.limiter import RateLimiter, Route
from aiocircle.retry import Failure, RetryPolicy, is_refusal
from aiocircle.transport import Answer, Timeouts, Transport

logger = logging.getLogger("aiocircle")

T = TypeVar("T")

API_PATH = "/api/v2"
MAX_HOPS = 10
MAX_JSON = 64 * 1024 * 1024  # bytes; a page of twenty items has a few thousand
MAX_ERROR_BODY = 64 * 1024
REDIRECTS = frozenset({301, 302, 303, 307, 308})
SAFE_METHODS = frozenset({"GET", "HEAD"})
IDEMPOTENT_METHODS = SAFE_METHODS | {"PUT", "DELETE"}
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
SENDABLE = re.compile(r"[!-~]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
USER_AGENT = f"aiocircle/{__version__} Python/{platform.python_version()}"

HINTS = {
    401: "the host does not know this token: is CIRCLE_TOKEN a valid personal API token, and for this host?",
    403: "the token is known, but may not do this",
    404: "it is not there, or this token may not see it; CircleCI does not tell the two apart",
    429: "other users of the same token may be spending its budget; try again later",
}


@frozen(kw_only=True)
class Request:
    """What to ask for, apart from credentials.

    Attributes:
        operation: Its name, for people.
        url: Where; sent byte for byte.
        method: HTTP method.
        group: The route group whose budget it draws on.
        headers: All but credentials.
        body: Bytes to send.
        idempotent: Carrying it out twice does no harm.
        bulk: The answer is a file from an artifact host, whose budget is not the API's.
    """

    operation: str
    url: URL
    method: str = "GET"
    group: str = ""
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes | None = None
    idempotent: bool = True
    bulk: bool = False


@define
class _Tries:
    """What one request has been through."""

    began: float
    failures: int = 0
    refusals: int = 0


class Session:
    """Sends requests to one host with one token, under one rate limiter.

    Args:
        transport: How requests are sent.
        limiter: Whose turn it is.
        origin: The API's origin, ``https://circleci.com``.
        token: The credential, or ``None`` for public projects.
        scheme: How the token is shown.
        scope: Who may see it.
        policy: How often and how long a request is repeated.
        timeouts: Time limits.
        max_wait: Seconds: the longest standstill of the rate limit to sit out.
        clock: Where time comes from.
        on_event: Receives what happens.
    """

    def __init__(
        self,
        transport: Transport,
        limiter: RateLimiter,
        *,
        origin: str,
        token: Token | None,
        scheme: AuthScheme,
        scope: TokenScope,
        policy: RetryPolicy,
        timeouts: Timeouts,
        max_wait: float,
        clock: Clock,
        on_event: EventHandler,
    ) -> None:
        self._transport = transport
        self.limiter = limiter
        self.origin = origin
        self._token = token
        self._scheme = scheme
        self._scope = scope
        self._policy = policy
        self._timeouts = timeouts
        self._max_wait = max_wait
        self.clock = clock
        self.emit = on_event
        self._noticed: set[str] = set()
        self._credentials_of: dict[tuple[str, str | None, int | None], dict[str, str]] = {}

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.limiter.close()
        await self._transport.__aexit__(*error)

    async def json(
        self,
        operation: str,
        path: str,
        *,
        method: str = "GET",
        group: str,
        query: Mapping[str, str | None] | None = None,
        body: Any = None,
    ) -> Any:
        """Ask the API and return the JSON value of its answer, ``None`` where the body is empty.

        Args:
            operation: Its name, for people.
            path: Below ``/api/v2``, already quoted.
            method: HTTP method; POST and PATCH are repeated only when they were surely not carried out.
            group: The path's template, which is the route group.
            query: Parameters; those that are ``None`` are left out.
            body: A JSON value.

        Raises:
            APIError: The host refused.
            TransportError: No answer came.
            WaitTooLongError: The rate limit asks for more patience than ``max_wait``.
            DecodeError: The answer is not JSON.
        """
        given = {key: value for key, value in (query or {}).items() if value is not None}
        question = f"?{urlencode(given, quote_via=quote, errors='surrogatepass')}" if given else ""
        headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = Request(
            operation=operation,
            url=URL(f"{self.origin}{API_PATH}{path}{question}", encoded=True),
            method=method,
            group=group,
            headers=headers,
            body=None if body is None else json.dumps(body).encode(),
            idempotent=method in IDEMPOTENT_METHODS,
        )

        async def consume(answer: Answer) -> Any:
            text = await answer.read(MAX_JSON)
            if len(text) > MAX_JSON:
                size = f"{MAX_JSON >> 20} MiB"
                raise DecodeError(f"{operation}: the answer is longer than {size}", hint="no answer of the API is")
            return parse_json(text, what=operation, hide=self._hide) if text.strip() else None

        return await self.call(request, consume)

    async def fetch(self, url: str, consume: Callable[[Answer], Awaitable[T]]) -> T:
        """Get a file by the address the API listed, through its redirects, and return what ``consume`` makes of it.

        Each attempt calls ``consume`` anew with a 2xx answer; a ``TransportError`` it raises leads to the next attempt.

        Raises:
            UnsafeAddressError: The address, or a redirect of it, may not be followed.
            APIError: The host refused.
            TransportError: No complete answer came, however often it was tried.
        """
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        return await self.call(
            Request(operation="GET artifact", url=parse_address(url), headers=headers, bulk=True), consume
        )

    async def call(self, request: Request, consume: Callable[[Answer], Awaitable[T]]) -> T:
        """Send a request until it succeeds or the policy gives up; the general form of ``json`` and ``fetch``."""
        tries = _Tries(began=self.clock.monotonic())
        while True:
            try:
                return await self._attempt(request, consume)
            except (APIError, TransportError) as error:
                after = self._next_delay(request, _failure_of(error, request), tries)
                if after is None:
                    raise
                reason = str(error)
            attempt = tries.failures + tries.refusals
            self.emit(Retried(operation=request.operation, attempt=attempt, after=after, reason=reason))
            if after:
                await self.clock.sleep(after)

    async def _attempt(self, request: Request, consume: Callable[[Answer], Awaitable[T]]) -> T:
        answer = await self._follow(request)
        try:
            if 200 <= answer.status < 300:  # noqa: PLR2004 -- HTTP's successes
                return await consume(answer)
            raise await self._refusal(request, answer)
        finally:
            answer.close()

    async def _follow(self, request: Request) -> Answer:
        """Send the request and follow where it leads. 3xx of anything but GET and HEAD is left as an answer."""
        here = request
        for _ in range(MAX_HOPS + 1):
            answer = await self._exchange(here)
            location = answer.headers.get("Location")
            if answer.status not in REDIRECTS or location is None or request.method not in SAFE_METHODS:
                answer.redirected = here is not request
                return answer
            await answer.drain()
            here = evolve(here, url=parse_address(location, base=here.url))
        raise UnsafeAddressError(f"{request.operation}: more than {MAX_HOPS} redirects")

    async def _exchange(self, request: Request) -> Answer:
        url = request.url
        origin = f"{url.scheme}://{url.host}:{url.port}"
        permit = await self.limiter.acquire(Route(origin, request.group, not request.bulk), max_wait=self._max_wait)
        began = self.clock.monotonic()
        try:
            answer = await self._transport.open(
                request.method,
                url,
                headers={**request.headers, **self._credentials(url)},
                body=request.body,
                timeouts=self._timeouts,
                bulk=request.bulk,
            )
        except BaseException:
            self.limiter.lost(permit)
            self._tell(request, None, began)
            raise
        self._tell(request, answer.status, began)
        answer.retry_after = self.limiter.answered(permit, answer.status, answer.header_fields()).retry_after
        self._notice_deprecation(request, answer)
        return answer

    def _tell(self, request: Request, status: int | None, began: float) -> None:
        if self.emit is not ignore:
            seconds = self.clock.monotonic() - began
            url = safe_url(str(request.url))
            self.emit(RequestSent(method=request.method, url=url, status=status, seconds=seconds))

    def _credentials(self, url: URL) -> dict[str, str]:
        origin = url.scheme, url.raw_host, url.port
        if origin not in self._credentials_of:
            allowed = self._scope.allows(url.scheme, url.raw_host or "", url.port)
            self._credentials_of[origin] = self._scheme.headers(self._token) if allowed else {}
        return self._credentials_of[origin]

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
            elapsed=0.0 if request.bulk else self.clock.monotonic() - tries.began,
            random=random.random(),  # noqa: S311 -- spreads retries, keeps no secret
        )

    async def _refusal(self, request: Request, answer: Answer) -> APIError:
        """Turn an answer that is no success into an error that says what the host said."""
        try:
            text = (await answer.read(MAX_ERROR_BODY))[:MAX_ERROR_BODY].decode("utf-8", "replace")
        except TransportError:
            text = ""
        body, message = _words_of(text, self._hide)
        if answer.status in REDIRECTS:
            message = "the host redirects this, and it was not followed"
        return api_error_class(answer.status)(
            answer.status,
            request.operation,
            message or "(the host gave no reason)",
            request_id=self._hide(answer.headers.get("X-Request-Id", "")) or None,
            body=body,
            retry_after=answer.retry_after,
            redirected=answer.redirected,
            hint=HINTS.get(answer.status),
        )

    def _hide(self, text: str) -> str:
        return redact(text, *(() if self._token is None else (self._token,)))

    def _notice_deprecation(self, request: Request, answer: Answer) -> None:
        deprecation, sunset = answer.headers.get("Deprecation"), answer.headers.get("Sunset")
        if (deprecation or sunset) and request.operation not in self._noticed:
            self._noticed.add(request.operation)
            deprecation, sunset = deprecation and self._hide(deprecation), sunset and self._hide(sunset)
            logger.warning(
                "%s is going to be removed (deprecation: %s, sunset: %s)", request.operation, deprecation, sunset
            )
            self.emit(DeprecationNoticed(operation=request.operation, deprecation=deprecation, sunset=sunset))


def parse_address(text: str, *, base: URL | None = None) -> URL:
    """Return an address exactly as listed, byte for byte; only what HTTP cannot carry is percent-encoded.

    Args:
        text: The address; a relative one needs ``base``.
        base: The address that redirected here; https may not continue as http.

    Raises:
        UnsafeAddressError: It is not an absolute http or https address, or carries credentials.
    """
    if not text or CONTROL.search(text):
        raise UnsafeAddressError("the address is empty or has control characters in it")
    url = _url_of(text, base)
    if url is None:
        raise UnsafeAddressError(f"{safe_url(text)} is not a complete http or https address")
    if url.user is not None or url.password is not None:
        raise UnsafeAddressError(f"{safe_url(text)} carries credentials in the address")
    if base is not None and base.scheme == "https" and url.scheme == "http":
        raise UnsafeAddressError(f"{safe_url(str(base))} redirects from https to http")
    return url


def _url_of(text: str, base: URL | None) -> URL | None:
    try:
        url = URL(text if SENDABLE.fullmatch(text) else quote(text, safe=PRINTABLE), encoded=True)
        if base is not None and not url.scheme:
            url = base.join(url)
        usable = url.scheme in DEFAULT_PORTS and url.port and normal_host(url.host or "")
    except (ValueError, UnicodeError):
        return None
    return url if usable else None


def _failure_of(error: APIError | TransportError, request: Request) -> Failure:
    if isinstance(error, APIError):
        # Storage refuses an expired signature with 403; the artifact's own address leads to a new one.
        stale = request.bulk and error.redirected and error.status == 403  # noqa: PLR2004
        return Failure(status=error.status, retry_after=error.retry_after, stale_signature=stale)
    if isinstance(error, ConnectError):
        return Failure(sent=False, permanent=error.permanent)
    return Failure()


def _words_of(text: str, hide: Callable[[str], str]) -> tuple[Any, str]:
    """Return an error body as a value and as a line; services do not agree on its shape (facts, section 11)."""
    try:
        body = words = _hidden(json.loads(text), hide)
        while isinstance(words, dict):
            words = next((words[key] for key in ("message", "error", "detail", "title") if words.get(key)), None)
        return body, " ".join(str(words or "").split())[:300]
    except (ValueError, RecursionError):
        text = hide(text)
        is_page = text.lstrip().startswith("<")
        return text[:500], "(an HTML or XML page)" if is_page else " ".join(text.split())[:200]


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    """Hide secrets in the strings of a JSON value, since its text may spell them with escapes."""
    if isinstance(value, dict):
        return {hide(key): _hidden(item, hide) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item, hide) for item in value]
    return hide(value) if isinstance(value, str) else value
