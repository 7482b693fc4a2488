"""Which store a shared budget lies in, as people write it: ``sqlite:PATH`` or ``redis://HOST:PORT/N``."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen

from aiocircle.errors import ConfigurationError
from aiocircle.ratelimit.redis_store import RedisStore
from aiocircle.ratelimit.sqlite_store import SQLiteStore
from aiocircle.ratelimit.store import Store

SERVERS = frozenset({"redis", "rediss", "unix"})
HINT = "write sqlite:PATH for processes of this host, or redis://HOST:6379/0 for several hosts"


@frozen
class StoreAddress:
    """A file, or the address of a server."""

    path: Path | None = None
    url: str = field(default="", repr=False)

    def store(self, now: Callable[[], float]) -> Store:
        """Return the store, not yet open.

        Args:
            now: The monotonic clock.
        """
        return RedisStore(self.url, now) if self.path is None else SQLiteStore(self.path, now)


def parse_store(text: str) -> StoreAddress:
    """Read what a person wrote.

    Raises:
        ConfigurationError: It names no store. The message does not quote a password.
    """
    scheme, _, rest = text.strip().partition(":")
    scheme = scheme.lower()
    if scheme == "sqlite" and rest.strip("/"):
        try:
            return StoreAddress(path=Path(rest.removeprefix("//")).expanduser())
        except RuntimeError:
            raise ConfigurationError(f"the limiter {text!r} lies in a home directory that is not known") from None
    if scheme in SERVERS and rest.startswith("//"):
        try:
            parts = urlsplit(text.strip())
            usable = bool(parts.hostname if scheme != "unix" else parts.path) and parts.port != 0
        except ValueError:
            usable = False
        if usable:
            return StoreAddress(url=text.strip())
    shown = f"{scheme}:..." if "@" in text else text  # there may be a password in it
    raise ConfigurationError(f"the limiter {shown!r} names no store", hint=HINT)
