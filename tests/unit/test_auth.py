"""The token hides itself, is found, and is sent."""

import base64
import copy
import io
import json
import logging
import os
import pickle
import pprint
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from aiocircle.auth import AuthScheme, FoundToken, Token, find_token
from aiocircle.errors import ConfigurationError

SECRET = "CCIPAT_FsRg3Xq_0123456789abcdef"


@attrs.frozen
class Settings:
    token: Token
    url: str = "https://circleci.com"


def logged(token: Token) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.Logger("test")  # noqa: LOG001 -- one that no other test shares
    logger.addHandler(handler)
    logger.warning("%s %r %s", token, token, {"token": token})
    return stream.getvalue()


def crash_report(token: Token) -> str:
    def crash(argument: Token) -> None:
        raise RuntimeError(argument)

    try:
        crash(token)
    except RuntimeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    raise AssertionError


# --- the token hides ---


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        "{}".format,
        "{!r:>40}".format,
        "{:>40}".format,
        "{0!s}".format,
        lambda token: f"{token} {token!r} {token:^9}",
        lambda token: "%s %r" % (token, token),  # noqa: UP031 -- one of the forms
        lambda token: repr([token, {token: token}]),
        pprint.pformat,
        lambda token: repr(Settings(token)),
        lambda token: repr(attrs.asdict(Settings(token))),
        lambda token: json.dumps(attrs.asdict(Settings(token)), default=str),
        lambda token: repr(FoundToken(token, "the argument")),
        lambda token: repr([(name, getattr(token, name)) for name in dir(token) if name != "reveal"]),
        lambda token: repr(token.__getstate__()),
        lambda token: repr(copy.copy(token)) + repr(copy.deepcopy([token])),
        lambda token: repr(ValueError(token)) + str(ValueError(token)),
        logged,
        crash_report,
    ],
)
def test_no_way_of_showing_a_token_shows_it(show: Callable[[Token], str]) -> None:
    shown = show(Token(SECRET))
    assert SECRET not in shown
    assert SECRET[8:] not in shown


def test_a_token_shows_itself_when_asked() -> None:
    assert Token(SECRET).reveal() == SECRET
    assert Token(f"\t {SECRET} ").reveal() == SECRET
    assert copy.deepcopy(Token(SECRET)).reveal() == SECRET


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_token_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError) as caught:
        pickle.dumps(Settings(Token(SECRET)), protocol)
    assert SECRET not in str(caught.value)


def test_a_token_has_no_attributes_and_does_not_change() -> None:
    token = Token(SECRET)
    with pytest.raises(TypeError):
        vars(token)
    with pytest.raises(AttributeError):
        token._reveal = lambda: "other"
    with pytest.raises(AttributeError):
        del token._reveal
    assert token.reveal() == SECRET


def test_tokens_are_equal_by_value_and_to_nothing_else() -> None:
    assert Token(SECRET) == Token(SECRET)
    assert Token(SECRET) != Token(SECRET[:-1])
    assert Token(SECRET) != SECRET
    assert len({Token(SECRET), Token(SECRET), Token("x")}) == 2


@pytest.mark.parametrize(
    ("value", "defect"),
    [
        ("", "empty"),
        (" \t", "empty"),
        (f"{SECRET}\n", "line break"),
        (f"{SECRET}\r\n", "line break"),
        (f"{SECRET}\r\nX-Evil: 1", "line break"),
        (f"{SECRET[:9]}\x00{SECRET[9:]}", "control character"),
        (f"{SECRET}\x7f", "control character"),
        (f"{SECRET}é", "not ASCII"),
        (f"{SECRET}\u200b", "not ASCII"),
        (f"Bearer {SECRET}", "space"),
        (f"{SECRET}\t{SECRET}", "space"),
    ],
)
def test_what_no_header_can_carry_is_refused_and_not_quoted(value: str, defect: str, tmp_path: Path) -> None:
    attempts: list[Callable[[], Any]] = [
        lambda: Token(value),
        lambda: find_token(explicit=value, token_file=None, environ={}, home=tmp_path),
    ]
    if value:
        attempts.append(
            lambda: find_token(explicit=None, token_file=None, environ={"CIRCLE_TOKEN": value}, home=tmp_path)
        )
    for attempt in attempts:
        with pytest.raises(ConfigurationError, match=defect) as caught:
            attempt()
        assert SECRET[9:] not in f"{caught.value!r} {caught.value.hint}"
        assert caught.value.hint


# --- how it is sent ---


def test_each_scheme_sends_its_own_header_and_none_without_a_token() -> None:
    token = Token("abc")
    assert AuthScheme.CIRCLE_TOKEN.headers(token) == {"Circle-Token": "abc"}
    assert AuthScheme.BEARER.headers(token) == {"Authorization": "Bearer abc"}
    assert AuthScheme.BASIC.headers(token) == {"Authorization": "Basic " + base64.b64encode(b"abc:").decode()}
    assert all(scheme.headers(None) == {} for scheme in AuthScheme)
    assert AuthScheme("circle-token") is AuthScheme.CIRCLE_TOKEN


# --- where it is found ---


def find(home: Path, *, host: str = "https://circleci.com", **environ: str) -> tuple[str, str] | None:
    found = find_token(explicit=None, token_file=None, environ=environ, home=home, host=host)
    return (found.token.reveal(), found.source) if found else None


def write_cli_config(home: Path, text: str, name: str = ".circleci/cli.yml") -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def test_the_sources_are_asked_in_order(tmp_path: Path) -> None:
    variables = ["CIRCLE_TOKEN", "CIRCLE_CLI_TOKEN", "CIRCLECI_CLI_TOKEN", "CIRCLECI_TOKEN"]
    environ = {name: name.lower() for name in variables}
    file = tmp_path / "token"
    file.write_text("from-file\n")
    new = write_cli_config(tmp_path, "token: new-cli", ".config/circleci/config.yml")
    old = write_cli_config(tmp_path, "token: old-cli")

    def ask(explicit: str | Token | None = None, token_file: Path | None = None) -> tuple[str, str]:
        found = find_token(explicit=explicit, token_file=token_file, environ=environ, home=tmp_path)
        assert found
        return found.token.reveal(), found.source

    assert ask("given", file) == ("given", "the token argument")
    assert ask(Token("given"), file) == ("given", "the token argument")
    assert ask(None, file) == ("from-file", f"the file {file}")
    for name in variables:
        assert ask() == (name.lower(), f"the {name} variable")
        environ[name] = ""
    assert ask() == ("new-cli", f"the CircleCI CLI's {new}")
    new.unlink()
    assert ask() == ("old-cli", f"the CircleCI CLI's {old}")
    old.unlink()
    assert find(tmp_path) is None


def test_the_cli_is_looked_for_where_xdg_says(tmp_path: Path) -> None:
    write_cli_config(tmp_path, "token: elsewhere", "xdg/circleci/config.yml")
    assert find(tmp_path) is None
    found = find(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "xdg"))
    assert found
    assert found[0] == "elsewhere"


@pytest.mark.parametrize("text", [SECRET, f"{SECRET}\n", f"\n {SECRET}\r\n\n", f"\ufeff{SECRET}\n"])
def test_a_token_file_may_have_white_space_around_the_token(text: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(text.encode())
    file.chmod(0o644)
    found = find_token(explicit=None, token_file=str(file), environ={}, home=tmp_path)
    assert found
    assert found.token == Token(SECRET)


def test_a_tilde_is_the_home_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    found = find_token(explicit=None, token_file="~/token", environ={}, home=tmp_path)
    assert found
    assert found.source == f"the file {tmp_path / 'token'}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_token_file_may_be_a_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, SECRET.encode() + b"\n")
    os.close(writer)
    try:
        found = find_token(explicit=None, token_file=f"/dev/fd/{reader}", environ={}, home=tmp_path)
    finally:
        os.close(reader)
    assert found
    assert found.token.reveal() == SECRET


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"x" * 70_000, "larger than 64 KiB"),
        (b"\xff\xfe\x00\x01", "is not text"),
        (SECRET.encode() + b"\n" + SECRET.encode(), "holds a line break"),
    ],
)
def test_a_token_file_that_has_no_token_is_an_error_in_words(data: bytes | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(ConfigurationError, match=words) as caught:
        find_token(explicit=None, token_file=file, environ={"CIRCLE_TOKEN": "x"}, home=tmp_path)
    assert str(file) in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_directory_is_no_token_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        find_token(explicit=None, token_file=tmp_path, environ={}, home=tmp_path)


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("host: https://circleci.com\nendpoint: graphql-unstable\ntoken: abc\n", "abc"),
        ("token: abc", "abc"),
        ("token: abc  # mine\r\nhost: https://circleci.com/\r\n", "abc"),
        ('token: "abc"\nhost: "https://circleci.com"\n', "abc"),
        ("token: 'abc' # mine\nhost: circleci.com\n", "abc"),
        ("---\n# a comment\ntoken:    abc   \ntls_cert: ''\n", "abc"),
        ("token: abc#def", "abc#def"),
        ("endpoint: https://circleci.com/graphql-unstable\ntoken: abc", "abc"),
        ("host: ''\ntoken: abc", "abc"),
        ("\ufefftoken: abc", "abc"),
        ("host: https://ci.example.com\ntoken: abc", None),
        ("endpoint: https://ci.example.com/graphql-unstable\ntoken: abc", None),
        ("host: http://circleci.com\ntoken: abc", None),
        ("host: 'not a host'\ntoken: abc", None),
        ("host: https://[\ntoken: abc", None),
        ("token: ''", None),
        ("token: ~", None),
        ("token: null", None),
        ("token:", None),
        ("token:abc", None),
        ("token: abc\nhost:\nendpoint: # none", "abc"),
        ("token: abc\nhost: ~", "abc"),
        ('token: abc\nhost: "https:\\/\\/ci.example.com"', None),
        ("token: abc\nhost: >-\n  https://ci.example.com", None),
        ("token: abc\nhost: *other", None),
        ('token: abc\n"host": https://ci.example.com', None),
        ("  token: abc", None),
        ("other:\n  token: abc", None),
        ("token: |\n  abc", None),
        ("token: &anchor abc", None),
        ("token: *anchor", None),
        ("token: !secret abc", None),
        ("token: {a: b}", None),
        ('token: "a\\x62c"', None),
        ('token: "abc', None),
        ("token: two words", None),
        ("token: é", None),
        ("\x00\udcff\udcfe", None),
        ("x" * 70_000 + "\ntoken: abc", None),
    ],
)
def test_the_clis_file_is_read_with_care_and_never_complained_about(
    text: str, token: str | None, tmp_path: Path
) -> None:
    path = write_cli_config(tmp_path, text)
    assert find(tmp_path) == (token and (token, f"the CircleCI CLI's {path}"))


def test_the_clis_token_for_a_server_is_found_for_that_server_only(tmp_path: Path) -> None:
    write_cli_config(tmp_path, "host: https://CI.example.com:443/\ntoken: abc")
    assert find(tmp_path) is None
    assert find(tmp_path, host="https://ci.example.com")
    assert find(tmp_path, host="https://ci.example.com:8443") is None
