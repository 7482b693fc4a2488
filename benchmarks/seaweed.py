"""SeaweedFS on 127.0.0.1, a server that speaks S3. scripts/test installs it once and says where it lies: ``WEED``."""

import json
import os
import random
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from attrs import frozen

WEED = os.environ.get("WEED", "")
BUCKET = "artifacts"
UNGIVEN = (10_000, 30_000)
KEY, SECRET = "access-key-of-tests", "secret-key-of-tests"
IDENTITIES = {
    "identities": [
        {
            "name": "tests",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        # So that tests look at it without signing, and that a front which asks for something else can pass on.
        {"name": "anonymous", "actions": ["Read", "Write", "List", "Tagging"]},
    ]
}


@frozen
class Server:
    """A server that answers.

    Attributes:
        address: A prefix in its bucket, as aiocircle takes it.
        environ: What its clients find it by.
        url: Where the bucket is read without credentials.
    """

    address: str
    environ: Mapping[str, str]
    url: str

    def sizes(self, below: str) -> dict[str, int]:
        """Return what lies below a part of the prefix, a thousand objects at most, and their sizes in bytes."""
        listed = read(f"{self.url}?list-type=2&prefix={quote(f'some prefix/{below}')}").decode()
        found = re.findall(r"<Contents>.*?<Key>([^<]+)</Key>.*?<Size>(\d+)</Size>", listed, re.DOTALL)
        return {key.removeprefix(f"some prefix/{below}"): int(size) for key, size in found}

    def read(self, key: str) -> bytes:
        """Return an object."""
        return read(f"{self.url}/{quote(key)}")

    def uploads(self, below: str) -> list[str]:
        """Return the keys of uploads that are under way, or were left behind by a kill."""
        found = re.findall(r"<Upload>.*?<Key>([^<]+)</Key>", read(f"{self.url}?uploads").decode(), re.DOTALL)
        return [key for key in found if key.startswith(f"some prefix/{below}")]


def read(url: str) -> bytes:
    with urlopen(url, timeout=20) as answer:
        body: bytes = answer.read()
        return body


def free_ports(count: int) -> list[int]:
    """Return free ports below those that connections get by themselves: such a one may be gone by the time of use."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            port = random.SystemRandom().randrange(*UNGIVEN)  # tests are seeded alike in all processes
            with suppress(OSError):
                held.enter_context(closing(socket.create_server(("127.0.0.1", port))))
                found.append(port)
    return found


@contextmanager
def running(command: list[str], directory: Path, answers: Callable[[], object]) -> Iterator[None]:
    """Run a program until it answers, and kill it in the end."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=directory)
    try:
        end = time.monotonic() + 40
        while True:
            said = (directory / "log").read_text(errors="replace")[-2000:]
            assert process.poll() is None, said
            assert time.monotonic() < end, said
            try:
                answers()
            except OSError:
                time.sleep(0.05)
            else:
                break
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def s3_server(directory: Path) -> Iterator[Server]:
    names = [f"{server}.port{more}" for server in ("master", "volume", "filer", "s3") for more in ("", ".grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    (directory / "data").mkdir()
    (directory / "s3.json").write_text(json.dumps(IDENTITIES))
    fixed = ["-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-s3.config=s3.json", "-volume.max=50"]
    fixed += ["-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64"]
    command = [WEED, "server", *fixed, *(f"-{name}={port}" for name, port in ports.items())]
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"

    def answers() -> None:
        made = Request(f"http://127.0.0.1:{ports['filer.port']}/buckets/{BUCKET}/", method="POST")
        with suppress(HTTPError):  # it is there from the last look
            urlopen(made, timeout=5).close()
        read(f"{endpoint}/{BUCKET}?list-type=2")
        # The first write waits for a volume to be made; a server that answers 500 until then does not answer yet.
        urlopen(Request(f"http://127.0.0.1:{ports['filer.port']}/warm", b"1", method="PUT"), timeout=20).close()

    environ = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
    }
    with running(command, directory, answers):
        yield Server(f"s3://{BUCKET}/some prefix", environ, f"{endpoint}/{BUCKET}")
