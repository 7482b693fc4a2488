"""The client for synchronous code: scripts, notebooks, threads.

::

    with aiocircle.BlockingClient() as client:
        report = client.download("gh/acme/web", job=1234, to="out")

There is no second implementation. The asynchronous client runs in an event loop in a thread of its own, and what it
offers is reached by name: a call returns what the asynchronous one is awaited for, and a listing is iterated over with
``for``. Types come from the stub beside this file, which ``scripts/generate_blocking.py`` writes from the asynchronous
classes; the classes it names for the parts of the API do not exist when a program runs.
"""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from aiocircle.client import Client
from aiocircle.errors import ConfigurationError
from aiocircle.loopthread import LoopThread
from aiocircle.portal import Listing, Proxy

__all__ = ["BlockingClient", "Listing"]

T = TypeVar("T")


class BlockingClient(Proxy[Client]):
    """A client of CircleCI's API v2 for synchronous code: ``aiocircle.Client`` without ``await``.

    Any number of threads may use it at once, and all their requests share one rate limiter. It may be used in the
    thread of a running event loop, too, which it blocks. Callbacks (``on_event``, ``on_outcome``) are called in the
    thread of the client's own loop: they shall not block, and cannot call the client.

    Args:
        *args: As for ``Client``.
        **settings: As for ``Client``; but no ``session``, which would belong to another event loop.

    Raises:
        ConfigurationError: The token or the host is malformed.
    """

    host: str

    def __init__(self, *args: Any, **settings: Any) -> None:
        if settings.pop("session", None) is not None:
            raise ConfigurationError("a blocking client takes no session: it belongs to another event loop")
        super().__init__(Client(*args, **settings), LoopThread())

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> Self:
        """Start the client's thread, and return the client; ``with`` does it by itself.

        Raises:
            ConfigurationError: It is open, or it is from ``with_options()`` and opened with the one it was made from.
        """
        self._loop.open(self._subject)
        return self

    def close(self) -> None:
        """End the client's thread. Calls of other threads are cancelled. Nothing happens if it is closed."""
        self._loop.close()

    def run(self, function: Callable[[Client], Awaitable[T]]) -> T:
        """Call an asynchronous function with the asynchronous client, and return what it comes to.

        For what goes better together: ``client.run(lambda api: api.users.me().response())`` for all of an answer,
        ``.within(5)`` for a time limit, or several requests at once.

        Raises:
            ConfigurationError: The client is closed, or was closed meanwhile.
        """
        return self._loop.run(lambda: function(self._subject))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(host={self._subject.host!r})"
