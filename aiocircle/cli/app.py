"""The app: commands, help, and what becomes of errors."""

import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence

from cyclopts import App, CycloptsError, Parameter, UnknownCommandError, UnusedCliTokensError

from aiocircle._version import __version__
from aiocircle.cli.exits import ExitCode, UsageError, code_of, root_of
from aiocircle.cli.help import PlainHelp
from aiocircle.cli.output import Output, ReaderGoneError, say_unwritable
from aiocircle.cli.settings import PREFIX, as_typed, from_environment
from aiocircle.cli.streams import prepare
from aiocircle.errors import AioCircleError

EXAMPLES = """\
Examples:
  aiocircle download gh/acme/web --job 1234 -o out
  aiocircle download https://app.circleci.com/pipelines/gh/acme/web/42
  aiocircle download gh/acme/web --latest --branch main --include '*.xml'
  aiocircle download gh/acme/web gh/acme/api --since 30d --status failed
"""
ENVIRONMENT = """\
The token comes from CIRCLE_TOKEN, --token-file or the official CLI.
Settings have variables too: --stall-timeout is AIOCIRCLE_STALL_TIMEOUT.
"""

DOWNLOAD = """\
Fetch the artifacts of jobs, workflows or pipelines.

TARGET is a project (gh/acme/web) or the web address of a project, pipeline,
workflow or job; several, if all are projects. Files that are complete from
before are not fetched again.
"""

PROJECT = """

PROJECT is a slug (gh/acme/web) or a web address of the project.
"""
WORKFLOW = """

WORKFLOW_ID may be the workflow's web address.
"""
API = """

OPERATION is one of CircleCI's document (getJobArtifacts) or its name here
(artifacts.list), with what its path wants as values or fields. PATH is below
/api/v2, or a whole address. Fields are query parameters of GET and DELETE, and
else of the JSON body, where dots nest.
"""
REPORT = """

One file, which works without a network: success rates, durations, queues, tests,
credits and a timeline from an export; throughput and failures from a download.
"""
MORE = {
    **dict.fromkeys(("pipelines", "insights", "trigger"), PROJECT),
    **dict.fromkeys(("jobs", "rerun", "approve"), WORKFLOW),
    "workflows": "\n\nThe pipeline's web address will do as well.\n",
    "job": "\n\nThe job's web address will do as well.\n",
    "cancel": "\n\nA workflow's or a job's web address will do as well.\n",
    "api": API,
    "report": REPORT,
}
EPILOGUES = {
    "trigger": """\
Examples:
  aiocircle trigger gh/acme/web --branch main -p deploy=true -p image-tag=4.8.2
  aiocircle trigger gh/acme/web --branch main --wait --timeout 1800
""",
    "export": """\
Datasets:
  builds: pipelines, workflows, jobs
  insights: insights_workflows, insights_runs, insights_jobs,
            insights_timeseries, insights_summary, flaky_tests
  job_details, artifacts, tests (a request for each job); schedules,
  contexts; usage (what runs cost; takes the host some minutes)

Examples:
  aiocircle export builds tests --project gh/acme/web --since 30d
  aiocircle export builds insights -p gh/acme/web -f parquet -o out
""",
    "api": """\
Examples:
  aiocircle api GET /me
  aiocircle api getJobArtifacts gh/acme/web 1234 --paginate
  aiocircle api PATCH /schedule/ID -f name=nightly -F parameters.deploy=true
""",
}

app = App(
    name="aiocircle",
    usage="aiocircle COMMAND",
    version=f"aiocircle {__version__}",
    help="Download and export what your CircleCI projects produced.",
    help_format="plaintext",
    help_formatter=PlainHelp(),
    help_epilogue=EXAMPLES + "\n" + ENVIRONMENT,
    default_parameter=Parameter(negative=()),
    config=(from_environment, as_typed),
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
app.command(
    "aiocircle.cli.download:download",
    help=DOWNLOAD,
    usage="aiocircle download TARGET... | --from FILE [OPTIONS]",
    sort_key=0,
)
# In the order of the work, not of the alphabet.
for _place, (_name, _usage, _help) in enumerate(
    (
        ("retry", "DIR", "Fetch what failed in earlier downloads to DIR."),
        ("verify", "DIR", "Compare what was fetched to DIR with its SHA-256; asks nobody."),
        ("manifest", "DIR", "Print as JSON Lines where every file in DIR comes from."),
        ("export", "DATASET... --project SLUG", "Write what the API knows as tables: JSON, CSV, SQLite, Parquet."),
        ("report", "DIR", "Write an HTML page about the export or the download in DIR."),
        ("pipelines", "PROJECT", "List a project's pipelines, newest first."),
        ("workflows", "PIPELINE_ID | PROJECT --pipeline N", "List a pipeline's workflows."),
        ("jobs", "WORKFLOW_ID", "List a workflow's jobs."),
        ("job", "PROJECT N", "Print the details of a job."),
        ("insights", "PROJECT", "Print how workflows and jobs did: success, durations, credits."),
        ("trigger", "PROJECT", "Trigger a pipeline; with --wait follow it to its end."),
        ("rerun", "WORKFLOW_ID", "Run a workflow again, or what failed of it."),
        ("cancel", "WORKFLOW_ID | PROJECT --job N", "Cancel a workflow or a job."),
        ("approve", "WORKFLOW_ID [NAME]", "Approve a job that waits for it."),
        ("api", "OPERATION [VALUE]... | METHOD PATH", "Ask the API for anything, by operation or by path."),
        ("me", "", "Print whom the token belongs to: a cheap check of it."),
        ("limits", "", "Show the rate limit: what is used, who waits and until when."),
        ("doctor", "", "Check token, host, clock, rate limit and artifact host."),
        ("completion", "bash | zsh | fish", "Print a completion script for bash, zsh or fish."),
    ),
    start=1,
):
    app.command(
        f"aiocircle.cli.{_name}:{_name}",
        help=f"{_help}{MORE.get(_name, '')}",
        usage=f"aiocircle {_name} {_usage} [OPTIONS]".replace("  ", " "),
        help_epilogue=EPILOGUES.get(_name, ""),
        sort_key=_place,
    )

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # a full disk, a quota, a limit, a lost terminal
_TOKEN_FLAG = re.compile(r"--?(?:[a-z]+-)*token(?:=.*)?", re.IGNORECASE | re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; no error comes out of here.

    Args:
        arguments: Those of the command line; ``sys.argv`` by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    prepare()
    _quieten()
    try:
        return _explained(lambda: _run(given), wants_traceback=_is_very_verbose(given))
    except ReaderGoneError:
        return ExitCode.GENERAL


def _run(given: Sequence[str]) -> int:
    if any(_TOKEN_FLAG.fullmatch(argument) for argument in given):
        raise UsageError(
            "the token is not an argument, since every user of this machine could read it",
            hint="set CIRCLE_TOKEN, or name a file that holds it with --token-file",
        )
    result = app(_with_stdout(given))
    return result if isinstance(result, int) else ExitCode.OK


def _with_stdout(given: Sequence[str]) -> list[str]:
    """Return arguments in which ``-o -`` is ``--output=-``: by itself the parser takes ``-`` for an option."""
    joined: list[str] = []
    for argument in given:
        if argument == "-" and joined and joined[-1] in {"-o", "--output"}:
            joined[-1] = "--output=-"
        else:
            joined.append(argument)
    return joined


def _explained(command: Callable[[], int], *, wants_traceback: bool) -> int:
    """Turn whatever comes out of a command into a sentence and an exit code."""
    output = Output()
    try:
        return command()
    except CycloptsError as error:
        called = " ".join(("aiocircle", *(error.command_chain or ())))
        output.complain(UsageError(_sentence(error), hint=f"'{called} --help' shows how"))
        return ExitCode.USAGE
    except KeyboardInterrupt:
        output.complain(AioCircleError("stopped"))
        return ExitCode.CANCELLED
    except Exception as error:  # noqa: BLE001 -- nobody is to see a traceback who has not asked for one
        root = root_of(error)
        if isinstance(root, AioCircleError):
            output.complain(root)
            return code_of(root)
        if isinstance(root, OSError) and root.errno in _UNWRITABLE and root.filename is None:
            say_unwritable(root)  # help and the version, which the parser writes by itself
        elif not isinstance(root, ReaderGoneError):
            output.internal_error(error, with_traceback=wants_traceback)
        return ExitCode.GENERAL


_IN_WORDS = {
    " into int.": " into a whole number.",
    " into float.": " into a number.",
    " into bool.": " into true or false.",
}


def _sentence(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        return f"too many arguments: nothing is done with {' '.join(error.unused_tokens or ())!r}"
    if isinstance(error, UnknownCommandError) and (first := (error.unused_tokens or [""])[0]).startswith("-"):
        return f"flags stand behind the command, and {first!r} stands before it"
    error.verbose = False
    text = str(error)
    for type_name, words in _IN_WORDS.items():
        text = text.replace(type_name, words)
    return text[:1].lower() + text[1:].rstrip()


def _is_very_verbose(given: Sequence[str]) -> bool:
    if not given:
        return False
    flags = sum(len(one) - 1 for one in given if re.fullmatch("-v+", one)) + list(given).count("--verbose")
    variable = os.environ.get(f"{PREFIX}VERBOSE", "")
    return max(flags, int(variable) if variable.isdecimal() else 0) > 1


def _quieten() -> None:
    """Keep libraries from writing to stderr on their own: what they say is said by events and errors."""
    logging.getLogger().addHandler(logging.NullHandler())
