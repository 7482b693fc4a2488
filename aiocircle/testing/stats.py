"""What a simulator saw: counters that tests assert on, and a bounded log of requests."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import attrs

LOGGED_HEADERS = (
    "Accept",
    "Accept-Encoding",
    "Authorization",
    "Circle-Token",
    "Cookie",
    "Host",
    "If-Range",
    "Range",
    "User-Agent",
)

Fetched = tuple[int, int, str]
"""An artifact: job number, node index, path."""


class LoggedRequest(NamedTuple):
    """One request.

    ``path`` is raw, query included; ``headers`` are those of `LOGGED_HEADERS` that were sent; ``body`` is what an API
    request carried.
    """

    origin: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@attrs.define
class Stats:
    """Counters since the start, or since `reset`.

    Attributes:
        requests: Requests per route, such as ``project.job.artifacts``; ``output`` is the files' listed addresses,
            ``storage`` the signed ones, ``unknown`` everything else.
        limited: Requests rejected by the rate limits.
        faulted: Requests spoiled, per fault.
        leaks: Credentials sent where none belong: to the storage or to a foreign origin. Tests assert 0.
        foreign: Requests to the foreign origin.
        bytes_sent: Body bytes handed over, without headers.
        artifact_bytes: Bytes of artifacts handed over, those of answers that were cut short included.
        fetches: Requests for an artifact's bytes at the storage.
        completed: How often an artifact was sent to its last byte.
        in_flight: Requests being answered now.
        max_in_flight: The most there were at once.
    """

    requests: Counter[str] = attrs.field(factory=Counter)
    limited: int = 0
    faulted: Counter[str] = attrs.field(factory=Counter)
    leaks: int = 0
    foreign: int = 0
    bytes_sent: int = 0
    artifact_bytes: int = 0
    fetches: Counter[Fetched] = attrs.field(factory=Counter)
    completed: Counter[Fetched] = attrs.field(factory=Counter)
    in_flight: int = 0
    max_in_flight: int = 0

    @property
    def total(self) -> int:
        """Return the number of requests to all routes."""
        return self.requests.total()

    def enter(self) -> None:
        """Count a request that begins to be answered."""
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def leave(self) -> None:
        """Count a request that is answered or given up."""
        self.in_flight -= 1

    def reset(self) -> None:
        """Begin anew; requests that are being answered stay counted as such."""
        now = self.in_flight
        # In place, since the server holds this very object.
        self.__init__(in_flight=now, max_in_flight=now)  # type: ignore[misc]
