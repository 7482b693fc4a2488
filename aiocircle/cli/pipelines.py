"""``aiocircle pipelines``: a project's pipelines, newest first."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import aiocircle
from aiocircle.cli import tables
from aiocircle.cli.asking import answered
from aiocircle.cli.exits import ExitCode
from aiocircle.cli.output import Output
from aiocircle.cli.settings import CHOICE, FLAT, USUAL_CONNECTION, USUAL_DISPLAY, Connection, Display, not_negative
from aiocircle.slugs import parse_target

if TYPE_CHECKING:
    from aiocircle.api import Pipeline

COLUMNS: "tables.Columns[Pipeline]" = {
    ">number": lambda one: tables.text(one.number),
    "state": lambda one: tables.text(one.state),
    "branch or tag": lambda one: tables.text(one.vcs and (one.vcs.branch or one.vcs.tag)),
    "trigger": lambda one: tables.text(one.trigger and one.trigger.type),
    "by": lambda one: tables.text(one.trigger and one.trigger.actor and one.trigger.actor.login),
    "created": lambda one: tables.moment(one.created_at),
}


def pipelines(
    project: Annotated[str, Parameter(show=False)],
    /,
    *,
    branch: Annotated[str | None, Parameter(help="Only of this branch.", metavar="NAME", group=CHOICE)] = None,
    limit: Annotated[
        int, Parameter(help="So many at most (20); 0: all.", metavar="N", group=CHOICE, validator=not_negative)
    ] = 20,
    connection: Annotated[Connection, FLAT] = USUAL_CONNECTION,
    display: Annotated[Display, FLAT] = USUAL_DISPLAY,
) -> ExitCode:
    """List a project's pipelines, newest first."""
    target = parse_target(project)

    async def ask(client: "aiocircle.Client", output: Output) -> None:
        listing = client.pipelines.list(target.slug, branch=branch or target.branch)
        await tables.show_listing(output, "pipeline", listing, COLUMNS, limit or None)

    return answered(ask, connection, display, host=target.host)
