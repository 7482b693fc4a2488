"""What a call of the API gives: its value when awaited, and on request the whole answer."""

import asyncio
from collections.abc import Coroutine, Generator, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar

from attrs import field, frozen

from aiocircle.errors import DeadlineError
from aiocircle.ratelimit.facts import RateFacts

T = TypeVar("T")
V = TypeVar("V")


@frozen(kw_only=True)
class Response(Generic[T]):
    """An answer of the API.

    Attributes:
        status: HTTP status, a 2xx one.
        headers: Header fields, looked up without regard to case.
        value: What the call returns: a model, or the JSON value itself.
        json: The JSON value as it came; ``None`` where the body was empty or is not JSON.
        rate: What the headers say about the rate limit.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    value: T
    json: Any = field(repr=False)
    rate: RateFacts


class _Asking(Coroutine[Any, Any, V]):
    """A request that is sent when this is awaited. Given up before, it leaves nothing that was never awaited."""

    __slots__ = ("_answer", "_limit", "_running")

    def __init__(self, answer: Coroutine[Any, Any, Response[Any]], limit: float | None = None) -> None:
        self._answer = answer
        self._limit = limit
        self._running: Generator[Any, Any, V] | None = None

    async def _whole(self) -> Response[Any]:
        try:
            async with asyncio.timeout(self._limit):
                return await self._answer
        except TimeoutError:
            raise DeadlineError(f"the call was not over within {self._limit:g} s") from None

    def send(self, value: Any) -> Any:
        """See ``Coroutine``."""
        if self._running is None:
            self._running = self.__await__()
        return self._running.send(value)

    def throw(
        self,
        kind: type[BaseException] | BaseException,
        error: BaseException | object = None,
        trace: TracebackType | None = None,
    ) -> Any:
        """See ``Coroutine``. A task that is cancelled before its first step comes here first."""
        raised = error if isinstance(error, BaseException) else kind() if isinstance(kind, type) else kind
        running = self._answer if self._running is None else self._running
        return running.throw(raised if trace is None else raised.with_traceback(trace))

    def close(self) -> None:
        """See ``Coroutine``."""
        if self._running is not None:
            self._running.close()
        self._answer.close()


class Call(_Asking[T]):
    """A request that is sent when it is awaited, once: for its value, or with ``response()`` for all of the answer.

    It may be used as any coroutine: ``await``, ``asyncio.gather``, ``TaskGroup.create_task``.
    """

    __slots__ = ()

    def response(self) -> Coroutine[Any, Any, Response[T]]:
        """Send the request and return the answer: status, headers, JSON, rate limit, and the value."""
        return _WholeCall(self._answer, self._limit)

    def within(self, seconds: float) -> "Call[T]":
        """Return the same call with a time limit on all of it: waits for the rate limit and repetitions included.

        Awaiting it raises ``DeadlineError`` when the limit passes. Whether it was carried out is unknown then.
        """
        return Call(self._answer, seconds)

    def __await__(self) -> Generator[Any, Any, T]:
        value: T = (yield from self._whole().__await__()).value
        return value


class _WholeCall(_Asking[Response[T]]):
    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, Response[T]]:
        return self._whole().__await__()
