"""What a run was to fetch survives it as text, or there is none; what somebody made of the text harms nobody."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from aiocircle import DownloadOptions, Selection
from aiocircle.download.filters import Shard
from aiocircle.download.intent import intent_text, read_intent

BEGAN = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
WORKFLOW = "5034460f-c7c4-4c43-9457-de07e2029e7b"
CHOICE = DownloadOptions(
    include=["*.xml"], exclude=("old/*",), nodes=[0, 2], min_size=1, max_size=9, layout="{path}", shard=Shard(1, 2)
)


@pytest.mark.parametrize(
    "which",
    [
        {"job": 7},
        {"workflow": WORKFLOW, "job_names": ["build*"]},
        {"pipeline": 3, "statuses": ["failed"], "all_reruns": True},
        {"since": BEGAN - timedelta(days=3), "until": BEGAN - timedelta(days=1), "branch": "main"},
    ],
)
def test_a_selection_and_what_chooses_from_it_come_back_as_they_were(which: dict[str, Any]) -> None:
    selection = Selection(["gh/acme/web"], **which)
    mine = DownloadOptions(concurrency=3, sync=True)
    found = read_intent(intent_text(selection, CHOICE, BEGAN), mine)
    assert found is not None
    assert found[0] == selection
    assert evolve(found[1], include=["*.xml"], exclude=("old/*",), nodes=[0, 2]) == evolve(
        CHOICE, concurrency=3, sync=True
    )
    assert (list(found[1].include), list(found[1].exclude), list(found[1].nodes)) == (["*.xml"], ["old/*"], [0, 2])


def test_all_pipelines_are_those_that_were_there_when_the_run_began() -> None:
    selection = Selection(["gh/acme/web", "gh/acme/api"], all=True)
    found = read_intent(intent_text(selection, DownloadOptions(), BEGAN), DownloadOptions())
    assert found is not None
    assert found[0] == evolve(selection, until=BEGAN)


def test_of_the_latest_pipeline_there_is_no_text_since_it_may_be_another_one() -> None:
    assert intent_text(Selection("gh/acme/web", latest=True), DownloadOptions(), BEGAN) == ""


def test_of_what_is_still_to_come_there_is_no_text() -> None:
    assert intent_text(Selection("gh/acme/web", since=BEGAN), DownloadOptions(), BEGAN) == ""


GOOD = intent_text(Selection("gh/acme/web", job=7), DownloadOptions(), BEGAN)


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{", '{"what": 1, "how": 2}', GOOD.replace('"job": 7', '"jobs": 7')),
        GOOD.replace('"job": 7', '"job": null'),
        GOOD.replace('"since": null', '"since": "soon"'),
        GOOD.replace("gh/acme/web", "nothing"),
        GOOD.replace('"shard": null', '"shard": {"number": 3, "of": 2}'),
    ],
)
def test_what_is_no_such_text_selects_nothing(text: str) -> None:
    assert read_intent(text, DownloadOptions()) is None
