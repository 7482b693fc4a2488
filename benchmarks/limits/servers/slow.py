"""slowapi as it is: ``slow.py LIMIT WINDOW_SECONDS``. Prints its port."""

# mypy: ignore-errors
# what it imports is installed beside the cache, not among the development tools
import socket
import sys

import uvicorn
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

limiter = Limiter(key_func=get_remote_address, headers_enabled=True)


@limiter.limit(f"{sys.argv[1]}/{sys.argv[2]} second")
async def answer(request: Request) -> Response:  # noqa: ARG001 - slowapi wants it by this name
    return JSONResponse({})


app = Starlette(routes=[Route("/slowapi", answer)])
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
