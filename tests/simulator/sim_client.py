"""A client that believes nothing: one request on one raw socket, and exactly the bytes that came back."""

import gzip
import json
import socket
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from aiocircle.testing import Simulator
from aiocircle.testing.records import Job


class Reply(NamedTuple):
    status: int
    fields: list[tuple[str, str]]
    body: bytes
    ended: bool
    """Whether the server closed the connection; False after a silence as long as the timeout."""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name.lower()), None)

    def headers(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name.lower()]

    def json(self) -> Any:
        return json.loads(gzip.decompress(self.body) if self.header("content-encoding") == "gzip" else self.body)

    @property
    def location(self) -> str:
        found = self.header("location")
        assert found is not None
        return found


def ask(url: str, headers: dict[str, str] | None = None, *, method: str = "GET", timeout: float = 5.0) -> Reply:
    """Send one request for ``url`` as it stands and return what came until the end or a silence of ``timeout``."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    target = url.split(parts.netloc, 1)[1] or "/"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    received, ended = b"", False
    with socket.create_connection((parts.hostname, parts.port), timeout=timeout) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        try:
            while chunk := connection.recv(1 << 20):
                received += chunk
            ended = True
        except TimeoutError:
            pass
    return _parse(received, ended=ended)


def _parse(received: bytes, *, ended: bool) -> Reply:
    head, _, body = received.partition(b"\r\n\r\n")
    if not head:
        return Reply(0, [], b"", ended)
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    return Reply(int(status.split()[1]), fields, body, ended)


def api(sim: Simulator, path: str, **headers: str) -> Reply:
    """Ask the API with the right token; an underscore in a header's name stands for a hyphen."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(f"{sim.url}/api/v2{path}", {"Circle-Token": sim.token, **more})


def with_token(sim: Simulator) -> dict[str, str]:
    return {"Circle-Token": sim.token}


def list_all(sim: Simulator, path: str) -> list[Any]:
    """Follow the pages of a listing to its end."""
    items: list[Any] = []
    token: str | None = None
    while True:
        joint = "&" if "?" in path else "?"
        page = api(sim, path if token is None else f"{path}{joint}page-token={quote(token, safe='')}").json()
        items += page["items"]
        token = page["next_page_token"]
        if token is None:
            return items


def listed(sim: Simulator, job: Job) -> list[Any]:
    """Return the listing of a job's artifacts."""
    return list_all(sim, f"/project/{job.project.slug}/{job.number}/artifacts")


def hop(sim: Simulator, url: str) -> str:
    """Return where a listed address redirects to."""
    reply = ask(url, with_token(sim))
    assert reply.status == 302, reply
    return reply.location
