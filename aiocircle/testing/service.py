"""What happens to a request: who asks, may they, what goes wrong, what is true."""

import asyncio
import base64
import functools
import hmac
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

import attrs
from aiohttp import web

from aiocircle.testing.artifacts import FakeArtifact
from aiocircle.testing.content import Content
from aiocircle.testing.exchange import Answer, Exchange, Place, message_answer, packed, send
from aiocircle.testing.faults import FaultBox
from aiocircle.testing.kong import REJECTION_BODY, KongLimits
from aiocircle.testing.records import Job
from aiocircle.testing.routes import Api, Route, match
from aiocircle.testing.stats import LOGGED_HEADERS, Fetched, LoggedRequest, Stats
from aiocircle.testing.storage import (
    CREDENTIAL_HEADERS,
    Object,
    Signer,
    object_answer,
    read_object,
    read_path,
    xml_error,
)
from aiocircle.testing.usage import UsageExports
from aiocircle.testing.world import World

OUTPUT = "/output/job/"

_ARRAYS = frozenset({"branches", "workflow-names", "project-names"})

_QUERY_TOKEN = "Authentication with a query parameter is deprecated. Use the Circle-Token header."  # noqa: S105


@attrs.define(kw_only=True)
class Service:
    """Answers the requests of all origins. The attributes are the simulator's, see there."""

    world: World
    api: Api
    signer: Signer
    usage: UsageExports
    origins: Mapping[str, str]
    tokens: Iterable[str]
    limits: KongLimits | None
    faults: FaultBox
    stats: Stats
    log: deque[LoggedRequest]
    latency: float
    rate: float
    signature_ttl: float
    artifacts_here: bool
    clock: Callable[[], float]
    closing: asyncio.Event = attrs.field(factory=asyncio.Event)
    _known: list[bytes] = attrs.field(init=False)
    _find: Callable[[str, int, str], tuple[Job, FakeArtifact] | None] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._known = [token.encode() for token in self.tokens]
        self._find = functools.lru_cache(maxsize=4096)(self._find_artifact)

    # One coroutine per origin.

    async def serve_api(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request to the API's origin."""
        path, query_string = _split(request)
        if self.artifacts_here and path.startswith(OUTPUT):
            return await self.serve_artifact(request)
        if path == "/login":
            return web.Response(text="<!DOCTYPE html><title>Log in</title>", content_type="text/html")
        route = match("GET" if request.method == "HEAD" else request.method, path)
        exchange = self._exchange(request, "api", path, query_string)
        exchange.body = await request.read()
        exchange.proceed = functools.partial(self._api_truth, exchange, route)
        return await self._serve(exchange, "unknown" if route is None else route.name, route)

    async def serve_artifact(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request to a file's listed address."""
        exchange = self._exchange(request, "artifact", *_split(request))
        exchange.proceed = functools.partial(self._artifact_truth, exchange)
        return await self._serve(exchange, "output", None)

    async def serve_storage(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request to a signed address."""
        exchange = self._exchange(request, "storage", *_split(request))
        wanted = read_path(exchange.path)
        found = wanted and self._find(*wanted)
        fetched: Fetched | None = None
        if wanted and found:
            fetched = (found[0].number or 0, wanted.node_index, wanted.path)
            exchange.fetched_before = self.stats.fetches[fetched] > 0
            if request.method == "GET":
                self.stats.fetches[fetched] += 1
        exchange.proceed = functools.partial(self._storage_truth, exchange, found or None)
        return await self._serve(exchange, "storage", None, fetched)

    async def serve_foreign(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request that should not have come: count its credentials, or send it back where it came from."""
        self.stats.foreign += 1
        self._log(request, "foreign")
        self.stats.leaks += _has_credentials(request)
        path, _ = _split(request)
        _, back, place, *rest = [*path.split("/", 3), "", "", ""]
        if back == "back" and place in self.origins:
            return web.Response(status=302, headers={"Location": f"{self.origins[place]}/{rest[0]}"})
        return web.Response(text="This is a foreign origin.\n")

    # What every request goes through.

    async def _serve(
        self, exchange: Exchange, name: str, route: Route | None, fetched: Fetched | None = None
    ) -> web.StreamResponse:
        self.stats.requests[name] += 1
        self._log(exchange.request, exchange.place, exchange.body)
        self.stats.enter()
        try:
            if self.latency:
                await exchange.hold(self.latency)
            answer = self._judge(exchange, name, route)
            if exchange.place != "storage":
                answer = packed(exchange, answer).with_headers(X_Request_Id=str(uuid.uuid4()))
            response, sent = await send(exchange, answer)
            self.stats.bytes_sent += sent
            if fetched and _is_last_part(answer, sent):
                self.stats.completed[fetched] += 1
            return response
        finally:
            if fetched:
                self.stats.artifact_bytes += exchange.handed_over
            self.stats.leave()

    def _judge(self, exchange: Exchange, name: str, route: Route | None) -> Answer:
        """Return what is to be sent: a refusal, a spoiled answer or the true one."""
        limit_headers: Mapping[str, str] = {}
        if exchange.place == "storage":
            if _has_credentials(exchange.request):
                self.stats.leaks += 1
                return xml_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        else:
            token = self._token(exchange)
            if token is None:
                return message_answer(
                    401, _QUERY_TOKEN if "circle-token" in exchange.query else "Invalid token provided."
                )
            if self.limits is not None:
                admitted, limit_headers = self.limits.charge(token, name)
                if not admitted:
                    self.stats.limited += 1
                    return _throttled(limit_headers)
        armed = self.faults.take(exchange.place, exchange.path, listing=route is not None and route.is_listing)
        if armed is None:
            answer = exchange.proceed()
        else:
            self.stats.faulted[armed.kind.name] += 1
            exchange.settings = armed.settings
            answer = armed.kind.spoil(exchange)
        # A throttled answer tells what its fault wants it to tell, and no more.
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            return answer
        return attrs.evolve(answer, headers={**limit_headers, **answer.headers})

    def _token(self, exchange: Exchange) -> str | None:
        """Return the token of an authorised request, or None. Compared in constant time, like every secret."""
        if "circle-token" in exchange.query_string and "circle-token" in exchange.query:
            return None
        headers = exchange.request.headers
        given = headers.get("Circle-Token") or _authorization(headers.get("Authorization", ""))
        raw = given.encode(errors="surrogateescape")
        matches = [hmac.compare_digest(raw, known) for known in self._known]
        return given if given and any(matches) else None

    def _exchange(self, request: web.BaseRequest, place: Place, path: str, query_string: str) -> Exchange:
        now = self.clock()
        return Exchange(request, place, path, query_string, self.origins, now, self._hold, rate=self.rate)

    async def _hold(self, seconds: float | None = None) -> bool:
        try:
            await asyncio.wait_for(self.closing.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _log(self, request: web.BaseRequest, origin: str, body: bytes = b"") -> None:
        if self.log.maxlen:
            headers = {name: request.headers[name] for name in LOGGED_HEADERS if name in request.headers}
            self.log.append(LoggedRequest(origin, request.method, request.raw_path, headers, body))

    # The truth.

    def _api_truth(self, exchange: Exchange, route: Route | None, *, first_page: bool = False) -> Answer:
        if route is None:
            return message_answer(404, "Not Found")
        if not route.allowed:
            return message_answer(405, "Method Not Allowed")
        query = _read_query(exchange.query_string) if exchange.query_string else {}
        return self.api.answer(route, query, exchange.body, first_page=first_page).with_headers(X_route=route.template)

    def _artifact_truth(self, exchange: Exchange, *, first_page: bool = False) -> Answer:
        """Redirect to a signed address in the storage."""
        del first_page
        wanted = _read_output(exchange.path)
        found = wanted and self._find(*wanted)
        if not found:
            return message_answer(404, "Artifact not found")
        ttl = self.signature_ttl if exchange.signature_ttl is None else exchange.signature_ttl
        location = self.origins["storage"] + self.signer.sign(*found, ttl, exchange.now)
        return Answer(302, {"Location": location, "Content-Type": "text/plain"})

    def _storage_truth(
        self, exchange: Exchange, found: tuple[Job, FakeArtifact] | None, *, first_page: bool = False
    ) -> Answer:
        del first_page
        refusal = self.signer.refusal(exchange.path, exchange.query_string, exchange.now)
        if refusal is not None:
            return refusal
        content: Content | None
        if found is None:
            content = self.usage.content(exchange.path)
        else:
            content = self.world.content(*found, exchange.generation)
        if content is None:
            return xml_error(404, "NoSuchKey", "The specified key does not exist.")
        headers = exchange.request.headers
        wanted = None if exchange.ignore_range else headers.get("Range")
        return object_answer(content, wanted, None if exchange.ignore_if_range else headers.get("If-Range"))

    def _find_artifact(self, job_id: str, node_index: int, path: str) -> tuple[Job, FakeArtifact] | None:
        job = self.world.job_by_id(job_id)
        artifact = job.artifacts.find(node_index, path) if job else None
        return None if job is None or artifact is None else (job, artifact)


def _split(request: web.BaseRequest) -> tuple[str, str]:
    """Return the raw path and the raw query."""
    path, _, query_string = request.raw_path.partition("?")
    return path, query_string


def _read_query(query_string: str) -> dict[str, str]:
    """Return a query by name; an array, which repeats its key, is one text with commas."""
    query: dict[str, str] = {}
    for name, value in parse_qsl(query_string, keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in _ARRAYS and name in query else value
    return query


def _read_output(path: str) -> Object | None:
    """Return the artifact that a listed address names: ``/output/job/{id}/artifacts/{node}/{path}``."""
    job_id, word, place = path[len(OUTPUT) :].partition("/artifacts/")
    return read_object(f"{job_id}/{place.replace('+', ' ')}") if word else None


def _authorization(value: str) -> str:
    """Return the token in an ``Authorization`` header: Bearer, or Basic with the token as user and no password."""
    scheme, _, rest = value.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        user, colon, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except ValueError:
        return ""
    return user if colon and not password else ""


def _has_credentials(request: web.BaseRequest) -> bool:
    return any(name in request.headers for name in CREDENTIAL_HEADERS)


def _throttled(headers: Mapping[str, str]) -> Answer:
    own = {"Content-Type": "application/json; charset=utf-8", "X-Kong-Response-Latency": "0"}
    return Answer(429, {**own, **headers}, REJECTION_BODY)


def _is_last_part(answer: Answer, sent: int) -> bool:
    """Return whether the object's last byte was handed over."""
    return (
        answer.status in {200, 206}
        and sent == len(answer.body)
        and not isinstance(answer.body, bytes)
        and answer.body.stop == answer.body.content.size
    )
