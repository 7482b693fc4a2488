"""No secret is in a text that is shown."""

import base64

import pytest
from growth import is_linear
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.auth import Token
from aiocircle.redaction import redact, safe_url

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
        ("javascript:alert(1)", "<malformed address>"),
        ("", ""),
    ],
)
def test_an_address_fit_for_logs(url: str, expected: str) -> None:
    assert safe_url(url) == expected


@given(st.text())
def test_a_safe_address_is_always_printable(url: str) -> None:
    assert safe_url(url).isprintable()
    assert "?" not in safe_url(url)
