"""An artifact on its way: what it is, where it belongs, and what becomes of it."""

from attrs import define

from aiocircle.api import Artifact
from aiocircle.crawl.fanout import JobRef
from aiocircle.download.choice import EVERYTHING, Choice
from aiocircle.download.layout import ArtifactPlace
from aiocircle.download.paths import PlacedPath
from aiocircle.download.records import Source
from aiocircle.download.report import ItemOutcome, ItemStatus
from aiocircle.redaction import safe_url


@define(eq=False)
class Item:
    """An artifact to fetch, with a name of its own.

    Attributes:
        job_number: The job it belongs to.
        node_index: The parallel node it comes from.
        path: Its name as listed.
        placed: Its name below the output.
        target: The same, as text.
        url: Its address as listed.
        artifact: What it is, for the ledger.
        choice: What it was chosen by.
    """

    job_number: int | None
    node_index: int | None
    path: str | None
    placed: PlacedPath
    target: str
    url: str
    artifact: Source
    choice: Choice = EVERYTHING

    def outcome(self, status: ItemStatus, size: int = 0) -> ItemOutcome:
        """Return what became of it."""
        return ItemOutcome(
            target=self.target,
            status=status,
            size=size,
            job_number=self.job_number,
            node_index=self.node_index,
            path=self.path,
            note=self.placed.note,
        )


def place_of(job: JobRef, artifact: Artifact, source: Source) -> ArtifactPlace:
    """Return what a layout makes a name of."""
    assert job.job_number is not None
    return ArtifactPlace(
        project=source.slug,
        pipeline_number=job.pipeline_number,
        workflow_id=source.workflow,
        workflow_name=job.workflow_name,
        job_number=job.job_number,
        job_name=job.job_name,
        branch=job.branch,
        node_index=artifact.node_index,
        path=artifact.path or "",
    )


def source_of(job: JobRef, artifact: Artifact | None = None) -> Source:
    """Return what is recorded of where an artifact belongs; without one, of its job or of its jobs' workflow."""
    whole = Source(
        slug=str(job.slug),
        pipeline=job.pipeline_number,
        workflow=None if job.workflow_id is None else str(job.workflow_id),
        workflow_name=_text(job.workflow_name),
        branch=_text(job.branch),
        job=job.job_number,
        job_name=_text(job.job_name),
    )
    return whole if artifact is None else source_in(whole, artifact)


def source_in(job: Source, artifact: Artifact) -> Source:
    """Return what is recorded of an artifact, given what is of its job."""
    return Source(
        slug=job.slug,
        pipeline=job.pipeline,
        workflow=job.workflow,
        workflow_name=job.workflow_name,
        branch=job.branch,
        job=job.job,
        job_name=job.job_name,
        node=artifact.node_index,
        path=_text(artifact.path or ""),
        address=_text(safe_url(artifact.url or "")),
    )


def _text(text: str | None) -> str | None:
    """Return text that SQLite can hold: the host's may have lone surrogates."""
    return text if text is None or text.isascii() else text.encode(errors="backslashreplace").decode()


def unplaced(job: JobRef, artifact: Artifact) -> ItemOutcome:
    """Return the outcome of an artifact that has no name."""
    return ItemOutcome(
        target="", status="failed", job_number=job.job_number, node_index=artifact.node_index, path=artifact.path
    )
