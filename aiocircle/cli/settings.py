"""The settings that commands share, and the environment variables they may also come from.

Every setting has a variable: ``--stall-timeout`` is ``AIOCIRCLE_STALL_TIMEOUT``. An empty one is as good as none; globs
are divided by commas. A flag wins over its variable. The token has no flag, since every user of a machine sees its
processes' arguments.
"""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from attrs import evolve, field, frozen
from cyclopts import (
    UNSET,
    App,
    Argument,
    ArgumentCollection,
    CoercionError,
    Group,
    Parameter,
    Token,
    ValidationError,
)

import aiocircle
from aiocircle.auth import find_token, home_of_user, parse_host
from aiocircle.cli.exits import UsageError
from aiocircle.cli.output import hide
from aiocircle.errors import AuthenticationError, ConfigurationError, ForbiddenError, NotFoundError

PREFIX = "AIOCIRCLE_"
DEFAULT_HOST = "https://circleci.com"
MOST_OFTEN = 2  # that a flag which is counted is worth being given

# How far back Insights may look.
Window = Literal["last-24-hours", "last-7-days", "last-30-days", "last-60-days", "last-90-days"]

FLAT = Parameter(name="*")  # the fields of a class as flags of the command
SELECTION = Group.create_ordered("Which artifacts")
CHOICE = Group.create_ordered("Choice")
FILES = Group.create_ordered("Files")
CONNECTION = Group.create_ordered("Connection")
DISPLAY = Group.create_ordered("Display")


def more_than_zero(_type: Any, value: float | None) -> None:
    """Refuse 0, what is below, and what is no number."""
    if value is not None and not value > 0:
        raise ValueError("It must be more than 0.")


def with_an_end(_type: Any, value: float) -> None:
    """Refuse what is not more than 0, and what no clock comes to."""
    if not 0 < value < math.inf:
        raise ValueError("It must be more than 0, and have an end.")


def not_negative(_type: Any, value: float) -> None:
    """Refuse what is below 0, and what is no number."""
    if not value >= 0:
        raise ValueError("It must not be negative.")


def finite(_type: Any, value: float) -> None:
    """Refuse what no host comes to."""
    if value == math.inf:
        raise ValueError("It must have an end.")


def _connection(text: str, **more: Any) -> Parameter:
    return Parameter(help=text, group=CONNECTION, **more)


@frozen(kw_only=True)
class Connection:
    """Whom to talk to, and how patiently.

    Attributes:
        host: The API's origin.
        allow_http: Whether the token may travel unencrypted.
        token_file: A file with nothing but the token in it.
        auth: How the token is shown.
        connect_timeout: Seconds to have a connection.
        stall_timeout: Seconds without a byte.
        retries: Repetitions of a request that failed.
        max_wait: Seconds to sit out a standstill of the rate limit.
        limiter: Where the rate limit's state lies, for processes that share a token.
    """

    host: Annotated[str | None, _connection("CircleCI Server's address (or CIRCLE_HOST).", metavar="URL")] = None
    allow_http: Annotated[bool, _connection("Let the token travel unencrypted, by http.")] = False
    token_file: Annotated[Path | None, _connection("File with the token in it (or CIRCLE_TOKEN).", metavar="FILE")] = (
        None
    )
    auth: Annotated[
        Literal["circle-token", "bearer", "basic"],
        _connection("circle-token (default), bearer or basic.", metavar="SCHEME"),
    ] = "circle-token"
    connect_timeout: Annotated[
        float, _connection("Seconds to connect (10).", metavar="SECONDS", validator=with_an_end)
    ] = 10.0
    stall_timeout: Annotated[
        float, _connection("Seconds without a byte (60).", metavar="SECONDS", validator=with_an_end)
    ] = 60.0
    min_rate: Annotated[
        float,
        _connection("Bytes a second that files come at (100).", metavar="B/S", validator=(not_negative, finite)),
    ] = 100.0
    retries: Annotated[
        int, _connection("Repetitions of a failed request (4).", metavar="N", validator=not_negative)
    ] = 4
    max_wait: Annotated[
        float, _connection("Seconds the rate limit may stand still (300).", metavar="SECONDS", validator=not_negative)
    ] = 300.0
    limiter: Annotated[
        str | None,
        _connection("Share the budget: sqlite:PATH, redis://HOST:PORT.", metavar="STORE"),
    ] = None


@frozen(kw_only=True)
class Display:
    """What to show.

    Attributes:
        as_json: Data as JSON Lines.
        quiet: Errors and data only.
        verbose: 1: requests, repetitions, waits; 2: pages and transfers as well.
    """

    as_json: Annotated[bool, Parameter(name="--json", help="JSON Lines on stdout.", group=DISPLAY)] = False
    quiet: Annotated[bool, Parameter(alias="-q", help="Nothing but errors and data.", group=DISPLAY)] = False
    verbose: Annotated[
        int, Parameter(alias="-v", count=True, help="Requests and waits; -vv: pages and transfers too.", group=DISPLAY)
    ] = 0


USUAL_CONNECTION = Connection()
USUAL_DISPLAY = Display()


@frozen
class Access:
    """A host, the token that it may see and where it was found, and the settings of the connection to the host."""

    settings: Connection
    host: str
    token: "aiocircle.Token | None" = field(repr=False)
    source: str | None = None

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say, where something may have been refused for want of a token, that there was none."""
        try:
            yield
        except (AuthenticationError, ForbiddenError, NotFoundError) as error:
            if self.token is None:
                error.hint = "there is no token: set CIRCLE_TOKEN, or name a file that holds one with --token-file"
            raise

    def client(self, **more: Any) -> "aiocircle.Client":
        """Return a client with these settings, not yet open."""
        from aiocircle.cli.authorities import trusting  # noqa: PLC0415 -- with TLS, which help does without

        settings, ssl_context = self.settings, trusting()
        return aiocircle.Client(
            self.token,
            host=self.host,
            allow_http=settings.allow_http,
            auth=settings.auth,
            timeouts=aiocircle.Timeouts(
                connect=settings.connect_timeout, stall=settings.stall_timeout, min_rate=settings.min_rate
            ),
            retry=aiocircle.RetryPolicy(attempts=settings.retries + 1),
            max_wait=settings.max_wait,
            limiter=settings.limiter,
            ssl_context=ssl_context,
            trust_env=True,
            **more,
        )


def find_access(settings: Connection, address_host: str | None = None) -> Access:
    """Decide on the host and find the token for it.

    Args:
        settings: The connection's settings.
        address_host: The host of an address that was pasted; ``None`` for the cloud or none.

    Raises:
        UsageError: The address and ``--host`` contradict each other.
        ConfigurationError: The host or the token is malformed, or the token would go to a host that nobody configured.
    """
    plain = settings.allow_http
    if settings.host and address_host and parse_host(settings.host, allow_http=plain) != address_host:
        raise UsageError(f"the address is one of {address_host}, and --host names another")
    given = settings.host or os.environ.get("CIRCLE_HOST")
    configured = parse_host(given, allow_http=plain) if given else None
    host = parse_host(address_host or configured or DEFAULT_HOST, allow_http=plain)
    home = home_of_user()
    found = find_token(explicit=None, token_file=settings.token_file, environ=os.environ, home=home, host=host)
    if found is None:
        return Access(settings, host, None)
    if address_host and configured != host:
        # Or whoever gets a person to paste an address gets their token.
        raise ConfigurationError(
            f"the address is one of {host}, and the token is shown only to a host that you configured",
            hint=f"if that host is yours, add --host {host}, or set CIRCLE_HOST",
        )
    hide(found.token)
    return Access(settings, host, found.token, found.source)


def from_environment(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give settings that have no flag the value of their variable; what cyclopts asks a configuration to do."""
    for argument in arguments:
        variable = PREFIX + argument.name.lstrip("-").replace("-", "_").upper()
        value = os.environ.get(variable)
        if not value or argument.tokens or not _is_setting(argument):
            continue
        for token in _tokens(argument, variable, value):
            argument.append(token)


def as_typed(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse values that would become something else than was typed; a configuration of cyclopts like the one above.

    The parser rounds 1601.9 to the job 1602. And ``--branch "$BRANCH"`` without such a variable is not the same as no
    ``--branch``.

    Raises:
        CycloptsError: A whole number has a fraction, or a flag has an empty value.
    """
    for argument in arguments:
        is_whole = int in {argument.hint, *get_args(argument.hint)}
        for token in argument.tokens:
            if token.implicit_value is not UNSET:
                continue
            if is_whole and not re.fullmatch("[+-]?[0-9]+", token.value):
                raise CoercionError(argument=argument, token=token, target_type=int)
            if token.keyword is not None and not token.value:
                raise ValidationError(argument=argument, value="", exception_message="It must not be empty.")


def _tokens(argument: Argument, variable: str, value: str) -> list[Token]:
    token = Token(keyword=variable, value=value, source="environment")
    if argument.parameter.count:
        return [evolve(token, value="", implicit_value=1)] * (min(int(value), MOST_OFTEN) if value.isdecimal() else 1)
    if get_origin(argument.hint) is tuple:
        return [evolve(token, value=text, index=index) for index, text in enumerate(filter(None, value.split(",")))]
    return [token]


def _is_setting(argument: Argument) -> bool:
    # What says which thing is meant belongs to one call, and not to the environment.
    groups: Any = argument.parameter.group or ()
    return argument.name.startswith("--") and SELECTION not in groups and CHOICE not in groups
