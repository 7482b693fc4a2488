"""Files over TLS, by the client's own connections: small, large, cut, silent and cancelled ones."""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from raw_host import Close, Hang, Part, RawHost, opened, reply
from tls import TLS

from aiocircle import Client, DownloadOptions, Report, RetryPolicy, Timeouts
from aiocircle.download import width
from aiocircle.errors import ConnectError, TransportError
from aiocircle.testing import FakeArtifact, Simulator, World

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
KIB = 1024
SIZES = [0, 1, 1000, 16 * KIB, 255 * KIB, 256 * KIB + 1, 900_000, 5_000_000]


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "out"
    parts = list((tmp_path / "out/.aiocircle/parts").iterdir())
    assert all("-" in part.name for part in parts), "only what can be continued is kept"


def world() -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact(f"{size}", size=size) for size in SIZES])
    return world


def client_of(sim: Simulator, tls: TLS, attempts: int = 5) -> Client:
    policy = RetryPolicy(base=0.001, attempts=attempts)
    return Client(sim.token, host=sim.url, retry=policy, timeouts=Timeouts(stall=0.5), ssl_context=tls.client)


async def download(client: Client, out: Path) -> Report:
    return await client.download(SLUG, job=1, to=out, options=DownloadOptions(buffer=64 * KIB))


def assert_right(sim: Simulator, out: Path, *absent: int) -> None:
    for size in SIZES:
        assert (out / f"0/{size}").exists() == (size not in absent)
        if size not in absent:
            assert (out / f"0/{size}").read_bytes() == sim.world.artifact_bytes(SLUG, 1, f"{size}")


async def test_every_byte_arrives_and_connections_are_used_again(tls: TLS, out: Path) -> None:
    async with Simulator(world(), ssl_context=tls.server) as sim, client_of(sim, tls) as client:
        assert sim.storage_url.startswith("https://")
        report = await download(client, out)
        assert report.ok, report.failures
        assert set(sim.stats.fetches.values()) == {1}
        assert_right(sim, out)


@pytest.mark.parametrize("fault", ["cut-body", "cut-chunked", "stall", "stall-half", "drop", "reset"])
async def test_what_passes_is_tried_again_and_what_arrived_is_not_fetched_twice(
    tls: TLS, out: Path, fault: str
) -> None:
    async with Simulator(world(), ssl_context=tls.server) as sim, client_of(sim, tls) as client:
        struck = sim.faults.add(fault, 1, match="/5000000", place="storage")
        report = await download(client, out)
        assert struck.struck == 1
        assert report.ok, report.failures
        assert_right(sim, out)
        asked = [one.headers.get("Range") for one in sim.requests if one.origin == "storage" and "/50" in one.path]
    assert len(asked) == 2
    if fault in {"cut-body", "stall-half"}:
        assert asked[1] is not None, "what arrived was kept"


@pytest.mark.parametrize(("fault", "code"), [("cut-body", "interrupted"), ("stall-half", "deadline")])
async def test_what_does_not_pass_fails_and_the_others_arrive(tls: TLS, out: Path, fault: str, code: str) -> None:
    async with Simulator(world(), ssl_context=tls.server) as sim, client_of(sim, tls, attempts=2) as client:
        sim.faults.add(fault, match="/(1000|5000000)", place="storage")
        report = await download(client, out)
        assert {one.code for one in report.failures} == {code}
        assert_right(sim, out, 1000, 5_000_000)


async def test_a_cancellation_in_the_middle_of_a_large_body_leaves_nothing_behind_and_the_next_run_goes_on(
    tls: TLS, out: Path
) -> None:
    async with Simulator(world(), ssl_context=tls.server) as sim, client_of(sim, tls) as client:
        held = sim.faults.add("stall-half", 1, match="/5000000")
        before = asyncio.all_tasks()
        with anyio.move_on_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(download, client, out)
                parts = out / ".aiocircle/parts"
                while not (held.struck and parts.exists() and any(map(_size, parts.iterdir()))):
                    await anyio.sleep(0.001)
                group.cancel_scope.cancel()
        ours = {
            task for task in asyncio.all_tasks() - before if "aiocircle/testing" not in repr(task.get_stack(limit=1))
        }
        assert not [task for task in ours if "web_protocol" not in repr(task)]
        assert not (out / "0/5000000").exists()
        report = await download(client, out)
        assert report.ok
        assert_right(sim, out)
        asked = [one.headers.get("Range") for one in sim.requests if one.origin == "storage" and "/50" in one.path]
    assert asked[-1] is not None, "what arrived before was kept"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


async def test_bytes_behind_the_end_of_a_body_are_no_answer_to_the_next_request(tls: TLS) -> None:
    """A host that says too much over a connection that is used again could answer what was not asked yet."""
    body, forged = os.urandom(600 * KIB), reply(body=b"forged")

    async with (
        RawHost(lambda asked: reply(body=body) + forged, tls.server) as host,
        opened(host.url, ssl_context=tls.client) as seen,
    ):
        for _ in range(3):
            assert await seen.bytes_of(f"{host.url}/x") == body


@pytest.mark.parametrize(
    ("end", "words"), [(Close, "closed the connection without an answer"), (Hang, "sent less than|sent nothing for")]
)
async def test_a_head_that_breaks_off_is_an_error_in_words(tls: TLS, end: type[Close] | type[Hang], words: str) -> None:
    def answer(_asked: object) -> list[Part]:
        return [b"HTTP/1.1 200 OK\r\nContent-Le", end()]

    limits = Timeouts(stall=0.3)
    async with (
        RawHost(answer, tls.server) as host,
        opened(host.url, timeouts=limits, retry=RetryPolicy(attempts=1), ssl_context=tls.client) as seen,
    ):
        with pytest.raises(TransportError, match=rf"^127\.0\.0\.1 {words}"):
            await asyncio.wait_for(seen.bytes_of(f"{host.url}/x"), 10)


async def test_a_certificate_that_nobody_signed_is_final_and_says_what_to_do(tls: TLS) -> None:
    async with RawHost(lambda asked: reply(body=b"x"), tls.server) as host, opened(host.url) as seen:
        with pytest.raises(ConnectError, match="no secure connection") as caught:
            await seen.bytes_of(f"{host.url}/x")
        assert host.asked == []
    assert caught.value.permanent
    assert "SSL_CERT_FILE" in (caught.value.hint or "")


async def test_a_large_file_comes_by_several_connections_where_one_is_the_limit(
    tls: TLS, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(width, "WORTH_TRYING", 1.0)
    size = 40 * KIB * KIB
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("large", size=size)])
    async with Simulator(world, ssl_context=tls.server, rate=size / 4) as sim, client_of(sim, tls) as client:
        assert (await client.download(SLUG, job=1, to=out)).ok
        assert sum("Range" in one.headers for one in sim.requests) > 1
        assert (out / "0/large").read_bytes() == sim.world.artifact_bytes(SLUG, 1, "large")


def refuse(listening: socket.socket, context: ssl.SSLContext) -> None:
    """Take connections, and close each when the other side has heard that its certificate is missing."""
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with connection.dup() as plain, context.wrap_socket(connection, True, do_handshake_on_connect=False) as tls:
                with suppress(ssl.SSLError):
                    tls.do_handshake()
                while plain.recv(4096):
                    pass


async def test_a_certificate_that_the_host_misses_is_said_in_words_of_tls(tls: TLS) -> None:
    """OpenSSL counts its errors, too: its number 1 is no operation that is not permitted."""
    tls.server.verify_mode = ssl.CERT_REQUIRED
    tls.server.load_verify_locations(tls.certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=refuse, args=(listening, tls.server))
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        async with opened(url, ssl_context=tls.client, retry=RetryPolicy(attempts=1)) as seen:
            for asked in (seen.get(), seen.bytes_of(f"{url}/x")):
                with pytest.raises(TransportError, match="broke: tlsv13 alert certificate required"):
                    await asked
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
