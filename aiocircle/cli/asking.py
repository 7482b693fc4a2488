"""What the commands share that ask the API something and say what it answered."""

import sys
from collections.abc import Callable, Coroutine
from typing import Any

import aiocircle
from aiocircle.cli.exits import ExitCode
from aiocircle.cli.interrupts import run
from aiocircle.cli.narrator import Narrator
from aiocircle.cli.output import Output
from aiocircle.cli.settings import Access, Connection, Display, find_access

Question = Callable[["aiocircle.Client", Output], Coroutine[Any, Any, ExitCode | None]]


def answered(question: Question, connection: Connection, display: Display, *, host: str | None = None) -> ExitCode:
    """Ask a question with a client, and return the exit code that it comes to.

    Args:
        question: Is given an open client, and where to write.
        connection: The connection's settings.
        display: What to show.
        host: The host of an address that was pasted.
    """
    return answered_by(find_access(connection, host), question, display)


def answered_by(access: Access, question: Question, display: Display) -> ExitCode:
    """Ask a question as ``answered`` does, of a host that has been decided on."""
    output = Output(quiet=display.quiet, as_json=display.as_json)

    narrator = Narrator(output, display.verbose, watched=sys.stderr.isatty())

    async def ask() -> ExitCode:
        async with access.client(on_event=narrator) as client:
            return await question(client, output) or ExitCode.OK

    with access.explained():
        return run(ask)
