"""What tests of exports share: what a world holds, and what independent readers find in the files."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiocircle import Client, ExportOptions, ExportReport, RetryPolicy
from aiocircle.testing import Simulator, World
from aiocircle.testing.kong import KongLimits

SLUG = "gh/acme/web"
FANNED_OUT = ("pipelines", "workflows", "jobs", "job_details", "artifacts", "tests")

Key = tuple[Any, ...]


NO_LOOK_BACK = timedelta()
APP = "circleci/9YytKzouJxzu4TjCRFqAoD/2LNgBUj3Ezt1hNtvrGcDtW"


async def export(client: Client, out: Path, *datasets: str, projects: Any = SLUG, **options: Any) -> ExportReport:
    return await client.export.run(projects, datasets or FANNED_OUT, to=out, options=ExportOptions(**options))


def gaps(out: Path) -> list[dict[str, Any]]:
    return json_lines(out, "gaps")


def generous() -> KongLimits:
    """Return limits that are no hindrance: without any a client feels its way."""
    return KongLimits({"second": 5000})


def client_of(sim: Simulator, **settings: Any) -> Client:
    return Client(sim.token, host=sim.url, retry=RetryPolicy(base=0.001), **settings)


def truth(world: World, *slugs: str) -> dict[str, dict[Key, Mapping[str, Any]]]:
    """Return what a world holds: by dataset, by key, some columns of each row."""
    held: dict[str, dict[Key, Mapping[str, Any]]] = {name: {} for name in FANNED_OUT}
    for slug in slugs or (SLUG,):
        for pipeline in world.pipelines(slug):
            held["pipelines"][pipeline.id,] = {
                "project": slug,
                "number": pipeline.number,
                "state": pipeline.state,
                "branch": pipeline.branch,
                "created_at": _told(pipeline.created_at),
            }
            for workflow in pipeline.workflows:
                if workflow.id is None:
                    continue
                held["workflows"][workflow.id,] = {
                    "pipeline_id": pipeline.id,
                    "name": workflow.name,
                    "status": workflow.status,
                    "stopped_at": _told(workflow.stopped_at),
                }
                for job in workflow.jobs:
                    _hold_job(held, world, slug, workflow.id, job)
    return held


def _told(moment: datetime | None) -> datetime | None:
    """Return a moment as the host tells it: to the millisecond."""
    return None if moment is None else moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _hold_job(
    held: dict[str, dict[Key, Mapping[str, Any]]], world: World, slug: str, workflow_id: str, job: Any
) -> None:
    held["jobs"][workflow_id, job.id] = {
        "name": job.name,
        "status": job.status,
        "job_number": job.number,
        "dependencies": list(job.dependencies),
    }
    if job.type == "approval" or job.number is None:
        return
    held["job_details"][slug, job.number] = {
        "name": job.name,
        "parallelism": job.nodes,
        "stopped_at": _told(job.stopped_at),
    }
    for artifact in job.artifacts:
        held["artifacts"][slug, job.number, artifact.node_index, artifact.path] = {"job_name": job.name}
    for position in range(job.tests):
        held["tests"][slug, job.number, position] = {"name": f"test_case_{position}", "source": "pytest"}


KEYS: Mapping[str, tuple[str, ...]] = {
    "pipelines": ("id",),
    "workflows": ("id",),
    "jobs": ("workflow_id", "id"),
    "job_details": ("project", "job_number"),
    "artifacts": ("project", "job_number", "node_index", "path"),
    "tests": ("project", "job_number", "position"),
}


def assert_holds(found: Iterable[Mapping[str, Any]], dataset: str, held: Mapping[Key, Mapping[str, Any]]) -> None:
    """Compare rows that a reader found with what a world holds: none is missing, doubled or different."""
    rows = list(found)
    by_key = {tuple(row[name] for name in KEYS[dataset]): row for row in rows}
    assert len(by_key) == len(rows), f"{dataset}: a key comes twice"
    assert by_key.keys() == held.keys()
    for key, expected in held.items():
        row = by_key[key]
        for column, value in expected.items():
            assert _value(row[column]) == value, (dataset, key, column)


def _value(value: Any) -> Any:
    """Return a moment for a text that is one, whichever reader it comes from."""
    if isinstance(value, str) and len(value) == len("2026-11-02T09:30:00.000000Z") and value.endswith("Z"):
        return datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value


def json_lines(out: Path, dataset: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"{dataset}.jsonl").read_text(encoding="utf-8").splitlines()]


def visible(out: Path) -> set[str]:
    """Return the files of an output but those of its state."""
    found = (one.relative_to(out) for one in out.rglob("*") if one.is_file())
    return {str(one) for one in found if one.parts[0] != ".aiocircle"}
