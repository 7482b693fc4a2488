"""The stores under which faults are looked at, and what stands in each under final names."""

import hashlib
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from attrs import evolve, field, frozen

from aiocircle import DownloadOptions
from benchmarks.seaweed import WEED, Server, s3_server


class FaultStore(Protocol):
    """An output that can be read again."""

    @property
    def output(self) -> str:
        """What ``-o`` would take."""
        ...

    def options(self, options: DownloadOptions) -> DownloadOptions:
        """Return options of a run with what this store needs."""
        ...

    def files(self) -> dict[str, bytes] | None:
        """Return what stands under final names; ``None`` if there is no output, as when an archive was not finished."""
        ...

    def faults(self) -> Iterator[str]:
        """Tell in words what is wrong with the output itself."""
        ...


@frozen
class Directory:
    """A directory of the local disk."""

    output: str

    def options(self, options: DownloadOptions) -> DownloadOptions:
        """Return options of a run with what this store needs."""
        return options

    def files(self) -> dict[str, bytes] | None:
        """Return what stands under final names."""
        found = {str(one.relative_to(self.output)): one for one in Path(self.output).rglob("*") if one.is_file()}
        return {name: one.read_bytes() for name, one in found.items() if not name.startswith(".aiocircle/")}

    def faults(self) -> Iterator[str]:
        """Parts that no later run could continue have no reason to be there."""
        parts = Path(self.output, ".aiocircle/parts")
        if parts.exists():
            yield from (f"PART LEFT {one.name}" for one in parts.iterdir() if "-" not in one.name)


@frozen
class EqualFilesOnce(Directory):
    """The same with ``--dedupe``."""

    def options(self, options: DownloadOptions) -> DownloadOptions:
        """Return options of a run with what this store needs."""
        return evolve(options, dedupe=True)

    def faults(self) -> Iterator[str]:
        """Every name is a link to an object, and every object is what its name says."""
        yield from super().faults()
        objects = {}
        for one in Path(self.output, ".aiocircle/objects").rglob("*"):
            if one.is_file():
                objects[one.stat().st_ino] = one
                if hashlib.sha256(one.read_bytes()).hexdigest() != one.parent.name + one.name:
                    yield f"WRONG OBJECT {one.name}"
        for name in self.files() or ():
            if Path(self.output, name).stat().st_ino not in objects:
                yield f"NO OBJECT of {name}"


@frozen
class Tar:
    """One tar, which has its name if the run came to its end."""

    output: str

    def options(self, options: DownloadOptions) -> DownloadOptions:
        """Return options of a run with what this store needs."""
        return options

    def files(self) -> dict[str, bytes] | None:
        """Return what stands under final names."""
        if not Path(self.output).exists():
            return None
        with tarfile.open(self.output) as archive:
            opened = {one.name: archive.extractfile(one) for one in archive}
            return {name: b"" if one is None else one.read() for name, one in opened.items()}

    def faults(self) -> Iterator[str]:
        """What an archive was made of goes with the run."""
        yield from (f"LEFT BESIDE {one.name}" for one in Path(self.output).parent.glob(".*.aiocircle"))


@frozen
class Bucket:
    """A prefix of a bucket of SeaweedFS, whose credentials are in the environment."""

    server: Server
    prefix: str
    state: Path
    output: str = field(init=False)

    @output.default
    def _address(self) -> str:
        return f"{self.server.address}/{self.prefix}"

    def options(self, options: DownloadOptions) -> DownloadOptions:
        """Return options of a run with what this store needs."""
        return evolve(options, state=self.state)

    def files(self) -> dict[str, bytes] | None:
        """Return what stands under final names."""
        below = f"{self.prefix}/"
        return {name: self.server.read(f"some prefix/{below}{name}") for name in self.server.sizes(below)}

    def faults(self) -> Iterator[str]:
        """Pieces cost money for as long as nobody removes them."""
        yield from (f"PIECES LEFT of {key}" for key in self.server.uploads(f"{self.prefix}/"))
        yield from (f"PART LEFT {one.name}" for one in (self.state / "parts").glob("*") if "-" not in one.name)


class Stores:
    """Makes stores by name, each new: ``local``, ``dedupe``, ``tar`` and, with a server, ``s3``."""

    def __init__(self, directory: Path, server: Server | None) -> None:
        self._directory = directory
        self._server = server
        self._made = 0

    @property
    def names(self) -> list[str]:
        """The names of those that there can be."""
        return ["local", "dedupe", "tar", *(["s3"] if self._server else [])]

    def make(self, name: str) -> FaultStore:
        """Return a new store of a kind."""
        self._made += 1
        place = self._directory / f"{name}-{self._made}"
        if name == "s3":
            assert self._server is not None
            return Bucket(self._server, f"{self._directory.name}-{self._made}", place)
        if name == "tar":
            return Tar(f"{place}.tar")
        return {"local": Directory, "dedupe": EqualFilesOnce}[name](str(place))


@contextmanager
def stores() -> Iterator[Stores]:
    """Give the stores; a bucket is one of them where SeaweedFS is installed."""
    with TemporaryDirectory() as directory:
        if not WEED:
            yield Stores(Path(directory), None)
            return
        home = Path(directory, "seaweed")
        home.mkdir()
        with s3_server(home) as server, environment(server.environ):
            yield Stores(Path(directory), server)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for as long as this lasts, since that is where obstore looks for credentials."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
