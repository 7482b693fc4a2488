"""The same artifacts to a bucket, an archive, standard output, and a directory that keeps equal files once."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from google_like import google_like
from object_servers import SECRET, Server

from aiocircle.testing import FakeArtifact, Simulator, World
from aiocircle.testing.pytest_plugin import CircleciFactory

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]
SLUG = "gh/acme/web"
SIZES = [0, 10, 900, 70_000, 70_000, 3_000_000, 17_000_000]


@pytest.fixture
def world() -> World:
    world = World(pipelines=0)
    files = [FakeArtifact(f"d{n % 2}/ü {n}.bin", node_index=n % 2, size=size) for n, size in enumerate(SIZES)]
    job = world.add_job(SLUG, 7, files)
    # What a re-run produces: some of it the same again.
    world.add_job(SLUG, 8, [FakeArtifact("same.txt", body=b"equal" * 99), FakeArtifact("b", size=5)], beside=job)
    world.add_job(SLUG, 9, [FakeArtifact("same.txt", body=b"equal" * 99), FakeArtifact("b", size=6)], beside=job)
    return world


@pytest.fixture
def simulator(circleci_factory: CircleciFactory, world: World) -> Simulator:
    return circleci_factory(world)


@pytest.fixture
def run(aiocircle: Run, simulator: Simulator) -> Run:
    return lambda *arguments, **variables: aiocircle(*arguments, CIRCLE_HOST=simulator.url, **variables)


def wanted(world: World, number: int = 7) -> dict[str, bytes]:
    job = world.job(SLUG, number)
    assert job is not None
    return {
        f"{one.node_index}/{one.path}": world.artifact_bytes(SLUG, number, one.path, one.node_index)
        for one in job.artifacts
    }


def in_bucket(server: Server, prefix: str) -> dict[str, bytes]:
    return {name: server.read(f"some prefix/{prefix}/{name}") for name in server.sizes(f"{prefix}/")}


# --- buckets ---------------------------------------------------------------------------------------------------------


def test_a_bucket_gets_every_byte_and_a_second_run_fetches_nothing(
    run: Run, s3: Server, world: World, simulator: Simulator, tmp_path: Path
) -> None:
    out = f"{s3.address}/{tmp_path.name}"
    done = run("download", SLUG, "--job", 7, "-o", out, "--json", **s3.environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert in_bucket(s3, tmp_path.name) == wanted(world)
    assert s3.uploads(tmp_path.name) == []
    assert not (tmp_path / "s3:").exists()

    simulator.stats.reset()
    again = run("download", SLUG, "--job", 7, "-o", out, "--json", **s3.environ)
    report = json.loads(again.stdout.splitlines()[-1])
    assert (report["files"], report["present"]) == (0, len(SIZES))

    (state,) = (tmp_path / "home/.local/state/aiocircle").iterdir()
    assert {found.name for found in state.iterdir()} >= {"ledger.sqlite", "lock", "parts"}
    assert list((state / "parts").iterdir()) == []


def test_the_same_goes_by_googles_protocol(run: Run, s3: Server, world: World, tmp_path: Path) -> None:
    with google_like(s3) as google:
        out = f"{google.address}/{tmp_path.name}"
        done = run("download", SLUG, "--job", 7, "-o", out, "--json", **google.environ)
        assert (done.returncode, done.stderr) == (0, "")
        assert in_bucket(google, tmp_path.name) == wanted(world)
        assert run("verify", out, **google.environ).stdout.startswith("7 files right")


def test_the_ledger_of_a_bucket_is_verified_retried_and_listed(
    run: Run, s3: Server, world: World, tmp_path: Path
) -> None:
    out = f"{s3.address}/{tmp_path.name}"
    assert run("download", SLUG, "--job", 7, "-o", out, **s3.environ).returncode == 0
    done = run("verify", out, **s3.environ)
    assert (done.returncode, done.stdout.split(",")[0]) == (0, "7 files right")
    assert run("retry", out, **s3.environ).stdout == "nothing failed\n"
    lines = [json.loads(line) for line in run("manifest", out, **s3.environ).stdout.splitlines()]
    assert {line["target"] for line in lines} == set(wanted(world))

    overwrite(s3, f"{tmp_path.name}/1/d1/ü 3.bin", b"x" * 70_000)
    done = run("verify", out, **s3.environ)
    assert done.returncode == 9
    assert "differs  1/d1/ü 3.bin: other bytes than were fetched" in done.stdout


def overwrite(server: Server, key: str, data: bytes) -> None:
    script = "import sys, obstore.store as s; data = sys.stdin.buffer.read()"
    script += "; s.S3Store('artifacts', prefix='some prefix').put(sys.argv[1], data)"
    environ = {**os.environ, **server.environ}
    subprocess.run([sys.executable, "-c", script, key], input=data, check=True, env=environ)


def test_kills_at_any_moment_then_the_same_command_leaves_the_right_objects(
    start: Callable[..., "subprocess.Popen[str]"],
    run: Run,
    s3: Server,
    world: World,
    simulator: Simulator,
    tmp_path: Path,
) -> None:
    out = f"{s3.address}/{tmp_path.name}"
    arguments = ("download", SLUG, "--job", 7, "-o", out)
    killed = 0
    for delay in (0.4, 0.55, 0.7, 0.85, 1.0, 0.6):
        process = start(*arguments, CIRCLE_HOST=simulator.url, **s3.environ)
        time.sleep(delay)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        seen, right = in_bucket(s3, tmp_path.name), wanted(world)
        assert {name: right[name] for name in seen} == seen
    assert killed
    assert run(*arguments, **s3.environ).returncode == 0
    assert in_bucket(s3, tmp_path.name) == wanted(world)
    assert s3.uploads(tmp_path.name) == []
    assert run("verify", out, **s3.environ).returncode == 0


def test_a_signal_in_the_middle_leaves_no_upload_and_the_same_command_goes_on(
    start: Callable[..., "subprocess.Popen[str]"],
    run: Run,
    s3: Server,
    world: World,
    simulator: Simulator,
    tmp_path: Path,
) -> None:
    out = f"{s3.address}/{tmp_path.name}"
    for delay in (0.6, 0.8, 1.0):
        process = start("download", SLUG, "--job", 7, "-o", out, CIRCLE_HOST=simulator.url, **s3.environ)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=40)
        assert process.returncode in {0, 6, -signal.SIGINT}
        assert "Traceback" not in stderr
        assert s3.uploads(tmp_path.name) == []
    assert run("download", SLUG, "--job", 7, "-o", out, **s3.environ).returncode == 0
    assert in_bucket(s3, tmp_path.name) == wanted(world)


@pytest.mark.parametrize(
    ("output", "changed", "said"),
    [
        ("s3://no-such-bucket", {}, "s3 answered 404 NoSuchBucket"),
        ("s3://artifacts/x", {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}, "s3 answered 403 SignatureDoesNotMatch"),
    ],
)
def test_a_refusal_ends_the_command_with_a_sentence(
    run: Run, s3: Server, output: str, changed: dict[str, str], said: str
) -> None:
    done = run("download", SLUG, "--job", 7, "-o", output, **{**s3.environ, **changed})
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"aiocircle: {output}: {said}\nhint: ")
    assert "credentials and endpoint come from AWS_ACCESS_KEY_ID" in done.stderr
    assert SECRET not in done.stderr
    assert "not-the-secret" not in done.stderr


# --- archives --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.tar", "out.tar.gz", "out.zip"])
def test_an_archive_gets_every_byte(run: Run, world: World, tmp_path: Path, name: str) -> None:
    done = run("download", SLUG, "--job", 7, "-o", tmp_path / name)
    assert done.returncode == 0, done.stderr
    assert contents((tmp_path / name).read_bytes()) == wanted(world)
    assert not list(tmp_path.glob(".out*"))


def contents(data: bytes) -> dict[str, bytes]:
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {one.name: (tar.extractfile(one) or io.BytesIO()).read() for one in tar}


def test_a_tar_to_standard_output_with_everything_else_on_standard_error(
    environment: dict[str, str], simulator: Simulator, world: World, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "aiocircle", "download", SLUG, "--job", "7", "-o", "-"]
    environ = {**environment, "CIRCLE_HOST": simulator.url}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, check=True)
    assert contents(done.stdout) == wanted(world)
    assert b"fetched     7 files" in done.stderr


def test_a_reader_of_the_tar_that_stops_ends_the_run(
    environment: dict[str, str], simulator: Simulator, tmp_path: Path
) -> None:
    command = (
        f"{sys.executable} -m aiocircle download {SLUG} --job 7 -o - | head -c 100 > first; echo ${{PIPESTATUS[0]}}"
    )
    environ = {**environment, "CIRCLE_HOST": simulator.url}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    assert "Traceback" not in done.stderr
    assert "has stopped reading" in done.stderr


@pytest.mark.parametrize("delay", [0.4, 0.6, 0.8])
def test_an_archive_that_was_killed_or_cancelled_is_none_and_the_same_command_begins_anew(
    start: Callable[..., "subprocess.Popen[str]"],
    run: Run,
    simulator: Simulator,
    world: World,
    tmp_path: Path,
    delay: float,
) -> None:
    out = tmp_path / "out.zip"
    for sent in (signal.SIGKILL, signal.SIGTERM):
        process = start("download", SLUG, "--job", 7, "-o", out, CIRCLE_HOST=simulator.url)
        time.sleep(delay)
        process.send_signal(sent)
        process.communicate(timeout=40)
        if out.exists():  # the signal came when it had its name already
            assert contents(out.read_bytes()) == wanted(world)
            out.unlink()
    assert run("download", SLUG, "--job", 7, "-o", out).returncode == 0
    assert contents(out.read_bytes()) == wanted(world)
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("command", ["verify", "retry", "manifest"])
@pytest.mark.parametrize("output", ["out.tar", "d/out.ZIP"])
def test_commands_that_need_a_ledger_say_that_an_archive_has_none(run: Run, command: str, output: str) -> None:
    done = run(command, output)
    assert done.returncode != 0
    assert "an archive has no ledger" in done.stderr
    assert "Traceback" not in done.stderr


# --- equal files once ------------------------------------------------------------------------------------------------


def test_equal_artifacts_of_several_jobs_are_one_file(run: Run, world: World, tmp_path: Path) -> None:
    for number in (8, 9):
        layout = ("--layout", "{job_number}/{node_index}/{path}")
        done = run("download", SLUG, "--job", number, "-o", tmp_path / "out", "--dedupe", *layout)
        assert done.returncode == 0, done.stderr
    first, second = tmp_path / "out/8/0/same.txt", tmp_path / "out/9/0/same.txt"
    assert first.samefile(second)
    assert first.stat().st_nlink == 3
    assert first.read_bytes() == b"equal" * 99
    assert not (tmp_path / "out/8/0/b").samefile(tmp_path / "out/9/0/b")
    assert run("verify", tmp_path / "out").returncode == 0

    first.chmod(0o644)
    first.write_bytes(b"EQUAL" * 99)
    done = run("verify", tmp_path / "out")
    assert done.returncode == 9
    assert done.stdout.count("other bytes than were fetched") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "out.tar", "--dedupe"], "--dedupe needs a directory"),
        (["-o", "ftp://host/x"], "files go to directories, archives, s3://, gs:// and az:// only"),
        (["-o", "-", "--json"], "--json cannot write there as well"),
        (["-o", ""], "must not be empty"),
        (["-o", "s3:/bucket/x"], "'s3:/bucket/x' names no bucket"),
        (["-o", "out.tar.xz"], "archives are .tar, .tar.gz, .tgz, .tar.zst and .zip"),
        (["-o", "out.7Z"], "for a directory of that name write out.7Z/"),
    ],
)
def test_what_does_not_go_together_is_said(run: Run, arguments: list[str], said: str) -> None:
    done = run("download", SLUG, "--job", 7, *arguments)
    assert done.returncode in {2, 7}
    assert said in done.stderr


@pytest.mark.parametrize("name", ["reports.tar.xz/", "kept.rar", "file.tartar", "x.tar.gz.d"])
def test_a_name_that_is_no_archives_is_a_directorys(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "kept.rar").mkdir()
    assert run("download", SLUG, "--job", 8, "-o", name).returncode == 0
    assert (tmp_path / name / ".aiocircle" / "ledger.sqlite").exists()
