"""What the headers of a refusal tell."""

import pytest
from rate_headers import DATE, pair, quotas, read, triple

from aiocircle.ratelimit.facts import RateFacts


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("5, 7", 7.0),
        ("1795452293", 1795452293.0),
        ("Mon, 23 Nov 2026 16:44:55 GMT", 5.0),
        ("Monday, 23-Nov-26 16:44:55 GMT", 5.0),
        ("Mon Nov 23 16:44:55 2026", 5.0),
        ("2026-11-23T16:44:55Z", 5.0),
    ],
)
def test_retry_after_sets_the_pause_and_beats_every_reset(status: int, text: str, seconds: float) -> None:
    facts = read(("Retry-After", text), DATE, *triple(remaining="0"), status=status)
    assert (facts.retry_after, facts.pause, facts.backoff) == (seconds, seconds, False)


@pytest.mark.parametrize("status", [200, 202, 301, 404, 500, 502])
def test_retry_after_on_other_statuses_is_ignored(status: int) -> None:
    assert read(("Retry-After", "7"), status=status) == RateFacts()


def test_a_date_that_is_past_asks_for_a_backoff() -> None:
    facts = read(("Retry-After", "Mon, 23 Nov 2026 16:44:40 GMT"), DATE, status=429)
    assert (facts.pause, facts.backoff) == (0.0, True)


def test_of_several_exhausted_quotas_the_longest_reset_is_the_pause() -> None:
    services = ("RateLimit", '"a";r=0;t=5, "b";r=0;t=50, "c";r=1;t=500')
    assert read(services, status=429).pause == 50.0


def test_an_exhausted_quota_without_a_reset_leaves_the_pause_to_the_client() -> None:
    facts = read(*pair("Second", "20", "0"), status=429)
    assert (facts.pause, facts.backoff) == (None, True)


def test_a_refusal_that_names_only_a_limit_and_a_reset_means_that_reset() -> None:
    facts = read(("RateLimit-Limit", "20"), ("RateLimit-Reset", "9"), status=429)
    assert (facts.pause, facts.backoff) == (9.0, False)


def test_an_aged_refusal_still_says_how_long_to_wait() -> None:
    facts = read(*triple(remaining="0"), ("Age", "30"), ("Retry-After", "4"), status=429)
    assert facts == RateFacts((), 4.0, 4.0)


@pytest.mark.parametrize(("age", "counts"), [("0", True), ("-1", True), ("young", True), ("1", False), ("0.5", False)])
def test_only_an_answer_that_has_aged_comes_from_a_cache(age: str, counts: bool) -> None:
    assert bool(quotas(*triple(), ("Age", age))) is counts
