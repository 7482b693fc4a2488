"""Sweeps over a history: whatever is asked for, broken off and run again, in the end nothing is missing."""

import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID, uuid5

import pytest
from attrs import define, evolve, field
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aiocircle.api import Pipeline
from aiocircle.crawl.fanout import Crawl, PipelineFound, found_pipeline
from aiocircle.errors import ConfigurationError, PaginationError
from aiocircle.export.database import Database
from aiocircle.export.marks import Collected, PipelineMark, Sweep
from aiocircle.export.state import State
from aiocircle.export.sweep import PageRead, Period, Sweeper
from aiocircle.export.tables import TABLES, Table
from aiocircle.slugs import ProjectSlug

T = TypeVar("T")

SLUG = ProjectSlug.parse("gh/acme/web")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = UUID("00000000-0000-4000-8000-000000000000")
BITS = 0b11


def day(number: int) -> datetime:
    return BEGIN + timedelta(days=number)


@define
class History:
    """Pipelines by the day of their creation, listed in pages as the host does it: the newest first."""

    days: list[int] = field(factory=list)
    forgotten_tokens: bool = False
    asked: int = 0

    async def pages(
        self, slug: ProjectSlug, *, since: datetime | None, until: datetime | None, page_token: str | None = None
    ) -> AsyncGenerator[tuple[list[PipelineFound], str | None], None]:
        newest_first = sorted(range(len(self.days)), key=lambda place: (self.days[place], place), reverse=True)
        # A token names the place behind which it goes on, so pipelines that came meanwhile do not shift it.
        place = 0 if page_token is None else newest_first.index(int(page_token)) + 1
        if page_token is not None and self.forgotten_tokens:
            raise PaginationError("the token is not known", page_token=page_token)
        while True:
            self.asked += 1
            page = newest_first[place : place + 3]
            place += 3
            token = str(page[-1]) if place < len(newest_first) else None
            found = [one for one in page if since is None or day(self.days[one]) >= since]
            over = len(found) < len(page)
            wanted = [one for one in found if until is None or day(self.days[one]) < until]
            yield [self.found(slug, one) for one in wanted], None if over else token
            if over or token is None:
                return

    def found(self, slug: ProjectSlug, one: int) -> PipelineFound:
        created_at = day(self.days[one])
        return found_pipeline(slug, Pipeline(id=uuid5(NAMES, str(one)), number=one, created_at=created_at), {"n": one})


@define
class Run:
    """One run: what is wanted, and after how many pages it is broken off."""

    since: int | None = None
    until: int | None = None
    pages: int | None = None
    new: list[int] = field(factory=list)  # pipelines that came before it
    forgets: bool = False

    def wants(self, created: int) -> bool:
        return (self.since is None or created >= self.since) and (self.until is None or created < self.until)


def drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Carry out what waits for nothing: without an event loop, as the state blocks."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


async def ask(function: Callable[..., T], *arguments: Any) -> T:
    return function(*arguments)


def open_state(directory: Path, now: datetime = BEGIN) -> State:
    state = State(directory, origin="https://host", raw=False, now=now)
    state.use([TABLES["pipelines"], TABLES["gaps"]])
    return state


async def sweep(
    history: History,
    state: State,
    period: Period,
    *,
    pages: int | None = None,
    still_open: frozenset[int] = frozenset(),
    failed: frozenset[int] = frozenset(),
    bits: int = BITS,
    now: int = 10_000,
) -> list[int]:
    """Carry out one run, and return the pipelines below which it looked."""
    sweeper = Sweeper(cast("Crawl", history), state, ask, period, bits, goes_on=True, now=day(now))
    looked: list[int] = []
    collected = Collected()
    read = 0
    stream = sweeper.pipelines(SLUG)
    async for one in stream:
        if isinstance(one, PageRead):
            collected.sweeps[one.scope] = one.sweep
            state.save(collected)
            collected = Collected()
            read += 1
            if read == pages:
                await stream.aclose()
                return looked
        elif one.goes_on:
            number = one.pipeline.number or 0
            looked.append(number)
            is_broken = number in failed
            collected.pipelines.append(mark(one, is_open=is_broken or number in still_open, is_broken=is_broken))
    state.save(collected)
    state.end_run()
    return looked


def mark(found: PipelineFound, *, is_open: bool, is_broken: bool) -> PipelineMark:
    pipeline = found.pipeline
    return PipelineMark(
        id=str(pipeline.id),
        project=str(SLUG),
        number=pipeline.number,
        created_at=pipeline.created_at,
        branch=None,
        state="created",
        datasets=BITS,
        covered=0 if is_broken else BITS,
        is_open=is_open,
    )


runs = st.builds(
    Run,
    since=st.none() | st.integers(0, 30),
    until=st.none() | st.integers(1, 30),
    pages=st.none() | st.integers(1, 4),
    new=st.lists(st.integers(0, 3), max_size=4),
    forgets=st.booleans(),
)


@settings(max_examples=100)
@example(first=[0, 5], sequence=[Run(since=5), Run(until=3), Run()])
@example(first=[0, 1, 2, 3, 4, 5, 6, 7], sequence=[Run(pages=1), Run(until=3), Run()])
@given(first=st.lists(st.integers(0, 10), max_size=12), sequence=st.lists(runs, min_size=1, max_size=6))
def test_whatever_was_broken_off_before_a_run_that_ends_covers_all_of_its_time(
    first: list[int], sequence: list[Run]
) -> None:
    history = History(sorted(first))
    known: set[int] = set()

    async def carry_out(directory: Path) -> None:
        now = 10
        for run in sequence:
            for later in run.new:  # what is new is newer than all before
                now += later
                history.days.append(max([now, *history.days]))
            history.forgotten_tokens = run.forgets
            state = open_state(directory, day(now))
            try:
                since, until = (None if one is None else day(one) for one in (run.since, run.until))
                period = Period(since=since, until=until, look_back=timedelta())
                known.update(await sweep(history, state, period, pages=run.pages))
            finally:
                state.close()
            if run.pages is None:
                assert {one for one, created in enumerate(history.days) if run.wants(created)} <= known

    with tempfile.TemporaryDirectory() as directory:
        drive(carry_out(Path(directory)))


def test_a_second_run_asks_for_the_first_page_only_and_looks_at_nothing_again(tmp_path: Path) -> None:
    async def carry_out() -> None:
        history = History(list(range(30)))
        state = open_state(tmp_path)
        assert len(await sweep(history, state, Period())) == 30
        state.close()
        history.asked = 0
        state = open_state(tmp_path)
        assert await sweep(history, state, Period(look_back=timedelta())) == [29], "the one it ended with"
        assert history.asked == 1
        state.close()

    drive(carry_out())


def test_a_run_looks_back_for_reruns_so_far_and_no_further(tmp_path: Path) -> None:
    async def carry_out() -> None:
        history = History(list(range(30)))
        state = open_state(tmp_path)
        await sweep(history, state, Period())
        state.close()
        state = open_state(tmp_path)
        assert sorted(await sweep(history, state, Period(look_back=timedelta(days=4)))) == [25, 26, 27, 28, 29]
        state.close()

    drive(carry_out())


def test_the_first_run_of_datasets_that_others_brought_looks_back_as_well(tmp_path: Path) -> None:
    async def carry_out() -> None:
        history = History(list(range(30)))
        state = open_state(tmp_path)
        await sweep(history, state, Period())
        state.close()
        history.days.append(33)
        state = open_state(tmp_path)
        period = Period(look_back=timedelta(days=4))
        assert sorted(await sweep(history, state, period, bits=0b01)) == [25, 26, 27, 28, 29, 30]
        state.close()

    drive(carry_out())


def test_a_run_that_was_broken_off_goes_on_for_the_same_datasets_only(tmp_path: Path) -> None:
    numbers = []
    for datasets in (("workflows",), ("workflows",), ("workflows", "tests"), ("workflows",)):
        state = State(tmp_path, origin="https://host", raw=False, now=BEGIN, datasets=datasets)
        numbers.append(state.run)
        state.close()
    assert numbers == [1, 1, 2, 3], "what another one has seen is complete for its own datasets"


def test_a_state_whose_tables_have_other_columns_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    def used(table: Table) -> None:
        state = State(tmp_path, origin="https://host", raw=False, now=BEGIN)
        try:
            state.use([table])
        finally:
            state.close()

    jobs = TABLES["jobs"]
    used(jobs)
    used(jobs)
    with pytest.raises(ConfigurationError, match="another version") as caught:
        used(evolve(TABLES["workflows"], name="jobs"))
    assert caught.value.hint


def test_what_is_rolled_back_already_keeps_its_reason(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.sqlite")

    def fail() -> None:
        database.run("ROLLBACK")  # as SQLite does it on a full disk
        raise RuntimeError("the reason")

    with pytest.raises(RuntimeError, match="the reason"), database.transaction():
        fail()
    database.close()


def test_what_was_open_is_looked_at_again_however_old_it_is_until_it_is_not(tmp_path: Path) -> None:
    async def carry_out() -> None:
        history = History(list(range(30)))
        for still_open, expected in ((frozenset({2, 11}), 30), (frozenset({2}), [29, 11, 2]), (frozenset(), [29, 2])):
            state = open_state(tmp_path)
            looked = await sweep(history, state, Period(look_back=timedelta()), still_open=still_open)
            assert expected in (looked, len(looked))
            state.close()
        state = open_state(tmp_path)
        assert await sweep(history, state, Period(look_back=timedelta())) == [29]
        state.close()

    drive(carry_out())


def test_a_run_that_goes_on_does_not_look_again_at_what_it_has_seen(tmp_path: Path) -> None:
    async def carry_out() -> None:
        history = History(list(range(30)))
        state = open_state(tmp_path)
        first = await sweep(history, state, Period(), pages=4, still_open=frozenset({25}))
        state.close()
        state = open_state(tmp_path)
        second = await sweep(history, state, Period())
        assert sorted([*first, *second]) == list(range(30)), "each once, the open one included"
        state.close()

    drive(carry_out())


def test_a_run_that_goes_on_asks_again_for_what_failed_before_it_was_broken_off(tmp_path: Path) -> None:
    async def carry_out() -> None:
        history = History(list(range(30)))
        state = open_state(tmp_path)
        assert 25 in await sweep(history, state, Period(), pages=4, failed=frozenset({25}))
        state.close()
        for expected in ([25], []):
            state = open_state(tmp_path)
            found = await sweep(history, state, Period(look_back=timedelta()))
            assert [one for one in found if 18 <= one < 29] == expected, "although it is above the page it goes on from"
            state.close()

    drive(carry_out())


def test_a_narrow_run_behind_a_hole_does_not_claim_the_hole_and_the_next_one_goes_on_from_it(tmp_path: Path) -> None:
    async def carry_out() -> None:
        history = History(list(range(10)))
        state = open_state(tmp_path)
        await sweep(history, state, Period(look_back=timedelta()))
        state.close()
        history.days += list(range(10, 30))
        state = open_state(tmp_path)
        narrow = Period(since=day(25), look_back=timedelta())
        await sweep(history, state, narrow)
        assert state.sweep(f"{SLUG} {BITS}") == Sweep(since=day(25), newest=day(29))
        state.close()
        state = open_state(tmp_path)
        assert await sweep(history, state, narrow) == [29], "what it looked at before is not looked at in every run"
        state.close()
        state = open_state(tmp_path)
        found = await sweep(history, state, Period(look_back=timedelta()))
        assert {15, 20} <= set(found)
        assert not {5, 26} & set(found)
        state.close()

    drive(carry_out())


def test_a_date_that_lies_ahead_hides_nothing_that_comes_before_it(tmp_path: Path) -> None:
    async def carry_out() -> None:
        history = History([1, 2, 3, 50_000])
        state = open_state(tmp_path)
        assert len(await sweep(history, state, Period(), now=4)) == 4
        state.close()
        history.days += [5, 6]
        state = open_state(tmp_path)
        assert {4, 5} <= set(await sweep(history, state, Period(look_back=timedelta(days=2)), now=6))
        state.close()
        history.days += [7]
        state = open_state(tmp_path)  # the first sweep of its datasets looks back from now as well
        assert {4, 5, 6} <= set(await sweep(history, state, Period(look_back=timedelta(days=2)), now=7, bits=0b01))
        state.close()

    drive(carry_out())


def test_half_a_character_in_the_name_of_a_branch_is_no_hindrance(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    found = found_pipeline(SLUG, Pipeline(id=NAMES, created_at=BEGIN), {})
    half = evolve(mark(found, is_open=True, is_broken=False), branch="a\ud83d")
    state.save(Collected(pipelines=[half]))
    assert state.seen([half.id], BITS) == {half.id}
    state.close()


def test_to_look_back_further_than_time_goes_is_to_look_at_everything(tmp_path: Path) -> None:
    async def carry_out() -> None:
        history = History(list(range(5)))
        for _ in range(2):
            state = open_state(tmp_path)
            assert len(await sweep(history, state, Period(look_back=timedelta(days=800_000)))) == 5
            state.close()

    drive(carry_out())
