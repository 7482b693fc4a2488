"""What becomes of a project whose pipelines could not be listed."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from aiocircle.testing import World
from aiocircle.testing.pytest_plugin import CircleciFactory

Run = Callable[..., subprocess.CompletedProcess[str]]
SLUG, OTHER = "gh/acme/web", "gh/acme/api"


def test_retry_and_verify_know_of_a_project_that_could_not_be_listed(
    aiocircle: Run, circleci_factory: CircleciFactory, tmp_path: Path
) -> None:
    simulator = circleci_factory(World(pipelines=2, artifacts=2, slugs=(SLUG, OTHER)))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return aiocircle(*arguments, CIRCLE_HOST=simulator.url)

    simulator.faults.add("500", match=f"/project/{OTHER}/pipeline")
    assert run("download", SLUG, OTHER, "--all", "-o", "out", "--retries", 0).returncode == 9
    simulator.faults.clear()
    assert "did not come to its end" in run("verify", "out").stderr
    assert "fetched     0 files" not in run("retry", "out").stdout
    report = run("download", SLUG, OTHER, "--all", "-o", "out").stdout
    assert "fetched     0 files" in report, "retry has fetched all that there is"
