"""What ``aiocircle download`` selects, writes and says."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiocircle.cli import progress as shown
from aiocircle.testing import DEFAULT_TOKEN, FakeArtifact, Simulator, World
from aiocircle.testing.pytest_plugin import CircleciFactory
from aiocircle.testing.records import Job

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]
SLUG = "gh/acme/web"


def _job(simulator: Simulator) -> Job:
    assert simulator.world.demo_job
    return simulator.world.demo_job


def _above(simulator: Simulator) -> tuple[int, str]:
    """Return the number of the example job's pipeline and the id of its workflow."""
    above = simulator.world.workflow_of(_job(simulator))
    assert above
    assert above[1].id
    return above[0].number, above[1].id


def _files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".aiocircle" not in path.parts
    }


def _expected(simulator: Simulator) -> dict[str, bytes]:
    job = _job(simulator)
    return {
        f"{one.node_index}/{one.path}": simulator.world.content(job, one).read(0, one.length) for one in job.artifacts
    }


def _objects(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def _names(result: Result) -> list[str]:
    return result.stdout.splitlines()


@pytest.fixture
def download(aiocircle: Run, circleci: Simulator) -> Run:
    def run(*arguments: object, **variables: str) -> Result:
        result = aiocircle("download", *arguments, "--host", circleci.url, **variables)
        assert result.returncode == 0, result.stderr
        return result

    return run


def test_a_job_is_fetched_and_a_second_run_fetches_nothing(download: Run, circleci: Simulator, tmp_path: Path) -> None:
    first = download(SLUG, "--job", _job(circleci).number, "-o", "out")
    assert _files(tmp_path / "out") == _expected(circleci)
    assert "fetched     24 files" in first.stdout
    assert "lies in     out" in first.stdout
    second = download(SLUG, "--job", _job(circleci).number, "-o", "out")
    assert "fetched     0 files" in second.stdout
    assert "present     24 files" in second.stdout
    assert circleci.stats.leaks == 0


def test_the_default_output_is_artifacts(download: Run, circleci: Simulator, tmp_path: Path) -> None:
    download(SLUG, "--job", _job(circleci).number)
    assert _files(tmp_path / "artifacts") == _expected(circleci)


def test_json_has_a_line_for_each_item_and_a_last_one_for_all(download: Run, circleci: Simulator) -> None:
    *items, report = _objects(download(SLUG, "--job", _job(circleci).number, "--json"))
    assert {item["target"] for item in items} == _expected(circleci).keys()
    for item in items:
        assert set(item) == {
            *("type", "target", "status", "size", "job_number"),
            *("node_index", "path", "reason", "code", "note"),
        }
        assert (item["type"], item["status"]) == ("item", "stored")
    assert report["type"] == "report"
    assert report["ok"] is True
    assert (report["files"], report["failed"], report["present"], report["cancelled"]) == (24, 0, 0, False)
    assert report["size"] == sum(item["size"] for item in items)
    assert report["stopped_by"] is None
    assert {"seconds", "requests", "refusals", "waits", "waited", "output"} <= report.keys()


def test_a_failed_item_is_a_line_of_json_and_the_reason_is_in_it(aiocircle: Run, circleci: Simulator) -> None:
    circleci.faults.add("forbidden-403", match="000001")
    result = aiocircle("download", SLUG, "--job", _job(circleci).number, "--host", circleci.url, "--json")
    failed = [item for item in _objects(result) if item.get("status") == "failed"]
    assert len(failed) == 4
    assert {item["code"] for item in failed} == {"forbidden"}
    assert _objects(result)[-1]["ok"] is False


def test_a_dry_run_prints_names_and_fetches_nothing(download: Run, circleci: Simulator, tmp_path: Path) -> None:
    result = download(SLUG, "--job", _job(circleci).number, "--dry-run", "-o", "out")
    assert set(_names(result)) == _expected(circleci).keys()
    assert "24 files would be fetched to out" in result.stderr
    assert not (tmp_path / "out").exists()
    assert not circleci.stats.fetches


def test_quiet_is_silent(download: Run, circleci: Simulator) -> None:
    result = download(SLUG, "--job", _job(circleci).number, "-q")
    assert (result.stdout, result.stderr) == ("", "")
    result = download(SLUG, "--job", _job(circleci).number, "-q", "--dry-run")
    assert len(_names(result)) == 24
    assert result.stderr == ""


def test_globs_choose_files(download: Run, circleci: Simulator) -> None:
    job = _job(circleci).number
    result = download(
        SLUG, "--job", job, "--dry-run", "--include", "*.html", "--include", "*.txt", "--exclude", "**/3/**"
    )
    assert _names(result)
    assert all(name.endswith((".html", ".txt")) and "/3/" not in name for name in _names(result))


def test_a_layout_names_files(download: Run, circleci: Simulator, tmp_path: Path) -> None:
    template = "{branch}/{job_name}-{node_index:02d}/{path}"
    download(SLUG, "--job", _job(circleci).number, "--layout", template, "-o", "out", "--fsync")
    assert {name.split("/")[1] for name in _files(tmp_path / "out")} == {"test-00", "test-01", "test-02", "test-03"}


def test_a_workflow_a_pipeline_and_the_latest_one_are_the_same_here(download: Run, circleci: Simulator) -> None:
    number, workflow = _above(circleci)
    names = [
        set(_names(download(SLUG, *selected, "--dry-run")))
        for selected in (
            ["--workflow", workflow],
            ["--pipeline", number],
            ["--latest"],
            ["--latest", "--branch", "main"],
        )
    ]
    assert names[0] == names[1] == names[2] == names[3]
    assert {name.split("/")[0] for name in names[0]} >= {str(_job(circleci).number)}
    assert len(names[0]) == 29


def test_the_most_specific_part_of_an_address_wins(download: Run, circleci: Simulator) -> None:
    number, workflow = _above(circleci)
    page = f"https://app.circleci.com/pipelines/github/acme/web/{number}"
    job = f"{page}/workflows/{workflow}/jobs/{_job(circleci).number}"
    slug = "gh/acme/web"
    addresses = {page: 29, f"{page}/workflows/{workflow}": 29, job: 24}
    for address, count in addresses.items():
        plain = download(address.replace("github/acme", "gh/acme"), "--dry-run")
        assert len(_names(plain)) == count
    completed = download(page.replace("github/acme", "gh/acme"), "--job", _job(circleci).number, "--dry-run")
    assert len(_names(completed)) == 24
    branch = download(f"https://app.circleci.com/pipelines/{slug}?branch=main", "--dry-run")
    assert len(_names(branch)) == 29


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--pipeline", "43"], "another: 43"),
        (["--job", "8"], "another: 8"),
        (["--latest"], "--latest contradicts"),
        (["--branch", "main"], "--branch has no meaning"),
    ],
)
def test_flags_may_not_contradict_the_address(aiocircle: Run, flags: list[str], words: str) -> None:
    workflow = "01234567-89ab-cdef-0123-456789abcdef"
    address = f"https://app.circleci.com/pipelines/gh/acme/web/42/workflows/{workflow}/jobs/7"
    result = aiocircle("download", address, *flags)
    assert result.returncode == 2
    assert words in result.stderr


def test_the_host_of_an_address_sees_the_token_only_if_it_is_configured(aiocircle: Run, circleci: Simulator) -> None:
    address = f"{circleci.url}/pipelines/gh/acme/web/{_above(circleci)[0]}"
    refused = aiocircle("download", address, "--dry-run")
    assert refused.returncode == 7
    assert f"--host {circleci.url}" in refused.stderr
    assert not circleci.stats.total
    assert aiocircle("download", address, "--dry-run", CIRCLE_TOKEN=None).returncode == 3
    assert aiocircle("download", address, "--dry-run", CIRCLE_HOST=circleci.url).returncode == 0
    other = aiocircle("download", address, "--dry-run", "--host", "https://circleci.example.com")
    assert other.returncode == 2


def test_settings_come_from_variables_and_flags_win(aiocircle: Run, circleci: Simulator, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(DEFAULT_TOKEN + "\n")
    variables = {
        "AIOCIRCLE_HOST": circleci.url,
        "AIOCIRCLE_TOKEN_FILE": "token",
        "AIOCIRCLE_AUTH": "bearer",
        "AIOCIRCLE_DRY_RUN": "1",
        "AIOCIRCLE_INCLUDE": "*.html,*.txt",
        "AIOCIRCLE_RETRIES": "",
        "AIOCIRCLE_JOB": "999999",  # selects; it is no setting
    }
    job = _job(circleci).number
    result = aiocircle("download", SLUG, "--job", job, CIRCLE_TOKEN=None, **variables)
    assert result.returncode == 0, result.stderr
    assert {Path(name).suffix for name in _names(result)} == {".html", ".txt"}
    result = aiocircle("download", SLUG, "--job", job, "--include", "*.png", CIRCLE_TOKEN=None, **variables)
    assert {Path(name).suffix for name in _names(result)} == {".png"}
    assert "authorization" in str(circleci.requests[-1].headers).lower()
    result = aiocircle("me", AIOCIRCLE_HOST=circleci.url, AIOCIRCLE_VERBOSE="1", AIOCIRCLE_RETRIES="many")
    assert result.returncode == 2
    assert "AIOCIRCLE_RETRIES" in result.stderr
    assert "GET " in aiocircle("me", AIOCIRCLE_HOST=circleci.url, AIOCIRCLE_VERBOSE="1").stderr


def test_a_variable_that_is_counted_may_say_any_number(download: Run, circleci: Simulator) -> None:
    said = download(SLUG, "--job", _job(circleci).number, "--dry-run", AIOCIRCLE_VERBOSE="99999").stderr
    assert "list artifacts: page 1" in said


def test_the_defaults_are_the_librarys() -> None:
    from aiocircle import DownloadOptions, RetryPolicy, Timeouts
    from aiocircle.cli.download import USUAL_FILES
    from aiocircle.cli.settings import USUAL_CONNECTION
    from aiocircle.client import DEFAULT_MAX_WAIT

    usual = USUAL_CONNECTION
    assert USUAL_FILES.options() == DownloadOptions()
    assert Timeouts(connect=usual.connect_timeout, stall=usual.stall_timeout) == Timeouts()
    assert RetryPolicy(attempts=usual.retries + 1) == RetryPolicy()
    assert usual.max_wait == DEFAULT_MAX_WAIT


def test_names_and_reasons_cannot_move_the_cursor(aiocircle: Run, circleci_factory: CircleciFactory) -> None:
    world = World(pipelines=0)
    hostile = [FakeArtifact("../\x1b[2Jup", body=b"x"), FakeArtifact("[red]safe", body=b"x")]
    job = world.add_job(SLUG, artifacts=hostile)
    simulator = circleci_factory(world)
    names = aiocircle("download", SLUG, "--job", job.number, "--host", simulator.url, "--dry-run")
    summary = aiocircle("download", SLUG, "--job", job.number, "--host", simulator.url, "-vv")
    for result in (names, summary):
        assert "\x1b" not in result.stdout + result.stderr
        assert result.returncode in {0, 9}
    assert "[red]safe" in names.stdout


@pytest.mark.parametrize("fault", ["500", "forbidden-403", "cut-body", "expired-signature", "redirect-foreign"])
def test_no_secret_is_ever_said(aiocircle: Run, circleci: Simulator, fault: str) -> None:
    circleci.faults.add(fault, times=3)
    for flags in (["-vv"], ["-vv", "--json"]):
        job = _job(circleci).number
        result = aiocircle("download", SLUG, "--job", job, "--host", circleci.url, "--retries", "1", *flags)
        said = result.stdout + result.stderr
        assert "GET " in result.stderr
        assert DEFAULT_TOKEN not in said
        assert "ignature=" not in said
        assert "X-Amz" not in said
    assert circleci.stats.leaks == 0


def test_lines_of_json_are_json_whatever_is_taken_out_of_them(
    aiocircle: Run, circleci_factory: CircleciFactory
) -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 3, [FakeArtifact(name, size=3) for name in ('a?token="x"', "b?sig=hush", "../?token=")])
    result = aiocircle("download", SLUG, "--job", 3, "--host", circleci_factory(world).url, "--json")
    *items, report = _objects(result)
    assert report["failed"] == 1
    assert len(items) == 3


def test_names_are_as_they_are_in_json_whatever_they_look_like_but_for_the_token(
    aiocircle: Run, circleci_factory: CircleciFactory, tmp_path: Path
) -> None:
    """Or a program could not open the files; reasons and addresses lose what looks like a secret."""
    names = ["a&token=abc", "b?sig=hush/password=x", "c?authorization: Bearer you", f"d/{DEFAULT_TOKEN}", "../?token=t"]
    world = World(pipelines=0)
    world.add_job(SLUG, 3, [FakeArtifact(name, size=3) for name in names])
    circleci = circleci_factory(world)
    circleci.faults.add("forbidden-403", match="hush")
    result = aiocircle("download", SLUG, "--job", 3, "--host", circleci.url, "-o", "out&key=1", "--json")
    *items, report = _objects(result)
    assert {one["path"] for one in items} == {*names[:3], "d/***", names[4]}
    assert {one["target"] for one in items if one["status"] == "stored"} == {
        f"0/{names[0]}",
        f"0/{names[2]}",
        "0/d/***",
    }
    assert (tmp_path / report["output"] / "0" / names[0]).is_file()
    assert "?token=***" in next(one["reason"] for one in items if one["path"] == names[4])
    assert DEFAULT_TOKEN not in result.stdout + result.stderr
    verified = _objects(aiocircle("verify", "out&key=1", "--json"))
    assert f"0/{names[2]}" in {one["target"] for one in verified if one["type"] == "file"}


def test_a_dry_run_counts_what_it_names_among_what_did_not_fail(
    aiocircle: Run, circleci_factory: CircleciFactory
) -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 3, [FakeArtifact(name, size=3) for name in ("a", "b", "..")])
    result = aiocircle("download", SLUG, "--job", 3, "--host", circleci_factory(world).url, "--dry-run")
    assert result.returncode == 9
    assert "1 of 3 items failed" in result.stderr


def test_who_fetches_nothing_is_not_told_how_much_of_it_is_done() -> None:
    progress = shown.Progress(fetches=False, found=12)
    assert shown.line(progress, progress.began + 1) == "12+ files found"


def test_a_reader_that_goes_away_ends_the_run_quietly(
    start: Callable[..., "subprocess.Popen[str]"], circleci_factory: CircleciFactory
) -> None:
    simulator = circleci_factory(World.demo(files=8000, large=0), latency=0.01)  # more lines than a pipe holds
    for flag in ("--json", "--dry-run"):
        process = start("download", SLUG, "--job", _job(simulator).number, "--host", simulator.url, flag, "-q")
        assert process.stdout
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=20) == 1
        assert process.stderr
        assert process.stderr.read() == ""


def _with_full_disk(environment: dict[str, str], stream: str, *arguments: object) -> Result:
    with open("/dev/full", "w") as full:  # noqa: PTH123 -- a device
        return subprocess.run(
            [sys.executable, "-m", "aiocircle", *map(str, arguments)],
            env=environment,
            cwd=environment["HOME"],
            stdout=full if stream == "stdout" else subprocess.PIPE,
            stderr=full if stream == "stderr" else subprocess.PIPE,
            text=True,
            check=False,
        )


def test_a_full_disk_behind_stdout_is_a_sentence(environment: dict[str, str], circleci: Simulator) -> None:
    download = ("download", SLUG, "--job", _job(circleci).number, "--host", circleci.url, "--json")
    for command in (("completion", "bash"), download):
        result = _with_full_disk(environment, "stdout", *command)
        assert result.returncode == 1
        assert result.stderr.lower() == "aiocircle: the output cannot be written: no space left on device\n"


def test_a_full_disk_behind_stderr_costs_neither_files_nor_data(
    environment: dict[str, str], circleci: Simulator
) -> None:
    download = ("download", SLUG, "--job", _job(circleci).number, "--host", circleci.url, "--json", "-v")
    result = _with_full_disk(environment, "stderr", *download)
    assert result.returncode == 0
    assert _objects(result)[-1]["files"] == len(_expected(circleci))


def test_names_that_the_outputs_encoding_has_no_characters_for_are_escaped(
    aiocircle: Run, circleci_factory: CircleciFactory
) -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 3, [FakeArtifact("d\u00eda/\u65e5.txt", size=3)])
    where = ("download", SLUG, "--job", 3, "--host", circleci_factory(world).url, "-o", "\u00e9")
    names = aiocircle(*where, "--dry-run", PYTHONIOENCODING="ascii")
    assert (names.returncode, names.stdout) == (0, "0/d\\xeda/\\u65e5.txt\n")
    assert "lies in     \\xe9" in aiocircle(*where, PYTHONIOENCODING="ascii").stdout


def test_a_pipe_gets_plain_lines_of_progress(aiocircle: Run, circleci_factory: CircleciFactory) -> None:
    simulator = circleci_factory(World.demo(files=40, large=0), latency=0.4)
    result = aiocircle(
        *("download", SLUG, "--job", _job(simulator).number, "--host", simulator.url, "--concurrency", "4"),
        FORCE_COLOR="1",
    )
    assert result.returncode == 0
    lines = result.stderr.splitlines()
    assert lines
    for line in lines:
        assert " files, " in line
        assert " files/s" in line
        assert "\x1b" not in line


def test_me_says_whose_token_it_is(aiocircle: Run, circleci: Simulator) -> None:
    plain, as_json = (aiocircle("me", "--host", circleci.url, *flags) for flags in ([], ["--json"]))
    user = json.loads(as_json.stdout)
    assert user["type"] == "user"
    assert plain.stdout.strip() == f"{user['name']} ({user['login']}), {user['id']}"
