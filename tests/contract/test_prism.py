"""Every operation is called against Prism, a judge of OpenAPI documents that is not ours.

Prism takes a slug as one segment, as the document has it; the service wants three. So a small front stands before it
that joins them. scripts/test installs Prism with npm and says in ``PRISM`` where it lies.
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from api_calls import ALL, arguments, method_of
from api_document import ARRAYS, DOCUMENT, OPERATIONS, find
from yarl import URL

from aiocircle import Client, Paginator
from aiocircle.errors import BadRequestError

PRISM = os.environ.get("PRISM", "")
WHY_NOT = "NO TEST AGAINST PRISM: it needs npm, and scripts/test to install it"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not PRISM and not os.environ.get("CI"), reason=WHY_NOT),
]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def corrected() -> str:
    """Return the document without what corrections.toml knows to be wrong in it."""
    text = json.loads(json.dumps(DOCUMENT))
    flaky = text["paths"]["/insights/{project-slug}/flaky-tests"]["get"]["responses"]["200"]
    test = flaky["content"]["application/json"]["schema"]["properties"]["flaky-tests"]["items"]
    test["properties"]["workflow-created-at"]["format"] = "date-time"
    del text["components"]["schemas"]["context_created"]["properties"]["owner"]["additionalProperties"]
    for item in text["paths"].values():
        for parameter in item.get("get", {}).get("parameters", ()):
            if parameter.get("name") in ARRAYS:
                parameter["schema"] = {"type": "array", "items": {"type": "string"}}
    counted = flaky["content"]["application/json"]["schema"]["properties"]["total-flaky-tests"]
    counted.update(minimum=0, maximum=10**6)  # or Prism counts with numbers of 300 digits
    # What follows is right, but Prism invents answers that it then refuses itself.
    schemas = text["components"]["schemas"]
    schemas["JSONDuration"]["example"] = "1h30m"
    schemas["update_env_var"] = schemas["update_env_var"]["anyOf"][0]
    return json.dumps(text)


@asynccontextmanager
async def prism(document: Path) -> AsyncIterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        PRISM, "mock", "--errors", "--port", str(port), str(document), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        while True:
            assert process.returncode is None, "Prism did not start"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def front(behind: str) -> AsyncIterator[str]:
    """Serve what is behind, each of the document's parameters joined into one segment."""
    async with aiohttp.ClientSession() as session:

        async def serve(request: web.Request) -> web.Response:
            found = find(request.method, request.rel_url.raw_path.removeprefix("/api/v2"))
            assert found is not None
            operation, values = found
            path = operation.path.format_map({name: quote(value, safe="") for name, value in values.items()})
            address = f"{behind}{path}{'?' if request.query_string else ''}{request.rel_url.raw_query_string}"
            headers = {
                name: request.headers[name]
                for name in ("Circle-Token", "Accept", "Content-Type")
                if name in request.headers
            }
            async with session.request(
                request.method,
                URL(address, encoded=True),
                headers=headers,
                data=await request.read() or None,
            ) as answer:
                return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", serve)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


@pytest.fixture(scope="module")
async def host(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    assert PRISM, WHY_NOT
    document = tmp_path_factory.mktemp("prism") / "document.json"
    document.write_text(corrected(), encoding="utf-8")
    async with prism(document) as behind, front(behind) as url:
        yield url


@pytest.mark.parametrize("every", [True, False], ids=["everything", "required"])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_prism_accepts_what_is_asked_for_and_is_understood(
    name: str, every: bool, host: str, coverage_of_operations: dict[str, set[str]]
) -> None:
    operation = ALL[name]
    async with Client("token", host=host) as client:
        by_position, by_name = arguments(operation.call, method_of(client, operation), every=every)
        call = method_of(client, operation)(*by_position, **by_name)
        # Prism's pages all have the same token, so a listing of its has no end.
        value = await (call.first() if isinstance(call, Paginator) else call)
    assert value is not None or operation.call == "otel_exporters.delete"
    coverage_of_operations[name].add("by Prism")


async def test_prism_finds_what_is_wrong(host: str) -> None:
    async with Client("token", host=host) as client:
        with pytest.raises(BadRequestError):
            await client.schedules.create(
                "gh/acme/web", name="x", timetable={}, attribution_actor="nobody", parameters={}
            )
