"""What a world consists of: plain frozen values, before anything is said about JSON."""

from datetime import datetime

import attrs

from aiocircle.testing.artifacts import Artifacts, PlacedArtifacts
from aiocircle.testing.ids import Address


@attrs.frozen(kw_only=True)
class Project:
    """A project. ``slug`` has three segments; ``index`` is its place in the world."""

    index: int
    slug: str
    name: str
    organization: str
    default_branch: str = "main"

    @property
    def is_app(self) -> bool:
        """Return whether this is an App-style project, whose slug is opaque."""
        return self.slug.startswith("circleci/")


@attrs.frozen(kw_only=True)
class Job:
    """A job. ``number`` is None until the job is dispatched; ``nodes`` is its parallelism."""

    address: Address
    id: str
    project: Project
    name: str
    number: int | None
    type: str = "build"
    status: str = "success"
    nodes: int = 1
    created_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    dependencies: tuple[str, ...] = ()
    artifacts: Artifacts = attrs.field(factory=PlacedArtifacts, repr=False, eq=False)
    tests: int = 0


@attrs.frozen(kw_only=True)
class Workflow:
    """A run of a workflow. A rerun is another one of the same name, created later. ``id`` is None by oddity only."""

    address: Address
    id: str | None
    name: str
    status: str
    created_at: datetime
    stopped_at: datetime | None
    jobs: tuple[Job, ...] = ()


@attrs.frozen(kw_only=True)
class Pipeline:
    """A pipeline with everything below it. ``branch`` and ``tag`` exclude each other; a pipeline may have neither."""

    address: Address
    id: str
    project: Project
    number: int
    state: str
    created_at: datetime
    trigger: str
    branch: str | None
    tag: str | None = None
    workflows: tuple[Workflow, ...] = ()
