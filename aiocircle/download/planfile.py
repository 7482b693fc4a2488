"""A plan: what a selection came to, to be downloaded at once, later, elsewhere, or in parts.

A plan that was made is held in memory, compressed: lines of a plan are so much alike that an artifact takes some twenty
bytes, which is less than knowing its name does while it is downloaded. So a plan has no file or descriptor that
somebody would have to give back. One that was read stays in its file. Either way it is unpacked and read some lines at
a time, while it is downloaded.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Self

from attrs import field, frozen

from aiocircle.api import Artifact
from aiocircle.crawl.fanout import JobRef
from aiocircle.crawl.selection import Selection
from aiocircle.download.plan import AT_ONCE, JobListed, Listed, PlanStep
from aiocircle.download.planlines import (
    VERSION,
    artifact_line,
    artifact_of,
    end_line,
    header_line,
    job_line,
    job_of,
    parsed,
)
from aiocircle.download.replacing import replacing
from aiocircle.download.report import Report
from aiocircle.download.stores import explained
from aiocircle.endings import finish
from aiocircle.errors import ConfigurationError
from aiocircle.given import check_path

LINES = 500  # packed at once
READ = 256 * 1024  # bytes read at once
AGAIN = "make the plan again; what it has brought so far is kept"


@frozen(eq=False)
class Plan:
    """What is to be downloaded: ``await client.artifacts.plan(...)`` makes one, ``Plan.read`` reads one from a file.

    Attributes:
        host: The API's origin that it was made from.
        is_one_job: All of it is of a job that was named, so names need no job in them.
        path: The file that it was read from, which it stays in; ``None`` if it was made here.
        report: What came of the listing; ``None`` if it was read. What could not be listed is among its failures, and
            not in the plan.
    """

    host: str
    is_one_job: bool
    path: Path | None = field(default=None, kw_only=True)
    report: Report | None = field(default=None, kw_only=True)
    _header: str = field(repr=False, kw_only=True, alias="header")
    _packed: tuple[bytes, ...] = field(default=(), repr=False, kw_only=True, alias="packed")

    @classmethod
    async def read(cls, path: str | Path) -> Self:
        """Read what a plan says of itself; what is in it is read while it is downloaded.

        Raises:
            StoreError: The file cannot be read.
            ConfigurationError: It is no plan, or one of a newer version.
        """
        check_path(path, "the plan's file")
        line = await finish(asyncio.to_thread(_first_line, Path(path)))
        header = parsed(line)
        if header.get("type") != "plan" or not isinstance(header.get("host"), str):
            raise ConfigurationError(f"{path} is no plan", hint="make one with aiocircle download ... --plan FILE")
        if header.get("version") != VERSION:
            raise ConfigurationError(f"{path} is a plan of version {header.get('version')}, which is not known here")
        return cls(header["host"], header.get("one_job") is True, path=Path(path), header=line)

    async def save(self, path: str | Path) -> None:
        """Write the plan to a file for ``Plan.read``, here or elsewhere. It holds no token and no signature.

        Args:
            path: Replaced when the plan is written. A cancellation waits for that.

        Raises:
            StoreError: The file cannot be written.
            UnsafePathError: A directory has this name.
        """
        check_path(path, "the plan's file")
        await finish(asyncio.to_thread(self._write, Path(path)))

    def _write(self, path: Path) -> None:
        with replacing(path) as file, ExitStack() as opened:
            file.write(self._header.encode())
            for lines in self._batches(opened):
                file.writelines(map(str.encode, lines))

    def check_host(self, host: str) -> None:
        """Refuse a client of another host: the token that it would show is not for this one.

        Raises:
            ConfigurationError: It is of another one.
        """
        if host != self.host:
            raise ConfigurationError(
                f"the plan is of {self.host}, and this client talks to {host}",
                hint="name the plan's host: --host, CIRCLE_HOST or Client(host=...)",
            )

    async def steps(self) -> AsyncGenerator[PlanStep, None]:
        """Yield what is in it, in order.

        Raises:
            StoreError: The file cannot be read.
            ConfigurationError: Something in it is wrong, or its end is missing.
        """
        job: JobRef | None = None
        count = total = 0
        gathered: list[Artifact] = []
        async with aclosing(self._lines()) as lines:
            async for number, line in lines:
                values = parsed(line)
                kind = values.get("type")
                if job is not None and gathered and (kind in {"job", "end"} or len(gathered) == AT_ONCE):
                    yield Listed(job=job, artifacts=gathered)
                    gathered = []
                if job is not None and kind in {"job", "end"}:
                    yield JobListed(job=job, count=count)
                if kind == "end" and values.get("artifacts") == total:
                    return
                try:
                    if kind == "job":
                        job, count = job_of(values), 0
                        continue
                    artifact = artifact_of(values)
                except (KeyError, TypeError, ValueError, ConfigurationError):
                    raise ConfigurationError(f"{self.path}, line {number}, is not of a plan", hint=AGAIN) from None
                if job is None:
                    raise ConfigurationError(f"{self.path}, line {number}: an artifact before its job", hint=AGAIN)
                count, total = count + 1, total + 1
                gathered.append(artifact)
        raise ConfigurationError(f"{self.path} was cut: its last line is missing", hint=AGAIN)

    async def _lines(self) -> AsyncGenerator[tuple[int, str], None]:
        number = 1
        with ExitStack() as opened:
            batches = self._batches(opened)
            while lines := await finish(asyncio.to_thread(next, batches, None)):
                for line in lines:
                    number += 1
                    yield number, line

    def _batches(self, opened: ExitStack) -> Iterator[list[str]]:
        """Yield the lines after the first, some at a time; what is opened for that is closed by ``opened``."""
        if self.path is None:
            unpacker = zlib.decompressobj()
            for piece in self._packed:
                yield unpacker.decompress(piece).decode("ascii").splitlines(keepends=True)
            return
        with explained(str(self.path)):
            file = opened.enter_context(self.path.open(encoding="utf-8", errors="replace"))
            file.readline()
            while lines := file.readlines(READ):
                yield lines


def _first_line(path: Path) -> str:
    with explained(str(path)):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ConfigurationError(f"{path} is no file, and a plan is read twice", hint="save it to a file first")
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline(READ)


class Packer:
    """Gathers a plan's lines.

    Args:
        host: The API's origin.
        selection: What is planned.
    """

    def __init__(self, host: str, selection: Selection) -> None:
        self._host = host
        self._selection = selection
        self._job: JobRef | None = None
        self._count = 0
        self._lines: list[str] = []
        self._packed: list[bytes] = []
        self._packer = zlib.compressobj()

    def add(self, job: JobRef, artifact: Artifact) -> None:
        """Take in an artifact, behind those of its job."""
        if job != self._job:
            self._job = job
            self._lines.append(job_line(job))
        self._lines.append(artifact_line(artifact))
        self._count += 1
        if len(self._lines) >= LINES:
            self._pack()

    def _pack(self) -> None:
        """Compress what was gathered so that it can be unpacked as it was: whole lines, before what comes later."""
        text = "".join(self._lines).encode("ascii")
        self._lines.clear()
        self._packed.append(self._packer.compress(text) + self._packer.flush(zlib.Z_SYNC_FLUSH))

    def plan(self, report: Report) -> Plan:
        """Return the plan."""
        self._lines.append(end_line(self._count))
        self._pack()
        return Plan(
            self._host,
            self._selection.is_one_job,
            report=report,
            header=header_line(self._host, self._selection),
            packed=tuple(self._packed),
        )
