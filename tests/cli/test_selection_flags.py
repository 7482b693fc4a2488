"""Which artifacts the flags of ``aiocircle download`` mean, and one clear sentence for each contradiction."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocircle.testing import KongLimits, Simulator, World
from aiocircle.testing.pytest_plugin import CircleciFactory

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]
SLUG, OTHER = "gh/acme/web", "gh/acme/api"
PIPELINE = "https://app.circleci.com/pipelines/gh/acme/web/42"


@pytest.fixture
def simulator(circleci_factory: CircleciFactory) -> Simulator:
    ample = KongLimits({"second": 5000})  # what no header tells is felt for, which takes time
    return circleci_factory(World(pipelines=8, artifacts=3, slugs=(SLUG, OTHER)), limits=ample)


@pytest.fixture
def names(aiocircle: Run, simulator: Simulator) -> Callable[..., set[str]]:
    def run(*arguments: object) -> set[str]:
        result = aiocircle("download", *arguments, "--host", simulator.url, "--dry-run")
        assert result.returncode == 0, result.stderr
        return set(result.stdout.splitlines())

    return run


def test_filters_narrow_what_is_selected(names: Callable[..., set[str]]) -> None:
    everything = names(SLUG, "--all")
    assert everything
    assert names(SLUG, "--since", "2000-01-01") == names(SLUG, "--since", "30000d") == everything
    assert names(SLUG, "--since", "2026-11-02T09:00Z") < everything
    assert names(SLUG, "--until", "2026-11-02T08:00") < everything
    assert names(SLUG, "--all", "--branch", "main") < everything
    tests, compiled = names(SLUG, "--all", "--job-name", "unit*"), names(SLUG, "--all", "--job-name", "compile")
    assert tests | compiled == everything
    assert not tests & compiled
    assert names(SLUG, "--all", "--workflow-name", "build-*", "--status", "success", "--status", "failed") == everything
    assert names(SLUG, "--all", "--workflow-name", "deploy") == set()
    assert names(SLUG, "--all", "--all-reruns") > everything
    assert names(SLUG, "--all", "--node", 0) | names(SLUG, "--all", "--node", "1", "--node", "2") == everything
    parts = [names(SLUG, "--all", "--shard", f"{number}/3") for number in (1, 2, 3)]
    assert set.union(*parts) == everything
    assert sum(map(len, parts)) == len(everything)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--status", "sucess"], "statuses "),
        (["--job-name", "biuld"], "jobs "),
        (["--workflow-name", "biuld-and-test"], "workflows build-and-test were seen"),
        (["--node", 99], "nodes 0"),
        (["--include", "*.nothing"], "paths "),
    ],
)
def test_where_nothing_matched_it_is_said_what_was_there(
    aiocircle: Run, simulator: Simulator, flags: list[str], words: str
) -> None:
    whole = ("download", SLUG, "--all", "--host", simulator.url)
    for how in (["-o", "out"], ["--dry-run"], ["--plan", "plan.jsonl"]):
        done = aiocircle(*whole, *flags, *how)
        assert done.returncode == 0
        assert f"nothing matched: {words}" in done.stdout + done.stderr
    *_, report = aiocircle(*whole, *flags, "--json").stdout.splitlines()
    assert json.loads(report)["nothing_matched"].endswith(" were seen")
    assert "nothing matched" not in aiocircle(*whole, "--status", "success", "--status", "nothing").stdout


def test_projects_come_from_arguments_and_a_file(names: Callable[..., set[str]], tmp_path: Path) -> None:
    layout = ("--layout", "{project}/{job_number}/{node_index}/{path}")
    both = names(SLUG, OTHER, "--all", *layout)
    assert {name.split("/")[2] for name in both} == {"web", "api"}
    (tmp_path / "projects").write_text(f"# ours\n{SLUG}  # the site\n\nhttps://app.circleci.com/pipelines/{OTHER}\n")
    assert names("--projects-file", "projects", "--all", *layout) == both
    assert names(OTHER, "--projects-file", "projects", "--latest", *layout) < both


def test_sizes_are_decided_when_files_are_fetched(aiocircle: Run, simulator: Simulator, tmp_path: Path) -> None:
    arguments = ("--all", "--min-size", "4k", "--max-size", "0.5M", "-o", "out")
    result = aiocircle("download", SLUG, *arguments, "--host", simulator.url)
    assert result.returncode == 0, result.stderr
    found = [one.stat().st_size for one in (tmp_path / "out").rglob("*") if one.is_file() and "." not in one.parts]
    sizes = [size for size in found if size]
    assert sizes
    assert "smaller than 4096 bytes" in result.stdout
    assert "an approval has no artifacts" in result.stdout


def test_a_plan_is_made_here_and_carried_out_in_another_directory(
    aiocircle: Run, simulator: Simulator, tmp_path: Path
) -> None:
    host = ("--host", simulator.url)
    planned = aiocircle("download", SLUG, "--all", "--plan", "plan.jsonl", "--layout", "{job_number}/{path}", *host)
    assert planned.returncode == 0, planned.stderr
    assert "give --layout again with --from" in planned.stderr
    assert "planned" in planned.stdout
    assert not (tmp_path / "artifacts").exists()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "plan.jsonl").rename(tmp_path / "elsewhere" / "moved.jsonl")
    simulator.stats.reset()
    totals = []
    for number in (1, 2):
        arguments = ("--from", "elsewhere/moved.jsonl", "-o", "elsewhere/out", "--shard", f"{number}/2", "--json")
        result = aiocircle("download", *arguments, *host)
        assert result.returncode == 0, result.stderr
        totals.append(json.loads(result.stdout.splitlines()[-1])["files"])
    assert simulator.stats.requests.keys() == {"output", "storage"}
    direct = aiocircle("download", SLUG, "--all", "-o", "elsewhere/out", "--json", *host)
    report = json.loads(direct.stdout.splitlines()[-1])
    assert (report["files"], report["present"]) == (0, sum(totals))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([SLUG, "--latest", "--since", "30d"], 2, "--latest is one pipeline, and --since asks for all"),
        ([SLUG, "--job", "1", "--all"], 2, "only one of"),
        ([SLUG, "--pipeline", "1", "--until", "1d"], 2, "only one of"),
        (
            ["https://app.circleci.com/pipelines/gh/acme/web/42", "--all"],
            2,
            "names a pipeline, which --all contradicts",
        ),
        ([SLUG, "https://app.circleci.com/pipelines/gh/acme/web/42", "--all"], 2, "names a part of it"),
        ([SLUG, OTHER, "--job", "1"], 7, "a job belongs to one project, and 2 are named"),
        ([SLUG, "--branch", "main"], 2, "--latest or --all"),
        ([SLUG, "--since", "yesterday"], 2, "no date and no age"),
        ([SLUG, "--since", "1d", "--until", "2d"], 7, "before an earlier one"),
        ([SLUG, "--job", "1", "--job-name", "x"], 7, "job names choose nothing"),
        ([SLUG, "--job", "1", "--all-reruns"], 7, "all reruns choose nothing"),
        ([SLUG, "--all", "--min-size", "big"], 2, "no size"),
        ([SLUG, "--all", "--min-size", "2k", "--max-size", "1k"], 7, "no file has"),
        ([SLUG, "--all", "--shard", "4/3"], 7, "no part 4 of 3"),
        ([SLUG, "--all", "--shard", "x"], 2, "I/N"),
        ([SLUG, "--all", "--plan", "x", "--shard", "1/2"], 7, "a plan holds all parts"),
        ([SLUG, "--all", "--plan", "x", "--dry-run"], 2, "both fetch nothing"),
        ([SLUG, "--all", "--plan", "x", "--layout", "{bogus}"], 7, "unknown field {bogus}"),
        ([SLUG, "--all", "--plan", ""], 2, "must not be empty"),
        ([SLUG, "--all", "--plan", "nowhere/x"], 1, "nowhere/x: no such file"),  # before anything is listed
        ([SLUG, "--from", "x"], 2, "neither TARGET"),
        (["--from", "x", "--all"], 2, "neither TARGET"),
        (["--from", "x", "--plan", "y"], 2, "--from carries a plan out"),
        (["--from", "missing"], 1, "no such file"),
        (["--projects-file", "missing", "--all"], 2, "cannot be read"),
        (["--all"], 2, "TARGET is missing"),
    ],
)
def test_a_contradiction_is_one_sentence(aiocircle: Run, arguments: list[str], code: int, words: str) -> None:
    result = aiocircle("download", *arguments)
    assert (result.returncode, words in result.stderr) == (code, True), result.stderr
    assert len(result.stderr.splitlines()) <= 2
