"""A real nginx with a job's artifacts, behind a token, and the listing that CircleCI would give of them.

Everything is static. The listing is the file ``listing/<job>/<page token>.json``, and ``all.json`` beside it for API
v1.1, which has no pages; the artifacts have addresses of today's form, ``/output/job/<uuid>/artifacts/<node>/<path>``,
on the same origin.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

KIB: Final = 1024
MIB: Final = 1024 * KIB
PROJECT: Final = "gh/acme/web"
TOKEN: Final = "benchmark-token"

_FILES_PER_DIRECTORY: Final = 100
_NODES: Final = 2
_BLOCK: Final = 8 * MIB
_START_SECONDS: Final = 10


@frozen
class Workload:
    """One job's artifacts: so many files of one size; and the link to them.

    Attributes:
        delay: Seconds by which every answer comes later.
        rate: Bytes a second that a connection carries; 0 for what it can.
        secure: Whether it is reached by https.
    """

    name: str
    job: int
    count: int
    size: int
    delay: float = 0.0
    rate: float = 0.0
    secure: bool = False

    @property
    def is_slow(self) -> bool:
        """Whether the link has latency."""
        return bool(self.delay)

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.count * self.size

    def __str__(self) -> str:
        unit, divisor = ("MiB", MIB) if self.size >= MIB else ("KiB", KIB)
        link = f", {self.delay * 1000:g} ms an answer" if self.delay else ""
        link += f", {self.rate / 1e6:g} MB/s a connection" if self.rate else ""
        link += ", https" if self.secure else ""
        return f"{self.name}: {self.count:,} x {self.size // divisor} {unit}{link}"


FULL: Final = (
    Workload("small", 1, 10_000, 8 * KIB),
    Workload("medium", 2, 1_000, MIB),
    Workload("large", 3, 4, 512 * MIB),
    Workload("far", 4, 2_000, 32 * KIB, delay=0.05),
    Workload("narrow", 5, 2_000, 32 * KIB, delay=0.02, rate=20e6),
    Workload("few", 6, 1, 512 * MIB, delay=0.02, rate=20e6),
    Workload("small-tls", 7, 10_000, 8 * KIB, secure=True),
    Workload("medium-tls", 8, 1_000, MIB, secure=True),
    Workload("large-tls", 9, 4, 512 * MIB, secure=True),
    Workload("far-tls", 10, 2_000, 32 * KIB, delay=0.05, secure=True),
)
QUICK: Final = (
    Workload("small", 1, 1_000, 8 * KIB),
    Workload("medium", 2, 100, MIB),
    Workload("large", 3, 2, 128 * MIB),
    Workload("far", 4, 200, 32 * KIB, delay=0.05),
    Workload("narrow", 5, 200, 32 * KIB, delay=0.02, rate=20e6),
    Workload("few", 6, 1, 128 * MIB, delay=0.02, rate=20e6),
    Workload("small-tls", 7, 1_000, 8 * KIB, secure=True),
    Workload("medium-tls", 8, 100, MIB, secure=True),
    Workload("large-tls", 9, 2, 128 * MIB, secure=True),
    Workload("far-tls", 10, 200, 32 * KIB, delay=0.05, secure=True),
)


@frozen
class Origins:
    """Where nginx is reached, by http and by https; and whom to trust for the latter."""

    plain: str
    secure: str
    certificate: Path


def find_nginx() -> str | None:
    """Return nginx's path. Debian puts it where only root's PATH looks."""
    return shutil.which(
        "nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    )


@contextmanager
def served(nginx: str, prefix: Path, everywhere: str = "") -> Iterator[Origins]:
    """Run nginx over a directory for the length of a block and give its origins.

    Args:
        nginx: The program.
        prefix: The directory.
        everywhere: A file of it that every artifact's address leads to, as ``/name``; without it, its own.
    """
    port, secure_port = _free_port(), _free_port()
    certificate = _certified(prefix)
    (prefix / "nginx.conf").write_text(_configuration(prefix, port, secure_port, everywhere))
    command = [nginx, "-p", str(prefix), "-c", str(prefix / "nginx.conf"), "-e", str(prefix / "error.log")]
    process = subprocess.Popen(command)
    try:
        _wait_for(process, port, prefix)
        yield Origins(f"http://127.0.0.1:{port}", f"https://127.0.0.1:{secure_port}", certificate)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def reached(workload: Workload, origins: Origins) -> Iterator[str]:
    """Give the origin by which a workload is reached: through a slow link, if it has one."""
    origin = origins.secure if workload.secure else origins.plain
    if not workload.is_slow:
        yield origin
        return
    port = _free_port()
    scheme, host, upstream = origin.split(":")
    link = [sys.executable, str(Path(__file__).with_name("slow.py")), str(port), upstream]
    process = subprocess.Popen([*link, str(workload.delay), str(workload.rate)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield f"{scheme}:{host}:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def published(workload: Workload, prefix: Path, origin: str, page_size: int) -> Iterator[None]:
    """Put a job's artifacts and their listing under the prefix for the length of a block."""
    job = str(uuid.UUID(int=workload.job))
    artifacts = prefix / "output" / "job" / job / "artifacts"
    listing = prefix / "listing" / str(workload.job)
    places = [_place(number) for number in range(workload.count)]
    items = [
        {"path": path, "node_index": node, "url": f"{origin}/output/job/{job}/artifacts/{node}/{path}"}
        for node, path in places
    ]
    try:
        _write_files([artifacts / str(node) / path for node, path in places], workload.size)
        _write_pages(listing, items, page_size or workload.count)
        yield
    finally:
        shutil.rmtree(artifacts, ignore_errors=True)
        shutil.rmtree(listing, ignore_errors=True)


def _place(number: int) -> tuple[int, str]:
    return number % _NODES, f"reports/{number // _FILES_PER_DIRECTORY:03d}/{number:05d}.bin"


def _write_files(files: list[Path], size: int) -> None:
    block = random.Random(0).randbytes(min(size, _BLOCK))
    for directory in {file.parent for file in files}:
        directory.mkdir(parents=True)
    for file in files:
        with file.open("wb") as out:
            for _ in range(size // len(block)):
                out.write(block)


def _write_pages(directory: Path, items: list[dict[str, object]], size: int) -> None:
    directory.mkdir(parents=True)
    for page, start in enumerate(range(0, len(items), size)):
        more = start + size < len(items)
        body = {"items": items[start : start + size], "next_page_token": str(page + 1) if more else None}
        (directory / f"{page}.json").write_text(json.dumps(body, separators=(",", ":")))
    (directory / "all.json").write_text(json.dumps(items, separators=(",", ":")))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], port: int, prefix: Path) -> None:
    for _ in range(_START_SECONDS * 100):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    log = prefix / "error.log"
    raise RuntimeError(f"nginx did not start: {log.read_text() if log.exists() else 'it left no log'}")


def _certified(prefix: Path) -> Path:
    """Make a key and a certificate that signs itself, of the kind that most hosts have."""
    certificate = prefix / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    where = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(prefix / "key.pem"), "-out", str(certificate)]
    subprocess.run([*command.split(), *where], check=True, capture_output=True)
    return certificate


def _configuration(prefix: Path, port: int, secure_port: int, everywhere: str) -> str:
    # Started as root, its workers would become a user who cannot read a private temporary directory.
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"    {kind}_temp_path {prefix}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
{user}
daemon off;
worker_processes 2;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log;
events {{ worker_connections 2048; }}
http {{
{temporary}
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    default_type application/octet-stream;
    map $args $page {{
        default 0;
        "~(?:^|&)page-token=(?<token>[0-9]+)" $token;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        listen 127.0.0.1:{secure_port} ssl backlog=1024;
        ssl_certificate {prefix}/certificate.pem;
        ssl_certificate_key {prefix}/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        root {prefix};
        absolute_redirect off;
        if ($http_circle_token != "{TOKEN}") {{ return 401; }}
        location ~ ^/api/v2/project/{PROJECT}/(?<job>[0-9]+)/artifacts$ {{
            default_type application/json;
            try_files /listing/$job/$page.json =404;
        }}
        location ~ ^/api/v1.1/project/github/{PROJECT.removeprefix("gh/")}/(?<job>[0-9]+)/artifacts$ {{
            default_type application/json;
            try_files /listing/$job/all.json =404;
        }}
        location /api/ {{
            default_type application/json;
            return 404 '{{"message":"Not found."}}';
        }}
        location /output/ {{ {f"try_files {everywhere} =404;" if everywhere else ""} }}
        location / {{ return 404; }}
    }}
}}
"""
