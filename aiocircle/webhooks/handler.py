"""The receiver: an ``aiohttp.web`` handler that answers at once and has the work done afterwards."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from aiocircle.errors import DecodeError, SignatureError
from aiocircle.webhooks.events import WebhookEvent, parse_event
from aiocircle.webhooks.signature import SIGNATURE_HEADER, keys_of, verify

if TYPE_CHECKING:
    from aiohttp import web

logger = logging.getLogger("aiocircle")

MAX_BODY = 1024 * 1024  # bytes; an event has a few thousand
READ_SECONDS = 10.0  # after which CircleCI has given up as well

OnEvent = Callable[[WebhookEvent], Awaitable[object]]


def webhook_handler(
    secret: str | Sequence[str],
    on_event: OnEvent,
    *,
    max_body: int = MAX_BODY,
    remember: int = 1000,
    concurrency: int = 8,
    backlog: int = 1000,
    grace: float = 30.0,
) -> "WebhookHandler":
    """Return a handler for an ``aiohttp.web`` application; ``add_to(app, path)`` puts it there.

    It verifies, answers at once, and has ``on_event`` do the work afterwards, once for each event. The answer is 202
    for what was taken on, 200 for what had been before, and else, in words, 401 (signature), 400 (no event),
    408 (the body did not come), 413 (the body is too long) or 503 (busy or ending; CircleCI delivers it again).

    Args:
        secret: The webhook's signing secret, or several while it is being changed.
        on_event: Does the work. What it raises is logged; CircleCI is not told, and delivers nothing again.
        max_body: Bytes of the longest body to read.
        remember: How many events to tell repetitions by.
        concurrency: Events worked on at once.
        backlog: Events taken on and not done; more are refused.
        grace: Seconds that events taken on have to be done when the application ends; then they are cancelled.

    Raises:
        ConfigurationError: There is no secret, or an empty one.
    """
    keys_of(secret)
    return WebhookHandler(secret, on_event, max_body, remember, concurrency, backlog, grace)


class WebhookHandler:
    """What ``webhook_handler`` returns: a handler, and the work it has taken on."""

    def __init__(
        self,
        secret: str | Sequence[str],
        on_event: OnEvent,
        max_body: int,
        remember: int,
        concurrency: int,
        backlog: int,
        grace: float,
    ) -> None:
        self._secret = secret
        self._on_event = on_event
        self._max_body = max_body
        self._remember = remember
        self._backlog = backlog
        self._grace = grace
        self._places = asyncio.Semaphore(concurrency)
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False

    def add_to(self, app: "web.Application", path: str) -> None:
        """Handle POST requests to a path, and finish what was taken on when the application is cleaned up."""
        app.router.add_post(path, self.handle)
        app.cleanup_ctx.append(self.lifetime)

    async def lifetime(self, _app: "web.Application") -> AsyncIterator[None]:
        """Take events on for as long as the application runs, and then wait for them; for ``app.cleanup_ctx``."""
        self._is_open = True
        yield
        self._is_open = False
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=self._grace)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def handle(self, request: "web.Request") -> "web.Response":
        """Answer a delivery."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                body = await self._read(request)
        except TimeoutError:
            return _answer(408, "the body did not come")
        if body is None:
            return _answer(413, f"the body is longer than {self._max_body} bytes")
        try:
            signatures = request.headers.getall(SIGNATURE_HEADER, ())
            verify(body, ",".join(signatures) if signatures else None, self._secret)
            event = parse_event(body, request.headers)
        except (SignatureError, DecodeError) as error:
            logger.info("a webhook was refused: %s", error)
            return _answer(401 if isinstance(error, SignatureError) else 400, str(error))
        return self._take_on(event)

    async def _read(self, request: "web.Request") -> bytes | None:
        """Return the body, or ``None`` once it is known to be too long."""
        body = bytearray()
        if (request.content_length or 0) > self._max_body:
            return None
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > self._max_body:
                return None
        return bytes(body)

    def _take_on(self, event: WebhookEvent) -> "web.Response":
        if event.id in self._seen:
            self._seen.move_to_end(event.id)
            return _answer(200, "this event came before")
        if not self._is_open or len(self._tasks) >= self._backlog:
            return _answer(503, "no more events are taken on now")
        self._seen[event.id] = None
        if len(self._seen) > self._remember:
            self._seen.popitem(last=False)
        task = asyncio.create_task(self._work(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _answer(202, "taken on")

    async def _work(self, event: WebhookEvent) -> None:
        try:
            async with self._places:
                await self._on_event(event)
        except asyncio.CancelledError:
            logger.warning("on_event was not done with %s %r when the application ended", event.type, event.id)
            raise
        except Exception:
            logger.exception("on_event failed for %s %r", event.type, event.id)


def _answer(status: int, text: str) -> "web.Response":
    from aiohttp import web  # noqa: PLC0415 -- who only verifies needs no server

    return web.Response(status=status, text=text)
