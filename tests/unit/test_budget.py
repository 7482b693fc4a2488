"""Which route groups share a budget is proved by answers: plain values, no clock."""

from aiocircle.ratelimit.bucket import Ticket
from aiocircle.ratelimit.budget import Budget
from aiocircle.ratelimit.headers import read_rate_headers

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
