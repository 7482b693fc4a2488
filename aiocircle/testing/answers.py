"""The world in the API's words: each function returns the JSON value of one documented schema.

The shapes are those of the published v2 document (structure of 2026-03 merged with 2026-08). Where the real service
departs from it, the departure is an oddity of the world and marked as such here.
"""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from aiocircle.testing.artifacts import FakeArtifact, quote_path
from aiocircle.testing.ids import Address, Kind
from aiocircle.testing.records import Job, Pipeline, Project, Workflow
from aiocircle.testing.world import World

Json = dict[str, Any]

_CONFIG = "version: 2.1\njobs:\n  build:\n    docker: [{image: cimg/base:current}]\n    steps: [checkout]\n"
_AVATAR = "https://avatars.example.test/u/1"


class Answers:
    """Renders one world. ``origins`` are the simulator's addresses by name: api, artifact, storage, foreign, web."""

    def __init__(self, world: World, origins: Mapping[str, str]) -> None:
        self._world = world
        self._oddities = world.plan.oddities
        self._origins = origins
        self._user_id = world.ids.make(Address(Kind.USER))

    def user(self) -> Json:
        """Return ``GET /me``."""
        return {"id": self._user_id, "login": "octo", "name": "Octo Acme", "avatar_url": _AVATAR}

    def collaborations(self) -> list[Json]:
        """Return ``GET /me/collaborations``, a bare array."""
        vcs_type = "vcs_type" if "snake-case-collaborations" in self._oddities else "vcs-type"
        return [
            {
                "id": self._organization_id(project),
                vcs_type: "circleci" if project.is_app else "github",
                "name": project.organization,
                "avatar_url": _AVATAR,
                "slug": organization_slug(project),
            }
            for project in self._world.projects.values()
        ]

    def project(self, project: Project) -> Json:
        """Return ``GET /project/{slug}``."""
        return {
            "slug": project.slug,
            "name": project.name,
            "id": self._project_id(project),
            "organization_name": project.organization,
            "organization_slug": organization_slug(project),
            "organization_id": self._organization_id(project),
            "vcs_info": {
                "vcs_url": repository(project) if not project.is_app else f"//circleci.com/{self._project_id(project)}",
                "provider": "CircleCI" if project.is_app else "GitHub",
                "default_branch": project.default_branch,
            },
        }

    def pipeline(self, pipeline: Pipeline) -> Json:
        """Return one pipeline. ``vcs`` is absent where nothing came from version control."""
        body: Json = {
            "id": pipeline.id,
            "errors": [{"type": "config", "message": "Config does not conform to schema"}]
            * (pipeline.state == "errored"),
            "project_slug": pipeline.project.slug,
            "updated_at": timestamp(pipeline.created_at),
            "number": pipeline.number,
            "state": pipeline.state,
            "created_at": timestamp(pipeline.created_at),
            "trigger": {
                "type": pipeline.trigger,
                "received_at": timestamp(pipeline.created_at - timedelta(milliseconds=400)),
                "actor": {"login": "octo", "avatar_url": _AVATAR},
            },
        }
        if pipeline.branch or pipeline.tag:
            body["vcs"] = _vcs(pipeline)
        return body

    def workflow(self, pipeline: Pipeline, workflow: Workflow) -> Json:
        """Return one workflow."""
        return {
            "pipeline_id": pipeline.id,
            "id": workflow.id,
            "name": workflow.name,
            "project_slug": pipeline.project.slug,
            "status": workflow.status,
            "started_by": self._user_id,
            "pipeline_number": pipeline.number,
            "created_at": timestamp(workflow.created_at),
            "stopped_at": maybe_timestamp(workflow.stopped_at),
        }

    def workflow_job(self, job: Job) -> Json:
        """Return one job of ``GET /workflow/{id}/job``. ``job_number`` is absent until the job is dispatched."""
        body: Json = {
            "dependencies": list(job.dependencies),
            "id": job.id,
            "started_at": self._started_at(job),
            "name": job.name,
            "project_slug": job.project.slug,
            "status": job.status,
            "type": job.type,
            "stopped_at": maybe_timestamp(job.stopped_at),
        }
        if job.number is not None:
            body["job_number"] = job.number
        if job.type == "approval":
            body["approval_request_id"] = self._world.ids.make(job.address._replace(kind=Kind.APPROVAL))
        return body

    def job(self, pipeline: Pipeline, workflow: Workflow, job: Job) -> Json:
        """Return ``GET /project/{slug}/job/{n}``. ``duration`` is in milliseconds, as the service gives it."""
        duration = None if job.stopped_at is None or job.started_at is None else job.stopped_at - job.started_at
        return {
            "web_url": f"{self._origins['web']}/pipelines/{job.project.slug}/{pipeline.number}"
            f"/workflows/{workflow.id}/jobs/{job.number}",
            "project": {
                "id": self._project_id(job.project),
                "slug": job.project.slug,
                "name": job.project.name,
                "external_url": repository(job.project),
            },
            "parallel_runs": [{"index": index, "status": job.status} for index in range(job.nodes)],
            "started_at": self._started_at(job),
            "latest_workflow": {"id": workflow.id, "name": workflow.name},
            "name": job.name,
            "executor": {"resource_class": "medium", "type": "docker"},
            "parallelism": job.nodes,
            "status": job.status,
            "number": job.number,
            "pipeline": {"id": pipeline.id},
            "duration": None if duration is None else duration // timedelta(milliseconds=1),
            "created_at": timestamp(job.created_at),
            "messages": [],
            "contexts": [],
            "organization": {"name": job.project.organization},
            "queued_at": timestamp(job.created_at),
            "stopped_at": maybe_timestamp(job.stopped_at),
        }

    def artifact(self, job: Job, artifact: FakeArtifact) -> Json:
        """Return one artifact: path, node and address, and nothing else."""
        if artifact.url is None:
            place = f"/output/job/{job.id}/artifacts/{artifact.node_index}/{quote_path(artifact.path)}"
            return {"path": artifact.path, "node_index": artifact.node_index, "url": self._origins["artifact"] + place}
        url = artifact.url
        for name, origin in self._origins.items():
            url = url.replace(f"{{{name}}}", origin)
        return {"path": artifact.path, "node_index": artifact.node_index, "url": url}

    def job_by_id(self, pipeline: Pipeline, workflow: Workflow, job: Job) -> Json:
        """Return ``GET /jobs/{id}``."""
        body: Json = {
            "id": job.id,
            "name": job.name,
            "type": job.type,
            "status": job.status,
            "project_id": self._project_id(job.project),
            "pipeline_id": pipeline.id,
            "workflow_id": workflow.id,
        }
        later = {
            "job_number": job.number,
            "started_at": maybe_timestamp(job.started_at),
            "stopped_at": maybe_timestamp(job.stopped_at),
        }
        return body | {name: value for name, value in later.items() if value is not None}

    def values(self, pipeline: Pipeline) -> Json:
        """Return ``GET /pipeline/{id}/values``."""
        ref = {"pipeline.git.branch": pipeline.branch} if pipeline.branch else {"pipeline.git.tag": pipeline.tag or ""}
        return {
            "pipeline.id": pipeline.id,
            "pipeline.number": pipeline.number,
            "pipeline.project.git_url": repository(pipeline.project),
            "pipeline.trigger_source": pipeline.trigger,
            **ref,
        }

    def config(self, _pipeline: Pipeline) -> Json:
        """Return ``GET /pipeline/{id}/config``."""
        return {"source": _CONFIG, "compiled": _CONFIG}

    def test(self, job: Job, index: int) -> Json:
        """Return one test result. By oddity ``run_time`` may be a string and ``file`` or ``message`` missing."""
        draw = random.Random(f"{job.id}/{index}")
        failed = job.status == "failed" and index % 10 == 0
        body: Json = {
            "message": "AssertionError: 1 != 2" if failed else None,
            "source": "pytest",
            "run_time": round(draw.expovariate(4), 3),
            "file": f"tests/test_module_{index // 10}.py",
            "result": "failure" if failed else "success",
            "name": f"test_case_{index}",
            "classname": f"tests.test_module_{index // 10}",
        }
        if "loose-tests" in self._oddities:
            if index % 5 == 1:
                body["run_time"] = str(body["run_time"])
            if index % 7 == 1:
                del body["file"], body["message"]
        return body

    def workflow_run(self, pipeline: Pipeline, workflow: Workflow) -> Json:
        """Return one run of ``GET /insights/{slug}/workflows/{name}``. ``duration`` is in seconds."""
        stopped_at = workflow.stopped_at
        return {
            "id": workflow.id,
            "branch": pipeline.branch or pipeline.project.default_branch,
            "duration": None if stopped_at is None else int((stopped_at - workflow.created_at).total_seconds()),
            "created_at": timestamp(workflow.created_at),
            "stopped_at": maybe_timestamp(stopped_at),
            "credits_used": 120,
            "status": workflow.status if workflow.status in {"success", "failed"} else None,
            "is_approval": False,
        }

    def _started_at(self, job: Job) -> str | None:
        if job.started_at is None and "null-started-at" not in self._oddities:
            return timestamp(job.created_at)
        return maybe_timestamp(job.started_at)

    def _project_id(self, project: Project) -> str:
        return self._world.ids.make(Address(Kind.PROJECT, project.index))

    def _organization_id(self, project: Project) -> str:
        return self._world.ids.make(Address(Kind.ORGANIZATION, project.index))


def organization_slug(project: Project) -> str:
    """Return the slug of a project's organisation."""
    return project.slug.rpartition("/")[0]


def repository(project: Project) -> str:
    """Return the address of a project's repository."""
    name = project.name if project.is_app else "/".join(project.slug.split("/")[1:])
    return f"https://github.com/{name}"


def _vcs(pipeline: Pipeline) -> Json:
    address = repository(pipeline.project)
    body: Json = {
        "provider_name": "GitHub",
        "target_repository_url": address,
        "origin_repository_url": address,
        "revision": random.Random(pipeline.id).randbytes(20).hex(),
        "commit": {"subject": f"Change {pipeline.number}", "body": ""},
    }
    body |= {"branch": pipeline.branch} if pipeline.branch else {"tag": pipeline.tag}
    return body


def timestamp(value: datetime) -> str:
    """Return a timestamp as the service writes it: always ``Z``, with fractions only where there are any."""
    spec = "milliseconds" if value.microsecond else "seconds"
    return value.isoformat(timespec=spec).replace("+00:00", "Z")


def maybe_timestamp(value: datetime | None) -> str | None:
    """Return a timestamp, or None where there is none."""
    return None if value is None else timestamp(value)
