"""A world that changes between runs, and what downloads of it are to come to, by the documented rules alone."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

import attrs

from aiocircle import Shard
from aiocircle.testing import FakeArtifact, World
from aiocircle.testing.records import Job

SLUG = "gh/acme/web"
KIB = 1024
PATHS = ("a.txt", "b.xml", "d/c.xml", "d/e f.bin", "d/g/large.bin", "é+h.txt")
FLAGS = {"nodes": "node", "job_names": "job-name", "statuses": "status"}
NAMES, STATUSES = ("build", "test"), ("success", "failed")
Identity = tuple[int, int, str]


@attrs.define
class Built:
    """A job, and what it has stored by now."""

    number: int
    name: str
    status: str
    stored: dict[tuple[int, str], bytes]


@attrs.define
class Wanted:
    """What a command was told: the selection and the options, as the library has them."""

    selection: dict[str, Any]
    options: dict[str, Any]

    def arguments(self) -> list[str]:
        found = []
        for name, value in {**self.selection, **self.options}.items():
            flag = "--" + FLAGS.get(name, name.replace("_", "-"))
            if name == "shard":
                found += [flag, f"{value[0]}/{value[1]}"]
            elif isinstance(value, list):
                found += [word for one in value for word in (flag, str(one))]
            else:
                found += [flag] if value is True else [flag, str(value)]
        return found

    def target(self, identity: Identity) -> str | None:
        """The name of an artifact, where no other one can want it."""
        job, node, path = identity
        usual = "{node_index}/{path}" if "job" in self.selection else "{job_number}/{node_index}/{path}"
        layout = self.options.get("layout", usual)
        return None if layout == "{path}" else layout.format(job_number=job, node_index=node, path=path)


class _World(World):
    def rerun(self, of: Job) -> None:
        """Let what is placed beside a job from now on be of a later workflow of the same name."""
        pipeline = self._pipeline_of(of)
        last = pipeline.workflows[-1]
        address = last.address._replace(workflow=len(pipeline.workflows))
        later = attrs.evolve(
            last, address=address, id=self.ids.make(address), jobs=(), created_at=last.created_at + timedelta(minutes=1)
        )
        self._placed[SLUG][pipeline.number] = attrs.evolve(pipeline, workflows=(*pipeline.workflows, later))


class Changing:
    """Pipelines of workflows of jobs; ``versions`` are all bytes that an artifact ever had, the last one now."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.numbers = count(1)
        self.pipelines: list[list[list[Built]]] = []
        self.versions: dict[Identity, list[bytes]] = {}
        for _ in range(2):
            self.add_pipeline()

    def world(self) -> World:
        world = _World(pipelines=0)
        for workflows in self.pipelines:
            first = None
            for place, jobs in enumerate(workflows):
                if place:
                    assert first is not None
                    world.rerun(first)
                for job in jobs:
                    files = [FakeArtifact(path, node, body=body) for (node, path), body in job.stored.items()]
                    made = world.add_job(SLUG, job.number, files, name=job.name, status=job.status, beside=first)
                    first = first or made
        return world

    def change(self) -> None:
        """Let something happen."""
        self.dice.choice([self.add_pipeline, self.rerun, self.add_file, self.replace, self.replace, self.expire])()

    def add_pipeline(self) -> None:
        if len(self.pipelines) < 4:
            self.pipelines.append([[self._job() for _ in range(self.dice.randint(1, 3))]])

    def rerun(self) -> None:
        self.dice.choice(self.pipelines).append([self._job() for _ in range(self.dice.randint(1, 2))])

    def add_file(self) -> None:
        job = self._some()
        self._store(job, self.dice.randrange(3), self.dice.choice(PATHS))

    def replace(self) -> None:
        job = self._some()
        if job.stored:
            self._store(job, *self.dice.choice(list(job.stored)))

    def expire(self) -> None:
        job = self._some()
        if job.stored:
            del job.stored[self.dice.choice(list(job.stored))]

    def jobs(self) -> Iterator[tuple[int, bool, Built]]:
        """Each job with its pipeline's number, and whether its workflow is the newest there."""
        for number, workflows in enumerate(self.pipelines, start=1):
            for jobs in workflows:
                yield from ((number, jobs is workflows[-1], job) for job in jobs)

    def expected(self, wanted: Wanted) -> set[Identity]:
        """The artifacts that a run without mishaps fetches now."""
        what, how = wanted.selection, wanted.options
        tests: list[Callable[[int, bool, Built], bool]] = [
            lambda _p, _n, job: what.get("job") in {None, job.number},
            lambda number, _n, _j: what.get("pipeline") in {None, number},
            lambda number, _n, _j: not what.get("latest") or number == len(self.pipelines),
            lambda _p, newest, _j: newest or "job" in what or bool(what.get("all_reruns")),
            lambda _p, _n, job: not what.get("job_names") or job.name in what["job_names"],
            lambda _p, _n, job: not what.get("statuses") or job.status in what["statuses"],
        ]
        jobs = [one[2] for one in self.jobs() if all(test(*one) for test in tests)]
        return {
            (job.number, node, path)
            for job in jobs
            for (node, path), body in job.stored.items()
            if node in how.get("nodes", (node,))
            and any(fnmatchcase(path, glob) for glob in how.get("include", ("*",)))
            and not any(fnmatchcase(path, glob) for glob in how.get("exclude", ()))
            and len(body) <= how.get("max_size", len(body))
            and ("shard" not in how or f"{SLUG}#{job.number}/{node}/{path}" in Shard(*how["shard"]))
        }

    def some_selection(self) -> Wanted:
        dice = self.dice
        what: dict[str, Any] = dice.choice(
            [
                *({"all": True}, {"all": True, "all_reruns": True}, {"latest": True}),
                {"pipeline": dice.randint(1, len(self.pipelines))},
                {"job": self._some().number},
            ]
        )
        if "job" not in what:
            what |= {"job_names": [dice.choice(NAMES)]} if dice.random() < 0.2 else {}
            what |= {"statuses": [dice.choice(STATUSES)]} if dice.random() < 0.2 else {}
        how: dict[str, Any] = {}
        choices = {
            "include": ["*.xml"],
            "exclude": ["d/**"],
            "nodes": [dice.randrange(2)],
            "shard": [dice.randint(1, 2), 2],
            "max_size": 100 * KIB,
            "layout": dice.choice(["{path}", "x/{job_number}-{node_index}/{path}"]),
            "dedupe": True,
        }
        how |= {name: value for name, value in choices.items() if dice.random() < 0.15}
        return Wanted(what, how)

    def _some(self) -> Built:
        return self.dice.choice([job for _, _, job in self.jobs()])

    def _job(self) -> Built:
        job = Built(next(self.numbers), self.dice.choice(NAMES), self.dice.choice(STATUSES), {})
        for _ in range(self.dice.randrange(5)):
            self._store(job, self.dice.randrange(3), self.dice.choice(PATHS))
        return job

    def _store(self, job: Built, node: int, path: str) -> None:
        """Store a file; one that is replaced may have the same size as before, and equal ones are frequent."""
        before = job.stored.get((node, path))
        usual = [0, 10, 70 * KIB] if "large" not in path else [300 * KIB, 1500 * KIB]
        size = len(before) if before and self.dice.random() < 0.5 else self.dice.choice(usual)
        body = self.dice.choice([b"equal", self.dice.randbytes(8)]) * (size // 8 + 1)
        job.stored[node, path] = body[:size]
        self.versions.setdefault((job.number, node, path), []).append(body[:size])
