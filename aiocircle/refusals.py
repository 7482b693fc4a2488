"""An answer that is no success, as an error that says what the host said, and what to do."""

from collections.abc import Callable

from aiocircle.errors import APIError, TransportError, api_error_class
from aiocircle.proxies import PROXY_HINT
from aiocircle.ratelimit.headers import read_retry_after
from aiocircle.request import Request
from aiocircle.transport import Answer
from aiocircle.wording import PAGE, words_of

MAX_BODY = 64 * 1024  # bytes of what the host says that are read
REDIRECTS = frozenset({301, 302, 303, 307, 308})
NOT_FOUND, FIRST_SERVER_ERROR = 404, 500

HINTS = {
    401: "the host does not know this token: is CIRCLE_TOKEN a valid personal API token, and for this host?",
    403: "the token is known, but may not do this",
    404: "it is not there, or this token may not see it; CircleCI does not tell the two apart",
    407: f"only a proxy on the way says so; {PROXY_HINT}",
    429: "other users of the same token may be spending its budget; try again later",
}
NO_API = "what answers there is no API: is the host the right one?"
TROUBLE = "the host has trouble of its own: try again later (of CircleCI https://status.circleci.com tells)"


async def refusal_of(
    request: Request, answer: Answer, *, authenticated: bool, wall: float, hide: Callable[[str], str]
) -> APIError:
    """Return the error.

    Args:
        request: What was asked for.
        answer: What came; its body has not been read.
        authenticated: Whether the token was shown.
        wall: Seconds since the epoch when it came.
        hide: Takes secrets out of a text.
    """
    try:
        text = (await answer.read(MAX_BODY))[:MAX_BODY].decode("utf-8", "replace")
    except TransportError:
        text = ""
    body, message = words_of(text, hide)
    hint = HINTS.get(answer.status) or (TROUBLE if answer.status >= FIRST_SERVER_ERROR else None)
    if answer.status == NOT_FOUND and message == PAGE and not request.bulk:
        hint = NO_API
    if answer.status in REDIRECTS:
        message = "the host redirects this, and it was not followed"
    return api_error_class(answer.status)(
        answer.status,
        request.operation,
        message or "(the host gave no reason)",
        request_id=hide(answer.headers.get("X-Request-Id", "")) or None,
        body=body,
        retry_after=read_retry_after(answer.header_fields(), wall=wall),
        redirected=answer.redirected,
        authenticated=authenticated,
        hint=hint,
    )
