"""Addresses that lead no farther than this machine and the wire it hangs on. Pure.

Whoever can name the address of an artifact, or a redirect of it, could make the downloader ask what only this machine
may ask: a service that listens on 127.0.0.1 and trusts whoever comes from there, a cloud's metadata service, which
gives away credentials. The answer would lie in the output as a file. Therefore:

* Such addresses are refused for files and for redirects, in each of their spellings, those of IPv4 inside of IPv6
  included. Numbers that are no canonical address (``2130706433``, ``0x7f.1``) have no normal form and are refused
  before (`aiocircle.hosts`).
* A name is judged by what it resolves to, in the moment of connecting and by the very addresses that are connected to:
  whoever looks a name up twice can be given two answers (`aiocircle.resolver`).
* Where the API itself is, files may be, too: an API on this machine opens this machine, and nothing else.
* Private networks (RFC 1918, ``fc00::/7``) are open. A CircleCI Server and its storage are there as a rule, and so are
  the private endpoints of S3.
"""

import ipaddress
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

from aiocircle.hosts import normal_host


class Nearby(Enum):
    """A place that is not out in the network; the value says where."""

    MACHINE = "this machine"
    LINK = "a neighbour on the same wire"
    METADATA = "a cloud's metadata service"
    NOWHERE = "no single host"


_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# AWS, Azure, Google and most others; Alibaba; Azure's wire server; AWS and Google by IPv6.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"),
    )
)
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_WITH_IPV4_AT_THE_END = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/96")))


@lru_cache(maxsize=1024)
def nearby(host: str) -> Nearby | None:
    """Return where a name or an IP address leads without being resolved; ``None`` for out into the network."""
    try:
        address: _IPAddress = ipaddress.ip_address(host.removesuffix("."))
    except ValueError:
        name = normal_host(host) or ""
        return Nearby.MACHINE if name == "localhost" or name.endswith(".localhost") else None
    return _place_of(_inner(address))


def _inner(address: _IPAddress) -> _IPAddress:
    """Return the IPv4 address inside of one of IPv6, where packets go in the end, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if (within := address.ipv4_mapped or address.sixtofour) is not None:
        return within
    has_ipv4 = any(address in network for network in _WITH_IPV4_AT_THE_END) and int(address) > 1
    return ipaddress.IPv4Address(address.packed[-4:]) if has_ipv4 else ipaddress.IPv6Address(address.packed)


def _place_of(address: _IPAddress) -> Nearby | None:
    if address in _METADATA:
        return Nearby.METADATA
    if address.is_loopback or address.is_unspecified or (address.version == 4 and address in _THIS_NETWORK):  # noqa: PLR2004
        return Nearby.MACHINE
    if address.is_link_local:
        return Nearby.LINK
    broadcast = address.version == 4 and address.is_reserved  # noqa: PLR2004 -- of IPv6 far too much is reserved
    return Nearby.NOWHERE if address.is_multicast or broadcast else None


class Reach:
    """Which of these places may be asked for files: those where the API is.

    Args:
        api_host: The API's host.
    """

    def __init__(self, api_host: str) -> None:
        self._api_host = normal_host(api_host)
        self._open: set[Nearby] = set()
        self._learn((api_host,))

    def refusal(self, host: str) -> str | None:
        """Return why a host may not be asked, or ``None``; a name that has to be resolved is judged by ``admitted``."""
        place = nearby(host)
        if place is None or place in self._open or normal_host(host) == self._api_host:
            return None
        return f"leads to {place.value}, where the API is not"

    def admitted(self, name: str, addresses: Iterable[str]) -> frozenset[str]:
        """Return those of a name's addresses that may be connected to; the API's own name tells where the API is."""
        addresses = tuple(addresses)
        if normal_host(name) == self._api_host:
            self._learn(addresses)
        return frozenset(one for one in addresses if (place := nearby(one)) is None or place in self._open)

    def _learn(self, addresses: Iterable[str]) -> None:
        self._open.update(place for one in addresses if (place := nearby(one)) is not None)
