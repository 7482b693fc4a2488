"""Which host is an origin, and which origin may see the token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.auth import TokenScope, parse_host
from aiocircle.errors import ConfigurationError

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
