"""Every exception that aiocircle raises.

::

    AioCircleError                 code, hint
    ├─ ConfigurationError          no or malformed token, bad host, bad slug, bad layout
    ├─ TransportError              the network or the host's HTTP failed; nothing was understood
    │  ├─ ConnectError             no connection: DNS, refused, TLS
    │  ├─ DeadlineError            a time limit passed: connecting, or nothing arrived
    │  └─ InterruptedBodyError     the body ended early or was not what its headers promised
    ├─ APIError                    status, operation, message, request_id, body, retry_after
    │  ├─ BadRequestError  400, 422
    │  ├─ AuthenticationError  401
    │  ├─ ForbiddenError  403
    │  ├─ NotFoundError  404
    │  ├─ ConflictError  409
    │  ├─ GoneError  410
    │  ├─ RateLimitedError  429
    │  └─ ServerError  5xx
    ├─ WaitTooLongError            wait, max_wait, resets_at
    ├─ PaginationError             items: what came before is kept
    ├─ DecodeError                 problems: every path that did not fit
    ├─ UsageExportError            the host cannot export usage data, or what it gave is not that
    ├─ SignatureError              a webhook's signature is absent, malformed or wrong
    ├─ PartialExportError          some listings of an export failed
    └─ DownloadError
       ├─ UnsafePathError          an artifact's name, or what stands at its place, would lead outside the output
       ├─ UnsafeAddressError       an artifact's address, or a redirect of it, may not be followed
       ├─ IntegrityError           the bytes are not the ones the host announced
       ├─ StoreError               the disk refused
       └─ PartialDownloadError     report: some items failed

Each class has a stable ``code`` for programs and each error a ``hint`` for people: what to do next.
No error carries the token, request headers, or the query of a signed address.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class AioCircleError(Exception):
    """The base of every error raised here.

    Attributes:
        code: A stable word for programs, the same for every instance of a class.
        hint: What to do next, a sentence for a person; ``None`` where there is nothing to advise.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what the error is, not how it was made: the default calls ``__init__`` with the message alone."""
        return _revived, (type(self), self.args, self.__dict__)


def _revived(kind: type[AioCircleError], arguments: tuple[Any, ...], state: dict[str, Any]) -> AioCircleError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class ConfigurationError(AioCircleError):
    """What the caller gave cannot work: the token, the host, a slug, a layout."""

    code = "configuration"


def closed_in_use() -> ConfigurationError:
    """Return the error of what a client is asked for while it closes, or later."""
    return ConfigurationError(
        "the client was closed while it was in use", hint="end what uses it before 'async with Client()' ends"
    )


class TransportError(AioCircleError):
    """No usable HTTP answer arrived. Repeating an idempotent request may help."""

    code = "transport"


class ConnectError(TransportError):
    """No connection came about: the name did not resolve, it was refused, or TLS failed. Nothing was sent.

    Attributes:
        permanent: Repeating cannot help: the certificate does not verify.
    """

    code = "connect"

    def __init__(self, message: str, *, permanent: bool = False, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.permanent = permanent


class DeadlineError(TransportError):
    """A time limit passed while connecting or while waiting for bytes."""

    code = "deadline"


class InterruptedBodyError(TransportError):
    """The connection broke, or the body ended before its announced end."""

    code = "interrupted"


class APIError(AioCircleError):
    """The host answered, and the answer is a refusal.

    Attributes:
        status: HTTP status.
        operation: What was asked, for people: an operation's name or ``GET artifact``.
        message: The host's own words, or a substitute where it sent none.
        request_id: The host's id of this request, where it gave one.
        body: The decoded error body: a JSON value, or text cut to a few hundred characters.
        retry_after: Seconds the host asked to wait, where it did.
        redirected: The refusal came from an address that the one asked for redirected to.
        authenticated: The address asked for was shown the token, so that what is not there is not merely hidden.
    """

    code = "api"

    def __init__(
        self,
        status: int,
        operation: str,
        message: str,
        *,
        request_id: str | None = None,
        body: Any = None,
        retry_after: float | None = None,
        redirected: bool = False,
        authenticated: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(f"{operation}: {status} {message}", hint=hint)
        self.status = status
        self.operation = operation
        self.message = message
        self.request_id = request_id
        self.body = body
        self.retry_after = retry_after
        self.redirected = redirected
        self.authenticated = authenticated


class BadRequestError(APIError):
    """400 or 422: the host did not accept the request as written."""

    code = "bad_request"


class AuthenticationError(APIError):
    """401: no token, a wrong or expired one."""

    code = "authentication"


class ForbiddenError(APIError):
    """403: the token is known and not allowed this."""

    code = "forbidden"


class NotFoundError(APIError):
    """404: not there, or hidden from this token; CircleCI does not tell the two apart."""

    code = "not_found"


class ConflictError(APIError):
    """409: the state of the thing does not allow this now."""

    code = "conflict"


class GoneError(APIError):
    """410: it was there and is gone for good."""

    code = "gone"


class RateLimitedError(APIError):
    """429, after every permitted repetition."""

    code = "rate_limited"


class ServerError(APIError):
    """5xx, after every permitted repetition."""

    code = "server"


_BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: BadRequestError,
    429: RateLimitedError,
}


def api_error_class(status: int) -> type[APIError]:
    """Return the class of ``APIError`` that stands for an HTTP status."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ServerError if status >= 500 else APIError  # noqa: PLR2004 -- where HTTP's server errors begin


class WaitTooLongError(AioCircleError):
    """The rate limit asks for a longer pause than the caller allows.

    Attributes:
        wait: Seconds from now until the budget is known to return.
        max_wait: Seconds the caller allows.
        resets_at: When it returns, seconds since the epoch.
    """

    code = "wait_too_long"

    def __init__(
        self, message: str, *, wait: float, max_wait: float, resets_at: float, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.wait = wait
        self.max_wait = max_wait
        self.resets_at = resets_at


class PaginationError(AioCircleError):
    """A listing could not be followed to its end.

    Attributes:
        items: What arrived before, in order. Only ``collect()`` fills it; iteration has handed the items out already.
        page_token: The token that led nowhere, to resume from.
    """

    code = "pagination"

    def __init__(
        self, message: str, *, items: Sequence[Any] = (), page_token: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.items = list(items)
        self.page_token = page_token


class DecodeError(AioCircleError):
    """The host's JSON is not what was expected.

    Attributes:
        problems: One line per path that did not fit.
    """

    code = "decode"

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class UsageExportError(AioCircleError):
    """No usage data came: the host has no such exports, one failed, or its files are not what they should be."""

    code = "usage_export"


class SignatureError(AioCircleError):
    """A webhook's delivery was not signed, or not with the secret; it may come from anybody."""

    code = "signature"


class DownloadError(AioCircleError):
    """An artifact could not be brought to its place."""

    code = "download"


class UnsafePathError(DownloadError):
    """An artifact's name, or a link standing at its place, would lead outside the output."""

    code = "unsafe_path"


class UnsafeAddressError(DownloadError):
    """An address or a redirect that may not be followed: not http(s), https to http, or too many hops."""

    code = "unsafe_address"


class IntegrityError(DownloadError):
    """The bytes that arrived are not the ones the host announced."""

    code = "integrity"


class StoreError(DownloadError):
    """The disk or the bucket refused: full, read-only, no permission.

    Attributes:
        fatal: Every other item would fail in the same way, so the run stops.
    """

    code = "store"

    def __init__(self, message: str, *, fatal: bool = False, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.fatal = fatal


class PartialDownloadError(DownloadError):
    """Some items failed; the others lie where they should.

    Attributes:
        report: The run's ``aiocircle.Report``.
    """

    code = "partial"

    def __init__(self, message: str, *, report: Any, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.report = report


class PartialExportError(AioCircleError):
    """Some listings of an export failed; the rows of the others are complete.

    Args:
        failed: How many.
        first: What the first one failed with, in words.
        hint: What to do next.
    """

    code = "partial_export"

    def __init__(self, failed: int, first: str, *, hint: str | None = None) -> None:
        super().__init__(f"{failed} listing{'s' * (failed != 1)} failed, the first with: {first}", hint=hint)
