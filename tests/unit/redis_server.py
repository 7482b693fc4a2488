"""A Redis (or Valkey) server of the tests' own, on 127.0.0.1, with nothing on disk.

scripts/test finds or unpacks one and says in ``REDIS_SERVER`` where it lies.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

REDIS_SERVER = os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or shutil.which("valkey-server") or ""
WHY_NOT = "NO TEST AGAINST REDIS: it needs redis-server, which scripts/test finds or fetches"

needs_redis = pytest.mark.skipif(not REDIS_SERVER, reason=WHY_NOT)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


class RedisServer:
    """One server, that can be killed and started anew on its port."""

    def __init__(self, directory: str, *, password: str = "") -> None:
        self.port = free_port()
        self.directory = directory
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{f':{self._password}@' if self._password else ''}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.directory]
        if self._password:
            settings += ["--requirepass", self._password]
        self._process = subprocess.Popen([REDIS_SERVER, *settings], stdout=subprocess.DEVNULL)
        for _ in range(200):
            assert self._process.poll() is None, "the Redis server did not start"
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        pytest.fail("the Redis server does not answer")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def redis_server(*, password: str = "") -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(directory, password=password)
        server.start()
        try:
            yield server
        finally:
            server.kill()
