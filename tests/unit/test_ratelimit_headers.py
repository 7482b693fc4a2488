"""What headers tell of a rate limit."""

import json
from pathlib import Path
from typing import Any

import pytest
from growth import is_linear
from hypothesis import given
from hypothesis import strategies as st
from rate_headers import DATE, WALL, pair, quotas, read, triple

from aiocircle.ratelimit.facts import QuotaFact, RateFacts
from aiocircle.ratelimit.headers import read_rate_headers

VECTORS = json.loads((Path(__file__).parent / "header-vectors.json").read_text(encoding="utf-8"))["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{vector['id']}-{vector['note']}" for vector in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    headers = [(name, value) for name, value in vector["headers"]]
    facts = read_rate_headers(vector["status"], headers, wall=vector["client_epoch"])
    expected = vector["expect"]
    assert facts.quotas == tuple(
        QuotaFact(
            quota["system"], quota["limit"], quota["remaining"], quota["window_s"], quota["reset_s"], quota.get("name")
        )
        for quota in expected["quotas"]
    )
    assert (facts.pause, facts.backoff) == (expected["pause_s"], expected["backoff"])


# --- numbers ---


@pytest.mark.parametrize(
    ("text", "remaining"),
    [
        ("7", 7),
        (" 7\t", 7),
        ("007", 7),
        ("7.99", 7),
        ("7;comment=x", 7),
        ("17, 3", 3),
        ("17, -3", 0),
        ("17, soon", 17),
        ("17,", 17),
        ("-0", 0),
        ("-5.5", 0),
        ("9" * 20, 20),
        ("9" * 8000, 20),
        ("0" * 5000 + "3", 3),
        ("+7", None),
        ("--7", None),
        ("- 7", None),
        ("1_0", None),
        ("1e1", None),
        ("0x1", None),
        ("7.", None),
        (".7", None),
        ("7.7.7", None),
        ("²", None),
        ("٣", None),
        ("７", None),  # noqa: RUF001 -- a full-width digit
        ("Infinity", None),
        ('"7"', None),
        ("9" * 9000, None),
    ],
)
def test_a_remaining_is_read_or_absent(text: str, remaining: int | None) -> None:
    headers = [("X-RateLimit-Limit-Second", "20"), ("X-RateLimit-Remaining-Second", text)]
    assert quotas(*headers) == [QuotaFact("x", 20, remaining, 1.0)]


def test_more_digits_than_any_counter_has_saturate() -> None:
    assert quotas(("X-RateLimit-Limit", "18446744073709551615"))[0].limit == 2**64 - 1
    assert quotas(("X-RateLimit-Limit", "9" * 400))[0].limit == 10**20


def test_of_joined_and_repeated_values_the_smallest_limit_and_remaining_and_the_longest_reset_count() -> None:
    headers = [*triple("20, 30", "17, 3", "1, 5"), *triple("25", "9", "2")]
    assert quotas(*headers) == [QuotaFact("std", 20, 3, None, 5.0)]


# --- resets ---


@pytest.mark.parametrize(
    ("text", "reset"),
    [
        ("3", 3.0),
        ("2.5", 2.5),
        ("37;w=60", 37.0),
        ("0", 0.0),
        ("999999999", 999999999.0),
        ("1795452293", 3.0),
        ("1795452293.5", 3.5),
        ("1795452293000", 3.0),
        ("1795452293250", 3.25),
        ("1795452200000", 0.0),
        ("Mon, 23 Nov 2026 16:44:53 GMT", 3.0),
        ("mon, 23 nov 2026 16:44:53 gmt", 3.0),
        ("23 Nov 2026 16:44:53 GMT", 3.0),
        ("Monday, 23-Nov-26 16:44:53 GMT", 3.0),
        ("Mon Nov 23 16:44:53 2026", 3.0),
        ("Mon, 23 Nov 2026 18:44:53 +0200", 3.0),
        ("Mon, 23 Nov 2026 11:14:53 -05:30", 3.0),
        ("Mon, 23 Nov 2026 16:44:60 GMT", 9.0),
        ("2026-11-23T16:44:53Z", 3.0),
        ("2026-11-23T16:44:53.250Z", 3.25),
        ("2026-11-23T18:44:53+02:00", 3.0),
        ("2026-11-23 16:44:53", 3.0),
        ("Mon, 23 Nov 2026 16:44:20 GMT", 0.0),
        ("Mon, 23 Nov 2026 16:44:53 GMT, Mon, 23 Nov 2026 16:44:55 GMT", 5.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("Mon, 31 Feb 2026 16:44:53 GMT", None),
        ("Mon, 23 Foo 2026 16:44:53 GMT", None),
        ("Mon, 23 Nov 2026 25:44:53 GMT", None),
        ("Mon, 23 Nov 2026 16:44:53 +9999", None),
        ("-3", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_reset_is_seconds_or_a_point_in_time(text: str, reset: float | None) -> None:
    headers = [("X-RateLimit-Limit", "20"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", text), DATE]
    assert quotas(*headers)[0].reset == reset


def test_points_in_time_are_taken_against_the_server_and_not_our_own_clock() -> None:
    headers = [*triple(reset="1795452293"), DATE]
    assert read(*headers, wall=WALL + 3600).quotas[0].reset == 3.0
    assert read(*triple(reset="1795452293"), ("Date", "yesterday"), wall=WALL + 1).quotas[0].reset == 2.0


def test_the_date_may_be_written_in_any_http_form() -> None:
    for date in ("Monday, 23-Nov-26 16:44:50 GMT", "Mon Nov 23 16:44:50 2026"):
        assert read(*triple(reset="1795452293"), ("Date", date), wall=0.0).quotas[0].reset == 3.0


# --- names and windows ---


@pytest.mark.parametrize(
    ("suffix", "window"),
    [
        ("Second", 1),
        ("Minute", 60),
        ("Hour", 3600),
        ("Day", 86400),
        ("Week", 604800),
        ("Month", 30 * 86400),
        ("Year", 365 * 86400),
        ("minute", 60),
        ("MINUTE", 60),
        ("1", 1),
        ("90", 90),
    ],
)
@pytest.mark.parametrize("prefix", ["X-RateLimit", "x-ratelimit", "X-Rate-Limit", "X-RATE-LIMIT"])
def test_a_suffix_names_the_window(prefix: str, suffix: str, window: float) -> None:
    headers = [(f"{prefix}-Limit-{suffix}", "20"), (f"{prefix}-Remaining-{suffix}", "19")]
    assert quotas(*headers) == [QuotaFact("x", 20, 19, window)]


@pytest.mark.parametrize("suffix", ["Videos-Minute", "Videos", "Minute-Videos", "0", "-5", "1.5", "Tokens", "", "٣"])
def test_a_quota_of_something_else_is_ignored(suffix: str) -> None:
    assert quotas(*pair(suffix, "10", "0")) == []


def test_both_spellings_of_the_x_headers_are_one_pair() -> None:
    headers = [("X-RateLimit-Limit", "20"), ("X-Rate-Limit-Remaining", "19"), ("x-rate-limit-reset", "3")]
    assert quotas(*headers) == [QuotaFact("x", 20, 19, None, 3.0)]


def test_seconds_and_a_named_time_of_the_same_length_are_one_window() -> None:
    assert quotas(*pair("60", "20", "19"), *pair("Minute", "30", "7")) == [QuotaFact("x", 20, 7, 60.0)]


def test_quotas_that_turn_out_to_be_the_same_are_one() -> None:
    x = [("X-RateLimit-Limit", "100;w=60"), ("X-RateLimit-Remaining", "7"), *pair("Minute", "90", "8")]
    assert quotas(*x) == [QuotaFact("x", 90, 7, 60.0)]
    policy = [("RateLimit-Policy", '"a";q=9;pk=:YQ==:'), ("RateLimit", '"a";r=3;t=1, "a";r=2;t=5;pk=:YQ==:')]
    assert quotas(*policy) == [QuotaFact("policy", 9, 2, None, 5.0, "a", ":YQ==:")]


def test_the_pairs_are_ordered_by_window_with_the_unknown_one_first() -> None:
    found = quotas(
        *pair("Hour", "9", "9"), *pair("Second", "9", "8"), ("X-RateLimit-Limit", "7"), *pair("30", "1", "1")
    )
    assert [quota.window for quota in found] == [None, 1.0, 30.0, 3600.0]


# --- the triple ---


@pytest.mark.parametrize(
    ("beside", "reset", "window"),
    [
        ([], "1", 1.0),
        ([], "0", 1.0),
        ([], "2", None),
        ([("RateLimit-Policy", "100;w=60")], "1", 60.0),
        ([("RateLimit-Policy", "100;window=60")], "1", 60.0),
        ([("RateLimit-Policy", '10;w=1;burst=5;comment="a, b", 100;w=60')], "1", 60.0),
        ([("RateLimit-Policy", "5000;w=3600")], "1", 3600.0),
        ([("RateLimit-Policy", "10;w=1, 5000;w=3600")], "2", None),
        ([("RateLimit-Policy", '"default";q=100;w=60')], "2", 60.0),
        (pair("Minute", "300", "299"), "1", 60.0),
        ([*pair("Second", "9", "8"), *pair("Minute", "300", "299")], "37", 60.0),
        ([*pair("Hour", "100", "99"), *pair("Minute", "300", "299")], "37", 3600.0),
        (pair("Second", "9", "8"), "37", None),
    ],
)
def test_the_window_of_the_triple(beside: list[tuple[str, str]], reset: str, window: float | None) -> None:
    first, *others = quotas(*triple(reset=reset), *beside)
    assert first == QuotaFact("std", 100, 40, window, float(reset))
    assert all(other.system == "x" for other in others)


def test_a_triple_that_equals_a_pair_is_that_pair_and_gives_it_its_reset() -> None:
    headers = [*triple(), *pair("Minute", "100", "40"), *pair("Second", "100", "41")]
    assert quotas(*headers) == [QuotaFact("x", 100, 41, 1.0), QuotaFact("x", 100, 40, 60.0, 37.0)]


def test_a_triple_that_equals_a_pair_without_a_window_gives_it_that_too() -> None:
    """express-rate-limit sends both families of the same limiter."""
    legacy = [("X-RateLimit-Limit", "100"), ("X-RateLimit-Remaining", "40"), ("X-RateLimit-Reset", "1795452328")]
    headers = [("RateLimit-Policy", "100;w=60"), *triple(), *legacy, DATE]
    assert quotas(*headers) == [QuotaFact("x", 100, 40, 60.0, 38.0)]


def test_draft_3_lists_the_policies_behind_the_limit_in_force() -> None:
    headers = triple('100, 10;w=1;burst=1000;comment="x, 5", 100;w=60')
    assert quotas(*headers) == [QuotaFact("std", 100, 40, 60.0, 37.0)]


def test_draft_7_joins_the_triple_in_one_field() -> None:
    headers = [("RateLimit-Policy", "100;w=60"), ("RateLimit", "limit=100, remaining=50;x=1, reset=5")]
    assert quotas(*headers) == [QuotaFact("std", 100, 50, 60.0, 5.0)]
    assert quotas(("ratelimit", "limit=100,remaining=50,reset=5")) == [QuotaFact("std", 100, 50, None, 5.0)]


@pytest.mark.parametrize("headers", [[], [("RateLimit-Reset", "5")], [("RateLimit-Limit", "many")]])
def test_without_a_limit_and_a_remaining_there_is_no_quota(headers: list[tuple[str, str]]) -> None:
    assert read(*headers) == RateFacts()


# --- named policies ---


def test_a_name_may_hold_escapes_and_separators() -> None:
    headers = [("RateLimit-Policy", r'"a\"b\\c,d;e" ; q=5 ; w=1'), ("RateLimit", r'"a\"b\\c,d;e";r=4;t=1')]
    assert quotas(*headers) == [QuotaFact("policy", 5, 4, 1.0, 1.0, 'a"b\\c,d;e')]


def test_a_name_may_be_a_token() -> None:
    assert quotas(("RateLimit-Policy", "per/min;q=5;w=60"), ("RateLimit", "per/min;r=4")) == [
        QuotaFact("policy", 5, 4, 60.0, None, "per/min")
    ]


@pytest.mark.parametrize("unit", ['"content-bytes"', "content-bytes", '"concurrent-requests"', '""', '"', "7"])
def test_a_policy_that_does_not_count_requests_is_ignored(unit: str) -> None:
    policies = ("RateLimit-Policy", f'"calls";q=9;qu="requests", "other";q=65535;w=10;qu={unit}')
    services = ("RateLimit", '"other";r=0;t=9, "calls";r=8')
    assert quotas(policies, services) == [QuotaFact("policy", 9, 8, None, None, "calls")]


def test_partitions_of_a_policy_are_quotas_of_their_own() -> None:
    policy = ("RateLimit-Policy", '"user";q=9;w=60;pk=:YQ==:, "user";q=5;w=60;pk=:Yg==:')
    service = ("RateLimit", '"user";r=3;pk=:Yg==:, "user";r=8;pk=:YQ==:')
    found = quotas(policy, service)
    assert found == [
        QuotaFact("policy", 9, 8, 60.0, None, "user", ":YQ==:"),
        QuotaFact("policy", 5, 3, 60.0, None, "user", ":Yg==:"),
    ]
    assert len({quota.key for quota in found}) == 2


def test_a_partition_key_may_stand_on_one_side_only() -> None:
    """express-rate-limit 8 sends it with the policy; a policy without one holds for each of its partitions."""
    policy = ("RateLimit-Policy", '"100-in-1min"; q=100; w=60; pk=:ZDg4:')
    assert quotas(policy, ("RateLimit", '"100-in-1min"; r=99; t=60')) == [
        QuotaFact("policy", 100, 99, 60.0, 60.0, "100-in-1min", ":ZDg4:")
    ]
    services = ("RateLimit", '"user";r=3;pk=:YQ==:, "user";r=4;pk=:Yg==:')
    assert quotas(("RateLimit-Policy", '"user";q=9;w=60'), services) == [
        QuotaFact("policy", 9, 3, 60.0, None, "user", ":YQ==:"),
        QuotaFact("policy", 9, 4, 60.0, None, "user", ":Yg==:"),
    ]


def test_the_policies_order_counts_and_what_has_no_policy_comes_last() -> None:
    policy = ("RateLimit-Policy", '"b";q=2;w=1,"a";q=1;w=1')
    found = quotas(("RateLimit", '"c";r=3;t=1,"a";r=1,"b";r=0'), policy)
    assert [(quota.name, quota.limit, quota.remaining) for quota in found] == [("b", 2, 0), ("a", 1, 1), ("c", None, 3)]


def test_a_named_quota_that_is_repeated_is_read_for_the_worse() -> None:
    policies = [("RateLimit-Policy", '"a";q=20;w=60'), ("RateLimit-Policy", '"a";q=10;w=60')]
    services = [("RateLimit", '"a";r=9;t=5'), ("RateLimit", '"a";r=3;t=2')]
    assert quotas(*policies, *services) == [QuotaFact("policy", 10, 3, 60.0, 5.0, "a")]


def test_a_policy_alone_is_a_rate_to_pace_by() -> None:
    assert quotas(("RateLimit-Policy", '"a";q=20;w=60')) == [QuotaFact("policy", 20, None, 60.0, None, "a")]
    assert quotas(("RateLimit-Policy", "20;w=60, 5;w=1")) == [
        QuotaFact("policy", 20, None, 60.0),
        QuotaFact("policy", 5, None, 1.0),
    ]


def test_malformed_members_are_left_out_and_the_others_kept() -> None:
    assert quotas(("RateLimit", '"a";r=-1;t=x, ?;r=3, "b";r=2, "c";r, ;, "open;r=4')) == [
        QuotaFact("policy", None, 0, None, None, "a"),
        QuotaFact("policy", None, 2, None, None, "b"),
    ]
    assert quotas(("RateLimit-Policy", '"a";q=-1;w=60, "b";q=5;w=0')) == [QuotaFact("policy", 5, None, None, None, "b")]


# --- whatever arrives ---


NAMES = st.sampled_from(
    [
        "RateLimit",
        "RateLimit-Policy",
        "RateLimit-Limit",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
        "X-RateLimit-Limit-Second",
        "X-RateLimit-Remaining-Second",
        "X-Rate-Limit-Limit-60",
        "X-RateLimit-Remaining-60",
        "Retry-After",
        "Date",
        "Age",
    ]
)
MARKS = [*'-.,;=":\\ ', "0", "1", "20", "60", "1795452293", "9" * 400]
WORDS = [
    "a",
    "q=5",
    "r=3",
    "w=60",
    "t=9",
    "pk=:YQ==:",
    "qu=x",
    "limit=",
    "remaining=",
    "reset=",
    DATE[1],
    "Mon",
    "T",
    "Z",
]
PIECES = st.sampled_from([*MARKS, *WORDS])
VALUES = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40)
HEADERS = st.lists(st.tuples(NAMES | st.text(max_size=30), VALUES), max_size=12)


@given(status=st.sampled_from([200, 302, 404, 429, 503]), headers=HEADERS, wall=st.floats(0, 1e11))
def test_no_header_makes_it_raise_and_every_fact_is_within_its_bounds(
    status: int, headers: list[tuple[str, str]], wall: float
) -> None:
    facts = read_rate_headers(status, headers, wall=wall)
    for quota in facts.quotas:
        assert quota.limit is not None or quota.remaining is not None
        assert quota.limit is None or quota.limit >= 0
        assert quota.remaining is None or quota.remaining >= 0
        assert None in (quota.limit, quota.remaining) or quota.remaining <= quota.limit  # type: ignore[operator]
        assert quota.window is None or quota.window > 0
        assert quota.reset is None or 0 <= quota.reset < float("inf")
    assert len({quota.key for quota in facts.quotas}) == len(facts.quotas)
    assert facts.pause is None or facts.pause >= 0
    assert facts.backoff is (status in {429, 503} and not facts.pause)
    assert status in {429, 503} or facts.retry_after is facts.pause is None


@given(headers=HEADERS)
def test_the_case_of_names_does_not_matter(headers: list[tuple[str, str]]) -> None:
    ascii_only = [(name, value) for name, value in headers if name.isascii()]
    lower = [(name.lower(), value) for name, value in ascii_only]
    upper = [(name.upper(), value) for name, value in ascii_only]
    assert read(*ascii_only) == read(*lower) == read(*upper)


@given(headers=HEADERS)
def test_repeating_every_header_changes_nothing(headers: list[tuple[str, str]]) -> None:
    assert read(*headers, status=429) == read(*headers, *headers, status=429)


@pytest.mark.parametrize(
    "unit", ['"', '\\"', '"\\', ",", ";", "1,", '"a";', "0", "9", " ", "a=", '"a";r=1,', "1795452293,"]
)
def test_the_longest_fields_are_read_in_linear_time(unit: str) -> None:
    names = ("RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Reset", "Retry-After", "X-RateLimit-Limit")
    for opening in ("", '"'):
        text = (opening + unit * 8192)[:8192]

        def read_some(size: int, text: str = text) -> None:
            read(*((name, text[:size]) for name in names), DATE, status=429)

        assert is_linear(read_some, 2048)
