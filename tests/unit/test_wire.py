"""Python values on their way to the API: queries, bodies, paths."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any, ClassVar
from uuid import UUID

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from aiocircle import UNSET
from aiocircle.api import Timetable
from aiocircle.codec import Model, decode
from aiocircle.errors import ConfigurationError
from aiocircle.operation import Operation
from aiocircle.slugs import ProjectSlug
from aiocircle.wire import json_value, query_text

ID = UUID("5034460f-c7c4-4c43-9457-de07e2029e7b")
BERLIN = timezone(timedelta(hours=1))


@frozen(kw_only=True)
class Sent(Model):
    wire_names: ClassVar[Mapping[str, str]] = {"per_hour": "per-hour"}

    per_hour: int | None = None
    note: str | None = None
    days: tuple[str, ...] = ()
    labels: Mapping[str, Any] = field(factory=dict)


def operation(path: str) -> Operation:
    return Operation("getThing", "things.get", "get thing", "GET", path)


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_none_is_sent_as_null_and_unset_is_not_sent() -> None:
    assert json_value({"a": None, "b": UNSET, "c": {"d": UNSET, "e": None}}) == {"a": None, "c": {"e": None}}


def test_unset_is_false_and_says_what_it_is() -> None:
    assert not UNSET
    assert repr(UNSET) == "UNSET"


def test_times_ids_and_slugs_are_spelled() -> None:
    moment = datetime(2026, 11, 23, 9, 30, 0, 5000, tzinfo=BERLIN)
    value = json_value({"at": moment, "ids": [ID, str(ID)], "slug": ProjectSlug.parse("gh/acme/web")})
    assert value == {"at": "2026-11-23T08:30:00.005000Z", "ids": [str(ID), str(ID)], "slug": "gh/acme/web"}


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has no zone") as caught:
        json_value(datetime(2026, 11, 23))  # noqa: DTZ001 -- that is what is refused
    assert caught.value.hint


def test_a_model_is_sent_with_the_keys_of_the_wire_and_without_defaults() -> None:
    assert json_value(Sent(per_hour=2)) == {"per-hour": 2}
    assert json_value(Sent(per_hour=0, days=("MON",), labels={"a": ID})) == {
        "per-hour": 0,
        "days": ["MON"],
        "labels": {"a": str(ID)},
    }


def test_what_came_can_be_sent_back_with_what_no_field_took() -> None:
    came = {"per-hour": 1, "hours-of-day": [0], "days-of-week": ["MON"], "new-thing": {"x": 1}}
    assert json_value(decode(Timetable, came, what="get schedule")) == came


def test_what_json_cannot_carry_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="type object"):
        json_value({"a": object()})


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "no such number"),
        ([float("-inf")], "no such number"),
        (b"ab", "type bytes"),
        ({"a": bytearray(b"ab")}, "type bytearray"),
        (memoryview(b"ab"), "type memoryview"),
    ],
)
def test_what_would_be_sent_as_something_else_is_refused(value: object, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        json_value(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    )
)
def test_plain_json_is_sent_as_it_is(value: Any) -> None:
    assert json_value(value) == value


class Colour(str, Enum):  # noqa: UP042 -- many are like that, and give their name where a StrEnum gives its value
    RED = "red"


# --- queries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, ""),
        ({"a": None, "b": UNSET}, ""),
        ({"a": "x y&z", "b": None}, "?a=x%20y%26z"),
        ({"branches": ["main", "a/b"]}, "?branches=main&branches=a%2Fb"),
        ({"branches": []}, ""),
        ({"member": Colour.RED}, "?member=red"),
        ({"yes": True, "no": False, "n": 0}, "?yes=true&no=false&n=0"),
        ({"id": ID}, f"?id={ID}"),
        ({"after": datetime(2026, 11, 23, tzinfo=UTC)}, "?after=2026-11-23T00%3A00%3A00Z"),
    ],
)
def test_queries(query: dict[str, Any], text: str) -> None:
    assert query_text(query) == text


@pytest.mark.parametrize("value", [b"ab", bytearray(b"ab"), {}, [None]])
def test_what_a_query_cannot_carry_is_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigurationError, match="a value of type"):
        query_text({"a": value})


# --- paths -----------------------------------------------------------------------------------------------------------


def test_a_project_is_three_segments_and_an_organisation_two_or_one() -> None:
    assert operation("/a/{slug}/b").fill({"slug": "gh/acme/a b"}) == "/a/gh/acme/a%20b/b"
    assert operation("/a/{slug}").fill({"slug": ProjectSlug("gh", "acme", "ü")}) == "/a/gh/acme/%C3%BC"
    assert operation("/a/{org_slug}/b").fill({"org_slug": "gh/ac me"}) == "/a/gh/ac%20me/b"
    assert operation("/a/{org}").fill({"org": "gh/acme"}) == "/a/gh%2Facme"
    assert operation("/a/{org}/{number}").fill({"org": ID, "number": 7}) == f"/a/{ID}/7"
    assert operation("/a/{name}").fill({"name": "half \ud800"}) == "/a/half%20%ED%A0%80"  # as JSON may have it


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/a/{name}", {"name": ""}),
        ("/a/{name}", {"name": ".."}),
        ("/a/{slug}", {"slug": "gh/acme"}),
        ("/a/{slug}", {"slug": "gh/../web"}),
        ("/a/{org_slug}", {"org_slug": "acme"}),
        ("/a/{org_slug}", {"org_slug": "gh/acme/web"}),
        ("/a/{org_slug}", {"org_slug": "gh/.."}),
    ],
)
def test_what_would_lead_to_another_operation_is_refused(path: str, values: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        operation(path).fill(values)


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."} and text.isprintable()))
def test_a_value_never_leaves_its_segment(name: str) -> None:
    path = operation("/a/{name}/b").fill({"name": name})
    assert path.count("/") == 3
    assert not set(path) & set("?#")


def test_only_some_methods_may_be_repeated() -> None:
    methods = ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"]
    asked = [Operation("a", "b", "c", method, "/").idempotent for method in methods]
    assert asked == [True, True, True, True, False, False]
    assert Operation("a", "b", "c", "POST", "/", idempotent=True).idempotent
