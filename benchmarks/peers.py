"""What a user would pick instead, as data: a name, the programs it needs, and the command.

Each peer gets the address of the listing and an empty directory, and does the whole work from there, as a person with
a shell would have it done. Peers that cannot read a listing get the addresses out of it in the way the guide does, and
their names from the addresses, which works here because no name needs quoting.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from attrs import frozen

from benchmarks.world import PROJECT, TOKEN

HERE: Final = Path(__file__).resolve().parent
RECIPE: Final = "recipe"
OURS: Final = "aiocircle"

_LISTED: Final = """curl -s -X GET "$LISTING" \
    --header "Content-Type: application/json" --header "Accept: application/json" \
    --header "Circle-Token: $CIRCLE_TOKEN" | grep -o 'https\\?://[^"]*'"""

# https://circleci.com/docs/api-developers-guide/#download-artifacts, for http as well, and without the progress bar.
_RECIPE: Final = f"""cd "$OUTPUT" && {_LISTED} | wget --ca-certificate="$SSL_CERT_FILE" \
    --header="Circle-Token: $CIRCLE_TOKEN" -nv -i -"""

_CURL: Final = f"""set -o pipefail
{_LISTED} | sed -E 's#^.*/artifacts/(.*)$#url = "&"\\noutput = "\\1"#' > listing.txt && cd "$OUTPUT" &&
exec curl -s --no-progress-meter --fail --parallel --parallel-max AT_ONCE --create-dirs \
    --header "Circle-Token: $CIRCLE_TOKEN" --config ../listing.txt"""

_ARIA2: Final = f"""set -o pipefail
{_LISTED} | sed -E 's#^.*/artifacts/(.*)$#&\\n  out=\\1#' > listing.txt &&
exec aria2c --no-conf -q -j16 --file-allocation=none --ca-certificate="$SSL_CERT_FILE" \
    --header="Circle-Token: $CIRCLE_TOKEN" --dir "$OUTPUT" -i listing.txt"""


@frozen
class Task:
    """One download: which job of which host, into which directory, and the certificate to trust."""

    origin: str
    job: int
    output: Path
    certificate: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a peer finds in its environment besides the usual."""
        listing = f"{self.origin}/api/v2/project/{PROJECT}/{self.job}/artifacts"
        trusted = str(self.certificate)
        return {
            "LISTING": listing,
            "OUTPUT": str(self.output),
            "CIRCLE_TOKEN": TOKEN,
            "SSL_CERT_FILE": trusted,  # what OpenSSL reads, and so Python and curl
            "CURL_CA_BUNDLE": trusted,
            "REQUESTS_CA_BUNDLE": trusted,
        }


@frozen
class Peer:
    """One way to download a job's artifacts.

    Attributes:
        name: How the tables call it.
        missing: What it needs and this machine lacks; empty if it can run.
        version: The version of what does the work.
        command: The command for a task.
        is_for_slow_links: It differs from another one in how many files are in flight, which matters there only.
    """

    name: str
    missing: Callable[[], str]
    version: Callable[[], str]
    command: Callable[[Task], list[str]]
    is_for_slow_links: bool = False


def _programs(*names: str) -> Callable[[], str]:
    return lambda: " ".join(name for name in names if not shutil.which(name))


def _modules(*names: str) -> Callable[[], str]:
    return lambda: " ".join(name for name in names if not _importable(name))


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _version_of_program(name: str) -> Callable[[], str]:
    def ask() -> str:
        told = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
        found = re.search(r"[0-9]+(?:\.[0-9]+)+", told.stdout)
        return found[0] if found else "?"

    return ask


def _version_of_packages(*names: str) -> Callable[[], str]:
    return lambda: ", ".join(f"{name} {version(name)}" for name in names)


def _own_version() -> str:
    try:
        return version("aiocircle")
    except PackageNotFoundError:
        from aiocircle import __version__  # noqa: PLC0415 -- a checkout that is not installed

        return __version__


def _shell(script: str) -> Callable[[Task], list[str]]:
    return lambda _task: ["bash", "-c", script]


def _script(name: str) -> Callable[[Task], list[str]]:
    return lambda _task: [sys.executable, str(HERE / name)]


def _ours(task: Task) -> list[str]:
    options = ["--job", str(task.job), "-o", str(task.output), "--host", task.origin, "-q"]
    return [sys.executable, "-m", "aiocircle", "download", PROJECT, *options]


def _ours_128(task: Task) -> list[str]:
    return [*_ours(task), "--concurrency", "128"]


_PEERS: Final = (
    Peer(RECIPE, _programs("bash", "curl", "grep", "wget"), _version_of_program("wget"), _shell(_RECIPE)),
    Peer(
        "curl-parallel",
        _programs("bash", "curl", "grep", "sed"),
        _version_of_program("curl"),
        _shell(_CURL.replace("AT_ONCE", "64")),
    ),
    Peer("aria2c", _programs("bash", "curl", "grep", "sed", "aria2c"), _version_of_program("aria2c"), _shell(_ARIA2)),
    Peer(
        "aria2c-x8",
        _programs("bash", "curl", "grep", "sed", "aria2c"),
        _version_of_program("aria2c"),
        _shell(_ARIA2.replace("-j16", "-j16 -x8 -s8 -k1M")),
        is_for_slow_links=True,
    ),
    Peer(
        "aiofiles-script",
        _modules("aiohttp", "aiofiles"),
        _version_of_packages("aiohttp", "aiofiles"),
        _script("naive_aiofiles.py"),
    ),
    Peer("parfive", _modules("parfive"), _version_of_packages("parfive"), _script("naive_parfive.py")),
    Peer("pycircleci", _modules("pycircleci"), _version_of_packages("pycircleci"), _script("naive_pycircleci.py")),
    Peer(OURS, _modules("aiocircle.__main__"), _own_version, _ours),
    Peer(
        "curl-parallel-128",
        _programs("bash", "curl", "grep", "sed"),
        _version_of_program("curl"),
        _shell(_CURL.replace("AT_ONCE", "128")),
        is_for_slow_links=True,
    ),
    Peer("aiocircle-128", _modules("aiocircle.__main__"), _own_version, _ours_128, is_for_slow_links=True),
)
PEERS: Final[Mapping[str, Peer]] = {peer.name: peer for peer in _PEERS}
