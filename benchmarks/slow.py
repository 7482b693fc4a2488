"""A link with latency and a limit on each connection's rate, before a server: ``slow.py PORT UPSTREAM DELAY RATE``.

Bytes of requests are held back for DELAY seconds, so that every answer comes that much later; bytes of answers pass at
RATE bytes a second for each connection (0: as they come).
"""

import asyncio
import sys
from typing import cast


class _Far(asyncio.Protocol):
    """The side of the server."""

    def __init__(self, near: "_Near") -> None:
        self.near = near

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.near.transport.write(data)
        if self.near.rate:
            loop = asyncio.get_running_loop()
            self.free_at = max(loop.time(), getattr(self, "free_at", 0.0)) + len(data) / self.near.rate
            if self.free_at - loop.time() > 0.002:
                self.transport.pause_reading()
                loop.call_at(self.free_at, self._resume)

    def _resume(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.near.transport.close()


class _Near(asyncio.Protocol):
    """The side of the client."""

    def __init__(self, upstream: int, delay: float, rate: float) -> None:
        self.upstream, self.delay, self.rate = upstream, delay, rate
        self.far: _Far | None = None
        self.waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        _, far = await asyncio.get_running_loop().create_connection(lambda: _Far(self), "127.0.0.1", self.upstream)
        self.far = far
        for data in self.waiting:
            far.transport.write(data)

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self.delay, self._send, data)

    def _send(self, data: bytes) -> None:
        if self.far is None:
            self.waiting.append(data)
        else:
            self.far.transport.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.far is not None:
            self.far.transport.close()

    def pause_writing(self) -> None:
        if self.far is not None:
            self.far.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.far is not None and not self.far.transport.is_closing():
            self.far.transport.resume_reading()


async def main() -> None:
    port, upstream, delay, rate = sys.argv[1:]
    server = await asyncio.get_running_loop().create_server(
        lambda: _Near(int(upstream), float(delay), float(rate)), "127.0.0.1", int(port), backlog=1024
    )
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
