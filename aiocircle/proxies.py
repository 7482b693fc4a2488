"""Through which proxy an address is asked for: what ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` say.

aiohttp could find out by itself (``trust_env``). It would then read ``~/.netrc`` too, and send what that holds to any
host that is named there, in the place where the token belongs; so it is only told the result.

This machine is asked without a proxy, which could not reach it (as Go and browsers do).
"""

from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Self
from urllib.request import getproxies, getproxies_environment, proxy_bypass

from attrs import field, frozen
from yarl import URL

from aiocircle.errors import ConfigurationError
from aiocircle.hosts import normal_host, split_authority
from aiocircle.nearby import Nearby, nearby

PROXY_HINT = "the environment names it (https_proxy, http_proxy): are its address, user and password right?"
SCHEMES = ("http", "https")


@frozen
class Proxy:
    """A proxy.

    Attributes:
        address: Without user and password.
        credentials: The header that shows them, if there are any.
    """

    address: URL
    credentials: Mapping[str, str] = field(factory=dict, repr=False)


class Proxies:
    """The proxies that requests go through.

    Args:
        by_scheme: The proxy for addresses of ``http`` and of ``https``; what is missing is asked directly.
    """

    def __init__(self, by_scheme: Mapping[str, Proxy] | None = None) -> None:
        self._by_scheme = by_scheme or {}
        self._known: dict[str, Proxy | None] = {}

    @classmethod
    def of_environment(cls) -> Self:
        """Return what the environment asks for; on macOS and Windows without a word of it, the system's settings.

        Raises:
            ConfigurationError: The address of one is no address, or of something that cannot be spoken to.
        """
        found = getproxies()
        return cls({scheme: _parse(found[scheme], scheme) for scheme in SCHEMES if found.get(scheme)})

    @property
    def places(self) -> frozenset[tuple[str, int]]:
        """Names and ports of all proxies."""
        addresses = [proxy.address for proxy in self._by_scheme.values()]
        return frozenset((one.raw_host or "", one.port or 0) for one in addresses)

    def on_the_way_to(self, url: URL) -> Proxy | None:
        """Return the proxy to ask for an address, or ``None`` to ask its host itself."""
        proxy = self._by_scheme.get(url.scheme)
        if proxy is None:
            return None
        place = f"{url.scheme}://{url.raw_authority}"
        if place not in self._known:
            self._known[place] = None if _is_direct(url) else proxy
        return self._known[place]


def _is_direct(url: URL) -> bool:
    host = normal_host(url.raw_host or "") or ""
    if nearby(host) is Nearby.MACHINE or proxy_bypass(f"{host}:{url.port}"):
        return True
    exempt = getproxies_environment().get("no", "")
    return any(_means(entry, host, url.port) for entry in exempt.replace(",", " ").split())


def _means(entry: str, host: str, port: int | None) -> bool:
    """Tell whether an entry of ``NO_PROXY`` means a host in one of the ways that Go and curl know, and Python does not.

    These are networks (``10.0.0.0/8``), every spelling of IPv6, a dot behind a name, ``*.`` before one, and ``*``
    beside other entries.
    """
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return ip_address(host) in ip_network(entry, strict=False)
        except ValueError:
            return False
    entry = entry.removeprefix("*").removeprefix(".")
    name, at = split_authority(entry) or (normal_host(entry), None)
    return name is not None and at in {None, port} and (host == name or host.endswith(f".{name}"))


def _parse(text: str, scheme: str) -> Proxy:
    url = _url(text)
    if url is None:
        raise ConfigurationError("a proxy that the environment names has no usable address", hint=PROXY_HINT)
    if url.scheme not in SCHEMES:
        what = f"{scheme.upper()}_PROXY names a proxy of the kind {url.scheme}, which is not supported"
        raise ConfigurationError(what, hint="name one that begins with http://, or unset it for this command")
    if not url.user and not url.password:
        return Proxy(url.origin())
    shown = b64encode(f"{url.user or ''}:{url.password or ''}".encode()).decode()
    return Proxy(url.origin(), {"Proxy-Authorization": f"Basic {shown}"})


def _url(text: str) -> URL | None:
    try:
        url = URL(text if "://" in text else f"http://{text}")
        url.origin()
    except ValueError:
        return None  # and no error, which would quote the address, and so a password in it
    host = url.raw_host or ""
    if ":" not in host and normal_host(host) is None:
        return None  # or it would be said of every request that its own address is none
    # A slash, ? or # in a password ends the host, and what stands before it would be shown as an address.
    return None if "@" in str(url.relative()) else url
