"""What a person sees: the live display on a terminal of 80 columns, help, completion."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocircle.testing import KongLimits, World
from aiocircle.testing.pytest_plugin import CircleciFactory

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SLUG = "gh/acme/web"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|9[0-7])m")

ZSH = os.environ.get("ZSH") or shutil.which("zsh") or ""


@pytest.fixture
def on_a_terminal(on_terminal: Callable[..., str], circleci_factory: CircleciFactory) -> Callable[..., str]:
    """Download a job that takes some five seconds, with waits and large files in it, on a terminal."""

    def run(columns: int, *flags: str, **variables: str) -> str:
        world = World.demo(files=300, large=3, large_size=48 * 1024 * 1024)
        simulator = circleci_factory(world, limits=KongLimits({"second": 8}), page_size=7)
        assert world.demo_job
        command = ("download", SLUG, "--job", world.demo_job.number, "--host", simulator.url, *flags)
        return on_terminal(columns, *command, **variables)

    return run


@pytest.mark.parametrize("columns", [80, 40])
def test_the_live_display_fits_the_terminal_and_goes_away(on_a_terminal: Callable[..., str], columns: int) -> None:
    written = on_a_terminal(columns)
    drawn, summary = written.rsplit("\x1b[?25h", 1)  # the cursor is back
    assert "\x1b[?25l" in drawn
    lines = [line for line in re.split(r"[\r\n]+", CONTROL.sub("", drawn)) if line]
    assert max(map(len, lines)) <= columns
    assert any(re.fullmatch(r"budget \d/8, resets in 1 s *", line) for line in lines)
    assert any("303 files" in line for line in lines)
    assert "fetched     303 files" in summary
    frames = CONTROL.sub("", drawn).split(" files")
    assert len(frames) > 10
    assert COLOUR.search(written)


def test_no_color_means_no_colour(on_a_terminal: Callable[..., str]) -> None:
    written = on_a_terminal(80, NO_COLOR="1")
    assert "\x1b[?25l" in written
    assert not COLOUR.search(written)


@pytest.mark.parametrize("flags", [[], ["--json"], ["-v"]])
def test_a_dumb_terminal_and_data_on_the_terminal_get_plain_lines(
    on_a_terminal: Callable[..., str], flags: list[str]
) -> None:
    written = on_a_terminal(80, *flags, TERM="xterm-256color" if flags else "dumb")
    assert "\x1b" not in written
    assert " files/s" in written


@pytest.mark.parametrize(
    ("command", "limit"), [([], 36), (["download"], 64), (["trigger"], 34), (["api"], 40), (["me"], 20)]
)
def test_help_fits_a_screen(aiocircle: Run, command: list[str], limit: int) -> None:
    result = aiocircle(*command, "--help", COLUMNS="80")
    lines = result.stdout.splitlines()
    assert result.returncode == 0
    assert result.stderr == ""
    assert len(lines) <= limit
    assert max(map(len, lines)) <= 80
    if command != ["me"]:
        assert "Examples:" in lines


@pytest.mark.parametrize(
    "command", ["pipelines", "workflows", "jobs", "job", "insights", "rerun", "cancel", "approve", "limits", "doctor"]
)
def test_every_command_has_help_that_fits(aiocircle: Run, command: str) -> None:
    result = aiocircle(command, "--help", COLUMNS="80")
    lines = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (0, "")
    assert lines[0].startswith(f"Usage: aiocircle {command} ")
    assert len(lines) <= 32
    assert max(map(len, lines)) <= 80


def test_help_on_a_narrow_terminal_breaks_no_word(aiocircle: Run) -> None:
    lines = aiocircle("me", "--help", COLUMNS="40").stdout.splitlines()
    assert "  --retries N  Repetitions of a failed" in lines
    assert "        request (4)." in lines


@pytest.mark.parametrize("script", ["demo", "test"])
def test_the_scripts_say_what_they_do_and_do_nothing_else(script: str) -> None:
    command = [f"scripts/{script}", "--help"]
    result = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True, timeout=5
    )
    assert (result.stdout.startswith("S"), result.stderr) == (True, "")


def test_help_is_quick_because_it_imports_little(environment: dict[str, str]) -> None:
    code = (
        "import sys; from aiocircle.cli.app import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    for heavy in ("aiohttp", "anyio", "asyncio", "cattrs", "sqlite3"):
        assert f"'{heavy}'" not in result.stderr


def test_what_is_imported_is_not_searched_for_garbage_all_the_time(environment: dict[str, str]) -> None:
    code = (
        "import gc; looks = []; gc.callbacks.append(lambda phase, _: looks.append(phase)); import sys;"
        "sys.argv = ['aiocircle', 'me', '--host', 'http://127.0.0.1:1', '--retries', '0'];"
        "from aiocircle.__main__ import main; main();"
        "print(len(looks), 'aiohttp' in sys.modules, gc.get_freeze_count())"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    looks, has_imported, frozen = result.stdout.split()
    assert has_imported == "True"
    assert int(looks) < 40  # over two hundred are usual
    assert int(frozen) > 10_000


def test_operations_are_known_without_the_client(environment: dict[str, str]) -> None:
    code = "import sys; from aiocircle.cli.operations import every_operation; every_operation(); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not {"aiohttp", "cattrs", "asyncio"} & set(result.stdout.split())


def test_the_version_is_told(aiocircle: Run) -> None:
    assert re.fullmatch(r"aiocircle \d+\.\d+\.\d+\S*\n", aiocircle("--version").stdout)


def _completed(script: str, words: list[str], environment: dict[str, str]) -> list[str]:
    line = " ".join(words)
    driver = f"""
{script}
COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
COMP_CWORD={len(words) - 1}
COMP_LINE='{line}'
COMP_POINT={len(line)}
$(complete -p aiocircle | sed 's/.*-F \\([^ ]*\\).*/\\1/') aiocircle '{words[-1]}' '{words[-2]}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    result = subprocess.run(["bash", "-c", driver], env=environment, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout.split()


def test_bash_completes_commands_flags_and_choices(aiocircle: Run, environment: dict[str, str]) -> None:
    script = aiocircle("completion", "bash").stdout
    assert "download" in _completed(script, ["aiocircle", "do"], environment)
    assert "--concurrency" in _completed(script, ["aiocircle", "download", "--conc"], environment)
    assert set(_completed(script, ["aiocircle", "download", "--auth", "b"], environment)) == {"bearer", "basic"}
    assert "zsh" in _completed(script, ["aiocircle", "completion", "z"], environment)
    assert {"getJob", "getJobArtifacts"} <= set(_completed(script, ["aiocircle", "api", "getJ"], environment))
    assert "GET" in _completed(script, ["aiocircle", "api", "GE"], environment)
    assert "--paginate" in _completed(script, ["aiocircle", "api", "--pag"], environment)
    assert {"builds", "insights", "tests"} <= set(_completed(script, ["aiocircle", "export", ""], environment))
    assert set(_completed(script, ["aiocircle", "export", "builds", "te"], environment)) == {"tests"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_theirs(aiocircle: Run, shell: str) -> None:
    script = aiocircle("completion", shell).stdout
    assert "aiocircle" in script
    assert "--concurrency" in script or "concurrency" in script
    assert "getJobArtifacts" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(not ZSH, reason="NOT COMPLETED IN ZSH: it needs zsh, which scripts/test unpacks")
@pytest.mark.parametrize("load", ['eval "$(<_aiocircle)"', "fpath=($PWD $fpath); compinit -uD"])
def test_zsh_completes_after_an_eval_and_from_its_own_folder(aiocircle: Run, tmp_path: Path, load: str) -> None:
    (tmp_path / "_aiocircle").write_text(aiocircle("completion", "zsh").stdout)
    leader, follower = pty.openpty()
    process = subprocess.Popen([ZSH, "-f"], cwd=tmp_path, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    try:
        own = Path(ZSH).parent.parent  # of a shell that is only unpacked nothing lies where it looks
        modules = f"module_path=({own}/{{,usr/}}lib/*/zsh/*(N) $module_path); zmodload zsh/zle; setopt zle"
        functions = f"fpath=({own}/{{,usr/}}share/zsh/functions/**/*(N/) $fpath); autoload -U compinit; compinit -uD"
        stand_in = 'aiocircle() { print -r -- "<$*>" }'
        os.write(leader, f"{modules}; {functions}; {load}; {stand_in}; PS1=RE''ADY\n".encode())
        _read_until(leader, b"READY")
        os.write(leader, b"aiocircle pipel\tgh/acme/web --bra\tmain\n")
        _read_until(leader, b"<pipelines gh/acme/web --branch main>")
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def _read_until(terminal: int, expected: bytes) -> None:
    seen = b""
    while expected not in seen:
        assert select.select([terminal], [], [], 10)[0], seen
        seen += os.read(terminal, 4096)


def test_bash_completes_names_of_files_where_the_command_has_none(aiocircle: Run) -> None:
    assert "complete -o default -F _aiocircle aiocircle" in aiocircle("completion", "bash").stdout


def test_the_display_counts_every_event() -> None:
    from aiocircle.cli.progress import Progress
    from aiocircle.events import ItemPlanned, TransferEnded, TransferStarted

    progress = Progress()
    for number in range(20_000):
        target = f"file-{number}"
        progress(ItemPlanned(target=target, total=number + 1))
        progress(TransferStarted(target=target, size=10))
        progress(TransferEnded(target=target, status="stored", size=10, reason=None))
    assert (progress.done, progress.found, progress.size) == (20_000, 20_000, 200_000)
    assert not progress.running
