"""The token's way into requests: whoever may not see it is not shown it, and no text holds it."""

from collections.abc import Mapping

from yarl import URL

from aiocircle.auth import AuthScheme, Token, TokenScope
from aiocircle.redaction import redact
from aiocircle.request import FILE_HEADERS, Request


class Credentials:
    """A token, how it is shown, and to whom.

    Args:
        token: The credential, or ``None`` for public projects.
        scheme: How it is shown.
        scope: Who may see it.
    """

    def __init__(self, token: Token | None, scheme: AuthScheme, scope: TokenScope) -> None:
        self._token = token
        self._scheme = scheme
        self._scope = scope
        self._for_files: dict[str, Mapping[str, str]] = {}  # what files are asked for with differs by their host only
        self._for_origins: dict[tuple[str, str | None, int | None], dict[str, str]] = {}

    def headers(self, request: Request, origin: str) -> Mapping[str, str]:
        """Return all headers of a request to ``origin``, which is that of its address."""
        if request.anonymous:
            return request.headers
        if request.headers is not FILE_HEADERS:
            return {**request.headers, **self._shown_at(request.url)}
        headers = self._for_files.get(origin)
        if headers is None:
            headers = self._for_files[origin] = {**request.headers, **self._shown_at(request.url)}
        return headers

    def are_shown(self, request: Request) -> bool:
        """Tell whether a request shows a token."""
        return not request.anonymous and bool(self._shown_at(request.url))

    def hide(self, text: str) -> str:
        """Return a text without the token, or what else looks like a secret."""
        return redact(text, *(() if self._token is None else (self._token,)))

    def _shown_at(self, url: URL) -> dict[str, str]:
        origin = url.scheme, url.raw_host, url.port
        if origin not in self._for_origins:
            allowed = self._scope.allows(url.scheme, url.raw_host or "", url.port)
            self._for_origins[origin] = self._scheme.headers(self._token) if allowed else {}
        return self._for_origins[origin]
