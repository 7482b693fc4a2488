"""Which route groups share a budget is proved by answers: plain values, no clock."""

from hypothesis import given
from hypothesis import strategies as st

from aiocircle.ratelimit.bucket import Ticket
from aiocircle.ratelimit.budget import Budget
from aiocircle.ratelimit.facts import QuotaFact, RateFacts
from aiocircle.ratelimit.headers import read_rate_headers
from aiocircle.ratelimit.quota import NEVER

LIMIT = 20


class Host:
    """Counts by the clock's seconds, for each key; which key a group counts on is the policy."""

    def __init__(self, **keys: str) -> None:
        self.keys = keys
        self.counts: dict[tuple[str, int], int] = {}
        self.refused = 0

    def answer(self, budget: Budget, ticket: Ticket, at: float, back: float) -> bool:
        key = self.keys[ticket.group], int(at)
        used = self.counts.get(key, 0)
        accepted = used < LIMIT
        self.counts[key] = used + accepted
        self.refused += not accepted
        left = LIMIT - self.counts[key]
        headers = [("X-RateLimit-Limit-Second", str(LIMIT)), ("X-RateLimit-Remaining-Second", str(left))]
        facts = read_rate_headers(200 if accepted else 429, headers, wall=0.0)
        budget.answer(ticket, facts, back, refused=not accepted)
        return accepted


def run(budget: Budget, host: Host, groups: str, seconds: float, now: float = 100.3) -> int:
    """Let all groups wait all the time, taking turns, at a round trip of 20 ms; return how many were accepted."""
    until, accepted = now + seconds, 0
    while now < until:
        tickets = []
        waiting = list(groups)
        while waiting:
            for group in tuple(waiting):
                if budget.ready_at(now, group, 50)[0] <= now:
                    tickets.append(budget.send(now, group))
                else:
                    waiting.remove(group)
        accepted += sum(host.answer(budget, ticket, now + 0.01, now + 0.02) for ticket in tickets)
        now += 0.02
    return accepted


def test_groups_with_equal_limits_of_their_own_get_buckets_of_their_own() -> None:
    budget, host = Budget(), Host(a="one", b="two")
    accepted = run(budget, host, "ab", 20)
    assert len(budget.buckets) == 2
    assert host.refused == 0
    assert accepted > 1.7 * LIMIT * 20 * 0.9  # with one bucket it cannot be more than LIMIT * 20


def test_groups_behind_one_quota_stay_in_one_bucket() -> None:
    budget, host = Budget(), Host(a="one", b="one", c="one")
    accepted = run(budget, host, "abc", 20)
    assert len(budget.buckets) == 1
    assert host.refused == 0
    assert accepted > 0.9 * LIMIT * 20


def test_a_bucket_divided_by_mistake_is_made_whole_again() -> None:
    budget, host = Budget(), Host(a="one", b="one")
    run(budget, host, "ab", 1)
    group = budget.groups["b"]
    budget._split("b", group, group.sent - group.answered)
    assert len(budget.buckets) == 2
    run(budget, host, "ab", 20, now=101.3)
    assert len(budget.buckets) == 1


def test_counts_are_moved_whole_when_a_group_leaves_with_requests_under_way() -> None:
    budget = Budget()
    headers = {
        "a": [("X-RateLimit-Limit-Second", "20"), ("X-RateLimit-Remaining-Second", "19")],
        "b": [("X-RateLimit-Limit-Hour", "10"), ("X-RateLimit-Remaining-Hour", "9")],
    }
    mine = budget.send(1.0, "a")
    budget.answer(mine, read_rate_headers(200, headers["a"], wall=0), 1.1, refused=False)
    first, second = budget.send(1.1, "b"), budget.send(1.1, "b")
    budget.answer(first, read_rate_headers(200, headers["b"], wall=0), 1.2, refused=False)
    assert budget.bucket_of("b") is not budget.bucket_of("a")
    assert (budget.bucket_of("a").in_flight, budget.bucket_of("b").in_flight) == (0, 1)
    budget.answer(second, read_rate_headers(200, headers["b"], wall=0), 1.3, refused=False)
    assert budget.bucket_of("b").in_flight == 0


FIGURES = st.none() | st.integers(0, 50) | st.sampled_from([10**9, 10**20])
SECONDS = st.none() | st.floats(0, 20) | st.sampled_from([1.0, 60.0, 1e12])
FACTS = st.builds(
    QuotaFact,
    st.sampled_from(["std", "x", "policy"]),
    limit=FIGURES,
    remaining=FIGURES,
    window=st.sampled_from([None, 1.0, 10.0, 60.0]),
    reset=SECONDS,
)
ANSWERS = st.tuples(
    st.sampled_from("ab"),
    st.lists(FACTS, max_size=3),
    st.sampled_from(["accepted", "refused", "lost", "withdrawn"]),
    st.floats(0, 5),
    st.integers(0, 3),
)


@given(st.lists(ANSWERS, max_size=60))
def test_whatever_a_host_says_nothing_breaks_and_nothing_waits_for_an_answer_that_cannot_come(
    answers: list[tuple[str, list[QuotaFact], str, float, int]],
) -> None:
    budget, now = Budget(), 1000.0
    under_way: list[Ticket] = []
    for group, facts, fate, seconds, more in answers:
        now += seconds
        under_way += [budget.send(now, group) for _ in range(more) if budget.ready_at(now, group, 5)[0] <= now]
        if not under_way:
            continue
        ticket = under_way.pop(0)
        told = RateFacts(tuple(facts), pause=1.0 if fate == "refused" else None)
        if fate == "lost":
            budget.lost(ticket, now)
        elif fate == "withdrawn":
            budget.withdraw(ticket)
        else:
            budget.answer(ticket, told, now, refused=fate == "refused")
    for ticket in under_way:
        budget.lost(ticket, now)
    assert all(bucket.in_flight == 0 for bucket in budget.buckets.values())
    assert all(budget.ready_at(now, group, 5)[0] < NEVER for group in budget.groups)
