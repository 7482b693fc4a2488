"""A process may be started without standard output or error: by a daemon, or with ``>&-``."""

import os
import subprocess
import sys

import pytest

from aiocircle.testing import Simulator


@pytest.mark.xfail(
    strict=True,
    reason="sys.stdout and sys.stderr are None then, and aiocircle.cli.app.main puts nothing in their place",
)
@pytest.mark.parametrize("closed", [1, 2])
def test_a_download_needs_neither_standard_output_nor_error(
    environment: dict[str, str], circleci: Simulator, closed: int
) -> None:
    assert circleci.world.demo_job
    job = str(circleci.world.demo_job.number)
    process = subprocess.run(
        [sys.executable, "-m", "aiocircle", "download", "gh/acme/web", "--job", job, "--host", circleci.url],
        env=environment,
        cwd=environment["HOME"],
        stdout=None if closed == 1 else subprocess.PIPE,
        stderr=None if closed == 2 else subprocess.PIPE,
        preexec_fn=lambda: os.close(closed),
        check=False,
    )
    assert process.returncode == 0
    assert b"internal error" not in (process.stderr or b"")
