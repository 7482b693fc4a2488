"""What the ledger is for: checking offline, fetching what failed, telling where everything comes from."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiocircle.download.records import Records
from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.testing.pytest_plugin import CircleciFactory

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]
SLUG = "gh/acme/web"
PATHS = ["a.txt", "d/b.bin", "d/large.bin"]


@pytest.fixture
def world() -> World:
    world = World(pipelines=0)
    job = world.add_job(SLUG, 7, [FakeArtifact(path, node_index=1, size=70_000 * n) for n, path in enumerate(PATHS)])
    world.add_job(SLUG, 8, [FakeArtifact("other.txt", size=10)], beside=job)
    return world


@pytest.fixture
def simulator(circleci_factory: CircleciFactory, world: World) -> Simulator:
    return circleci_factory(world)


@pytest.fixture
def run(aiocircle: Run, simulator: Simulator) -> Run:
    return lambda *arguments: aiocircle(*arguments, CIRCLE_HOST=simulator.url)


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_what_was_fetched_is_verified_without_a_host_and_what_was_changed_is_named(
    run: Run, aiocircle: Run, simulator: Simulator, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("download", SLUG, "--job", 7, "-o", out).returncode == 0
    simulator.stats.reset()
    done = aiocircle("verify", out, CIRCLE_TOKEN=None)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "3 files right, 205.1 KiB read\n"

    body = bytearray((out / "1/d/b.bin").read_bytes())
    body[4000] ^= 1
    (out / "1/d/b.bin").write_bytes(body)  # the same size
    (out / "1/a.txt").unlink()
    (out / "1/d/large.bin").unlink()
    (out / "1/d/large.bin").symlink_to(out / "1/d/b.bin")
    done = aiocircle("verify", out)
    assert done.returncode == 9
    *named, total = done.stdout.splitlines()
    assert sorted(named) == [
        "differs  1/d/b.bin: other bytes than were fetched",
        "differs  1/d/large.bin: a link or something else than a file stands there",
        "missing  1/a.txt: there is no such file",
    ]
    assert total == "0 files right, 1 missing, 2 other than fetched, 68.4 KiB read"
    *files, report = lines(aiocircle("verify", out, "--json"))
    assert sorted((one["target"], one["status"]) for one in files) == [
        ("1/a.txt", "missing"),
        ("1/d/b.bin", "differs"),
        ("1/d/large.bin", "differs"),
    ]
    assert (report["ok"], report["missing"], report["differs"]) == (False, 1, 2)
    assert simulator.stats.total == 0


def test_what_an_older_version_recorded_is_verified_by_size(aiocircle: Run, tmp_path: Path) -> None:
    own = tmp_path / "out" / ".aiocircle"
    own.mkdir(parents=True)
    (tmp_path / "out" / "a").write_bytes(b"12345")
    connection = sqlite3.connect(own / "ledger.sqlite")
    connection.execute("CREATE TABLE files (target TEXT PRIMARY KEY, artifact TEXT, size INTEGER) WITHOUT ROWID")
    connection.execute("INSERT INTO files VALUES ('a', 'gh/acme/web#1/0/a', 5), ('../b', 'x', 1)")
    connection.commit()
    connection.close()
    done = aiocircle("verify", tmp_path / "out")
    assert done.returncode == 9
    assert done.stdout.startswith("differs  ../b: ")
    assert "1 without a digest, sizes right" in done.stdout


def test_retry_fetches_what_failed_and_nothing_else(run: Run, simulator: Simulator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulator.faults.add("forbidden-403", match="/d/")
    simulator.faults.add("500", match="/8/artifacts")
    failed = run("download", SLUG, "--latest", "-o", out, "--retries", 0)
    assert failed.returncode == 9
    verified = run("verify", out)
    assert verified.returncode == 9
    assert "1 file right, 3 failed" in verified.stdout

    still = run("retry", out, "--retries", 0)
    assert (still.returncode, "failed      3 items" in still.stdout) == (9, True)
    simulator.faults.clear()
    simulator.stats.reset()
    done = run("retry", out)
    assert done.returncode == 0, done.stderr
    assert "3 items failed before" in done.stderr
    assert sorted(path for _, _, path in simulator.stats.fetches) == ["d/b.bin", "d/large.bin", "other.txt"]
    assert (out / "7/1/d/large.bin").read_bytes() == simulator.world.artifact_bytes(SLUG, 7, "d/large.bin", 1)
    assert (out / "8/0/other.txt").exists()
    assert run("verify", out).returncode == 0
    again = run("retry", out)
    assert (again.returncode, again.stdout, again.stderr) == (0, "nothing failed\n", "")


def test_retry_of_a_listing_leaves_other_files_their_names(run: Run, simulator: Simulator, tmp_path: Path) -> None:
    names = ["a.txt", "d/b.bin"]
    first = simulator.world.add_job(SLUG, 20, [FakeArtifact(name, size=20) for name in names])
    simulator.world.add_job(SLUG, 21, [FakeArtifact(name, size=30) for name in names], beside=first)
    out = tmp_path / "out"
    simulator.faults.add("500", match="/20/artifacts")
    assert run("download", SLUG, "--latest", "-o", out, "--layout", "{path}", "--retries", 0).returncode == 9
    simulator.faults.clear()
    done = run("retry", out)
    assert (done.returncode, "fetched     2 files" in done.stdout) == (0, True)
    for name in names:
        assert (out / name).read_bytes() == simulator.world.artifact_bytes(SLUG, 21, name)
    assert "4 files right" in run("verify", out).stdout


def test_retry_of_a_listing_finds_what_another_selection_has_fetched(
    run: Run, simulator: Simulator, tmp_path: Path
) -> None:
    """Of a workflow that is named by itself nobody knows which pipeline it belongs to."""
    out = tmp_path / "out"
    simulator.world.add_job(SLUG, 20, [FakeArtifact("a", size=20)])
    job = simulator.world.job(SLUG, 7)
    assert job is not None
    found = simulator.world.workflow_of(job)
    assert found is not None
    assert run("download", SLUG, "--workflow", found[1].id, "-o", out).returncode == 0
    simulator.faults.add("500", match="/workflow$")
    assert run("download", SLUG, "--all", "-o", out, "--retries", 0).returncode == 9
    simulator.faults.clear()
    done = run("retry", out)
    assert (done.returncode, "fetched     1 file" in done.stdout) == (0, True), done.stdout
    assert "present     4 files" in done.stdout
    assert "5 files right" in run("verify", out).stdout


def test_retry_goes_below_pipelines_and_workflows_that_could_not_be_listed(
    run: Run, simulator: Simulator, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = simulator.world.add_job(SLUG, 20, [FakeArtifact("a", size=20)])
    simulator.world.add_job(SLUG, 21, [FakeArtifact("b", size=30)], beside=first)
    arguments = ("download", SLUG, "--all", "-o", out, "--retries", 0)
    for place, failures in (
        ("/pipeline/", 2),
        ("/job", 2),
    ):  # the workflows of two pipelines, the jobs of two workflows
        simulator.faults.add("500", match=place)
        assert run(*arguments).returncode == 9
        assert f"0 files right, {failures} failed" in run("verify", out).stdout
        simulator.faults.clear()
        done = run("retry", out)
        assert (done.returncode, "fetched     6 files" in done.stdout) == (0, True), done.stdout + done.stderr
        assert "6 files right" in run("verify", out).stdout
        assert run("retry", out).stdout == "nothing failed\n"
        shutil.rmtree(out)
    simulator.faults.add("500", match="/pipeline/")
    assert run(*arguments).returncode == 9
    simulator.faults.clear()
    assert run(*arguments).returncode == 0, "a second download settles them as well"
    assert run("retry", out).stdout == "nothing failed\n"


def test_retry_fetches_once_what_failed_by_itself_and_in_a_listing(
    run: Run, simulator: Simulator, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("download", SLUG, "-o", out, "--retries", 0, "--layout", "{job_number}/{path}")
    simulator.faults.add("500", match="/job$")
    assert run(*arguments, "--latest").returncode == 9
    simulator.faults.clear()
    simulator.faults.add("500", place="storage")
    assert run(*arguments, "--job", 7).returncode == 9
    simulator.faults.clear()
    done = run("retry", out)
    assert (done.returncode, "fetched     4 files" in done.stdout) == (0, True), done.stderr
    assert run("retry", out).stdout == "nothing failed\n"
    assert "4 files right" in run("verify", out).stdout


@pytest.mark.parametrize("place", ["/artifacts", "/job$", "/workflow$", "/20/artifacts"])
def test_retry_of_listings_fetches_what_the_run_would_have_fetched_and_nothing_else(
    run: Run, simulator: Simulator, tmp_path: Path, place: str
) -> None:
    stored = [FakeArtifact(name, node, size=size) for node in (0, 1) for name, size in (("a.xml", 9), ("b.xml", 99))]
    first = simulator.world.add_job(SLUG, 20, [*stored, FakeArtifact("c.txt", 1, size=1)], name="test")
    simulator.world.add_job(SLUG, 21, [FakeArtifact("a.xml", 1, size=9)], name="build", beside=first)
    simulator.world.add_job(SLUG, 22, [FakeArtifact("a.xml", 1, size=9)], name="test", status="failed", beside=first)
    flags = ["--include", "*.xml", "--node", 1, "--max-size", 50, "--job-name", "te*", "--status", "success"]
    out = tmp_path / "out"
    simulator.faults.add("500", match=place)
    more = ["--layout", "kept/{path}", "-o", out, "--retries", 0]
    assert run("download", SLUG, "--all", *flags, *more).returncode == 9
    assert run("retry", out, "--retries", 0).returncode == 9, "what fails again keeps what it was chosen by"
    simulator.faults.clear()
    assert run("download", SLUG, "--job", 7, "-o", out).returncode == 0, "whatever other runs want"
    done = run("retry", out)
    assert (done.returncode, "fetched     1 file" in done.stdout) == (0, True), done.stdout
    assert [path.name for path in (out / "kept").iterdir()] == ["a.xml"]
    assert "smaller" not in done.stdout
    assert run("retry", out).stdout == "nothing failed\n"


def test_retry_keeps_to_the_sizes_of_the_run(run: Run, simulator: Simulator, tmp_path: Path) -> None:
    simulator.faults.add("forbidden-403", match="/d/")
    out = tmp_path / "out"
    assert run("download", SLUG, "--job", 7, "-o", out, "--max-size", "100k").returncode == 9
    simulator.faults.clear()
    done = run("retry", out)
    assert (done.returncode, "1: larger than 102400 bytes" in done.stdout) == (0, True), done.stdout
    assert not (out / "1/d/large.bin").exists()
    assert run("retry", out).stdout == "nothing failed\n"


def test_a_second_download_settles_what_failed_as_well(run: Run, simulator: Simulator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulator.faults.add("forbidden-403", 1, match="/d/")
    simulator.faults.add("500", 1, match="/8/artifacts")
    assert run("download", SLUG, "--latest", "-o", out, "--retries", 0).returncode == 9
    assert run("download", SLUG, "--latest", "-o", out).returncode == 0
    assert run("verify", out).returncode == 0


def test_retry_of_another_hosts_files_shows_it_no_token(
    run: Run, aiocircle: Run, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.faults.add("forbidden-403", match="/d/")
    assert run("download", SLUG, "--job", 7, "-o", tmp_path / "out").returncode == 9
    done = aiocircle("retry", tmp_path / "out")
    assert done.returncode == 7
    assert "only to a host that you configured" in done.stderr


def interrupted(run: Run, out: Path, simulator: Simulator, *arguments: object) -> None:
    """Kill a download in its middle, as far as its ledger tells: of what it had not fetched nothing is known."""
    ended = simulator.faults.add("token-revoked", after=4, place="artifact")
    assert run("download", SLUG, *arguments, "-o", out, "--concurrency", 1).returncode in {3, 9}
    assert ended.struck
    simulator.faults.clear()
    simulator.stats.reset()


def test_retry_after_a_kill_fetches_what_was_pending_as_well(run: Run, simulator: Simulator, tmp_path: Path) -> None:
    simulator.world.add_job(SLUG, 9, [FakeArtifact(f"{n}.txt", size=1000 + n) for n in range(12)])
    out = tmp_path / "out"
    interrupted(run, out, simulator, "--job", 9, "--exclude", "11*", "--layout", "kept/{path}")
    before = {found.name for found in (out / "kept").iterdir()}
    assert 0 < len(before) < 10
    done = run("retry", out)
    assert done.returncode == 0, done.stderr
    assert "what is missing fetched as well" in done.stderr
    assert {found.name for found in (out / "kept").iterdir()} == {f"{n}.txt" for n in range(11)}
    assert not before & {path for _, _, path in simulator.stats.fetches}, "what was there is not fetched again"
    assert run("retry", out).stdout == "nothing failed\n"


@pytest.mark.parametrize("how", [("--latest",), ("--from",)])
def test_retry_says_what_to_do_where_what_was_pending_is_not_known(
    run: Run, simulator: Simulator, tmp_path: Path, how: tuple[str, ...]
) -> None:
    simulator.world.add_job(SLUG, 9, [FakeArtifact(f"{n}.txt", size=1000 + n) for n in range(12)])
    out, plan = tmp_path / "out", tmp_path / "plan.jsonl"
    if how == ("--from",):
        assert run("download", SLUG, "--job", 9, "--plan", plan).returncode == 0
        ended = simulator.faults.add("token-revoked", after=4, place="artifact")
        assert run("download", "--from", plan, "-o", out, "--concurrency", 1).returncode in {3, 9}
        assert ended.struck
        simulator.faults.clear()
    else:
        interrupted(run, out, simulator, "--latest")
    done = run("retry", out)
    assert "the same 'aiocircle download' completes it" in done.stderr


def test_retry_calls_a_job_that_the_host_does_not_know_any_more_expired(
    run: Run, simulator: Simulator, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    simulator.faults.add("forbidden-403", match="/d/")
    assert run("download", SLUG, "--job", 7, "-o", out).returncode == 9
    simulator.faults.clear()
    simulator.faults.add("expired-404", place="api", match="/7/artifacts")
    done = run("retry", out)
    assert done.returncode == 5
    assert "expired" in done.stdout + done.stderr
    assert "failed      0" in done.stdout
    assert run("retry", out).stdout == "nothing failed\n"


def test_retry_says_what_the_host_lists_no_longer(run: Run, simulator: Simulator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulator.faults.add("forbidden-403", 1, match="/d/b")
    assert run("download", SLUG, "--job", 7, "-o", out).returncode == 9
    connection = sqlite3.connect(out / ".aiocircle" / "ledger.sqlite")
    connection.execute("UPDATE failures SET path = 'gone', artifact = replace(artifact, 'd/b.bin', 'gone')")
    connection.commit()
    connection.close()
    done = run("retry", out)
    assert done.returncode == 5, "nothing but what has expired is no success"
    assert "expired: the host does not list it any more" in done.stdout + done.stderr
    assert "failed      0" in done.stdout
    assert run("retry", out).stdout == "nothing failed\n"


def test_an_artifact_without_a_name_is_not_called_a_listing(run: Run, simulator: Simulator, tmp_path: Path) -> None:
    simulator.faults.add("name-empty", match="/7/artifacts")
    assert run("download", SLUG, "--job", 7, "-o", tmp_path / "out").returncode == 9
    said = run("verify", tmp_path / "out").stdout
    assert "failed   gh/acme/web#7/1/: names no file" in said
    assert "the listing" not in said


def test_the_manifest_tells_where_every_byte_comes_from(run: Run, simulator: Simulator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulator.faults.add("forbidden-403", match="/d/b")
    assert run("download", SLUG, "--latest", "-o", out).returncode == 9
    done = run("manifest", out)
    assert (done.returncode, done.stderr) == (0, "")
    found = lines(done)
    assert [one["outcome"] for one in found] == ["stored", "stored", "stored", "failed"]
    assert (found[-1]["target"], found[-1]["code"]) == ("7/1/d/b.bin", "forbidden")
    large = next(one for one in found if one["path"] == "d/large.bin")
    content = simulator.world.artifact_bytes(SLUG, 7, "d/large.bin", 1)
    assert large["sha256"] == hashlib.sha256(content).hexdigest()
    assert (large["slug"], large["job"], large["node"], large["size"]) == (SLUG, 7, 1, len(content))
    assert large["pipeline"] == 1
    assert large["workflow"]
    assert large["validator"].startswith('"')
    assert large["address"].endswith("/artifacts/1/d/large.bin")
    assert "?" not in large["address"]
    assert large["began"] <= large["ended"]
    file = tmp_path / "manifest.jsonl"
    assert run("manifest", out, "-o", file).stdout == ""
    assert run("manifest", out, "-o", "-").stdout == file.read_text("utf-8")
    assert file.read_text() == done.stdout
    stored = b"".join(one.read_bytes() for one in (out / ".aiocircle").iterdir() if one.is_file())
    assert simulator.token.encode() not in stored
    assert b"X-Amz" not in stored


@pytest.mark.parametrize("command", ["verify", "retry", "manifest"])
def test_a_directory_without_a_ledger_is_an_error_in_words(aiocircle: Run, tmp_path: Path, command: str) -> None:
    done = aiocircle(command, tmp_path)
    assert done.returncode == 1
    assert "there is no ledger" in done.stderr
    assert list(tmp_path.glob(".aio*")) == []


@pytest.mark.parametrize("command", ["verify", "retry", "manifest"])
@pytest.mark.parametrize(
    ("made", "said"),
    [
        (b"", "it is no ledger"),
        (b"hello", "file is not a database"),
        ("CREATE TABLE files (a); INSERT INTO files VALUES (1);", "it is no ledger"),
        ("CREATE TABLE files (target, artifact, size); CREATE TABLE about (a); CREATE TABLE failures (a);", ""),
    ],
)
def test_what_is_no_ledger_is_an_error_in_words(
    aiocircle: Run, tmp_path: Path, command: str, made: bytes | str, said: str
) -> None:
    own = tmp_path / "out" / ".aiocircle"
    own.mkdir(parents=True)
    if isinstance(made, bytes):
        (own / "ledger.sqlite").write_bytes(made)
    else:
        connection = sqlite3.connect(own / "ledger.sqlite")
        connection.executescript(made)
        connection.close()
    done = aiocircle(command, tmp_path / "out")
    assert (done.returncode, said in done.stderr) == (1 if said else 0, True), done.stderr
    if said:
        assert "'aiocircle download' begins anew" in done.stderr
        assert len(done.stderr.splitlines()) == 2


def test_a_reader_of_records_may_stop_in_the_middle(run: Run, tmp_path: Path) -> None:
    assert run("download", SLUG, "--latest", "-o", tmp_path / "out").returncode == 0
    with Records(tmp_path / "out") as records:
        stored = records.stored()
        next(stored)
    del stored  # a generator that cannot end in peace says so where only pytest hears it
