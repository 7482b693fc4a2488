"""A way to a bucket on which requests meet what a test wants: ``127.0.0.1`` in front of SeaweedFS.

Signatures cover the name of the host, which is passed on, so what gets through is a sound request.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from attrs import define, field

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@define
class Refusal:
    """An answer in the bucket's place."""

    status: int
    body: bytes = b""


HANG, CUT = "hang", "cut"
Verdict = Refusal | str | None
Rule = Callable[[str, str], Verdict]


@define
class FaultyWay:
    """What becomes of requests.

    Attributes:
        url: Where it is.
        rule: Given method and path, the answer in the bucket's place; ``None`` to pass the request on.
        asked: Methods and paths of all requests.
    """

    url: str
    rule: Rule = lambda _method, _path: None
    asked: list[tuple[str, str]] = field(factory=list)
    ended: threading.Event = field(factory=threading.Event)


class _Front(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, netloc: str, handler: "type[Handler]") -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.netloc = netloc
        self.way = FaultyWay(f"http://127.0.0.1:{self.server_port}")


class Handler(BaseHTTPRequestHandler):
    """Answers, or passes on."""

    server: "_Front"
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        with suppress(OSError):
            super().handle_one_request()

    def answer(self) -> None:
        way = self.server.way
        way.asked.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        verdict = way.rule(self.command, self.path)
        if verdict is None:
            self.pass_on(body)
        elif isinstance(verdict, Refusal):
            self.send_response(verdict.status)
            self.finish_with([], verdict.body)
        else:
            self.close_connection = True
            if verdict == HANG:
                way.ended.wait()

    def pass_on(self, body: bytes) -> None:
        connection = HTTPConnection(self.server.netloc, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers_onward():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self.send_response_only(answer.status)
        hop = {"connection", "transfer-encoding", "keep-alive"}
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in hop]
        self.finish_with(self.headers_back(headers), content)

    def headers_onward(self) -> list[tuple[str, str]]:
        return self.headers.items()

    def headers_back(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return headers

    def finish_with(self, headers: list[tuple[str, str]], content: bytes) -> None:
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 -- the server calls them so


@contextmanager
def faulty_way(endpoint: str, handler: type[Handler] = Handler) -> Iterator[FaultyWay]:
    """Give a way to the server at an endpoint."""
    with _Front(urlsplit(endpoint).netloc, handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield server.way
        finally:
            server.way.ended.set()
            server.shutdown()
