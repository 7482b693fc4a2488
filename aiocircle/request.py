"""What to ask for, as a value, apart from credentials."""

import platform
from collections.abc import Awaitable, Callable, Mapping

from attrs import field, frozen
from yarl import URL

from aiocircle._version import __version__

USER_AGENT = f"aiocircle/{__version__} Python/{platform.python_version()}"
FILE_HEADERS: Mapping[str, str] = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}


@frozen(kw_only=True)
class Request:
    """What to ask for, apart from credentials.

    Attributes:
        operation: Its name, for people.
        url: Where; sent byte for byte.
        method: HTTP method.
        group: The route group whose budget it draws on.
        headers: All but credentials.
        body: Bytes to send.
        idempotent: Carrying it out twice does no harm.
        bulk: The answer is a file from an artifact host, whose budget is not the API's.
        anonymous: No credential is shown to whoever is asked.
        conditions: Further headers, asked for before each attempt; with any, 416 is an answer like a success.
    """

    operation: str
    url: URL
    method: str = "GET"
    group: str = ""
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes | None = None
    idempotent: bool = True
    bulk: bool = False
    anonymous: bool = False
    conditions: "Callable[[], Awaitable[Mapping[str, str]]] | None" = None
