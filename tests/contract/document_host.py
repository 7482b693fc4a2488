"""A host that knows nothing but the API document: it judges requests by it, and answers with examples."""

from typing import Any, Self

from aiohttp import web
from api_document import Examples, find


class DocumentHost:
    """Serves every operation of the document on a free port of 127.0.0.1.

    Attributes:
        problems: How the requests so far departed from the document.
        answered: The status and JSON value of every answer so far.
        seen: The ids of the operations asked for.
    """

    def __init__(self, *, sparse: bool, status: int | None = None) -> None:
        self.problems: list[str] = []
        self.answered: list[tuple[int, Any]] = []
        self.seen: list[str] = []
        self._examples = Examples(sparse=sparse)
        self._status = status

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path.removeprefix("/api/v2")
        found = find(request.method, path)
        if found is None:
            self.problems.append(f"{request.method} {path} is in no document")
            return web.json_response({"message": "no such operation"}, status=404)
        operation, parameters = found
        self.seen.append(operation.id)
        query = [(name, text) for name, text in request.rel_url.query.items()]
        self.problems += operation.problems(parameters, query, await request.read())
        status = self._status or max(operation.answers)
        schema = operation.answers[status]
        if schema is None:
            self.answered.append((status, None))
            return web.Response(status=status)
        value = self._page(self._examples.of(schema), dict(query))
        self.answered.append((status, value))
        return web.json_response(value, status=status)

    def _page(self, value: Any, query: dict[str, str]) -> Any:
        """Make of an example the first of two pages, or the last one."""
        if isinstance(value, dict) and "next_page_token" in value:
            return {**value, "next_page_token": None if "page-token" in query else "a/b+c=="}
        if isinstance(value, list) and int(query.get("offset", 0)) >= 2:
            return []
        return value
