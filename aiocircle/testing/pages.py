"""Pages of a listing and the tokens that lead from one to the next."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from aiocircle.testing.exchange import Answer

_CHECK_BYTES = 9
_PLACE_BYTES = 8
_TOO_LONG = 19


class UnknownPageTokenError(LookupError):
    """The token was never given out for this listing."""


class Page(NamedTuple):
    """One page: its items, where the next one begins, or None at the end, and further fields."""

    items: list[Any]
    next_start: int | None
    more: Mapping[str, Any] = MappingProxyType({})


Lister = Callable[[int, int], Page]
"""(start, limit) -> the page that begins there. What ``start`` counts is the listing's own business."""

Query = dict[str, str]
Handlers = dict[str, Callable[..., Answer | Lister | None]]
"""Route -> (query, path arguments) -> what it leads to; None for nothing."""


class PageTokens:
    """Gives out page tokens and recognises its own.

    A token is bound to its listing, filters included, and is standard base64: with ``+``, ``/`` and ``=``, it arrives
    whole only when a client percent-encodes it.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, listing: str, start: int) -> str:
        """Return the token of the page of ``listing`` that begins at ``start``."""
        place = start.to_bytes(_PLACE_BYTES)
        check = self._check(listing, place)
        # Masked, since a row of zero bytes would be a row of harmless A.
        masked = bytes(a ^ b for a, b in zip(place, check, strict=False))
        return base64.b64encode(b"\xfb\xef" + check + masked).decode()

    def read(self, listing: str, token: str) -> int:
        """Return where the token's page begins.

        Raises:
            UnknownPageTokenError: it is not a token of this listing.
        """
        try:
            raw = base64.b64decode(token, validate=True)
        except ValueError:
            raw = b""
        check, masked = raw[2 : 2 + _CHECK_BYTES], raw[2 + _CHECK_BYTES :]
        place = bytes(a ^ b for a, b in zip(masked, check, strict=False))
        if len(place) != _PLACE_BYTES or not hmac.compare_digest(check, self._check(listing, place)):
            raise UnknownPageTokenError(token)
        return int.from_bytes(place)

    def _check(self, listing: str, place: bytes) -> bytes:
        return hashlib.blake2b(listing.encode() + place, key=self._secret, digest_size=_CHECK_BYTES).digest()


def list_sequence(items: Sequence[Any], render: Callable[[Any], Any]) -> Lister:
    """Return the lister of a sequence; only the items of the asked page are rendered."""

    def lister(start: int, limit: int) -> Page:
        stop = min(start + limit, len(items))
        return Page([render(items[i]) for i in range(start, stop)], stop if stop < len(items) else None)

    return lister


def list_found(scan: Callable[[int], Iterator[tuple[int, Any]]]) -> Lister:
    """Return the lister of a search: ``scan(start)`` yields (place, item), from a place on."""

    def lister(start: int, limit: int) -> Page:
        found = list(islice(scan(start), limit + 1))
        items = [item for _, item in found[:limit]]
        return Page(items, found[limit][0] if len(found) > limit else None)

    return lister


def number_of(text: str) -> int:
    """Return the number in a path or a query, or 0, which nothing has."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _TOO_LONG else 0
