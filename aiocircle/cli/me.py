"""``aiocircle me``: whose token it is."""

from typing import Annotated

from aiocircle.cli.exits import ExitCode
from aiocircle.cli.interrupts import run
from aiocircle.cli.narrator import Narrator
from aiocircle.cli.output import Output, printable
from aiocircle.cli.settings import FLAT, USUAL_CONNECTION, USUAL_DISPLAY, Connection, Display, find_access


def me(
    *, connection: Annotated[Connection, FLAT] = USUAL_CONNECTION, display: Annotated[Display, FLAT] = USUAL_DISPLAY
) -> ExitCode:
    """Print whom the token belongs to: the cheapest way to check it."""
    access = find_access(connection)
    output = Output(quiet=display.quiet, as_json=display.as_json)

    async def ask() -> ExitCode:
        async with access.client(on_event=Narrator(output, display.verbose)) as client:
            user = await client.users.me()
        if output.as_json:
            output.record("user", {"id": str(user.id), "login": user.login, "name": user.name})
        else:
            output.data(printable(f"{user.name or '(no name)'} ({user.login or 'no login'}), {user.id}"))
        return ExitCode.OK

    with access.explained():
        return run(ask)
