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
from growth import is_linear
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.auth import AuthScheme, FoundToken, Token, TokenScope, find_token, parse_host, redact, safe_url
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


# --- hosts ---


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://circleci.com", "https://circleci.com"),
        ("circleci.com", "https://circleci.com"),
        (" HTTPS://CircleCI.com./ ", "https://circleci.com"),
        ("https://circleci.com/api/v2/", "https://circleci.com"),
        ("circleci.example.com/api/v2", "https://circleci.example.com"),
        ("https://circleci.example.com:443", "https://circleci.example.com"),
        ("https://circleci.example.com:", "https://circleci.example.com"),
        ("circleci.example.com:8443/", "https://circleci.example.com:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://ci.localhost", "http://ci.localhost"),
        ("http://127.0.0.1:80/", "http://127.0.0.1"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://[2001:DB8:0::1]", "https://[2001:db8::1]"),
        ("https://10.0.0.7", "https://10.0.0.7"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://BÜCHER.example", "https://xn--bcher-kva.example"),
        ("ci_server", "https://ci_server"),
    ],
)
def test_a_host_is_an_origin(text: str, origin: str) -> None:
    assert parse_host(text) == origin
    assert parse_host(origin) == origin


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("https://", "is empty"),
        ("https:///api/v2", "is empty"),
        ("ftp://circleci.com", "other than https"),
        ("file:///etc/passwd", "other than https"),
        ("https://me:hunter2@circleci.com", "user name"),
        ("me:hunter2@circleci.com", "user name"),
        ("https://me:hunter2/@circleci.com", "user name"),
        ("https://circleci.com?circle-token=hunter2", "query"),
        ("https://circleci.com#hunter2", "fragment"),
        ("https://circleci.com/api/v1.1", "path"),
        ("https://app.circleci.com/pipelines/gh/a/b", "path"),
        ("https://circleci.com:0", "not the name"),
        ("https://circleci.com:65536", "not the name"),
        ("https://circleci.com:http", "not the name"),
        ("https://circle ci.com", "not the name"),
        ("https://circle\nci.com", "not the name"),
        ("https://circleci..com", "not the name"),
        ("https://.circleci.com", "not the name"),
        ("https://circleci.com..", "not the name"),
        ("https://-circleci.com", "not the name"),
        ("https://circleci.com\\evil.example", "not the name"),
        ("https://2130706433", "not the name"),
        ("https://0x7f.1", "not the name"),
        ("https://127.1", "not the name"),
        ("https://127.0.0.01", "not the name"),
        ("https://[::1", "not the name"),
        ("https://[fe80::1%25eth0]", "not the name"),
        ("https://[fe80::1%eth0]", "not the name"),
        ("https://::1", "not the name"),
        ("https://faß.example", "not the name"),
        ("https://ｃircleci.com", "not the name"),  # noqa: RUF001 -- a full-width letter
        ("https://" + "a" * 64 + ".com", "not the name"),
        ("https://" + "ü" * 9000, "not the name"),
        ("https://" + "a." * 127 + "com", "not the name"),
        ("http://circleci.com", "unencrypted"),
        ("http://localhost.example.com", "unencrypted"),
        ("http://128.0.0.1", "unencrypted"),
    ],
)
def test_what_is_no_origin_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        parse_host(text)
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_http_may_be_allowed() -> None:
    assert parse_host("http://ci.example.com:8080", allow_http=True) == "http://ci.example.com:8080"


# --- which origin may see the token ---

CLOUD = TokenScope()


@pytest.mark.parametrize(
    "host",
    [
        "circleci.com",
        "CircleCI.com",
        "circleci.com.",
        "circle-artifacts.com",
        "output.circle-artifacts.com",
        "OUTPUT.Circle-Artifacts.COM.",
        "12-345-gh.circle-artifacts.com",
    ],
)
def test_the_api_and_the_artifact_hosts_see_the_token_over_https_only(host: str) -> None:
    assert CLOUD.allows("https", host, 443)
    assert CLOUD.allows("HTTPS", host, None)
    assert not CLOUD.allows("http", host, 80)
    assert not CLOUD.allows("https", host, 8443)
    assert not CLOUD.allows("https", host, 80)
    assert not CLOUD.allows("ftp", host, 443)


@pytest.mark.parametrize(
    "host",
    [
        "evilcircle-artifacts.com",
        "evil-circle-artifacts.com",
        "circle-artifacts.com.evil.example",
        "circle-artifacts.com.co",
        "circle-artifacts.co",
        "circle-artifacts",
        "com",
        "artifacts.com",
        "app.circleci.com",
        "circleci.com.evil.example",
        "evil.example",
        "circleci.com@evil.example",
        "evil.example@circleci.com",
        "evil.example/.circle-artifacts.com",
        "evil.example#.circle-artifacts.com",
        "evil.example\\.circle-artifacts.com",
        "evil.example%2f.circle-artifacts.com",
        "evil.example\x00.circle-artifacts.com",
        "evil.example .circle-artifacts.com",
        ".circle-artifacts.com",
        "a..circle-artifacts.com",
        "-.circle-artifacts.com",
        "circle-artifacts.com..",
        "circle-artifacts\u3002com",
        "circle\u2010artifacts.com",
        "ｃircle-artifacts.com",  # noqa: RUF001 -- a full-width letter
        "сircle-artifacts.com",  # noqa: RUF001 -- a Cyrillic letter
        "circle\u00adci.com",
        "my-bucket.s3.amazonaws.com",
        "",
        ".",
        "[::1]",
        "127.0.0.1",
    ],
)
def test_no_other_host_sees_the_token(host: str) -> None:
    assert not CLOUD.allows("https", host, 443)


def test_a_server_sees_the_token_at_its_own_origin_alone() -> None:
    server = TokenScope("https://ci.example.com:8443/api/v2", artifact_hosts=())
    assert server.api_origin == "https://ci.example.com:8443"
    assert server.allows("https", "CI.example.com", 8443)
    for scheme, host, port in [
        ("https", "ci.example.com", 443),
        ("https", "x.ci.example.com", 8443),
        ("http", "ci.example.com", 8443),
        ("https", "circleci.com", 443),
        ("https", "output.circle-artifacts.com", 443),
    ]:
        assert not server.allows(scheme, host, port)


def test_a_listed_artifact_host_may_have_a_port() -> None:
    scope = TokenScope(artifact_hosts=("artifacts.example.com:8443", "intranet"))
    assert scope.allows("https", "artifacts.example.com", 8443)
    assert scope.allows("https", "a.artifacts.example.com", 8443)
    assert not scope.allows("https", "artifacts.example.com", 443)
    assert scope.allows("https", "intranet", 443)
    assert not scope.allows("https", "evil.intranet", 443)


def test_http_artifact_hosts_are_for_test_set_ups() -> None:
    """The API itself is http, and the caller has listed the host."""
    listed = ("127.0.0.1:9001", "circle-artifacts.com")
    local = TokenScope("http://127.0.0.1:9000", artifact_hosts=listed)
    assert local.allows("http", "127.0.0.1", 9000)
    assert local.allows("http", "127.0.0.1", 9001)
    assert not local.allows("http", "127.0.0.1", 9002)
    assert not local.allows("http", "1.127.0.0.1", 9001)
    assert not local.allows("http", "2130706433", 9001)
    assert not local.allows("http", "output.circle-artifacts.com", 80)
    assert local.allows("https", "output.circle-artifacts.com", 443)
    assert not TokenScope(artifact_hosts=listed).allows("http", "127.0.0.1", 9001)


def test_more_artifact_hosts_come_on_top_of_circlecis() -> None:
    scope = TokenScope.of("https://ci.example.com", ["artifacts.example.com"])
    assert scope.allows("https", "artifacts.example.com", 443)
    assert scope.allows("https", "output.circle-artifacts.com", 443)
    assert scope == TokenScope("https://ci.example.com", ("circle-artifacts.com", "artifacts.example.com"))


def test_ipv6_is_compared_with_and_without_brackets() -> None:
    scope = TokenScope("http://[::1]:9000", artifact_hosts=("[::1]:9001",))
    assert scope.allows("http", "::1", 9000)
    assert scope.allows("http", "[0:0::1]", 9001)
    assert not scope.allows("http", "::2", 9000)


@pytest.mark.parametrize("host", ["", "https://a.example", "a.example/x", "*.a.example", "a@b.example", "a.example:x"])
def test_a_malformed_artifact_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError):
        TokenScope(artifact_hosts=(host,))


@given(host=st.text(max_size=40), port=st.none() | st.integers())
def test_whatever_stands_around_an_allowed_host_makes_it_another(host: str, port: int | None) -> None:
    assert not CLOUD.allows("https", f"circle-artifacts.com{host}.example", port)
    assert not CLOUD.allows("https", f"circleci.com{host}x", port)
    if CLOUD.allows("https", f"{host}circle-artifacts.com", port):
        assert host == "" or host.endswith(".")
        assert port in {None, 443}


@given(scheme=st.text(max_size=6), host=st.text(max_size=300), port=st.none() | st.integers())
def test_judging_a_host_never_raises(scheme: str, host: str, port: int | None) -> None:
    assert CLOUD.allows(scheme, host, port) in {True, False}


# --- logs and errors ---

SIGNED = (
    "https://bucket.s3.amazonaws.com/a/b.txt?X-Amz-Algorithm=AWS4&X-Amz-Credential=HIDE%2F1&X-Amz-Date=2026"
    "&X-Amz-Security-Token=HIDE2&X-Amz-Signature=HIDE3"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            SIGNED,
            SIGNED.replace("HIDE%2F1", "***").replace("HIDE2", "***").replace("HIDE3", "***"),
        ),
        ("GET /x?circle-token=HIDE&page-token=abc", "GET /x?circle-token=***&page-token=abc"),
        ("/x?Signature=HIDE&Expires=1&Key-Pair-Id=HIDE", "/x?Signature=***&Expires=1&Key-Pair-Id=***"),
        ("/x?sv=1&sig=HIDE@HIDE#f", "/x?sv=1&sig=***#f"),
        ("/x?access_token=HIDE&X-Goog-Signature=HIDE", "/x?access_token=***&X-Goog-Signature=***"),
        ('{"Circle-Token": "HIDE", "a": 1}', '{"Circle-Token": "***", "a": 1}'),
        ("Circle-Token: HIDE\r\nAccept: x", "Circle-Token: ***\r\nAccept: x"),
        ("Authorization: Bearer HIDE", "Authorization: Bearer ***"),
        ("{'Authorization': 'Basic HIDE='}", "{'Authorization': 'Basic ***'}"),
        ("https://me:HI@DE@host/a@b", "https://***@host/a@b"),
        ("found CCIPAT_HIDE_1 there", "found *** there"),
        ("https://host/a@b?q=1 is fine; tokens=3", "https://host/a@b?q=1 is fine; tokens=3"),
    ],
)
def test_secrets_of_addresses_and_headers_are_redacted(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


def test_a_token_is_redacted_in_each_form_it_is_sent_in() -> None:
    token = "a+b/c=="
    encoded = base64.b64encode(f"{token}:".encode()).decode()
    text = redact(f"{token} {encoded} a%2Bb%2Fc%3D%3D", Token(token), "")
    assert text == "*** *** ***"


def test_of_two_tokens_that_begin_alike_nothing_is_left() -> None:
    assert redact("secret-long secret", "secret", Token("secret-long")) == "*** ***"


@given(st.text(), st.text(max_size=9))
def test_redacting_never_raises(text: str, token: str) -> None:
    redact(text, token)


@pytest.mark.parametrize("unit", ["?", "&token=", "://", "://@", "circle-token ", "authorization:", "?a-", "access_"])
def test_redacting_is_linear(unit: str) -> None:
    assert is_linear(lambda size: redact(unit * size), 5_000)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (SIGNED, "https://bucket.s3.amazonaws.com/a/b.txt"),
        ("https://me:HIDE@host:8443/a@b?x#y", "https://host:8443/a@b"),
        ("https://me:HI@DE@host/a", "https://host/a"),
        ("https://host", "https://host"),
        ("https://host?HIDE", "https://host"),
        ("https://host#HIDE", "https://host"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("/path/only?HIDE", "/path/only"),
        ("https://bücher.example/ü", "https://bücher.example/ü"),
        ("https://host/a\nb\x1b[31m", "https://host/a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31m"),
        ("https://me:HIDE/x@host/a", "<malformed address>"),
        ("https://me:HIDE\\@host/a", "https://host/a"),
        ("https://[HIDE/a", "<malformed address>"),
        ("me:HIDE@host/a", "host/a"),
        ("", ""),
    ],
)
def test_an_address_fit_for_logs(url: str, expected: str) -> None:
    assert safe_url(url) == expected


@given(st.text())
def test_a_safe_address_is_always_printable(url: str) -> None:
    assert safe_url(url).isprintable()
    assert "?" not in safe_url(url)
