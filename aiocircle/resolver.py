"""Names to addresses, of which only those are given to the connector that files may come from.

aiohttp connects to the addresses that it got here and looks nothing up a second time. So what is judged is what is
connected to, and a name that leads elsewhere with the next look (DNS rebinding) gains nothing.
"""

import socket
from collections.abc import Collection

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from aiocircle.nearby import Reach


class NearbyAddressError(OSError):
    """A name leads to addresses that may not be connected to, and to no other; aiohttp passes on what is an OSError."""


class Resolver(AbstractResolver):
    """aiohttp's usual resolver, less the addresses that ``reach`` does not admit.

    Args:
        reach: Says which addresses may be connected to.
        trusted: Names and ports that may lead anywhere: the proxies that the user chose. Other ports of theirs may
            be what only this machine is to ask.
    """

    def __init__(self, reach: Reach, trusted: Collection[tuple[str, int]] = ()) -> None:
        self._reach = reach
        self._trusted = trusted
        self._resolver = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return what a name leads to.

        Raises:
            OSError: It leads nowhere.
            NearbyAddressError: It leads only where nothing may be asked for.
        """
        found = await self._resolver.resolve(host, port, family)
        if (host, port) in self._trusted:
            return found
        admitted = self._reach.admitted(host, [one["host"] for one in found])
        kept = [one for one in found if one["host"] in admitted]
        if found and not kept:
            raise NearbyAddressError(f"{host} leads to this machine or its neighbourhood, where the API is not")
        return kept

    async def close(self) -> None:
        """Let go of what the resolver holds."""
        await self._resolver.close()
