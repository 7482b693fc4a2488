"""What every part of the API is made of: a call that answers a value, and a listing.

A method of a resource is one statement: the operation, the model of its answer, and where each argument goes.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from operator import attrgetter
from types import NoneType
from typing import Any, TypeVar, cast

from attrs import evolve, frozen

from aiocircle.codec import Model, decode
from aiocircle.errors import DecodeError
from aiocircle.events import PageFetched
from aiocircle.operation import Operation
from aiocircle.pagination import Paginator
from aiocircle.response import Call, Response
from aiocircle.session import Session
from aiocircle.slugs import ProjectSlug

T = TypeVar("T")
M = TypeVar("M", bound=Model)

Slug = str | ProjectSlug


@frozen
class Resource:
    """A part of the API, bound to a session."""

    _session: Session

    def _call(
        self,
        operation: Operation,
        answer: type[T] | Mapping[int, type[T]],
        path: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Call[T]:
        """Return a call whose value is of a class, or of the class that belongs to the answer's status."""
        return Call(self._send(operation, answer, path or {}, query, body))

    async def _send(
        self,
        operation: Operation,
        answer: type[T] | Mapping[int, type[T]],
        path: Mapping[str, object],
        query: Mapping[str, object] | None,
        body: Mapping[str, object] | None,
    ) -> Response[T]:
        response = await self._ask(operation, path, query, body)
        kind = answer if isinstance(answer, type) or not isinstance(answer, Mapping) else answer.get(response.status)
        if kind is None:
            raise DecodeError(f"{operation.name}: the host answered with the status {response.status}, which is new")
        return evolve(response, value=_decoded(kind, response.value, operation))

    async def _ask(
        self,
        operation: Operation,
        path: Mapping[str, object],
        query: Mapping[str, object] | None,
        body: Mapping[str, object] | None = None,
    ) -> Response[Any]:
        request = self._session.request(
            operation.name,
            operation.method,
            operation.fill(path),
            group=operation.path,
            query=query,
            body=body,
            idempotent=operation.idempotent,
        )
        return await self._session.ask(request)

    def _list(
        self,
        operation: Operation,
        cls: type[M],
        path: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, object] | None = None,
        start: str | int | None = None,
    ) -> Paginator[M]:
        """Return a listing of items of a class, beginning at a page token or offset."""

        def decoded(items: Sequence[Any]) -> Sequence[M]:
            return decode(list[cls], items, what=operation.name)  # type: ignore[valid-type]

        key = cast("Callable[[M], Hashable]", attrgetter(*operation.key)) if operation.key else None
        return self._paginator(operation, decoded, key, path or {}, query or {}, start)

    def pairs(
        self,
        operation: Operation,
        cls: type[M],
        path: Mapping[str, object],
        query: Mapping[str, object] | None = None,
        *,
        start: str | int | None = None,
    ) -> Paginator[tuple[M, Mapping[str, Any]]]:
        """Return a listing of items, each as an instance of a class and as the host gave it."""

        def decoded(items: Sequence[Any]) -> Sequence[tuple[M, Mapping[str, Any]]]:
            return list(zip(decode(list[cls], items, what=operation.name), items, strict=True))  # type: ignore[valid-type]

        of_model = attrgetter(*operation.key) if operation.key else None
        key = (lambda pair: of_model(pair[0])) if of_model is not None else None
        return self._paginator(operation, decoded, key, path, query or {}, start)

    def _paginator(
        self,
        operation: Operation,
        decoded: Callable[[Sequence[Any]], Sequence[T]],
        key: Callable[[T], Hashable] | None,
        path: Mapping[str, object],
        query: Mapping[str, object],
        start: str | int | None,
    ) -> Paginator[T]:
        ask, split = _ASK.get(operation.pages, _nothing), _SPLIT[operation.pages or "items"]
        operation.fill(path)  # a path that cannot be is refused here, not at the first page

        async def fetch(token: str | None) -> tuple[Sequence[T], str | None]:
            response = await self._ask(operation, path, {**query, **ask(token)})
            items, next_token = split(response.value, token)
            if not isinstance(items, list) or not (next_token is None or isinstance(next_token, str)):
                raise _no_page(operation)
            return decoded(items), next_token

        def on_page(number: int, items: int) -> None:
            self._session.emit(PageFetched(operation=operation.name, number=number, items=items))

        return Paginator(fetch, key=key, page_token=_token(start), what=operation.name, on_page=on_page)


def _decoded(kind: type[T], value: Any, operation: Operation) -> T:
    """Decode an answer; an empty one is ``None``, or an object that has nothing in it."""
    if kind is NoneType:
        return cast("T", None)
    return decode(kind, {} if value is None else value, what=operation.name)


# --- how listings go on: what is asked for at a token, and what an answer's items and next token are -----------------


def _nothing(_token: str | None) -> dict[str, str | None]:
    return {}


def _by_token(value: Any, _token: str | None) -> tuple[Any, Any]:
    return (value.get("items"), value.get("next_page_token")) if isinstance(value, dict) else (None, None)


def _all_items(value: Any, _token: str | None) -> tuple[Any, Any]:
    return (value.get("items") if isinstance(value, dict) else None), None


def _whole_array(value: Any, _token: str | None) -> tuple[Any, Any]:
    return value, None


def _by_offset(value: Any, token: str | None) -> tuple[Any, Any]:
    """The token is the number of items before the page; an empty page is the end."""
    return value, str(int(token or 0) + len(value)) if isinstance(value, list) and value else None


_ASK: Mapping[str | None, Callable[[str | None], dict[str, str | None]]] = {
    "token": lambda token: {"page-token": token},
    "offset": lambda token: {"offset": token},
}
_SPLIT: Mapping[str, Callable[[Any, str | None], tuple[Any, Any]]] = {
    "token": _by_token,
    "items": _all_items,
    "array": _whole_array,
    "offset": _by_offset,
}


def _token(start: str | int | None) -> str | None:
    return None if start is None else str(start)


def _no_page(operation: Operation) -> DecodeError:
    return DecodeError(
        f"{operation.name}: the answer is not a page of items",
        problems=("an object with an array 'items' expected @ $",),
        hint="is the host an API of CircleCI, version 2?",
    )
