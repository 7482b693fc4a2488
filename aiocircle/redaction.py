"""Texts for logs and errors, without what nobody is to read: tokens, and what signed addresses carry. Pure."""

import re
from collections.abc import Iterator
from urllib.parse import quote

from aiocircle.auth import HIDDEN, Token, basic

# Not page-token, which is a cursor and worth reading.
_PARAMETERS = (
    r"x-(?:amz|goog)-(?:signature|credential|security-token)|googleaccessid|awsaccesskeyid|key-pair-id|policy"
    r"|signature|sig|(?:(?:access|api|auth|circle|circleci|id|private|refresh|security|session)[-_])?(?:token|key)"
    r"|(?:client[-_])?secret|password|code|auth"
)
_SECRETS = re.compile(
    rf"""(?P<before> [?&;](?:{_PARAMETERS})=
                   | \bcircle-token["']?\s*[:=]\s*["']?
                   | \bauthorization["']?\s*[:=]\s*["']?(?:(?:bearer|basic)\s+)?
         ) [^&;\#\s"'<>]+
       | (?<=://) [^/?\#\s"'<>]+ (?=@)
       | \bccipat_\w+  # as CircleCI's personal tokens begin
    """,
    re.VERBOSE | re.IGNORECASE,
)
_AUTHORITY = re.compile(r"(?:[^/]*@)?(?P<host>[-.\w]+(?::[0-9]*)?|\[[0-9a-f:.]+\](?::[0-9]*)?)", re.IGNORECASE)


def redact(text: str, *tokens: Token | str) -> str:
    """Return ``text`` without secrets: these tokens in every form they are sent in, and what signed addresses carry."""
    text = without_tokens(text, *tokens)
    return _SECRETS.sub(lambda match: f"{match['before'] or ''}{HIDDEN}", text)


def without_tokens(text: str, *tokens: Token | str) -> str:
    """Return ``text`` without these tokens, in every form they are sent in."""
    values = [token.reveal() if isinstance(token, Token) else token for token in tokens]
    for form in sorted({form for value in values for form in _forms(value)}, key=len, reverse=True):
        text = text.replace(form, HIDDEN)  # the longest first, since one token may begin with another
    return text


def _forms(value: str) -> Iterator[str]:
    if value:
        yield value
    if value and value.isascii():
        yield quote(value, safe="")
        yield basic(value)


_PLAIN_URL = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?/[!-\"$->@-~]*")


def safe_url(url: str) -> str:
    """Return an address fit for logs: scheme, host, port and path; no query, no fragment, no user, nothing unprintable.

    Never raises: what is no address gives a placeholder.
    """
    if _PLAIN_URL.fullmatch(url):
        return url
    address = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "", address
    authority, slash, path = rest.partition("/")
    match = _AUTHORITY.fullmatch(authority)
    if match is None and (separator or (authority and not path)):
        return "<malformed address>"
    host = match["host"] if match else ""
    return printable(f"{scheme}{separator}{host}{slash}{path}")


def printable(text: str) -> str:
    """Return a line without what a terminal would obey, and without what no encoding has (lone surrogates)."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
