"""Everything the command says: data on stdout, everything else on stderr.

Names, reasons and the host's words come from outside. They are shown with everything unprintable escaped, so that they
cannot move the cursor, and whatever looks like a secret taken out.
"""

import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from attrs import asdict, define

from aiocircle.auth import HIDDEN, Token
from aiocircle.errors import AioCircleError
from aiocircle.redaction import redact, without_tokens

if TYPE_CHECKING:
    from aiocircle.download.report import ItemOutcome, Report

SHOWN_FAILURES = 10
NAMES = frozenset({"target", "path", "output"})  # a program could not open a file by less than its name
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_KIBI = 1024
_TIGHT = (",", ":")
_HIDDEN: list[Token] = []  # of the process: what is not to be shown is not to be shown anywhere


class ReaderGoneError(Exception):
    """Nobody takes the data any more: ``| head`` has stopped reading, or a disk is full, which has been said."""


@define(eq=False)
class Output:
    """Where a command writes to.

    Attributes:
        quiet: Nothing but data and errors.
        as_json: Data are JSON Lines.
        data_elsewhere: Standard output is something else than this writes, so the summary goes to standard error.
    """

    quiet: bool = False
    as_json: bool = False
    data_elsewhere: bool = False

    def data(self, line: str) -> None:
        """Write a line of what was asked for."""
        _write(sys.stdout, line)

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        """Write an object as a line of JSON."""
        text = json.dumps({"type": kind, **values}, ensure_ascii=True)
        if without_secrets(text) != text:  # seldom; what is taken out of the text might be a part of JSON's own
            shown = {
                key: without_tokens(value, *_HIDDEN) if key in NAMES and isinstance(value, str) else _shown(value)
                for key, value in json.loads(text).items()
            }
            text = json.dumps(shown, ensure_ascii=True)
        self.data(text)

    def json(self, value: Any, *, pretty: bool = False) -> None:
        """Write a JSON value as it came from the host: signed addresses in it are what was asked for."""
        text = json.dumps(value, ensure_ascii=True, indent=2 if pretty else None, separators=None if pretty else _TIGHT)
        for token in _HIDDEN:
            text = text.replace(token.reveal(), HIDDEN)
        self.data(text)

    def raw(self, content: bytes) -> None:
        """Write what was asked for as it is."""
        try:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        except OSError as error:
            say_unwritable(error)
            raise ReaderGoneError from None

    def note(self, line: str) -> None:
        """Write a line for the person who watches, unless they want none."""
        if not self.quiet:
            _write(sys.stderr, fit(line))

    def complain(self, error: AioCircleError) -> None:
        """Say in one line what went wrong, and in another what to do."""
        _write(sys.stderr, fit(f"aiocircle: {error}"))
        if error.hint:
            _write(sys.stderr, fit(f"hint: {error.hint}"))

    def internal_error(self, error: BaseException, *, with_traceback: bool) -> None:
        """Say that the fault is in here, and show where if asked to."""
        if with_traceback:
            for line in "".join(traceback.format_exception(error)).splitlines():
                _write(sys.stderr, fit(line))
        _write(sys.stderr, fit(f"aiocircle: internal error: {type(error).__name__}: {error}"))
        if not with_traceback:
            _write(sys.stderr, "hint: repeat it with -vv and report what that shows")

    def item(self, outcome: "ItemOutcome") -> None:
        """Write the outcome of an item: a JSON object, or the name of a planned file."""
        if self.as_json:
            self.record("item", asdict(outcome))
        elif outcome.status == "planned":
            self.data(outcome.target)

    def report(self, report: "Report", *, cancelled: bool, dry_run: bool) -> None:
        """Write the last object of JSON Lines, or the summary for people: on stderr where stdout has names on it."""
        if self.as_json:
            self.record("report", report_values(report, cancelled=cancelled))
        elif not self.quiet:
            for line in summary(report, dry_run=dry_run):
                _write(sys.stderr if dry_run or self.data_elsewhere else sys.stdout, fit(line))

    def plan(self, report: "Report") -> None:
        """Write the summary of a plan that lies in a file."""
        if not self.quiet:
            for line in summary(report, dry_run=True, planned=True):
                _write(sys.stdout, fit(line))


def hide(token: Token) -> None:
    """Never show this token, should anybody echo it."""
    _HIDDEN.append(token)


def without_secrets(text: str) -> str:
    """Return text without hidden tokens, and without what else looks like a secret."""
    return redact(text, *_HIDDEN)


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {without_secrets(key): _shown(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return without_secrets(value) if isinstance(value, str) else value


def fit(text: str) -> str:
    """Return text that may be shown to a person."""
    return printable(without_secrets(text))


def printable(text: str) -> str:
    """Return text with every character escaped that could do more than be seen."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def binary(size: float) -> str:
    """Return a number of bytes for people: ``54.2 MiB``."""
    unit = 0
    while abs(size) >= _KIBI and unit < len(_UNITS) - 1:
        size /= _KIBI
        unit += 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size:.0f} B"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 file``, ``3,003 files``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def report_values(report: "Report", *, cancelled: bool) -> dict[str, Any]:
    """Return a report for programs; the items it is about had lines of their own."""
    values = asdict(report, filter=lambda attribute, _: attribute.name not in {"failures", "altered", "stopped_by"})
    error = report.stopped_by
    stopped_by = None if error is None else {"code": error.code, "message": str(error), "hint": error.hint}
    return {**values, "ok": report.ok and not cancelled, "cancelled": cancelled, "stopped_by": stopped_by}


def summary(report: "Report", *, dry_run: bool, planned: bool = False) -> Iterator[str]:
    """Yield a report for people, line by line."""
    seconds = max(report.seconds, 0.001)
    if planned:
        yield f"planned     {counted(report.planned, 'file')} of {counted(report.jobs, 'job')} in {report.output}"
    elif dry_run:
        yield f"{counted(report.planned, 'file')} would be fetched to {report.output}"
    else:
        yield f"fetched     {counted(report.files, 'file')}, {binary(report.size)} in {report.seconds:.1f} s"
        if report.files:
            yield f"speed       {report.files / seconds:,.0f} files/s, {binary(report.size / seconds)}/s"
        yield f"present     {counted(report.present, 'file')} from before"
    waits = f"{counted(report.waits, 'wait')} for the rate limit ({report.waited:.1f} s)"
    yield f"requests    {report.requests:,}, {waits}, {counted(report.refusals, 'refusal')}"
    if report.duplicates:
        yield f"duplicates  {counted(report.duplicates, 'artifact')} listed twice"
    if report.skipped:
        yield f"skipped     {counted(report.skipped, 'item')}"
        yield from shown_first(f"  {count:,}: {reason}" for reason, count in report.skipped_why.items())
    if report.altered:
        yield f"altered     {counted(len(report.altered), 'name')}, to be safe or unique"
        yield from shown_first(f"  {outcome.target} ({outcome.note})" for outcome in report.altered)
    if report.nothing_matched:
        yield report.nothing_matched
    yield f"failed      {counted(report.failed, 'item')}"
    yield from shown_first(map(_failure_line, report.failures), total=report.failed)
    if not dry_run:
        yield f"lies in     {report.output}"


def _failure_line(outcome: "ItemOutcome") -> str:
    name = outcome.target or outcome.path or "?"
    return f"  {name}: {(outcome.reason or '').removeprefix(f'{name}: ')}"


def shown_first(lines: Iterator[str], *, total: int | None = None) -> Iterator[str]:
    """Yield the first of some lines, and how many more there are."""
    every = list(lines)
    yield from every[:SHOWN_FAILURES]
    more = (len(every) if total is None else total) - SHOWN_FAILURES
    if more > 0:
        yield f"  and {more:,} more"


def _write(stream: TextIO, line: str) -> None:
    """Write a line. Without its data a command is of no use, while it goes on when nobody takes what else it says."""
    try:
        try:
            stream.write(line + "\n")
        except UnicodeEncodeError:  # of a terminal or a file that is not UTF-8
            stream.write(line.encode(stream.encoding, "backslashreplace").decode(stream.encoding) + "\n")
        stream.flush()
    except OSError as error:
        if stream is sys.stdout:
            say_unwritable(error)
            raise ReaderGoneError from None
        _silence(stream)


def say_unwritable(error: OSError) -> None:
    """Say that standard output takes nothing, unless its reader has left; what is buffered goes nowhere."""
    _silence(sys.stdout)
    if not isinstance(error, BrokenPipeError):
        reason = (error.strerror or "?").lower()
        Output().complain(AioCircleError(f"the output cannot be written: {reason}"))


def _silence(stream: TextIO) -> None:
    """Let what is still buffered go nowhere, or the interpreter would complain about it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
