"""A plan in a file: what a selection came to, to be downloaded later, elsewhere, or in parts.

JSON Lines. The first line says what it is: its version, the host, the selection. Then each job is followed by its
artifacts, in the order in which names are decided, and the last line counts them, so that a plan that was cut is told
from a whole one. Addresses are written without a query: that is where a signature would be. The file gets its name when
it is complete.
"""

import json
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import aiofiles
import aiofiles.os
import anyio
from attrs import asdict, field, frozen

from aiocircle.api import Artifact
from aiocircle.download.crawl import JobRef
from aiocircle.download.plan import AT_ONCE, JobListed, Listed, PlanStep
from aiocircle.download.report import Report
from aiocircle.download.selection import Selection
from aiocircle.download.stores import explained
from aiocircle.errors import ConfigurationError
from aiocircle.slugs import ProjectSlug

VERSION = 1
LINES = 500  # written at once
READ = 256 * 1024  # bytes read at once
_PLACE = ("job_number", "job_name", "workflow_id", "workflow_name", "pipeline_number", "branch")


@frozen
class Plan:
    """What is to be downloaded, in a file. Make one with ``client.plan``, or read one.

    Attributes:
        path: The file.
        host: The API's origin that it was made from.
        is_one_job: All of it is of a job that was named, so names need no job in them.
        report: What came of the listing; ``None`` if it was read.
    """

    path: Path
    host: str
    is_one_job: bool
    report: Report | None = field(default=None, kw_only=True)

    @classmethod
    async def read(cls, path: str | Path) -> Self:
        """Read what a plan says of itself; what is in it is read while it is downloaded.

        Raises:
            StoreError: The file cannot be read.
            ConfigurationError: It is no plan, or one of a newer version.
        """
        with explained(str(path)):
            async with aiofiles.open(path, encoding="utf-8", errors="replace") as file:
                line = await file.readline(READ)
        header = _object(line)
        if header.get("type") != "plan" or not isinstance(header.get("host"), str):
            raise ConfigurationError(f"{path} is no plan", hint="make one with aiocircle download ... --plan FILE")
        if header.get("version") != VERSION:
            raise ConfigurationError(f"{path} is a plan of version {header.get('version')}, which is not known here")
        return cls(Path(path), header["host"], header.get("one_job") is True)

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
                values = _object(line)
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
                        job, count = _job(values), 0
                        continue
                    artifact = _artifact(values)
                except (KeyError, TypeError, ValueError, ConfigurationError):
                    raise ConfigurationError(f"{self.path}, line {number}, is not of a plan") from None
                if job is None:
                    raise ConfigurationError(f"{self.path}, line {number}: an artifact before its job")
                count, total = count + 1, total + 1
                gathered.append(artifact)
        raise ConfigurationError(f"{self.path} was cut: its last line is missing", hint="make the plan again")

    async def _lines(self) -> AsyncGenerator[tuple[int, str], None]:
        number = 1
        with explained(str(self.path)):
            async with aiofiles.open(self.path, encoding="utf-8", errors="replace") as file:
                await file.readline()
                while lines := await file.readlines(READ):
                    for line in lines:
                        number += 1
                        yield number, line


class PlanWriter:
    """Writes a plan, which has its name when the block is left without an exception.

    Args:
        path: The file.
        host: The API's origin.
        selection: What is planned.
    """

    def __init__(self, path: Path, host: str, selection: Selection) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        self._job: JobRef | None = None
        self._count = 0
        said = {word: value for word, value in asdict(selection, recurse=False).items() if value}
        self._lines = [
            _line("plan", version=VERSION, host=host, one_job=selection.is_one_job, selection=_plain(said)),
        ]

    async def __aenter__(self) -> Self:
        with explained(str(self._path)):
            self._file = await aiofiles.open(self._part, "x", encoding="utf-8")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._lines.append(_line("end", artifacts=self._count))
                await self._flush()
                with explained(str(self._path)):
                    await self._file.close()
                    await aiofiles.os.replace(self._part, self._path)
        finally:
            with anyio.CancelScope(shield=True), suppress(OSError):
                await self._file.close()
                await aiofiles.os.unlink(self._part)

    async def add(self, job: JobRef, artifact: Artifact) -> None:
        """Write an artifact, behind those of its job."""
        if job != self._job:
            self._job = job
            place = {name: getattr(job, name) for name in _PLACE}
            self._lines.append(_line("job", slug=str(job.slug), **_plain(place)))
        address = (artifact.url or "").partition("?")[0]
        self._lines.append(_line("artifact", node_index=artifact.node_index, path=artifact.path, url=address))
        self._count += 1
        if len(self._lines) >= LINES:
            await self._flush()

    async def _flush(self) -> None:
        lines, self._lines = self._lines, []
        with explained(str(self._path)):
            await self._file.write("".join(lines))


def _line(kind: str, **values: Any) -> str:
    return json.dumps({"type": kind, **values}, separators=(",", ":")) + "\n"


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them: what it has no word for as text."""
    return {
        name: [str(one) for one in value]
        if isinstance(value, tuple)
        else value
        if value is None or isinstance(value, int | str)
        else str(value)
        for name, value in values.items()
    }


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _job(values: dict[str, Any]) -> JobRef:
    workflow = values.get("workflow_id")
    return JobRef(
        slug=ProjectSlug.parse(values["slug"]),
        job_number=_of(int, values["job_number"]),
        job_name=_maybe(str, values.get("job_name")),
        workflow_id=None if workflow is None else UUID(workflow),
        workflow_name=_maybe(str, values.get("workflow_name")),
        pipeline_number=_maybe(int, values.get("pipeline_number")),
        branch=_maybe(str, values.get("branch")),
    )


def _artifact(values: dict[str, Any]) -> Artifact:
    if values["type"] != "artifact":
        raise ValueError(values["type"])
    return Artifact(
        node_index=_of(int, values["node_index"]),
        path=_maybe(str, values.get("path")),
        url=_maybe(str, values.get("url")),
    )


def _of(kind: type[Any], value: object) -> Any:
    if not isinstance(value, kind):
        raise TypeError(type(value).__name__)
    return value


def _maybe(kind: type[Any], value: object) -> Any:
    return None if value is None else _of(kind, value)
