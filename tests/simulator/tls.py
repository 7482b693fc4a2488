"""A certificate for 127.0.0.1 that nobody signed, and contexts of TLS with it."""

import ssl
import subprocess
from pathlib import Path

import pytest
from attrs import frozen


@frozen
class TLS:
    """Where a certificate and its key lie; a server's context with them, and a client's that trusts it."""

    certificate: Path
    key: Path
    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate and its key."""
    directory = tmp_path_factory.mktemp("tls")
    key, made = directory / "key.pem", directory / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    try:
        subprocess.run([*command.split(), "-keyout", key, "-out", made], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"NO TLS TEST: the openssl program, which makes a certificate, is missing or fails ({error})")
    return made, key


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> TLS:
    """Return contexts of a test's own."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    return TLS(*certificate, server, ssl.create_default_context(cafile=str(certificate[0])))
