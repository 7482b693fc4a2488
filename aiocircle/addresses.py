"""Addresses as the API and its redirects name them: used byte for byte, or refused."""

import re
from functools import lru_cache
from urllib.parse import quote

from yarl import URL

from aiocircle.errors import UnsafeAddressError
from aiocircle.hosts import DEFAULT_PORTS, normal_host
from aiocircle.redaction import safe_url

PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
SENDABLE = re.compile(r"[!-~]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def parse_address(text: str, *, base: URL | None = None) -> URL:
    """Return an address exactly as listed, byte for byte; only what HTTP cannot carry is percent-encoded.

    Args:
        text: The address; a relative one needs ``base``.
        base: The address that redirected here; https may not continue as http.

    Raises:
        UnsafeAddressError: It is not an absolute http or https address, or carries credentials.
    """
    end = text.find("/", len("https://"))
    if base is None and end > 0 and _is_plain(text[:end]) and SENDABLE.fullmatch(text):
        return URL(text, encoded=True)
    if not text or CONTROL.search(text):
        raise UnsafeAddressError("the address is empty or has control characters in it")
    url = _url_of(text, base)
    if url is None:
        raise UnsafeAddressError(f"{safe_url(text)} is not a complete http or https address")
    if _has_credentials(url.scheme, url.raw_authority):
        raise UnsafeAddressError(f"{safe_url(text)} carries credentials in the address")
    if base is not None and base.scheme == "https" and url.scheme == "http":
        raise UnsafeAddressError(f"{safe_url(str(base))} redirects from https to http")
    return url


# What an origin decides is decided once: a run asks a few of them for many files.
@lru_cache(maxsize=256)
def _is_usable(scheme: str, authority: str) -> bool:
    url = URL(f"{scheme}://{authority}/", encoded=True)
    return bool(scheme in DEFAULT_PORTS and url.port and normal_host(url.host or ""))


@lru_cache(maxsize=256)
def _is_plain(beginning: str) -> bool:
    """Tell whether what stands before an address's path is a scheme and an authority that nothing speaks against."""
    try:
        url = URL(beginning, encoded=True)
        scheme, authority = url.scheme, url.raw_authority
        usable = f"{scheme}://{authority}" == beginning and _is_usable(scheme, authority)
    except (ValueError, UnicodeError):
        return False
    return usable and not _has_credentials(scheme, authority)


@lru_cache(maxsize=256)
def _has_credentials(scheme: str, authority: str) -> bool:
    url = URL(f"{scheme}://{authority}/", encoded=True)
    return url.user is not None or url.password is not None


@lru_cache(maxsize=256)
def _origin(scheme: str, authority: str) -> str:
    url = URL(f"{scheme}://{authority}/", encoded=True)
    return f"{url.scheme}://{url.host}:{url.port}"


def origin_named(url: URL) -> str:
    """Return ``scheme://host:port``, the port always named."""
    return _origin(url.scheme, url.raw_authority)


def _url_of(text: str, base: URL | None) -> URL | None:
    try:
        if not SENDABLE.fullmatch(text):  # a surrogate is a byte that was no UTF-8, as aiohttp gives it
            text = quote(text, safe=PRINTABLE, errors="surrogateescape")
        url = URL(text, encoded=True)
        if base is not None and not url.scheme:
            url = base.join(url)
        usable = _is_usable(url.scheme, url.raw_authority)
    except (ValueError, UnicodeError):
        return None
    return url if usable else None
