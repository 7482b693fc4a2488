"""Addresses as the API lists them: used byte for byte, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from aiocircle.addresses import parse_address
from aiocircle.errors import UnsafeAddressError

BASE = URL("https://output.circle-artifacts.com/output/job/1/artifacts/0/a%20b?x=1", encoded=True)

AS_LISTED = [
    "https://output.circle-artifacts.com/output/job/0e1/artifacts/0/home/circleci/project/out.txt",
    "https://output.circle-artifacts.com/output/job/0e1/artifacts/0/d%C3%ADa/%E6%97%A5%E6%9C%AC+%25.txt",
    "https://1-2-gh.circle-artifacts.com/0//tmp/double//slash",
    "https://h.example/a/../b/./c",
    "https://h.example/a/%2e%2e/b%2Fc/%2F",
    "https://h.example/a%2fb%2FC",
    "https://h.example/%7Euser/~user",
    "https://h.example/a+b%2Bc%20d",
    "https://h.example/a;v=1,2/(x)'!*|[]{}^`\\",
    "https://h.example/q?a=1&b=%2F&a=+%20&c",
    "https://h.example/signed?X-Amz-Credential=A%2F20261123%2Fus-east-1&X-Amz-Signature=0aF",
    "https://h.example/100%/%zz",
    "https://h.example:8443/x",
    "http://127.0.0.1:40123/output/x",
    "http://[::1]:8080/x",
    "https://[2001:db8::1]/x",
    "https://name_with_underscore.example/x",
]


@pytest.mark.parametrize("text", AS_LISTED)
def test_an_address_is_used_byte_for_byte(text: str) -> None:
    url = parse_address(text)

    assert str(url) == text
    assert text.endswith(url.raw_path_qs)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("https://h.example/a b", "https://h.example/a%20b"),
        ("https://h.example/a b?c d", "https://h.example/a%20b?c%20d"),
        ("https://h.example/día", "https://h.example/d%C3%ADa"),
        ("https://h.example/日本?語=1", "https://h.example/%E6%97%A5%E6%9C%AC?%E8%AA%9E=1"),
        ("https://h.example/d%C3%ADa día", "https://h.example/d%C3%ADa%20d%C3%ADa"),
        ("https://h.example/\N{NO-BREAK SPACE}\N{LINE SEPARATOR}", "https://h.example/%C2%A0%E2%80%A8"),
        ("https://h.example/\N{PILE OF POO}", "https://h.example/%F0%9F%92%A9"),
        # as aiohttp hands out a header's bytes that are no UTF-8
        (b"https://h.example/d\xeda".decode("utf-8", "surrogateescape"), "https://h.example/d%EDa"),
    ],
)
def test_only_what_http_cannot_carry_is_percent_encoded(text: str, sent: str) -> None:
    assert str(parse_address(text)) == sent


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/output/x",
        "output/x",
        "//h.example/x",
        "?q=1",
        "#top",
        "h.example/x",
        "h.example:443/x",
        "https:",
        "https://",
        "https:///x",
        "https:x",
        "https:/h.example/x",
        "file:///etc/passwd",
        "file://h.example/etc/passwd",
        "ftp://h.example/x",
        "ws://h.example/x",
        "javascript:alert(1)",
        "data:text/plain,x",
        " https://h.example/x",
        "https://h.example:0/x",
        "https://h.example:65536/x",
        "https://h.example:99999999999/x",
        "https://h.example:port/x",
        "https://h.example:-1/x",
        "https://h.example:80:80/x",
        "https://[::1/x",
        "https://::1/x",
        "https://[fe80::1%25eth0]/x",
        "https://two words.example/x",
        "https://bücher.example/x",
        "https://\N{FULLWIDTH LATIN SMALL LETTER C}ircleci.com/x",
        "https://circleci.com%2eevil.example/x",
        "https://circleci.com%00.evil.example/x",
        "https://evil\\.circle-artifacts.com/x",
        "https://evil.example\\@circleci.com/x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        "https://-dash.example/x",
        "https://h..example/x",
        "https://h.example/half a pair: \ud800",
    ],
)
def test_what_is_no_complete_http_address_is_refused(text: str) -> None:
    with pytest.raises(UnsafeAddressError):
        parse_address(text)


@pytest.mark.parametrize("char", [*map(chr, range(0x20)), "\x7f"], ids=lambda char: f"0x{ord(char):02x}")
def test_control_characters_are_refused_wherever_they_stand(char: str) -> None:
    for text in (f"{char}https://h.example/x", f"https://h{char}.example/x", f"https://h.example/x{char}"):
        with pytest.raises(UnsafeAddressError, match="control"):
            parse_address(text)


@pytest.mark.parametrize("userinfo", ["user", "user:geheim", ":geheim", "a%40b:geheim", "https%3A%2F%2Fx:geheim"])
def test_an_address_with_credentials_is_refused_and_they_are_not_shown(userinfo: str) -> None:
    with pytest.raises(UnsafeAddressError, match="credentials") as caught:
        parse_address(f"https://{userinfo}@h.example/x?sig=geheim")

    assert "geheim" not in str(caught.value)
    assert "h.example" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["ftp://h.example/x?X-Amz-Signature=geheim", "https://h.example:0/x?token=geheim#geheim", "x?sig=geheim"]
)
def test_no_refusal_shows_a_query(text: str) -> None:
    with pytest.raises(UnsafeAddressError) as caught:
        parse_address(text)

    assert "geheim" not in str(caught.value)


# --- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("https://s3.example/k?X-Amz-Signature=a%2Fb", "https://s3.example/k?X-Amz-Signature=a%2Fb"),
        ("//s3.example:8443/k?a=%2F", "https://s3.example:8443/k?a=%2F"),
        ("/k%2Fl?a=%2B+", "https://output.circle-artifacts.com/k%2Fl?a=%2B+"),
        ("c%20d", "https://output.circle-artifacts.com/output/job/1/artifacts/0/c%20d"),
        ("../1/c", "https://output.circle-artifacts.com/output/job/1/artifacts/1/c"),
        ("?y=2", "https://output.circle-artifacts.com/output/job/1/artifacts/0/a%20b?y=2"),
        ("/día", "https://output.circle-artifacts.com/d%C3%ADa"),
    ],
)
def test_a_redirect_may_be_relative_in_every_way(location: str, leads_to: str) -> None:
    assert str(parse_address(location, base=BASE)) == leads_to


@pytest.mark.parametrize(
    "location", ["http://output.circle-artifacts.com/x", "http://s3.example/k", "HTTP://h.example/"]
)
def test_https_does_not_continue_as_http(location: str) -> None:
    with pytest.raises(UnsafeAddressError, match="from https to http"):
        parse_address(location, base=BASE)


def test_http_may_continue_as_either() -> None:
    base = URL("http://127.0.0.1:8080/x", encoded=True)

    assert parse_address("http://127.0.0.1:9090/y", base=base).port == 9090
    assert parse_address("https://h.example/y", base=base).scheme == "https"
    assert str(parse_address("//127.0.0.1:1/y", base=base)) == "http://127.0.0.1:1/y"


@pytest.mark.parametrize(
    "location", ["", "file:///etc/passwd", "ftp://h.example/", "https://u:geheim@h.example/", "//u@h.example/"]
)
def test_a_redirect_to_what_is_no_http_address_is_refused(location: str) -> None:
    with pytest.raises(UnsafeAddressError) as caught:
        parse_address(location, base=BASE)

    assert "geheim" not in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for base in (None, BASE):
        try:
            url = parse_address(text, base=base)
        except UnsafeAddressError:
            continue
        assert url.scheme in {"http", "https"}
        assert url.user is None
        assert str(url).isascii()
        assert str(url).isprintable()


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#?")))
def test_any_printable_path_and_query_is_sent_as_it_is(text: str) -> None:
    assert parse_address(f"https://h.example/{text}?{text}").raw_path_qs == f"/{text}?{text}".removesuffix("?")
