"""``aiocircle me``: whose token it is."""

from typing import Annotated

import aiocircle
from aiocircle.cli.asking import answered
from aiocircle.cli.exits import ExitCode
from aiocircle.cli.output import Output, fit
from aiocircle.cli.settings import FLAT, USUAL_CONNECTION, USUAL_DISPLAY, Connection, Display


def me(
    *, connection: Annotated[Connection, FLAT] = USUAL_CONNECTION, display: Annotated[Display, FLAT] = USUAL_DISPLAY
) -> ExitCode:
    """Print whom the token belongs to: the cheapest way to check it."""

    async def ask(client: "aiocircle.Client", output: Output) -> None:
        user = await client.users.me()
        if output.as_json:
            output.record("user", {"id": str(user.id), "login": user.login, "name": user.name})
        else:
            output.data(fit(f"{user.name or '(no name)'} ({user.login or 'no login'}), {user.id}"))

    return answered(ask, connection, display)
