"""The retry policy: whose fault, may it be repeated, when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.retry import Failure, RetryPolicy, is_refusal

POLICY = RetryPolicy(attempts=5, refusals=10, total=600.0, base=0.5, cap=30.0)


def delay_of(
    failure: Failure, *, policy: RetryPolicy = POLICY, idempotent: bool = True, **state: float
) -> float | None:
    given_state = {"failures": 1, "refusals": 0, "elapsed": 0.0, "random": 0.5, **state}
    if is_refusal(failure) and "refusals" not in state:
        given_state |= {"failures": 0, "refusals": 1}
    return policy.next_delay(
        failure,
        idempotent=idempotent,
        failures=int(given_state["failures"]),
        refusals=int(given_state["refusals"]),
        elapsed=given_state["elapsed"],
        random=given_state["random"],
    )


# What happened: is it repeated when idempotent, and when not?
TABLE = {
    "400": (Failure(status=400), False, False),
    "401": (Failure(status=401), False, False),
    "403": (Failure(status=403), False, False),
    "404": (Failure(status=404), False, False),
    "408": (Failure(status=408), True, False),
    "409": (Failure(status=409), False, False),
    "410": (Failure(status=410), False, False),
    "422": (Failure(status=422), False, False),
    "429": (Failure(status=429), True, True),
    "429 with a date": (Failure(status=429, retry_after=7.0), True, True),
    "500": (Failure(status=500), True, False),
    "501": (Failure(status=501), False, False),
    "502": (Failure(status=502), True, False),
    "503 with a date": (Failure(status=503, retry_after=7.0), True, True),
    "503 to come back at once": (Failure(status=503, retry_after=0.0), True, True),
    "503 without one": (Failure(status=503), True, False),
    "504": (Failure(status=504), True, False),
    "a redirect not followed": (Failure(status=302), False, False),
    "a broken connection": (Failure(), True, False),
    "no connection": (Failure(sent=False), True, True),
    "a certificate that does not verify": (Failure(sent=False, permanent=True), False, False),
    "a stale signature": (Failure(status=403, stale_signature=True), True, False),
}


@pytest.mark.parametrize(("failure", "idempotent", "other"), TABLE.values(), ids=TABLE.keys())
def test_what_is_repeated_follows_whose_fault_it_was_and_what_may_have_been_done(
    failure: Failure, idempotent: bool, other: bool
) -> None:
    assert (delay_of(failure, idempotent=True) is not None) is idempotent
    assert (delay_of(failure, idempotent=False) is not None) is other


def test_a_refusal_needs_no_time_of_its_own_because_the_limiter_waits() -> None:
    assert delay_of(Failure(status=429, retry_after=86_400.0)) == 0.0
    assert delay_of(Failure(status=503, retry_after=86_400.0)) == 0.0


def test_refusals_are_counted_apart_from_failures() -> None:
    assert delay_of(Failure(status=429), failures=4, refusals=10) == 0.0
    assert delay_of(Failure(status=429), failures=0, refusals=11) is None
    assert delay_of(Failure(status=500), failures=4, refusals=99) is not None


def test_the_number_of_tries_includes_the_first() -> None:
    assert delay_of(Failure(status=500), failures=4) is not None
    assert delay_of(Failure(status=500), failures=5) is None
    assert delay_of(Failure(status=500), policy=RetryPolicy(attempts=1), failures=1) is None


def test_no_refusal_is_sat_out_where_none_is_allowed() -> None:
    assert delay_of(Failure(status=429), policy=RetryPolicy(refusals=0), refusals=1) is None


def test_delays_double_from_the_base_up_to_the_cap() -> None:
    delays = [delay_of(Failure(), policy=RetryPolicy(attempts=99), failures=n, random=1.0) for n in range(1, 9)]

    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_the_whole_delay_is_random() -> None:
    assert delay_of(Failure(), failures=3, random=0.0) == 0.0
    assert delay_of(Failure(), failures=3, random=0.25) == 0.5


def test_the_hosts_own_word_replaces_the_delay_of_a_failure() -> None:
    assert delay_of(Failure(status=500, retry_after=12.0)) == 12.0


def test_a_wait_that_ends_after_the_total_time_is_not_begun() -> None:
    assert delay_of(Failure(status=500, retry_after=100.0), elapsed=499.0) == 100.0
    assert delay_of(Failure(status=500, retry_after=100.0), elapsed=500.0) is None
    assert delay_of(Failure(status=500, retry_after=86_400.0)) is None


@pytest.mark.parametrize("failure", [Failure(), Failure(status=429), Failure(sent=False)])
def test_nothing_is_begun_after_the_total_time(failure: Failure) -> None:
    assert delay_of(failure, elapsed=599.9) is not None
    assert delay_of(failure, elapsed=600.0) is None


@pytest.mark.parametrize(
    "setting", [{"attempts": 0}, {"refusals": -1}, {"total": -1.0}, {"base": 0.0}, {"cap": 0.0}], ids=str
)
def test_a_policy_that_cannot_work_is_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        RetryPolicy(**setting)  # type: ignore[arg-type]


FAILURES = st.builds(
    Failure,
    status=st.none() | st.integers(300, 599),
    retry_after=st.none() | st.floats(0, 1e6),
    sent=st.booleans(),
    permanent=st.booleans(),
    stale_signature=st.booleans(),
)
POLICIES = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 2000),
    refusals=st.integers(0, 50),
    total=st.floats(0, 1e5),
    base=st.floats(0.001, 100),
    cap=st.floats(0.001, 1000),
)
STATE = {
    "policy": POLICIES,
    "failure": FAILURES,
    "failures": st.integers(1, 3000),
    "refusals": st.integers(0, 100),
    "elapsed": st.floats(0, 1e6),
    "random": st.floats(0, 1, exclude_max=True),
}


@given(**STATE, idempotent=st.booleans())
def test_every_delay_is_bounded_by_the_cap_or_by_the_total(
    policy: RetryPolicy,
    failure: Failure,
    failures: int,
    refusals: int,
    elapsed: float,
    random: float,
    idempotent: bool,
) -> None:
    state = {"failures": failures, "refusals": refusals, "elapsed": elapsed, "random": random}
    delay = delay_of(failure, policy=policy, idempotent=idempotent, **state)

    assert delay is None or 0 <= delay <= max(policy.cap, policy.total)
    if failure.permanent or elapsed >= policy.total:
        assert delay is None


@given(**STATE)
def test_what_is_repeated_though_not_idempotent_is_repeated_when_idempotent(
    policy: RetryPolicy, failure: Failure, failures: int, refusals: int, elapsed: float, random: float
) -> None:
    state = {"failures": failures, "refusals": refusals, "elapsed": elapsed, "random": random}
    careless = delay_of(failure, policy=policy, idempotent=False, **state)

    assert careless is None or delay_of(failure, policy=policy, idempotent=True, **state) == careless


@given(policy=POLICIES, failure=FAILURES)
def test_no_failure_is_repeated_for_ever(policy: RetryPolicy, failure: Failure) -> None:
    bound = policy.refusals if is_refusal(failure) else policy.attempts

    assert delay_of(failure, policy=policy, failures=bound, refusals=bound + 1, elapsed=0.0) is None
