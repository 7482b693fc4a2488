"""A Redis or Valkey server as the store of the processes of several hosts.

Each step is one script, which the server runs as a whole. The server's clock is the time that they share: every answer
carries it, and bounds how far it is from ours by when we asked and when we heard. Nobody's wall clock counts.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from aiocircle.errors import ConfigurationError
from aiocircle.ratelimit.store import Kept, StoreLostError

PATIENCE = 2.0  # seconds, to connect and for each step
KEEP = 3600  # seconds
DRIFT = 1e-4  # seconds a second by which two clocks may part

# What the answers of something that is no Redis come to, here and in the package, which asks for its version first.
_NONSENSE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)

# One text with its mark before it. ARGV: the mark expected ("" for none); if given, what to write instead.
SCRIPT = """
local kept = redis.call('HMGET', KEYS[1], 'mark', 'text')
if ARGV[2] and (kept[1] or '') == ARGV[1] then
    redis.call('HSET', KEYS[1], 'mark', ARGV[2], 'text', ARGV[3])
    redis.call('EXPIRE', KEYS[1], ARGV[4])
    kept = {ARGV[2], false}
end
local time = redis.call('TIME')
return {kept[1], kept[2], time[1], time[2]}
"""


class ServerTime:
    """The server's clock, as far as its answers tell. Pure."""

    def __init__(self) -> None:
        self._least, self._most, self._at = float("-inf"), float("inf"), 0.0

    def saw(self, server: float, sent: float, received: float) -> None:
        """Take in a time that was the server's between our sending and receiving."""
        slack = DRIFT * (received - self._at)
        least, most = max(self._least - slack, server - received), min(self._most + slack, server - sent)
        if least > most:  # one of the clocks was set
            least, most = server - received, server - sent
        self._least, self._most, self._at = least, most, received

    def at(self, now: float) -> float:
        """Return the server's time at ours."""
        return now if self._most == float("inf") else now + (self._least + self._most) / 2


class RedisStore:
    """Keeps texts in a Redis or Valkey server.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``; user, password and database as usual in it.
        clock: Our monotonic clock.
        common: The clock that all who share the server have in common; without it, the server's.
    """

    def __init__(self, url: str, clock: Callable[[], float], common: Callable[[], float] | None = None) -> None:
        self._url = url
        self._clock = clock
        self._common = common
        self._time = ServerTime()
        self._client: Any = None
        self._script: Any = None
        self._redis: Any = None

    @property
    def name(self) -> str:
        """Scheme, host, port and database; neither user nor password."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def now(self) -> float:
        """Return the server's time."""
        return self._common() if self._common else self._time.at(self._clock())

    async def open(self) -> None:
        """Connect, and learn the server's time.

        Raises:
            ConfigurationError: The package is missing, the address is none, or the server wants another password.
        """
        if self._client is None:
            self._redis = await asyncio.to_thread(_load_redis)
            self._client = self._connect()
            self._script = self._client.register_script(SCRIPT)
        await self.read("aiocircle")

    async def read(self, key: str) -> Kept:
        """Return what is kept."""
        return await self._run(key, [""])

    async def swap(self, key: str, mark: str | None, new: Kept) -> Kept:
        """Keep ``new`` if what is kept bears ``mark``, and return what is kept then."""
        kept = await self._run(key, [mark or "", new.mark, new.text, KEEP])
        return new if kept.mark == new.mark else kept

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _connect(self) -> Any:
        redis = self._redis
        try:
            return redis.asyncio.Redis.from_url(
                self._url,
                socket_timeout=PATIENCE,
                socket_connect_timeout=PATIENCE,
                driver_info=None,  # or it would read its own version from the disk, in the event loop
                # once more at once: a server that was started anew is met by connections that are gone
                retry=redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 1),
            )
        except ValueError:
            raise ConfigurationError(
                f"the limiter's address {self.name} is none", hint="it looks like redis://host:6379/0"
            ) from None

    async def _run(self, key: str, arguments: list[Any]) -> Kept:
        if self._client is None:
            raise StoreLostError("it is not open")
        sent = self._clock()
        try:
            async with asyncio.timeout(PATIENCE):
                mark, text, seconds, micros = await self._script(keys=[key], args=arguments)
            kept, server = Kept(mark.decode() if mark else None, text), int(seconds) + int(micros) / 1e6
        except self._redis.AuthenticationError:
            raise ConfigurationError(
                f"{self.name} does not accept the limiter's user or password",
                hint="put them into its address: redis://user:password@host:6379/0",
            ) from None
        except (self._redis.RedisError, OSError, *_NONSENSE) as error:
            raise StoreLostError(type(error).__name__) from None
        self._time.saw(server, sent, self._clock())
        return kept


def _load_redis() -> Any:
    """Import the package, which is an extra, slow to import, and reads files meanwhile."""
    try:
        import redis.asyncio.retry  # noqa: PLC0415
        import redis.backoff  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "a limiter in Redis needs the package redis", hint="pip install 'aiocircle[redis]'"
        ) from None
    return redis
