"""Object stores of the tests' own, on 127.0.0.1: SeaweedFS speaks S3, Azurite Azure's protocol.

scripts/test installs them once and says where they lie: ``WEED``, ``AZURITE``. For Google's there is no server that
takes what obstore sends (fake-gcs-server 1.54 and gcp-storage-emulator take objects by the JSON interface only, and
obstore uses the XML one); `google_like` is as near as it gets.
"""

import base64
import email.utils
import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from benchmarks.seaweed import BUCKET, SECRET, WEED, Server, free_ports, running, s3_server

__all__ = ["SECRET", "Server", "azure_server", "s3", "s3_server"]

AZURITE = os.environ.get("AZURITE", "")
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # Azurite's, public
)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not WEED:
        pytest.skip("NO TEST AGAINST S3: it needs SeaweedFS, which scripts/test installs")
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@contextmanager
def azure_server(directory: Path) -> Iterator[Server]:
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    command = [AZURITE, "--silent", "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    environ = {
        "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
        "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
        "AZURE_STORAGE_ENDPOINT": f"{endpoint}/devstoreaccount1",
        "AZURE_ALLOW_HTTP": "true",
    }
    url = f"{endpoint}/devstoreaccount1/{BUCKET}"
    with running(command, directory, lambda: make_container(url)):
        yield Server(f"az://{BUCKET}/some prefix", environ, url)


def make_container(url: str) -> None:
    dated = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    named = [f"{name}:{value}" for name, value in dated.items()]
    text = "\n".join(["PUT", *[""] * 11, *named, f"/devstoreaccount1/devstoreaccount1/{BUCKET}", "restype:container"])
    signature = base64.b64encode(hmac.digest(base64.b64decode(AZURE_KEY), text.encode(), "sha256")).decode()
    signed = {**dated, "Authorization": f"SharedKey devstoreaccount1:{signature}"}
    urlopen(Request(f"{url}?restype=container", method="PUT", headers=signed), timeout=10).close()
