"""Hosts and origins in the one form in which they are compared.

Whoever compares hosts as text must first agree with the resolver on what names the same host: case, a trailing dot,
non-ASCII names, the brackets of IPv6. Where the agreement is uncertain the host has no normal form, and is refused
rather than guessed at: IPv4 addresses in one of their other spellings (``2130706433``, ``0x7f.1``), names that the
versions of IDNA encode differently, and everything that is no host at all (``circleci.com@evil.example``).
"""

import ipaddress
import re
from functools import lru_cache

from aiocircle.errors import ConfigurationError

DEFAULT_PORTS = {"https": 443, "http": 80}

_MAX_HOST = 253
_MAX_PORT = 65535
_LABEL = r"[a-z0-9_](?:[-a-z0-9_]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")  # what resolvers may take for an IPv4 address
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")
_HINT = "give an address such as https://circleci.com, or the one of your CircleCI Server"


def parse_host(text: str, *, allow_http: bool = False) -> str:
    """Return the origin that an API host's address names: ``https://circleci.com``, ``http://localhost:8080``.

    Args:
        text: An address, with or without a scheme (``https`` then), a port and the path ``/api/v2``, which is dropped.
        allow_http: Whether the token may travel unencrypted. To a loopback address it always may.

    Raises:
        ConfigurationError: It names no origin, holds something that an origin has not, or is ``http``.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "https", scheme
    scheme = scheme.lower()
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    defect = _defect(scheme, authority, rest[len(authority) :])
    if defect:
        raise ConfigurationError(f"the host {defect}", hint=_HINT)
    parts = split_authority(authority)
    if parts is None:
        raise ConfigurationError(f"{authority!r} is not the name of a host", hint=_HINT)
    host, port = parts
    if scheme == "http" and not allow_http and not _is_loopback(host):
        raise ConfigurationError(
            f"the token would travel to {host} unencrypted, since its address begins with http",
            hint="use https; in Python, allow_http=True is for a network that is yours",
        )
    return origin_of(scheme, host, port)


def _defect(scheme: str, authority: str, path: str) -> str | None:
    # None of these is quoted: an address with a password in it is a common mistake.
    if scheme not in DEFAULT_PORTS:
        return "has a scheme other than https and http"
    if not authority:
        return "is empty"
    if "@" in authority or "@" in path:
        return "has a user name or password in it"
    if "?" in path or "#" in path:
        return "has a query or a fragment behind it"
    return None if path.strip("/") in {"", "api/v2"} else "has a path other than /api/v2 behind it"


def origin_of(scheme: str, host: str, port: int | None) -> str:
    """Return the origin of a scheme and a host in normal form; without the port where it is the scheme's own."""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port in {None, DEFAULT_PORTS[scheme]} else f"{scheme}://{shown}:{port}"


def split_authority(text: str) -> tuple[str, int | None] | None:
    """Split ``host:port`` and return the host in normal form; ``None`` where either is malformed."""
    match = _AUTHORITY.fullmatch(text)
    host = normal_host(match["host"]) if match else None
    if match is None or host is None:
        return None
    port = int(match["port"]) if match["port"] else None
    return (host, port) if port is None or 0 < port <= _MAX_PORT else None


@lru_cache(maxsize=1024)  # a run asks for a few hosts, once for each file
def normal_host(text: str) -> str | None:
    """Return the form in which a name or an IP address is compared, IPv6 without brackets; ``None`` if it has none."""
    if ":" in text:
        return _normal_ipv6(text[1:-1] if text[0] == "[" and text[-1] == "]" else text)
    name = text.lower().removesuffix(".")
    if not name.isascii():
        name = _idna(name) or ""
    if len(name) > _MAX_HOST or not _NAME.fullmatch(name):
        return None
    return name if not _NUMERIC_END.fullmatch(name) or is_address(name) else None


def is_address(host: str) -> bool:
    """Return whether a host is an IP address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _normal_ipv6(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    return None if address.scope_id else address.compressed


def _idna(name: str) -> str | None:
    # IDNA 2003, which this is, and 2008, which aiohttp speaks, lead some names to different hosts. Those do not survive
    # the way there and back.
    if len(name) > _MAX_HOST:
        return None
    try:
        encoded = name.encode("idna")
        return encoded.decode("ascii") if encoded.decode("idna") == name else None
    except UnicodeError:
        return None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback
