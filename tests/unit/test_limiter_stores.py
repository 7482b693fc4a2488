"""Stores of a shared budget behave alike, whatever processes do and whenever they die."""

import asyncio
import contextlib
import functools
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import shared_settings
from fake_clock import FakeClock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis_server import RedisServer
from shared_settings import LIMIT, ORIGIN, Make, Setting, makes

from aiocircle.errors import ConfigurationError
from aiocircle.events import LimiterStoreBack, LimiterStoreLost
from aiocircle.ratelimit.limiter import Route
from aiocircle.ratelimit.record import UNSEEN
from aiocircle.ratelimit.shared import HEARTBEAT
from aiocircle.ratelimit.sqlite_store import SQLiteStore
from aiocircle.ratelimit.store import Kept, MemoryStore, StoreLostError

redis, make = shared_settings.redis, shared_settings.make


class SharedBudgets(RuleBasedStateMachine):
    """The same happens to processes around each store, and the host is the same: so must be who goes, and when."""

    makes: dict[str, Callable[[Path], Make]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp())
        self.settings = {name: Setting(make(self.directory)) for name, make in self.makes.items()}
        self.one = next(iter(self.settings.values()))

    def do(self, action: Callable[[Setting], Any]) -> None:
        for setting in self.settings.values():
            self.loop.run_until_complete(action(setting))

    @initialize()
    def two_processes(self) -> None:
        self.do(Setting.start)
        self.do(Setting.start)

    @rule(which=st.integers(0, 9), many=st.integers(1, 6), group=st.sampled_from(["", "", "/a"]))
    def ask(self, which: int, many: int, group: str) -> None:
        process = self.pick(self.one.limiters, which)
        for _ in range(many):
            self.do(lambda setting: setting.ask(process, group))

    @rule(which=st.integers(0, 30), many=st.integers(1, 9))
    def answer(self, which: int, many: int) -> None:
        for _ in range(min(many, len(self.one.sent))):
            number = self.pick(self.one.sent, which)
            self.do(functools.partial(Setting.answer, number=number))

    @rule(which=st.integers(0, 30))
    def lose(self, which: int) -> None:
        if self.one.sent:
            number = self.pick(self.one.sent, which)
            self.do(lambda setting: setting.lose(number))

    @rule(which=st.integers(0, 30))
    def withdraw(self, which: int) -> None:
        if self.one.asked:
            number = self.pick(self.one.asked, which)
            self.do(lambda setting: setting.withdraw(number))

    @rule(which=st.integers(0, 9))
    def kill_one_and_start_another(self, which: int) -> None:
        process = self.pick(self.one.limiters, which)
        self.do(lambda setting: setting.kill(process))
        self.do(Setting.start)

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.3, 1.0, 2.5]))
    def time_passes(self, seconds: float) -> None:
        self.do(lambda setting: setting.advance(seconds))

    @rule()
    def the_record_expires(self) -> None:
        if not self.one.sent and not self.one.asked:
            self.do(lambda setting: setting.advance(3700))

    @invariant()
    def nobody_is_refused_and_the_stores_agree(self) -> None:
        for name, setting in self.settings.items():
            assert not setting.refused, name
            assert setting.order == self.one.order, name

    @invariant()
    def what_is_under_way_is_what_has_a_ticket(self) -> None:
        for setting in self.settings.values():
            record = self.loop.run_until_complete(setting.record())
            in_flight = sum(bucket.in_flight for bucket in record.budget.buckets.values())
            assert in_flight == len(record.tickets)
            alive = {lane.me for lane in setting.lanes()}
            assert sum(held.owner in alive for held in record.tickets.values()) == len(setting.sent)
            assert not [member for member in record.members.values() if member.seen_at > setting.clock.now]

    @staticmethod
    def pick(things: dict[int, Any], which: int) -> int:
        return sorted(things)[which % len(things)]

    def teardown(self) -> None:
        self.do(Setting.end)
        self.loop.close()
        shutil.rmtree(self.directory)


@pytest.mark.timeout(240)
def test_processes_around_every_store_behave_alike_and_none_is_refused(redis: RedisServer | None) -> None:
    SharedBudgets.makes = makes(redis)
    run_state_machine_as_test(SharedBudgets, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))


@pytest.mark.anyio
async def test_only_who_read_the_latest_may_write(make: Make) -> None:
    store, key = make(FakeClock().monotonic), uuid4().hex
    await store.open()
    assert await store.read(key) == Kept()
    first, second = Kept("a", b"1"), Kept("b", b"\x00\xff2")
    assert await store.swap(key, None, first) == first
    assert await store.swap(key, None, second) == first
    assert await store.swap(key, "a", second) == second
    assert await store.read(key) == second
    await store.close()
    await store.close()


@pytest.mark.anyio
async def test_a_file_that_several_make_at_the_same_moment_is_lost_to_none(tmp_path: Path) -> None:
    for number in range(100):
        stores = [SQLiteStore(tmp_path / f"{number}.db", time.monotonic) for _ in range(8)]
        await asyncio.gather(*(store.open() for store in stores))
        for store in stores:
            await store.close()


@pytest.mark.anyio
@pytest.mark.parametrize("made_anew", [False, True])
async def test_a_file_that_is_removed_is_lost_also_to_who_finds_another_at_its_place(
    tmp_path: Path, *, made_anew: bool
) -> None:
    """Or two halves of the processes would each spend the whole budget, from two files of one name."""
    path = tmp_path / "limits.db"
    stores = [SQLiteStore(path, time.monotonic) for _ in range(2)]
    for store in stores:
        await store.open()
    path.unlink()
    if made_anew:
        await stores[1].open()
        await stores[1].swap("key", None, Kept("a", b"1"))
    with pytest.raises(StoreLostError, match="removed"):
        await stores[0].read("key")
    await stores[0].open()
    assert await stores[0].read("key") == (Kept("a", b"1") if made_anew else Kept())
    for store in stores:
        await store.close()


@pytest.mark.anyio
async def test_a_dead_process_holds_the_others_up_for_two_seconds_at_most(make: Make) -> None:
    setting = Setting(make)
    dying, living = await setting.start(), await setting.start()
    await setting.ask(dying)
    await setting.ask(dying)
    await setting.ask(living)
    assert setting.order == [0, 1]  # two are under way before the first answer
    await setting.kill(dying)
    await setting.advance(UNSEEN - 0.1)
    assert setting.order == [0, 1]
    await setting.advance(0.2)
    assert setting.order == [0, 1, 2]
    await setting.end()


@pytest.mark.anyio
async def test_a_process_that_waits_gets_its_part_although_another_wants_everything(make: Make) -> None:
    setting = Setting(make)
    greedy, modest = await setting.start(), await setting.start()
    await setting.ask(greedy)
    await setting.answer(0)
    for _ in range(40):
        await setting.ask(greedy)
    for _ in range(4):
        await setting.ask(modest)
    for _ in range(40):
        await setting.advance(0.1)
        for number in list(setting.sent):
            await setting.answer(number)
    assert not setting.refused
    assert {41, 42, 43, 44} < set(setting.order)  # they came last, and wait for two windows rather than for six
    assert max(setting.order.index(number) for number in (41, 42, 43, 44)) < 2.5 * LIMIT
    await setting.end()


@pytest.mark.anyio
async def test_who_shares_and_who_waits_can_be_seen_without_sending_anything(make: Make) -> None:
    setting = Setting(make)
    process, watcher = await setting.start(), await setting.start()
    for _ in range(5):
        await setting.ask(process)
    await setting.advance(HEARTBEAT)
    await setting.limiters[watcher].refresh(ORIGIN)
    (seen,) = setting.limiters[watcher].snapshot()
    assert (seen.in_flight, seen.waiting, seen.processes) == (2, 0, 1)
    assert [(sharer.waiting, sharer.seen_ago) for sharer in seen.sharers] == [(3, 0.0)]
    await setting.end()


@pytest.mark.anyio
async def test_a_process_that_was_taken_for_dead_counts_what_it_has_under_way_anew(make: Make) -> None:
    setting = Setting(make)
    slow, other = await setting.start(), await setting.start()
    await setting.ask(slow)
    (lane,) = setting.lanes()
    lane._disarm()  # its event loop hangs
    await setting.advance(UNSEEN + 1)
    await setting.ask(other)
    assert len((await setting.record()).tickets) == 1
    await setting.answer(0)
    assert [held.owner != lane.me for held in (await setting.record()).tickets.values()] == [True]
    assert not setting.refused
    await setting.end()


class Flaky(MemoryStore):
    lost = False

    async def read(self, key: str) -> Kept:
        if self.lost:
            raise StoreLostError("it is gone")
        return await super().read(key)

    async def swap(self, key: str, mark: str | None, new: Kept) -> Kept:
        if self.lost:
            raise StoreLostError("it is gone")
        return await super().swap(key, mark, new)


@pytest.mark.anyio
@pytest.mark.parametrize("forgets", [False, True])
async def test_a_lost_store_is_told_once_survived_with_a_part_of_the_budget_and_found_again(forgets: bool) -> None:
    clock = FakeClock()
    store = Flaky(clock.monotonic)
    setting = Setting(lambda _: store, clock=clock)
    process, dead = await setting.start(), await setting.start()
    await setting.ask(process)
    await setting.answer(0)
    await setting.ask(dead)
    await setting.advance(1)
    await setting.ask(process)
    await setting.answer(2)
    await setting.kill(dead)
    store.lost = True
    for _ in range(30):
        await setting.ask(process)
    await setting.advance(1)
    assert [event for event in setting.events if isinstance(event, LimiterStoreLost)] == [
        LimiterStoreLost(store="memory", reason="it is gone", parts=2)
    ]
    for _ in range(40):
        for number in list(setting.sent):
            await setting.answer(number)
        await setting.advance(0.1)
    assert 2 < len(setting.order) < 30
    assert max(setting.used.values()) <= LIMIT
    later = {window: used for window, used in setting.used.items() if window > 1002}
    assert max(later.values()) <= LIMIT // 2
    store.lost = False
    if forgets:
        store._kept.clear()
    await setting.advance(31)
    under_way = len(setting.sent)
    assert sum(isinstance(event, LimiterStoreBack) for event in setting.events) == 1
    assert len((await setting.record()).tickets) == under_way
    while len(setting.order) < 33:
        for number in list(setting.sent):
            await setting.answer(number)
        await setting.advance(0.1)
    assert not setting.refused
    assert sum(isinstance(event, LimiterStoreLost) for event in setting.events) == 1
    await setting.end()
    assert not clock.timers


@pytest.mark.anyio
async def test_closing_leaves_neither_task_nor_thread_nor_entry(make: Make) -> None:
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    setting = Setting(make)
    process, other = await setting.start(), await setting.start()
    for _ in range(4):
        await setting.ask(process)
    waiting = [asked.task for asked in setting.asked.values()]
    await setting.limiters.pop(process).aclose()
    record = await setting.record()
    assert (record.members, record.tickets) == ({}, {})
    ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert [type(error) for error in ended if isinstance(error, BaseException)] == [ConfigurationError] * len(ended)
    await setting.limiters.pop(other).aclose()
    assert asyncio.all_tasks() == tasks
    new = [thread for thread in set(threading.enumerate()) - threads if "aiocircle" in thread.name]
    for thread in new:  # it ends a moment after its last task
        thread.join(1)
        assert not thread.is_alive()
    assert not setting.clock.timers


@pytest.mark.anyio
async def test_cancelled_at_any_moment_a_request_leaves_no_ticket_behind(make: Make) -> None:
    setting = Setting(make)
    process = await setting.start()
    for moments in range(12):
        task = asyncio.create_task(setting.limiters[process].acquire(Route(ORIGIN), max_wait=9))
        for _ in range(moments):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            setting.limiters[process].lost(await task)
        await setting.quiet()
        assert not (await setting.record()).tickets
    await setting.end()
