"""The token: how it is kept from sight, where it is found, how it is sent, and which origin may see it.

The token is a header of single requests, never of the session: an artifact's address redirects to storage that must
not see it, and aiohttp takes only ``Authorization`` off such a hop, not ``Circle-Token``. So each hop asks a
``TokenScope``. And no error, ``repr`` or log line quotes what might be the token, not even a malformed one.
"""

import base64
import enum
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Never
from urllib.parse import urlsplit

import attrs

from aiocircle.errors import ConfigurationError
from aiocircle.hosts import DEFAULT_PORTS, is_address, normal_host, origin_of, parse_host, split_authority

__all__ = [
    "ARTIFACT_HOSTS",
    "DEFAULT_HOST",
    "HIDDEN",
    "TOKEN_VARIABLES",
    "AuthScheme",
    "FoundToken",
    "Token",
    "TokenScope",
    "basic",
    "budget_identity",
    "find_token",
    "parse_host",
]

HIDDEN = "***"
DEFAULT_HOST = "https://circleci.com"
ARTIFACT_HOSTS = ("circle-artifacts.com",)
TOKEN_VARIABLES = ("CIRCLE_TOKEN", "CIRCLE_CLI_TOKEN", "CIRCLECI_CLI_TOKEN", "CIRCLECI_TOKEN")

_MAX_FILE = 64 * 1024


# --- the token -------------------------------------------------------------------------------------------------------


class Token:
    """An API token that shows itself only when asked with ``reveal()``.

    Text, ``repr``, formatting, copies and dumps of its attributes give ``***``; pickling is refused. Two tokens are
    compared in constant time.

    Args:
        value: The token. Spaces and tabs around it are dropped.

    Raises:
        ConfigurationError: It is empty, or holds a space, a control character or something else than ASCII, which no
            header could carry. The message does not quote it.
    """

    # A closure, not the text: what lists attributes (debuggers, crash reporters, pprint) finds a function.
    __slots__ = ("_reveal",)
    _reveal: Callable[[], str]

    def __init__(self, value: str) -> None:
        value = value.strip(" \t")
        defect = _defect(value)
        if defect:
            raise ConfigurationError(f"the token {defect}", hint=_HINT)
        object.__setattr__(self, "_reveal", lambda: value)

    def reveal(self) -> str:
        """Return the token itself."""
        return self._reveal()

    def __repr__(self) -> str:
        return f"Token('{HIDDEN}')"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Token):
            return NotImplemented
        return hmac.compare_digest(self.reveal(), other.reveal())

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __copy__(self) -> "Token":
        return self

    def __deepcopy__(self, memo: object) -> "Token":
        return self

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("a token is not pickled: what is pickled is written down")

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(f"a token does not change: {name}")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError(f"a token does not change: {name}")


_HINT = "create a personal API token at https://app.circleci.com/settings/user/tokens and give it as it is shown there"


def _defect(value: str) -> str | None:
    if not value:
        return "is empty"
    if "\n" in value or "\r" in value:
        return "holds a line break"
    if " " in value or "\t" in value:
        return "holds a space"
    if not value.isascii():
        return "holds a character that is not ASCII"
    return None if value.isprintable() else "holds a control character"


class AuthScheme(enum.Enum):
    """How the token is sent. All CircleCI versions read ``Circle-Token``; API v3 and recent Servers also ``Bearer``."""

    CIRCLE_TOKEN = "circle-token"  # noqa: S105 -- the scheme's name
    BEARER = "bearer"
    BASIC = "basic"

    def headers(self, token: Token | None) -> dict[str, str]:
        """Return the header that carries ``token``, for one request; none without a token.

        An empty header would not do instead: CircleCI takes no header for anonymous, and an empty one for malformed.
        """
        if token is None:
            return {}
        value = token.reveal()
        if self is AuthScheme.CIRCLE_TOKEN:
            return {"Circle-Token": _Unshown(value)}
        if self is AuthScheme.BEARER:
            return {"Authorization": _Unshown(f"Bearer {value}")}
        return {"Authorization": _Unshown(f"Basic {basic(value)}")}


class _Unshown(str):
    """A header's value that no ``repr`` shows: who reports an error with its frames' variables writes that of headers.

    It stays what it is in aiohttp's hands as well, whose frames a cancellation passes through.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"'{HIDDEN}'"


def basic(value: str) -> str:
    """Return a token as basic authentication has it."""
    return base64.b64encode(f"{value}:".encode()).decode()  # the token is the user, the password is empty


# --- where it is found -----------------------------------------------------------------------------------------------


@attrs.frozen
class FoundToken:
    """A token, and in words where it was found: ``the CIRCLE_TOKEN variable``."""

    token: Token
    source: str


def find_token(
    *,
    explicit: str | Token | None,
    token_file: str | PathLike[str] | None,
    environ: Mapping[str, str],
    home: Path | None,
    host: str = DEFAULT_HOST,
) -> FoundToken | None:
    """Find the token: the first of the argument, the file, the variables, the official CLI's own configuration.

    Args:
        explicit: A token given outright; an empty one is an error, not an absent one.
        token_file: A file that holds the token and nothing else; white space around it is dropped.
        environ: The environment: ``TOKEN_VARIABLES`` and ``XDG_CONFIG_HOME``. An empty variable is an unset one.
        home: The user's directory, which has the CLI's ``.config/circleci/config.yml`` and ``.circleci/cli.yml``;
            ``None`` for a user who has none.
        host: The API's origin, as ``parse_host`` returns it: the CLI's token for another host is left alone.

    Returns:
        The token and its source; ``None`` where there is none.

    Raises:
        ConfigurationError: What was found is no token, or ``token_file`` cannot be read.
    """
    if isinstance(explicit, Token):
        return FoundToken(explicit, "the token argument")
    if explicit is not None:
        return _found(explicit, "the token argument")
    if token_file is not None:
        path = _expanded(Path(token_file), home)
        return _found(_read_token_file(path), f"the file {path}")
    for variable in TOKEN_VARIABLES:
        if environ.get(variable):
            return _found(environ[variable], f"the {variable} variable")
    return next(_of_official_cli(environ, home, host), None)


def home_of_user() -> Path | None:
    """Return the user's directory; ``None`` where nothing tells, as for a number without a name in a container."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def _found(value: str, source: str) -> FoundToken:
    defect = _defect(value.strip(" \t"))
    if defect:
        raise ConfigurationError(f"the token in {source} {defect}", hint=_HINT)
    return FoundToken(Token(value), source)


def _expanded(path: Path, home: Path | None) -> Path:
    # Shells leave the tilde in --token-file=~/token as it is.
    return home.joinpath(*path.parts[1:]) if home is not None and path.parts[:1] == ("~",) else path


def _read_token_file(path: Path) -> str:
    hint = "give a file that holds the token and nothing else"
    try:
        text = _read_text(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"the token file {path} cannot be read: {reason}", hint=hint) from error
    except ValueError:
        raise ConfigurationError(f"the token file {path} is not text", hint=hint) from None
    if text is None:
        raise ConfigurationError(f"the token file {path} is larger than {_MAX_FILE // 1024} KiB", hint=hint)
    text = text.strip()
    if not text:
        raise ConfigurationError(f"the token file {path} is empty", hint=hint)
    return text


def _read_text(path: Path) -> str | None:
    """Return a file's text, or ``None`` where it is too large. Works for pipes, which have no size to ask for."""
    with path.open("rb") as file:
        data = file.read(_MAX_FILE + 1)
    return data.decode("utf-8-sig") if len(data) <= _MAX_FILE else None


def _files_of_official_cli(environ: Mapping[str, str], home: Path | None) -> Iterator[Path]:
    config = environ.get("XDG_CONFIG_HOME") or (home and home / ".config")
    if config:
        yield Path(config) / "circleci" / "config.yml"
    if home:
        yield home / ".circleci" / "cli.yml"


def _of_official_cli(environ: Mapping[str, str], home: Path | None, host: str) -> Iterator[FoundToken]:
    for path in _files_of_official_cli(environ, home):
        try:
            settings = _flat_settings(_read_text(path) or "")
            if settings.get("token") and _is_for(settings, host):
                yield FoundToken(Token(settings["token"]), f"the CircleCI CLI's {path}")
        except (OSError, ValueError, ConfigurationError):
            continue  # another program's file: whatever is odd in it is not for us to report


def _is_for(settings: Mapping[str, str], host: str) -> bool:
    endpoint = settings.get("endpoint", "")  # old versions wrote the whole address here
    written = settings.get("host") or (endpoint if "://" in endpoint else "") or DEFAULT_HOST
    address = urlsplit(written)
    origin = f"{address.scheme}://{address.netloc}" if address.netloc else written
    return parse_host(origin, allow_http=True) == parse_host(host, allow_http=True)


# The files are YAML, of which the CLI writes a mapping of plain scalars. Any of these settings in another form (alias,
# tag, block, escapes in quotes) spoils the file: a host that is not understood must not pass for the default.
_KEY = re.compile(r"""["']?(?:token|host|endpoint)["']?\s*:""")
_SETTING = re.compile(
    r"""(?P<key>token|host|endpoint)[ ]*:
        (?:[ ]+(?: "(?P<double>[^"\\]*)" | '(?P<single>[^']*)' | (?P<plain>[^\s"'#&*!|>%@`{\[,?-]\S*) ))?
        [ ]*(?:[ ]\#.*)?""",
    re.VERBOSE,
)
_NULLS = frozenset({"~", "null", "Null", "NULL"})


def _flat_settings(text: str) -> dict[str, str]:
    settings = {}
    for line in filter(_KEY.match, text.splitlines()):
        match = _SETTING.fullmatch(line)
        if match is None:
            raise ValueError("a setting in a form that is not read here")
        value = match["double"] or match["single"] or match["plain"] or ""
        settings[match["key"]] = "" if value in _NULLS else value
    return settings


# --- which origin may see it -----------------------------------------------------------------------------------------


@attrs.frozen
class _ArtifactHost:
    host: str
    port: int | None
    listed: bool

    @classmethod
    def parse(cls, text: str) -> "_ArtifactHost":
        parts = split_authority(text)
        if parts is None:
            raise ConfigurationError(
                f"{text!r} is not an artifact host",
                hint="give a host's name, with a port where it is not 443; its subdomains are included",
            )
        host, port = parts
        return cls(host, port, listed=host not in ARTIFACT_HOSTS)

    def covers(self, host: str) -> bool:
        # A name without a dot, or an IP address, is one host: below "com" lies half the world.
        has_subdomains = "." in self.host and not is_address(self.host)
        return host == self.host or (has_subdomains and host.endswith(f".{self.host}"))


def _parse_api_origin(text: str) -> str:
    return parse_host(text, allow_http=True)


def _as_tuple(hosts: Iterable[str]) -> tuple[str, ...]:
    return tuple(hosts)


def _parse_artifact_hosts(scope: "TokenScope") -> tuple[_ArtifactHost, ...]:
    return tuple(map(_ArtifactHost.parse, scope.artifact_hosts))


@attrs.frozen
class TokenScope:
    """Which origins may see the token.

    They are the API's own origin, and over https the artifact hosts and their subdomains. An artifact host may be http
    only in a test set-up: when the API itself is, and for hosts that the caller has listed.

    Attributes:
        api_origin: The API's origin.
        artifact_hosts: ``host`` or ``host:port``; without a port, the scheme's default one.

    Raises:
        ConfigurationError: An origin or a host is malformed.
    """

    api_origin: str = attrs.field(default=DEFAULT_HOST, converter=_parse_api_origin)
    artifact_hosts: tuple[str, ...] = attrs.field(default=ARTIFACT_HOSTS, converter=_as_tuple)
    _artifacts: tuple[_ArtifactHost, ...] = attrs.field(
        default=attrs.Factory(_parse_artifact_hosts, takes_self=True), init=False, repr=False, eq=False
    )

    @classmethod
    def of(cls, api_origin: str, more_artifact_hosts: Iterable[str] = ()) -> "TokenScope":
        """Return the scope of an API with CircleCI's artifact hosts and these."""
        return cls(api_origin, (*ARTIFACT_HOSTS, *more_artifact_hosts))

    def allows(self, url_scheme: str, url_host: str, url_port: int | None) -> bool:
        """Return whether a request to this origin may carry the token.

        Args:
            url_scheme: The address's scheme.
            url_host: Its host, with or without the brackets of IPv6; never with a user name.
            url_port: Its port; ``None`` is the scheme's default.
        """
        scheme = url_scheme.lower()
        host = normal_host(url_host)
        if host is None or scheme not in DEFAULT_PORTS:
            return False
        port = DEFAULT_PORTS[scheme] if url_port is None else url_port
        if origin_of(scheme, host, port) == self.api_origin:
            return True
        plain = scheme == "http"
        if plain and not self.api_origin.startswith("http:"):
            return False
        return any(
            artifact.covers(host) and port == (artifact.port or DEFAULT_PORTS[scheme])
            for artifact in self._artifacts
            if artifact.listed or not plain
        )


def budget_identity(token: Token | None, host: str) -> str:
    """Return text that is the same for all who draw on one budget, and from which no token can be read."""
    secret = token.reveal() if token else ""
    return hashlib.sha256(f"aiocircle budget\0{host}\0{secret}".encode()).hexdigest()[:32]
