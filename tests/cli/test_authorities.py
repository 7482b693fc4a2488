"""Whom the command trusts: as everywhere, the system's authorities, or those that ``SSL_CERT_FILE`` names."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tls import TLS

from aiocircle.testing import FakeArtifact, Simulator, World

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SLUG = "gh/acme/web"


@pytest.fixture
def host(tls: TLS) -> Iterator[str]:
    """Serve a job over TLS from another thread, and return the origin."""
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=700_000)])
    listening, over, origins = threading.Event(), asyncio.Event(), list[str]()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with Simulator(world, ssl_context=tls.server) as simulator:
            origins.append(simulator.url)
            listening.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert listening.wait(20)
    yield origins[0]
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


def test_an_authority_that_was_named_is_trusted_and_no_other(
    aiocircle: Run, host: str, tls: TLS, tmp_path: Path
) -> None:
    command = ("download", SLUG, "--job", 1, "--host", host, "-o", "out", "--retries", "0")
    refused = aiocircle(*command)
    assert refused.returncode == 4
    assert "no secure connection to 127.0.0.1: self-signed certificate" in refused.stderr
    assert "SSL_CERT_FILE" in refused.stderr
    trusted = aiocircle(*command, SSL_CERT_FILE=str(tls.certificate))
    assert trusted.returncode == 0, trusted.stderr
    assert (tmp_path / "out/0/f").stat().st_size == 700_000


def test_whatever_uses_a_context_of_aiohttps_own_trusts_nobody(environment: dict[str, str]) -> None:
    """The system's authorities are read once, for the command's own context; afterwards they can be read as usual."""
    code = (
        "import ssl; from aiocircle.cli.authorities import trusting\n"
        "ours = trusting(); usual = ssl.create_default_context()\n"
        "from aiohttp.connector import _SSL_CONTEXT_VERIFIED as aiohttps\n"
        "print(*(one.cert_store_stats()['x509_ca'] for one in (usual, ours, aiohttps)))\n"
        "print(ours is trusting(), *(one.verify_mode == ssl.CERT_REQUIRED for one in (ours, aiohttps)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    usual, *others = result.stdout.split()
    assert others == [usual, "0", "True", "True", "True"]


def test_who_cannot_record_keys_is_told_so_and_who_asks_nobody_is_not(
    aiocircle: Run, host: str, tls: TLS, tmp_path: Path
) -> None:
    """Python opens the file that ``SSLKEYLOGFILE`` names with every context that it makes."""
    impossible = {"SSL_CERT_FILE": str(tls.certificate), "SSLKEYLOGFILE": str(tmp_path / "missing/keys")}
    download = ("download", SLUG, "--job", 1, "--host", host, "-o", "out")
    refused = aiocircle(*download, **impossible)
    assert refused.returncode == 7
    assert "the file that SSLKEYLOGFILE names cannot be written: no such file or directory" in refused.stderr
    assert aiocircle(*download, SSL_CERT_FILE=str(tls.certificate)).returncode == 0
    for asking_nobody in (("verify", "out"), ("retry", "out"), ("completion", "bash")):
        done = aiocircle(*asking_nobody, **impossible)
        assert (done.returncode, done.stderr) == (0, "")
