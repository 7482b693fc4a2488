"""A selection says exactly one thing, and of several runs of a workflow the newest counts."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.api import Workflow
from aiocircle.crawl.fanout import newest_of_each_name
from aiocircle.crawl.selection import Selection
from aiocircle.errors import ConfigurationError
from aiocircle.slugs import ProjectSlug

SLUG = ProjectSlug.parse("gh/acme/web")
ID = UUID("7c2d1d0e-6a36-4d2f-8bd0-5d7b8a0f2f11")
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def workflow(name: str | None, minutes: int | None) -> Workflow:
    created_at = None if minutes is None else NOON + timedelta(minutes=minutes)
    return Workflow(id=uuid4(), name=name, created_at=created_at)


# --- selections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chosen",
    [{"job": 0}, {"job": 1}, {"workflow": ID}, {"pipeline": 7}, {"latest": True}, {"latest": True, "branch": "main"}],
    ids=str,
)
def test_one_thing_may_be_selected(chosen: dict[str, object]) -> None:
    selection = Selection(SLUG, **chosen)  # type: ignore[arg-type]
    assert {name: getattr(selection, name) for name in chosen} == chosen


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"job": 1, "workflow": ID},
        {"job": 1, "pipeline": 7},
        {"job": 0, "latest": True},
        {"workflow": ID, "pipeline": 7},
        {"pipeline": 7, "latest": True},
        {"job": 1, "workflow": ID, "pipeline": 7, "latest": True},
        {"branch": "main", "pipeline": 7, "latest": True},
    ],
    ids=str,
)
def test_nothing_and_more_than_one_thing_are_refused_with_advice(chosen: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="exactly one") as caught:
        Selection(SLUG, **chosen)  # type: ignore[arg-type]
    assert "--latest" in (caught.value.hint or "")


@pytest.mark.parametrize("chosen", [{"job": 1}, {"workflow": ID}, {"pipeline": 7}], ids=str)
def test_a_branch_only_goes_with_the_latest_pipeline(chosen: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="a branch alone selects no pipeline") as caught:
        Selection(SLUG, branch="main", **chosen)  # type: ignore[arg-type]
    assert caught.value.hint


def test_a_branch_that_is_empty_is_still_a_branch() -> None:
    with pytest.raises(ConfigurationError):
        Selection(SLUG, job=1, branch="")


@pytest.mark.parametrize(
    "since",
    [datetime.max.replace(tzinfo=timezone(-timedelta(hours=14))), timedelta(days=800_000)],
    ids=["behind-all-dates", "before-all-dates"],
)
def test_a_time_that_no_date_has_is_refused(since: datetime | timedelta) -> None:
    with pytest.raises(ConfigurationError, match="there is no date for"):
        Selection(SLUG, since=since)


# --- reruns ----------------------------------------------------------------------------------------------------------


def test_of_each_name_the_newest_workflow_counts_wherever_it_stands_in_the_list() -> None:
    old, new, other = workflow("build", 1), workflow("build", 2), workflow("deploy", 0)
    assert newest_of_each_name([old, other, new]) == [new, other]
    assert newest_of_each_name([new, other, old]) == [new, other]


def test_a_workflow_without_a_date_is_the_oldest() -> None:
    undated, dated = workflow("build", None), workflow("build", 0)
    assert newest_of_each_name([undated, dated]) == [dated]
    assert newest_of_each_name([dated, undated]) == [dated]


def test_where_dates_do_not_tell_the_first_one_listed_counts() -> None:
    first, second = workflow("build", None), workflow("build", None)
    assert newest_of_each_name([first, second]) == [first]
    same, again = workflow("x", 3), workflow("x", 3)
    assert newest_of_each_name([same, again]) == [same]


def test_workflows_without_a_name_are_runs_of_one() -> None:
    assert len(newest_of_each_name([workflow(None, 1), workflow(None, 2), workflow("build", 1)])) == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=12))
def test_every_name_is_there_once_in_the_order_in_which_it_was_first_seen_and_none_is_newer(
    given_ones: list[tuple[str, int]],
) -> None:
    workflows = [workflow(name, minutes) for name, minutes in given_ones]
    chosen = newest_of_each_name(workflows)
    assert [one.name for one in chosen] == list(dict.fromkeys(name for name, _ in given_ones))
    for one in chosen:
        assert one in workflows
        assert one.created_at == max(other.created_at or NOON for other in workflows if other.name == one.name)
