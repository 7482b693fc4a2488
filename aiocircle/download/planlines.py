"""A plan's lines, which are JSON.

The first says what it is: its version, the host, the selection. Then each job is followed by its artifacts, in the
order in which names are decided, and the last line counts them, so that a plan that was cut is told from a whole one.
Addresses are written without a query: that is where a signature would be.
"""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from attrs import asdict

from aiocircle.api import Artifact
from aiocircle.codec import LARGEST_INTEGER
from aiocircle.crawl.fanout import JobRef
from aiocircle.crawl.selection import Selection
from aiocircle.slugs import ProjectSlug

VERSION = 1
_PLACE = ("job_number", "job_name", "workflow_id", "workflow_name", "pipeline_number", "branch")


def header_line(host: str, selection: Selection) -> str:
    """Return the first line."""
    said = {word: value for word, value in asdict(selection, recurse=False).items() if value}
    return _line("plan", version=VERSION, host=host, one_job=selection.is_one_job, selection=_plain(said))


def job_line(job: JobRef) -> str:
    """Return the line that goes before a job's artifacts."""
    place = {name: getattr(job, name) for name in _PLACE}
    return _line("job", slug=str(job.slug), **_plain(place))


def artifact_line(artifact: Artifact) -> str:
    """Return an artifact's line."""
    address = (artifact.url or "").partition("?")[0]
    return _line("artifact", node_index=artifact.node_index, path=artifact.path, url=address)


def end_line(artifacts: int) -> str:
    """Return the last line."""
    return _line("end", artifacts=artifacts)


def parsed(line: str) -> dict[str, Any]:
    """Return what a line says; nothing, if it is no line of a plan."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def job_of(values: Mapping[str, Any]) -> JobRef:
    """Return the job that a line names.

    Raises:
        KeyError, TypeError, ValueError, ConfigurationError: It does not.
    """
    workflow = values.get("workflow_id")
    return JobRef(
        slug=ProjectSlug.parse(values["slug"]),
        job_number=_of(int, values["job_number"]),
        job_name=_maybe(str, values.get("job_name")),
        workflow_id=None if workflow is None else UUID(_of(str, workflow)),
        workflow_name=_maybe(str, values.get("workflow_name")),
        pipeline_number=_maybe(int, values.get("pipeline_number")),
        branch=_maybe(str, values.get("branch")),
    )


def artifact_of(values: Mapping[str, Any]) -> Artifact:
    """Return the artifact that a line names.

    Raises:
        KeyError, TypeError, ValueError: It does not.
    """
    if values["type"] != "artifact":
        raise ValueError(values["type"])
    return Artifact(
        node_index=_of(int, values["node_index"]),
        path=_maybe(str, values.get("path")),
        url=_maybe(str, values.get("url")),
    )


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


def _of(kind: type[Any], value: object) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(type(value).__name__)
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ValueError("an integer that no ledger can hold")
    return value


def _maybe(kind: type[Any], value: object) -> Any:
    return None if value is None else _of(kind, value)
