"""``aiocircle doctor``: what stands between this machine and its artifacts.

Each check is a line. One that cannot be made, because what it needs has failed, is left out.
"""

import sys
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Annotated, Any

from attrs import asdict, frozen

from aiocircle.cli.authorities import trusting
from aiocircle.cli.exits import ExitCode, code_of
from aiocircle.cli.interrupts import run
from aiocircle.cli.narrator import Narrator
from aiocircle.cli.output import Output, fit
from aiocircle.cli.settings import (
    DEFAULT_HOST,
    FLAT,
    USUAL_CONNECTION,
    USUAL_DISPLAY,
    Access,
    Connection,
    Display,
    find_access,
)
from aiocircle.errors import AioCircleError, APIError, AuthenticationError, DecodeError

if TYPE_CHECKING:
    import aiocircle
    from aiocircle.ratelimit.facts import QuotaFact, RateFacts

ALLOWED_SKEW = 60.0  # seconds; signed addresses are good for minutes
ARTIFACT_HOST = "https://output.circle-artifacts.com"
LABEL_WIDTH = 15
SYSTEMS = {"std": "RateLimit-*", "x": "X-RateLimit-*", "policy": "RateLimit-Policy"}


@frozen
class Finding:
    """The outcome of a check.

    Attributes:
        check: What was checked.
        ok: Whether it is as it should be.
        text: What was found.
        hint: What to do about a problem.
        exit_code: What the command ends with, if this is the first problem.
    """

    check: str
    ok: bool
    text: str
    hint: str | None = None
    exit_code: int = ExitCode.OK


def doctor(
    *, connection: Annotated[Connection, FLAT] = USUAL_CONNECTION, display: Annotated[Display, FLAT] = USUAL_DISPLAY
) -> ExitCode:
    """Check token, host, clock, rate limit and artifact host, one line each."""
    output = Output(quiet=display.quiet, as_json=display.as_json)

    async def examine() -> ExitCode:
        code = ExitCode.OK
        narrator = Narrator(output, display.verbose, watched=sys.stderr.isatty())
        async for finding in _findings(connection, narrator):
            _tell(finding, output)
            code = code or ExitCode(finding.exit_code)
        return code

    return run(examine)


def _tell(finding: Finding, output: Output) -> None:
    if output.as_json:
        output.record("check", asdict(finding))
        return
    output.data(fit(f"{'ok' if finding.ok else 'problem':8}{finding.check:{LABEL_WIDTH}}{finding.text}"))
    if finding.hint:
        output.data(fit(f"{'':8}{'':{LABEL_WIDTH}}hint: {finding.hint}"))


async def _findings(connection: Connection, narrator: Narrator) -> AsyncIterator[Finding]:
    try:
        access = find_access(connection)
    except AioCircleError as error:
        yield _problem("token", error)
        return
    yield _token(access)
    async with access.client(on_event=narrator) as client:
        answer, findings = await _asked(client, access)
        for finding in findings:
            yield finding
        if answer is not None:
            yield _skew(answer.headers.get("Date"), time.time())
            yield _rate(answer.rate)
    yield await _artifact_host(access)


def _token(access: Access) -> Finding:
    if access.token is not None:
        return Finding("token", True, f"found in {access.source}")
    hint = "set CIRCLE_TOKEN, or name a file that holds one with --token-file"
    return Finding("token", False, "there is none", hint, ExitCode.AUTH)


async def _asked(client: "aiocircle.Client", access: Access) -> "tuple[aiocircle.Response[Any] | None, list[Finding]]":
    """Ask who the token belongs to: the host, the API and the token are judged by the one answer."""
    name, kind = access.host, "Cloud" if access.host == DEFAULT_HOST else "Server"
    try:
        answer = await client.users.me().response()
    except (APIError, DecodeError) as error:
        reached = Finding("host", True, f"{name} answers{_way_to(name)}")
        if access.token is None and isinstance(error, AuthenticationError):
            return None, [reached]
        what = "owner" if isinstance(error, AuthenticationError) else "API"
        return None, [reached, _problem(what, error)]
    except AioCircleError as error:
        hint = error.hint or "is the address right, and is there a proxy or a firewall in between?"
        return None, [Finding("host", False, f"{name}: {error}", hint, code_of(error))]
    user = answer.value
    return answer, [
        Finding("host", True, f"{name} answers{_way_to(name)}"),
        Finding("API", True, f"version 2, {kind}"),
        Finding("owner", True, f"{user.name or '(no name)'} ({user.login or 'no login'}), {user.id}"),
    ]


def _skew(date: str | None, now: float) -> Finding:
    """Compare this machine's clock with the host's: signed addresses and reset times depend on it."""
    try:
        ahead = now - parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return Finding("clock", True, "the host does not tell the time")
    if abs(ahead) <= ALLOWED_SKEW:
        return Finding("clock", True, "agrees with the host's")
    text = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the host's"
    return Finding("clock", False, text, "set this machine's clock, for instance by NTP", ExitCode.GENERAL)


def _rate(rate: "RateFacts") -> Finding:
    if not rate.quotas:
        return Finding("rate limit", True, "the host sends no headers about it; it is felt for carefully")
    families = ", ".join(dict.fromkeys(SYSTEMS[quota.system] for quota in rate.quotas))
    return Finding("rate limit", True, f"{families}: {'; '.join(map(_quota, rate.quotas))}")


def _quota(quota: "QuotaFact") -> str:
    left = (
        f"{'?' if quota.remaining is None else quota.remaining} of {'?' if quota.limit is None else quota.limit} left"
    )
    return f"{left} in {quota.window:g} s" if quota.window else left


async def _artifact_host(access: Access) -> Finding:
    """Ask the host of artifacts for nothing in particular, without the token: that it answers is enough."""
    from yarl import URL  # noqa: PLC0415 -- comes with the client

    from aiocircle.proxies import Proxies  # noqa: PLC0415
    from aiocircle.timeouts import Timeouts  # noqa: PLC0415
    from aiocircle.transport import Transport  # noqa: PLC0415

    origin = ARTIFACT_HOST if access.host == DEFAULT_HOST else access.host
    timeouts = Timeouts(connect=access.settings.connect_timeout, stall=access.settings.stall_timeout)
    try:
        async with Transport(proxies=Proxies.of_environment(), ssl_context=trusting()) as transport:
            address = URL(f"{origin}/output/")
            answer = await transport.open("GET", address, headers={}, body=None, timeouts=timeouts, bulk=True)
            answer.close()
    except AioCircleError as error:
        hint = "artifacts are served from there; is there a proxy or a firewall in between?"
        return Finding("artifact host", False, f"{origin}: {error}", hint, code_of(error))
    return Finding("artifact host", True, f"{origin} answers{_way_to(origin)}")


def _way_to(origin: str) -> str:
    from yarl import URL  # noqa: PLC0415 -- comes with the client

    from aiocircle.proxies import Proxies  # noqa: PLC0415

    proxy = Proxies.of_environment().on_the_way_to(URL(origin))
    return f", through the proxy {proxy.address}" if proxy else ""


def _problem(check: str, error: AioCircleError) -> Finding:
    return Finding(check, False, str(error), error.hint, code_of(error))
