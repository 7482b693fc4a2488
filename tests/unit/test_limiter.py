"""The limiter against servers whose policy is known, in virtual time: no refusals, and how close to the possible it
comes."""

import asyncio
from collections import Counter
from collections.abc import Awaitable

import pytest
from fake_clock import settle
from limiter_world import API, ARTIFACTS, Answer, World, served_by

from aiocircle.errors import WaitTooLongError
from aiocircle.events import LimitWaited, LimitWaiting
from aiocircle.ratelimit.limiter import Permit, Route

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("dialect", ["kong", "only_std", "draft6", "draft8", "epoch"])
@pytest.mark.parametrize(
    "limits",
    [{"second": 20}, {"minute": 50}, {"second": 10, "minute": 120}, {"second": 30, "minute": 100, "hour": 5000}],
    ids=str,
)
@pytest.mark.parametrize("rtt", [0.02, 0.15])
async def test_no_request_is_refused_where_headers_tell(dialect: str, limits: dict[str, int], rtt: float) -> None:
    world = World()
    kong = world.kong(limits, headers=dialect)
    seen, _ = await world.run(served_by(kong), requests=200, workers=16, rtt=rtt)
    assert seen == {200: 200}


async def test_a_window_is_used_nearly_to_its_end() -> None:
    """600 requests at 20 a second need 29 window changes; each may cost a probe's round trip, not a second."""
    world = World()
    seen, seconds = await world.run(served_by(world.kong({"second": 20})), requests=600, workers=32, rtt=0.02)
    assert seen == {200: 600}
    assert seconds < 33


async def test_before_the_first_answer_at_most_two_are_under_way() -> None:
    world = World()
    waiting = [asyncio.ensure_future(world.limiter.acquire(API, max_wait=60)) for _ in range(50)]
    await world.clock.advance(30)
    assert sum(task.done() for task in waiting) == 2
    for task in waiting:
        task.cancel()


async def test_credit_counts_requests_under_way() -> None:
    """An answer that shows 5 left while 1 other is under way grants 4, not 5."""
    world = World()
    first, second = [await world.limiter.acquire(API, max_wait=60) for _ in range(2)]
    world.limiter.answered(first, 200, remaining(5))
    await world.clock.advance(0.5)
    more = [asyncio.ensure_future(world.limiter.acquire(API, max_wait=60)) for _ in range(20)]
    await world.clock.advance(0.4)
    assert sum(task.done() for task in more) == 4
    world.limiter.lost(second)
    for task in more:
        task.cancel()


async def test_a_late_answer_grants_nothing_that_was_spent_meanwhile() -> None:
    world = World()
    late, early = [await world.limiter.acquire(API, max_wait=60) for _ in range(2)]
    world.limiter.answered(early, 200, remaining(3))
    spent = [await world.limiter.acquire(API, max_wait=60) for _ in range(2)]
    for permit, left in zip(spent, (2, 1), strict=True):
        world.limiter.answered(permit, 200, remaining(left))
    world.limiter.answered(late, 200, remaining(18))  # it was counted first and arrives last
    more = [asyncio.ensure_future(world.limiter.acquire(API, max_wait=60)) for _ in range(10)]
    await world.clock.advance(0.05)
    assert sum(task.done() for task in more) <= 1
    for task in more:
        task.cancel()


def remaining(left: int, limit: int = 20) -> list[tuple[str, str]]:
    return [("X-RateLimit-Limit-Second", str(limit)), ("X-RateLimit-Remaining-Second", str(left))]


async def test_turns_are_given_in_the_order_of_asking() -> None:
    world = World()
    order: list[int] = []
    permits = [await world.limiter.acquire(API, max_wait=60) for _ in range(2)]

    async def ask(number: int) -> None:
        permit = await world.limiter.acquire(API, max_wait=60)
        order.append(number)
        world.limiter.answered(permit, 200, remaining(10))

    tasks = [asyncio.ensure_future(ask(number)) for number in range(20)]
    await settle()
    for permit in permits:
        world.limiter.answered(permit, 200, remaining(10))
    await world.clock.advance(20)
    await asyncio.gather(*tasks)
    assert order == list(range(20))


async def test_groups_take_turns_where_a_pace_lets_one_request_go_at_a_time() -> None:
    """Nothing tells of a limit; one group always has many in line, and the other one at most."""
    world = World()
    few = Route(API.origin, "/workflow/{id}/job")
    crowds: list[Awaitable[tuple[Counter[int], float]]] = [
        world.run(lambda _: (200, []), requests=400, workers=32, rtt=0.02),
        world.run(lambda _: (200, []), requests=20, workers=1, rtt=0.02, route=few),
    ]
    (_, of_many), (_, of_few) = await asyncio.gather(*crowds)
    assert of_few < of_many / 2


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("dialect", ["kong", "draft8"])
async def test_an_answer_that_is_long_in_coming_holds_up_no_other_request(dialect: str, refused: bool) -> None:
    world = World()
    kong = world.kong({"second": 20}, headers=dialect)
    slow = await world.limiter.acquire(Route(API.origin, "/insights/{slug}/summary"), max_wait=60)
    _, headers = served_by(kong)(0)
    if refused:
        other = await world.limiter.acquire(API, max_wait=60)
        world.limiter.answered(other, 429, [("Retry-After", "1")])
    seen, seconds = await world.run(served_by(kong), requests=300, workers=16, rtt=0.02)
    assert seen == {200: 300}
    assert seconds < 30
    world.limiter.answered(slow, 200, headers)
    assert world.limiter.snapshot()[0].in_flight == 0


async def test_one_answer_that_shows_a_limit_and_not_what_is_left_of_it_slows_nothing_down_for_good() -> None:
    world = World()
    serve = served_by(world.kong({"second": 20}))

    def odd_once(number: int) -> Answer:
        status, headers = serve(number)
        return status, [*headers, ("X-RateLimit-Limit-Day", "20000")] if number == 30 else headers

    seen, seconds = await world.run(odd_once, requests=200, workers=16, rtt=0.02)
    assert seen == {200: 200}
    assert seconds < 60


async def test_requests_that_may_still_fill_a_window_are_waited_for() -> None:
    """A host that stops for a while counts all that it was sent at once when it goes on."""
    world = World()
    permits = [await world.limiter.acquire(API, max_wait=60) for _ in range(2)]
    world.limiter.answered(permits[0], 200, remaining(1, limit=2))
    waiting = [asyncio.ensure_future(world.limiter.acquire(API, max_wait=60)) for _ in range(5)]
    await world.clock.advance(50)
    assert sum(task.done() for task in waiting) == 1
    for task in waiting:
        task.cancel()


async def test_a_refusal_stops_the_whole_bucket_and_one_probe_opens_it() -> None:
    world = World()
    one, two = [await world.limiter.acquire(API, max_wait=60) for _ in range(2)]
    world.limiter.answered(one, 200, [])
    world.limiter.answered(two, 429, [("Retry-After", "7")])
    waiting = [asyncio.ensure_future(world.limiter.acquire(API, max_wait=60)) for _ in range(10)]
    await world.clock.advance(6.9)
    assert not any(task.done() for task in waiting)
    await world.clock.advance(0.2)
    assert sum(task.done() for task in waiting) == 1
    world.limiter.answered(waiting[0].result(), 200, [])
    await world.clock.advance(2)
    assert sum(task.done() for task in waiting) > 1
    for task in waiting:
        task.cancel()


async def test_refusals_of_what_was_already_under_way_do_not_lengthen_the_backoff() -> None:
    world = World()
    permits: list[Permit] = []
    for _ in range(3):  # let the width grow
        permit = await world.limiter.acquire(ARTIFACTS, max_wait=60)
        world.limiter.answered(permit, 200, [])
    permits = [await world.limiter.acquire(ARTIFACTS, max_wait=60) for _ in range(30)]
    for permit in permits:
        world.limiter.answered(permit, 429, [])
    probe = asyncio.ensure_future(world.limiter.acquire(ARTIFACTS, max_wait=60))
    await world.clock.advance(0.7)  # 0.5 s +-20 %, not 0.5 * 2**30
    assert probe.done()


async def test_who_refuses_again_and_again_after_the_time_it_asked_for_is_asked_less_often() -> None:
    world = World()
    waits: list[float] = []
    permit = await world.limiter.acquire(API, max_wait=60)
    for _ in range(9):  # with the tenth a request would be given up
        world.limiter.answered(permit, 429, [("Retry-After", "1")])
        began = world.clock.monotonic()
        probe = asyncio.ensure_future(world.limiter.acquire(API, max_wait=60, again=permit))
        while not probe.done():
            await world.clock.advance(0.1)
        waits.append(world.clock.monotonic() - began)
        permit = probe.result()
    assert waits[:4] == pytest.approx([1.0] * 4, abs=0.15)
    assert waits[4:] == sorted(waits[4:])
    assert sum(waits) > 60
    world.limiter.answered(permit, 200, [])


async def test_retry_after_on_an_accepted_answer_pauses_nothing() -> None:
    world = World()
    permit = await world.limiter.acquire(API, max_wait=60)
    world.limiter.answered(permit, 200, [*remaining(10), ("Retry-After", "50")])
    assert isinstance(await asyncio.wait_for(world.limiter.acquire(API, max_wait=60), 1), Permit)


async def test_a_longer_standstill_than_allowed_is_an_error_at_once_that_says_until_when() -> None:
    world = World()
    permit = await world.limiter.acquire(API, max_wait=60)
    world.limiter.answered(permit, 429, [("Retry-After", "3600")])
    with pytest.raises(WaitTooLongError, match="3600 s") as caught:
        await world.limiter.acquire(API, max_wait=60)
    assert caught.value.wait == pytest.approx(3600)
    assert caught.value.resets_at == pytest.approx(world.clock.wall() + 3600)
    assert world.clock.timers == 0


async def test_who_waits_longer_stays_when_who_waits_shorter_gives_up() -> None:
    world = World()
    permit = await world.limiter.acquire(API, max_wait=60)
    world.limiter.answered(permit, 429, [("Retry-After", "30")])
    short = asyncio.ensure_future(world.limiter.acquire(API, max_wait=5))
    patient = asyncio.ensure_future(world.limiter.acquire(API, max_wait=60))
    await settle()
    assert isinstance(short.exception(), WaitTooLongError)
    await world.clock.advance(31)
    assert patient.done()


@pytest.mark.parametrize("at", ["waiting", "granted"])
async def test_cancellation_gives_the_place_back(at: str) -> None:
    world = World()
    permit = await world.limiter.acquire(API, max_wait=60)
    other = await world.limiter.acquire(API, max_wait=60)
    leaving = asyncio.ensure_future(world.limiter.acquire(API, max_wait=60))
    staying = asyncio.ensure_future(world.limiter.acquire(API, max_wait=60))
    await settle()
    if at == "waiting":
        leaving.cancel()
        await settle()
    world.limiter.answered(
        permit, 200, remaining(2)
    )  # the other one may be the one it has not counted: one more may go
    if at == "granted":
        leaving.cancel()
    await settle()
    assert leaving.cancelled()
    assert staying.done()
    world.limiter.lost(other)


async def test_nothing_is_left_behind_when_all_waiters_leave() -> None:
    world = World()
    permit = await world.limiter.acquire(API, max_wait=60)
    world.limiter.answered(permit, 429, [("Retry-After", "30")])
    waiting = [asyncio.ensure_future(world.limiter.acquire(API, max_wait=60)) for _ in range(5)]
    await settle()
    for task in waiting:
        task.cancel()
    await settle()
    (bucket,) = world.limiter.snapshot()
    assert (bucket.waiting, world.clock.timers) == (0, 0)


async def test_hosts_of_artifacts_are_unlimited_until_an_answer_limits_them() -> None:
    world = World()
    permits = [await world.limiter.acquire(ARTIFACTS, max_wait=60) for _ in range(500)]
    world.limiter.answered(permits[0], 503, [("Retry-After", "2")])
    late = asyncio.ensure_future(world.limiter.acquire(ARTIFACTS, max_wait=60))
    await settle()
    assert not late.done()
    elsewhere = await world.limiter.acquire(Route("http://other:1", metered=False), max_wait=60)
    assert isinstance(elsewhere, Permit)
    for permit in permits[1:]:
        world.limiter.answered(permit, 200, [])
    await world.clock.advance(2.1)
    assert late.done()


async def test_a_route_group_with_quotas_of_its_own_gets_its_own_bucket() -> None:
    world = World()
    insights = Route(API.origin, "/insights/{slug}/workflows")
    permit = await world.limiter.acquire(API, max_wait=60)
    world.limiter.answered(permit, 200, remaining(15))
    permit = await world.limiter.acquire(insights, max_wait=60)
    world.limiter.answered(permit, 200, [("X-RateLimit-Limit-Hour", "10"), ("X-RateLimit-Remaining-Hour", "0")])
    blocked = asyncio.ensure_future(world.limiter.acquire(insights, max_wait=100_000))
    free = asyncio.ensure_future(world.limiter.acquire(API, max_wait=60))
    await settle()
    assert free.done()
    assert not blocked.done()
    assert len(world.limiter.snapshot()) == 2
    blocked.cancel()


async def test_route_groups_behind_one_quota_share_one_bucket() -> None:
    """Two groups, one budget of 20 a second: as if they were one, without a refusal."""
    world = World()
    serve = served_by(world.kong({"second": 20}))
    other = Route(API.origin, "/workflow/{id}/job")
    both: list[Awaitable[tuple[Counter[int], float]]] = [
        world.run(serve, requests=60, workers=8, rtt=0.02, route=route) for route in (API, other)
    ]
    # one clock, two crowds: the first call drives the time for both
    results = await asyncio.gather(*both)
    assert [seen for seen, _ in results] == [{200: 60}, {200: 60}]
    assert len(world.limiter.snapshot()) == 1


async def test_waits_are_counted_and_told() -> None:
    world = World()
    await world.run(served_by(world.kong({"second": 10})), requests=35, workers=8, rtt=0.02)
    totals = world.limiter.totals()
    waiting = [event for event in world.events if isinstance(event, LimitWaiting)]
    waited = [event for event in world.events if isinstance(event, LimitWaited)]
    assert totals.requests == 35
    assert totals.refusals == 0
    assert 2 <= totals.waits == len(waiting) == len(waited)
    assert totals.waited == pytest.approx(sum(event.seconds for event in waited))


async def test_the_snapshot_says_what_is_waited_for() -> None:
    world = World()
    permit = await world.limiter.acquire(API, max_wait=60)
    world.limiter.answered(permit, 200, [*remaining(0), ("RateLimit-Reset", "1")])
    waiting = asyncio.ensure_future(world.limiter.acquire(API, max_wait=60))
    await settle()
    (bucket,) = world.limiter.snapshot()
    assert (bucket.waiting, bucket.waits_for, bucket.in_flight) == (1, "budget", 0)
    assert bucket.ready_in == pytest.approx(1.0)
    assert bucket.quotas[0].limit == 20
    waiting.cancel()


async def test_without_any_headers_the_pace_grows_from_a_careful_start_and_stays_below_what_was_refused() -> None:
    world = World()
    kong = world.kong({"second": 40}, headers="hidden")
    seen, _ = await world.run(served_by(kong), requests=600, workers=32, rtt=0.02)
    assert seen[200] == 600
    assert seen[429] <= 12


async def test_a_lost_request_leaks_no_credit() -> None:
    """Ten answers of a hundred never come; later windows are used as fully as the first."""
    world = World()
    kong = world.kong({"second": 10})
    for _ in range(10):
        permit = await world.limiter.acquire(API, max_wait=60)
        kong.charge("token")
        world.limiter.lost(permit)
        await world.clock.advance(1.0)
    seen, seconds = await world.run(served_by(kong), requests=100, workers=8, rtt=0.02)
    assert seen == {200: 100}
    assert seconds < 12


async def test_a_standstill_that_grows_longer_is_told_again_and_counted_once() -> None:
    world = World()
    first, second = [await world.limiter.acquire(API, max_wait=600) for _ in range(2)]
    waiting = asyncio.ensure_future(world.limiter.acquire(API, max_wait=600))
    world.limiter.answered(first, 429, [("Retry-After", "10")])
    await settle()
    world.limiter.answered(second, 429, [("Retry-After", "60")])
    await settle()
    told = [event.seconds for event in world.events if isinstance(event, LimitWaiting)]
    assert told == pytest.approx([10, 60])
    assert world.limiter.totals().waits == 1
    waiting.cancel()


@pytest.mark.parametrize(
    ("route", "status", "headers", "stops"),
    [
        (API, 503, [], True),
        (ARTIFACTS, 503, [], False),
        (ARTIFACTS, 503, [("Retry-After", "2")], True),
        (ARTIFACTS, 429, [], True),
        (ARTIFACTS, 500, [], False),
    ],
)
async def test_what_stops_a_whole_bucket(
    route: Route, status: int, headers: list[tuple[str, str]], stops: bool
) -> None:
    """A file's host that fails one file without a word about the budget does not stop the others."""
    world = World()
    permit = await world.limiter.acquire(route, max_wait=60)
    world.limiter.answered(permit, status, headers)
    other = asyncio.ensure_future(world.limiter.acquire(route, max_wait=60))
    await world.clock.advance(0.2)
    assert other.done() is not stops
    assert world.limiter.totals().refusals == stops
    other.cancel()
