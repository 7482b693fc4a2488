"""``aiocircle verify``: whether what was fetched is still what lies there, without asking anybody."""

from collections import Counter
from typing import Annotated

from attrs import asdict
from cyclopts import Parameter

from aiocircle.cli.exits import ExitCode
from aiocircle.cli.interrupts import interruptible
from aiocircle.cli.output import Output, binary, counted, fit
from aiocircle.cli.settings import FLAT, USUAL_DISPLAY, Display
from aiocircle.download.missing import missing_in
from aiocircle.download.verify import verify as verified

HINT = "remove what differs; the same 'aiocircle download' fetches what is missing, 'aiocircle retry' what failed"


def verify(
    directory: Annotated[str, Parameter(show=False)],
    /,
    *,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """Read every file in DIR again and compare it with the SHA-256 that it had when it was fetched."""
    interruptible()
    output = Output(quiet=display.quiet, as_json=display.as_json)
    finished = missing_in(directory).finished
    counts: Counter[str] = Counter()
    size = 0
    for one in verified(directory):
        counts[one.status] += 1
        size += one.size
        if output.as_json:
            output.record("file", asdict(one))
        elif not one.ok:
            output.data(fit(f"{one.status:9}{one.target}: {one.reason}"))
    wrong = counts["missing"] + counts["differs"] + counts["failed"]
    if output.as_json:
        output.record("report", {"output": str(directory), **counts, "size": size, "ok": not wrong})
    elif not output.quiet:
        named = {"unhashed": "without a digest, sizes right", "missing": "missing", "differs": "other than fetched"}
        named["failed"] = "failed"
        said = [f"{counts[status]:,} {words}" for status, words in named.items() if counts[status]]
        output.data(f"{counted(counts['right'], 'file')} right, {', '.join([*said, binary(size)])} read")
    if not finished:
        output.note("the last download did not come to its end: what it had not fetched yet is unknown here")
    if wrong:
        output.note(f"hint: {HINT}")
    return ExitCode.PARTIAL if wrong else ExitCode.OK
