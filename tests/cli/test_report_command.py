"""``aiocircle report``: what it says, with which status, and that it needs neither token nor host."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.testing.pytest_plugin import CircleciFactory

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]
SLUG = "gh/acme/web"


@pytest.fixture
def simulator(circleci_factory: CircleciFactory) -> Simulator:
    world = World(pipelines=0)
    world.add_job(SLUG, 7, [FakeArtifact(f"{name}.txt", node_index=0, size=7000) for name in "abc"])
    return circleci_factory(world)


@pytest.fixture
def downloaded(aiocircle: Run, simulator: Simulator, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    done = aiocircle("download", SLUG, "--job", 7, "-o", out, CIRCLE_HOST=simulator.url)
    assert done.returncode == 0
    return out


def test_a_page_about_a_download_is_written_without_token_or_host(
    aiocircle: Run, downloaded: Path, tmp_path: Path
) -> None:
    done = aiocircle("report", downloaded, CIRCLE_TOKEN=None)
    page = tmp_path / "report.html"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"report.html: {page.stat().st_size / 1024:.1f} KiB, from the download\n"
    assert "<title>What was downloaded: out</title>" in page.read_text("utf-8")

    done = aiocircle("report", downloaded, "-o", "again.html", "--json", CIRCLE_TOKEN=None)
    said = json.loads(done.stdout)
    assert (said["output"], said["sources"]) == ("again.html", ["download"])
    assert said["size"] == (tmp_path / "again.html").stat().st_size


def test_a_page_goes_to_standard_output_where_that_is_named(aiocircle: Run, downloaded: Path, tmp_path: Path) -> None:
    """As archives do; a file whose name is a dash is seldom what was meant."""
    assert aiocircle("report", downloaded).returncode == 0
    done = aiocircle("report", downloaded, "-o", "-", LANG="C", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) > 50_000
    assert done.stdout.startswith("<!doctype html>")
    assert done.stdout.endswith("</html>")
    assert not (tmp_path / "-").exists()


def test_a_directory_that_has_nothing_to_tell_is_refused_in_a_sentence(aiocircle: Run, tmp_path: Path) -> None:
    done = aiocircle("report", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"aiocircle: {tmp_path}: there is neither an export nor a download\nhint: ")
    assert not (tmp_path / "report.html").exists()


def test_the_name_of_a_page_cannot_move_the_cursor(aiocircle: Run, downloaded: Path) -> None:
    done = aiocircle("report", downloaded, "-o", "a\x1b[2Jb.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("a\\x1b[2Jb.html: ")


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("nowhere/report.html", "no such file or directory"),
        ("file/report.html", "not a directory"),
        ("r" * 300, "file name too long"),
        ("out", "a directory stands at this name"),
    ],
    ids=["nowhere", "below-a-file", "long", "directory"],
)
def test_a_page_that_cannot_be_written_is_a_sentence(
    aiocircle: Run, downloaded: Path, tmp_path: Path, output: str, why: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    done = aiocircle("report", downloaded, "-o", output)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == f"aiocircle: {output}: {why}"
    assert {one.name for one in tmp_path.iterdir()} == {"home", "out", "file"}
