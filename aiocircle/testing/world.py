"""The seeded world: who exists, what they built, what was stored. Pure and deterministic: nothing waits or sends.

A world is described, not stored: pipelines, jobs, artifacts and bytes are computed when they are asked for, so that a
world of a million artifacts weighs as much as one of ten. What a test needs exactly is placed by hand, with
`World.add_job`.
"""

import functools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import attrs

from aiocircle.testing import content as contents
from aiocircle.testing.artifacts import MIB, Artifacts, FakeArtifact, GeneratedArtifacts, PlacedArtifacts
from aiocircle.testing.course import Course
from aiocircle.testing.generate import JOBS_PER_PIPELINE, JOBS_PER_WORKFLOW, Plan, branch_of, generate_pipeline
from aiocircle.testing.ids import MOST_PIPELINES, MOST_PROJECTS, Address, IdSpace, Kind
from aiocircle.testing.records import Job, Pipeline, Project, Workflow

APP_SLUG = "circleci/9YytKzouJxzu4TjCRFqAoD/2LNgBUj3Ezt1hNtvrGcDtW"
DEFAULT_SLUGS = ("gh/acme/web", APP_SLUG)

ODDITIES = {
    "null-started-at": "jobs that never ran, and approvals, have started_at null (the document: a date)",
    "unlisted-trigger": "trigger types that are in no list",
    "skipped-status": "jobs that never ran report skipped",
    "loose-tests": "tests with run_time as a string, and without file or message",
    "snake-case-collaborations": "vcs_type where the document says vcs-type",
    "snake-case-answers": "flaky tests, keys, variables and webhooks have underscores where the document has hyphens",
    "null-download-urls": "an export of usage data without files has download_urls null (the document: a list)",
    "null-workflow-id": "a workflow whose id is null",
}
_NEVER_RAN = frozenset({"blocked", "skipped", "not_run"})
USUAL_ODDITIES = frozenset(ODDITIES) - {"null-workflow-id"}


class World:
    """A CircleCI to be served by a `Simulator`.

    Args:
        seed: Everything follows from it; the same arguments give the same world, bytes included.
        slugs: The projects, as three-segment slugs.
        pipelines: Generated pipelines per project, numbered from 1; 0 for an empty world.
        artifacts: Generated artifacts of each job that stores any.
        nodes: Parallelism of generated test jobs.
        oddities: Where answers leave the published document as the real service does: names of `ODDITIES`. The default
            is all but null identifiers.
        newest: When the newest generated pipeline was created.

    Raises:
        ValueError: a slug has not three segments, an oddity is unknown, or there are more projects or pipelines than
            identifiers have room for.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        slugs: Iterable[str] = DEFAULT_SLUGS,
        pipelines: int = 50,
        artifacts: int = 8,
        nodes: int = 3,
        oddities: Iterable[str] = USUAL_ODDITIES,
        newest: datetime = datetime(2026, 11, 2, 9, 30, tzinfo=UTC),
    ) -> None:
        chosen = frozenset(oddities)
        if unknown := sorted(chosen - ODDITIES.keys()):
            message = f"no such oddity: {unknown[0]!r}; there are {', '.join(ODDITIES)}"
            raise ValueError(message)
        self.plan = Plan(seed, pipelines, artifacts, nodes, newest, chosen)
        self.ids = IdSpace(seed)
        self.course = Course(self.plan, self.ids)
        self.projects = {slug: _project(index, slug) for index, slug in enumerate(slugs)}
        if len(self.projects) > MOST_PROJECTS or pipelines > MOST_PIPELINES:
            message = f"a world has {MOST_PROJECTS:,} projects, and each {MOST_PIPELINES:,} pipelines, at most"
            raise ValueError(message)
        self.demo_job: Job | None = None
        self._by_index = tuple(self.projects.values())
        self._ring = contents.ring(seed)
        self._placed: dict[str, dict[int, Pipeline]] = {slug: {} for slug in self.projects}
        self._placed_jobs: dict[tuple[str, int], Job] = {}
        self._generated = functools.lru_cache(maxsize=256)(self._generate)

    @classmethod
    def demo(
        cls,
        files: int = 3000,
        large: int = 3,
        large_size: int = 64 * MIB,
        nodes: int = 4,
        *,
        seed: int = 0,
        pipelines: int = 50,
    ) -> "World":
        """Return a world to show things with: `demo_job` stored ``files`` small files and ``large`` large ones.

        The files are spread over ``nodes`` nodes, with the same paths on several of them and with names that contain
        spaces, ``+``, ``%``, ``#`` and letters of several scripts. A million files take no more room than ten.
        """
        world = cls(seed, pipelines=pipelines, nodes=nodes)
        slug = next(iter(world.projects))
        stored = GeneratedArtifacts(f"demo {seed}", files, nodes, large, large_size)
        job = world.demo_job = world.add_job(slug, artifacts=stored, name="test", nodes=nodes, tests=200)
        world.add_job(slug, name="lint", beside=job)
        world.add_job(slug, name="package", artifacts=GeneratedArtifacts(f"package {seed}", min(files, 5)), beside=job)
        world.add_job(slug, name="hold for release", type="approval", status="on_hold", beside=job)
        world.add_job(slug, name="deploy", status="blocked", beside=job)
        return world

    # Placing things by hand.

    def add_job(
        self,
        slug: str,
        number: int | None = None,
        artifacts: Iterable[FakeArtifact] | GeneratedArtifacts = (),
        *,
        name: str = "build",
        type: str = "build",  # noqa: A002 - the API's word
        status: str = "success",
        nodes: int | None = None,
        tests: int = 0,
        branch: str = "main",
        workflow: str = "build-and-test",
        beside: Job | None = None,
    ) -> Job:
        """Place a job that stored exactly ``artifacts`` and return it.

        Args:
            slug: A project of this world.
            number: The job's number; the next free one if left out.
            artifacts: `FakeArtifact` values in the order of the listing, or a `GeneratedArtifacts`.
            name: The job's name.
            type: ``build``, or ``approval``: then the job has a number, but neither details nor artifacts.
            status: The job's status; any text. A job that is ``blocked`` or ``skipped`` never ran: no dates, no number
                in the listing.
            nodes: Parallelism; by default what the artifacts need.
            tests: Number of test results.
            branch: The new pipeline's branch.
            workflow: The new workflow's name.
            beside: A placed job whose workflow this one joins; otherwise a pipeline of its own is made, the newest of
                the project.

        Raises:
            ValueError: the project is unknown, or the number is taken.
        """
        project = self._known(slug)
        number = self.free_number(slug) if number is None else number
        if self.job(slug, number) is not None or 0 < number <= self.plan.pipelines * JOBS_PER_PIPELINE:
            message = (
                f"job {number} of {slug} is taken: generated jobs have the numbers up to "
                f"{self.plan.pipelines * JOBS_PER_PIPELINE}; use World(pipelines=0) for an empty world"
            )
            raise ValueError(message)
        pipeline = self._new_pipeline(project, branch, workflow) if beside is None else self._pipeline_of(beside)
        stored: Artifacts = artifacts if isinstance(artifacts, GeneratedArtifacts) else PlacedArtifacts(artifacts)
        if nodes is None:
            nodes = 1 if isinstance(artifacts, GeneratedArtifacts) else _nodes_of(stored)
        job = self._make_job(pipeline.workflows[-1], project, number, stored, tests)
        ran = type != "approval" and status not in _NEVER_RAN
        job = attrs.evolve(
            job,
            name=name,
            type=type,
            status=status,
            nodes=nodes,
            number=None if status in _NEVER_RAN else number,
            started_at=job.started_at if ran else None,
            stopped_at=job.stopped_at if ran else None,
        )
        self._store(pipeline, job)
        return job

    def trigger(self, slug: str, *, branch: str | None = None, tag: str | None = None) -> Pipeline:
        """Trigger a pipeline and return it; what becomes of it follows from the branch or tag, see `course.SCRIPTS`.

        Raises:
            ValueError: the project is unknown.
        """
        project = self._known(slug)
        number = self.newest_number(slug) + 1
        address = Address(Kind.PIPELINE, project.index, number)
        pipeline = Pipeline(
            address=address,
            id=self.ids.make(address),
            project=project,
            number=number,
            state="pending",
            created_at=self.course.moment(),
            trigger="api",
            branch=branch,
            tag=tag,
        )
        self._placed[slug][number] = pipeline
        self.course.begin(pipeline, self.free_number(slug))
        return pipeline

    def _new_pipeline(self, project: Project, branch: str, workflow_name: str) -> Pipeline:
        number = self.newest_number(project.slug) + 1
        created_at = self.plan.newest + timedelta(minutes=len(self._placed[project.slug]) + 1)
        address = Address(Kind.PIPELINE, project.index, number)
        above = address._replace(kind=Kind.WORKFLOW)
        workflow = Workflow(
            address=above,
            id=self.ids.make(above),
            name=workflow_name,
            status="success",
            created_at=created_at + timedelta(seconds=2),
            stopped_at=created_at + timedelta(minutes=5),
        )
        return Pipeline(
            address=address,
            id=self.ids.make(address),
            project=project,
            number=number,
            state="created",
            created_at=created_at,
            trigger="webhook",
            branch=branch,
            workflows=(workflow,),
        )

    def _make_job(self, workflow: Workflow, project: Project, number: int, artifacts: Artifacts, tests: int) -> Job:
        address = workflow.address._replace(kind=Kind.JOB, job=len(workflow.jobs))
        return Job(
            address=address,
            id=self.ids.make(address),
            project=project,
            name="",
            number=number,
            created_at=workflow.created_at,
            started_at=workflow.created_at + timedelta(seconds=4),
            stopped_at=workflow.stopped_at,
            artifacts=artifacts,
            tests=tests,
        )

    def _store(self, pipeline: Pipeline, job: Job) -> None:
        """Put a job into the last workflow of ``pipeline``, and the pipeline into the world."""
        *others, workflow = pipeline.workflows
        grown = attrs.evolve(workflow, jobs=(*workflow.jobs, job))
        slug = pipeline.project.slug
        self._placed[slug][pipeline.number] = attrs.evolve(pipeline, workflows=(*others, grown))
        if job.number is not None:
            self._placed_jobs[slug, job.number] = job

    def _pipeline_of(self, job: Job) -> Pipeline:
        return self._placed[job.project.slug][job.address.pipeline]

    def free_number(self, slug: str) -> int:
        """Return the number that the project's next job may have."""
        taken = [number for placed, number in (*self._placed_jobs, *self.course.numbers) if placed == slug]
        return max([self.plan.pipelines * JOBS_PER_PIPELINE, *taken]) + 1

    def _known(self, slug: str) -> Project:
        try:
            return self.projects[slug]
        except KeyError:
            message = f"no such project: {slug!r}; there are {', '.join(self.projects)}"
            raise ValueError(message) from None

    # Looking things up. Everything answers None for what does not exist.

    def newest_number(self, slug: str) -> int:
        """Return the number of the project's newest pipeline; 0 if there is none."""
        return self.plan.pipelines + len(self._placed[slug])

    def pipeline(self, slug: str, number: int) -> Pipeline | None:
        """Return a pipeline by its number."""
        if slug not in self.projects:
            return None
        found = self._placed[slug].get(number)
        if found is None and 1 <= number <= self.plan.pipelines:
            found = self._generated(slug, number)
        return None if found is None else self.course.seen(found)

    def branch(self, slug: str, number: int) -> str | None:
        """Return the branch of an existing pipeline, without making the pipeline."""
        placed = self._placed[slug].get(number)
        return placed.branch if placed else branch_of(self.plan, self.projects[slug], number)

    def pipelines(self, slug: str) -> Iterator[Pipeline]:
        """Yield the project's pipelines, newest first."""
        numbers = range(self.newest_number(slug), 0, -1)
        return (found for number in numbers if (found := self.pipeline(slug, number)) is not None)

    def pipeline_by_id(self, identifier: str) -> Pipeline | None:
        """Return a pipeline by its UUID."""
        address = self._read(identifier, Kind.PIPELINE)
        return None if address is None else self.pipeline(self._by_index[address.project].slug, address.pipeline)

    def workflow_by_id(self, identifier: str) -> tuple[Pipeline, Workflow] | None:
        """Return a workflow by its UUID, with its pipeline."""
        address = self._read(identifier, Kind.WORKFLOW)
        if address is None:
            return None
        pipeline = self.pipeline(self._by_index[address.project].slug, address.pipeline)
        if pipeline is None or address.workflow >= len(pipeline.workflows):
            return None
        return pipeline, pipeline.workflows[address.workflow]

    def workflow_of(self, job: Job) -> tuple[Pipeline, Workflow] | None:
        """Return the workflow that a job belongs to, with its pipeline."""
        return self.workflow_by_id(self.ids.make(job.address._replace(kind=Kind.WORKFLOW, job=0)))

    def job_by_id(self, identifier: str) -> Job | None:
        """Return a job by its UUID."""
        address = self._read(identifier, Kind.JOB)
        found = address and self.workflow_by_id(self.ids.make(address._replace(kind=Kind.WORKFLOW, job=0)))
        if not found or not address or address.job >= len(found[1].jobs):
            return None
        return found[1].jobs[address.job]

    def job(self, slug: str, number: int) -> Job | None:
        """Return a job by its project's slug and its number."""
        moving = self.course.numbers.get((slug, number))
        if moving is not None:
            job = self.job_by_id(moving)
            return job if job and job.number == number else None
        placed = self._placed_jobs.get((slug, number))
        if placed is not None:
            return self.job_by_id(placed.id)
        if number < 1:
            return None
        pipeline_number, rest = divmod(number - 1, JOBS_PER_PIPELINE)
        pipeline = self.pipeline(slug, pipeline_number + 1)
        if pipeline is None or pipeline_number >= self.plan.pipelines:
            return None
        workflow, place = divmod(rest, JOBS_PER_WORKFLOW)
        jobs = pipeline.workflows[workflow].jobs if workflow < len(pipeline.workflows) else ()
        return jobs[place] if place < len(jobs) and jobs[place].number == number else None

    # The bytes.

    def content(self, job: Job, artifact: FakeArtifact, generation: int = 0) -> contents.Content:
        """Return the bytes of an artifact; another ``generation`` is another object at the same address."""
        key = contents.content_key(self.plan.seed, job.id, artifact.node_index, artifact.path, generation)
        if artifact.body is None:
            return contents.SeededContent(artifact.size, key, self._ring)
        body = artifact.body if not generation else bytes(byte ^ 0xFF for byte in artifact.body)
        return contents.FixedContent(body, f'"{contents.content_key(key, body.hex())[:16].hex()}"')

    def artifact_content(self, slug: str, number: int, path: str, node_index: int = 0) -> contents.Content:
        """Return the content of an artifact, with its ``size`` in bytes and its parts.

        Raises:
            KeyError: there is no such artifact.
        """
        job = self.job(slug, number)
        artifact = job.artifacts.find(node_index, path) if job else None
        if job is None or artifact is None:
            raise KeyError((slug, number, path, node_index))
        return self.content(job, artifact)

    def artifact_bytes(self, slug: str, number: int, path: str, node_index: int = 0) -> bytes:
        """Return the whole content of an artifact, to compare a downloaded file with; `KeyError` if there is none."""
        content = self.artifact_content(slug, number, path, node_index)
        return content.read(0, content.size)

    def artifact_sha256(self, slug: str, number: int, path: str, node_index: int = 0) -> str:
        """Return the hexadecimal SHA-256 of an artifact's content; `KeyError` if there is none."""
        return contents.sha256(self.artifact_content(slug, number, path, node_index))

    def _generate(self, slug: str, number: int) -> Pipeline:
        return generate_pipeline(self.plan, self.ids, self.projects[slug], number)

    def _read(self, identifier: str, kind: Kind) -> Address | None:
        address = self.ids.read(identifier)
        return address if address and address.kind is kind and address.project < len(self._by_index) else None


def _project(index: int, slug: str) -> Project:
    segments = slug.split("/")
    if len(segments) != 3 or not all(segments):  # noqa: PLR2004 - a slug has three segments
        message = f"a slug has three segments, such as gh/acme/web: {slug!r}"
        raise ValueError(message)
    if segments[0] == "circleci":
        return Project(index=index, slug=slug, name=f"app-project-{index}", organization=f"App Organization {index}")
    return Project(index=index, slug=slug, name=segments[2], organization=segments[1])


def _nodes_of(artifacts: Artifacts) -> int:
    return 1 + max((artifacts[i].node_index for i in range(len(artifacts))), default=0)
