"""JSON to models: forgiving where the wire differs from the document, exact about everything else."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.api import Job, JobDetails, Pipeline, TestResult, User
from aiocircle.codec import Model, decode, parse_json
from aiocircle.errors import DecodeError

ID = "b0b6bf23-5a4c-4d1f-8b4c-000000000001"
SECRET = "ccipat_GEHEIM_0123456789abcdef0123456789abcdef"


@frozen(kw_only=True)
class Part(Model):
    size: int
    name: str | None = None


@frozen(kw_only=True)
class Thing(Model):
    """One field of every kind."""

    id: UUID
    public_key: str | None = None
    count: int | None = None
    ratio: float | None = None
    is_approval: bool | None = None
    created_at: datetime | None = None
    part: Part | None = None
    parts: Sequence[Part] = ()
    labels: Sequence[str] = ()


def thing(**values: Any) -> Thing:
    return decode(Thing, {"id": ID, **values}, what="get thing")


def problems_of(cls: type[Any], value: Any) -> tuple[str, ...]:
    with pytest.raises(DecodeError) as caught:
        decode(cls, value, what="get thing")
    assert caught.value.hint
    assert "get thing" in str(caught.value)
    return caught.value.problems


# --- forgiving -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["public_key", "public-key"])
def test_hyphen_and_underscore_spellings_both_decode(key: str) -> None:
    assert thing(**{key: "ssh-rsa"}) == thing(public_key="ssh-rsa")


def test_of_two_spellings_the_null_one_does_not_win() -> None:
    assert thing(**{"public-key": "ssh-rsa", "public_key": None}).public_key == "ssh-rsa"


def test_unknown_keys_are_kept_as_they_came() -> None:
    value = thing(**{"brand-new": {"deep": [1]}, "other": None}, part={"size": 1, "colour": "red"})

    assert value.extra == {"brand-new": {"deep": [1]}, "other": None}
    assert value.part is not None
    assert value.part.extra == {"colour": "red"}


def test_a_key_named_extra_is_an_unknown_key_like_any_other() -> None:
    assert thing(extra=[1]).extra == {"extra": [1]}


def test_unknown_keys_neither_show_nor_count_in_comparisons() -> None:
    assert thing(brand_new="x") == thing()
    assert "brand_new" not in repr(thing(brand_new="x"))


def test_null_stands_for_absent() -> None:
    absent = thing(public_key=None, count=None, parts=None, labels=None, created_at=None, part=None)

    assert absent == thing()
    assert absent.parts == ()


def test_a_job_that_never_ran_decodes_from_almost_nothing() -> None:
    job = decode(Job, {"id": ID, "name": "hold", "type": "approval", "started_at": None}, what="list jobs")

    assert (job.job_number, job.started_at, job.stopped_at, job.dependencies) == (None, None, None, ())


def test_words_that_nobody_listed_stay_words() -> None:
    pipeline = decode(Pipeline, {"id": ID, "state": "Decoupled Ingestion System"}, what="get pipeline")

    assert pipeline.state == "Decoupled Ingestion System"


@pytest.mark.parametrize(("given_", "read"), [("0.25", 0.25), (0.25, 0.25), (3, 3.0), ("3", 3.0), ("1e-3", 0.001)])
def test_a_number_may_come_as_a_string(given_: object, read: float) -> None:
    assert decode(TestResult, {"run_time": given_}, what="list tests").run_time == read


@pytest.mark.parametrize("given_", [42, "42", 42.0, " 42 "])
def test_a_whole_number_may_come_as_a_string_or_with_a_zero_fraction(given_: object) -> None:
    count = thing(count=given_).count

    assert count == 42
    assert type(count) is int


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T08:00:00Z", datetime(2026, 11, 23, 8, tzinfo=UTC)),
        ("2026-11-23T08:00:00.5Z", datetime(2026, 11, 23, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-23T08:00:00.123456789Z", datetime(2026, 11, 23, 8, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-11-23T10:00:00+02:00", datetime(2026, 11, 23, 8, tzinfo=UTC)),
        ("2026-11-23T08:00:00", datetime(2026, 11, 23, 8, tzinfo=UTC)),
    ],
)
def test_times_are_aware_with_and_without_fractions_and_zone(text: str, moment: datetime) -> None:
    assert thing(created_at=text).created_at == moment


# --- exact -----------------------------------------------------------------------------------------------------------

WRONG: list[tuple[str, Any]] = [
    ("id", "42"),
    ("id", 42),
    ("public_key", 42),
    ("public_key", ["a"]),
    ("count", "many"),
    ("count", True),
    ("count", 1.5),
    ("count", "1.5"),
    ("count", float("nan")),
    ("count", float("inf")),
    ("count", [1]),
    ("count", "9" * 5000),
    ("ratio", "fast"),
    ("ratio", False),
    ("ratio", 10**400),
    ("is_approval", "yes"),
    ("is_approval", 1),
    ("created_at", "yesterday"),
    ("created_at", 1_795_452_290),
    ("created_at", {}),
    ("created_at", "0001-01-01T00:00:00+14:00"),  # before the first date of UTC
    ("created_at", "9999-12-31T23:59:59-01:00"),
    ("part", "whole"),
    ("part", []),
    ("parts", {}),
    ("parts", {"size": 1}),
    ("parts", ""),
    ("labels", "abc"),
    ("labels", {"a": "b"}),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: repr(value)[:30])
def test_a_value_of_a_wrong_shape_is_refused_by_its_path(field: str, value: Any) -> None:
    problems = problems_of(Thing, {"id": ID, field: value})

    assert len(problems) == 1
    assert f"$.{field}" in problems[0]
    assert "expected, not" in problems[0]
    assert len(problems[0]) < 120


def test_every_problem_is_named_by_its_path() -> None:
    problems = problems_of(
        list[Thing],
        [
            {"id": ID},
            {"id": "x", "count": "y", "parts": [{"size": 1}, {"size": "big", "name": 3}, "none", {}]},
            None,
        ],
    )

    paths = {problem.rpartition("@ ")[2] for problem in problems}
    assert paths == {
        "$[1].id",
        "$[1].count",
        "$[1].parts[1].size",
        "$[1].parts[1].name",
        "$[1].parts[2]",
        "$[1].parts[3].size",
        "$[2]",
    }


def test_a_missing_field_that_nothing_works_without_is_named() -> None:
    (problem,) = problems_of(User, {"login": "octo"})

    assert "missing" in problem
    assert "id" in problem


@pytest.mark.parametrize("value", [None, 3, "text", True, [], [[]]])
def test_something_else_than_an_object_is_refused(value: object) -> None:
    (problem,) = problems_of(JobDetails, value)

    assert "an object expected" in problem
    assert "@ $" in problem


def test_no_long_value_is_quoted_since_it_may_be_a_secret() -> None:
    signed = f"https://storage.example/x?X-Amz-Signature={SECRET}"
    problems = problems_of(Thing, {"id": SECRET, "count": signed, "part": [SECRET], "created_at": {"a": SECRET}})

    assert len(problems) == 4
    assert SECRET[:20] not in "".join(problems)


def test_values_too_deep_to_be_shown_are_still_refused_in_words() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]

    (problem,) = problems_of(Thing, {"id": ID, "public_key": deep})

    assert "not an array" in problem
    while deep:  # taken apart level by level: the interpreter's own way would be recursive
        deep = deep[0]


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_json_holds_it_decodes_or_is_refused_as_a_decode_error(value: Any) -> None:
    for cls in (Thing, list[Thing], Job, Pipeline):
        try:
            decode(cls, value, what="get thing")
        except DecodeError as error:
            assert error.problems  # noqa: PT017 -- both ends are right


@given(
    st.dictionaries(
        st.sampled_from(["id", "public-key", "count", "parts", "part", "created_at", "labels"]),
        st.integers() | st.text() | st.lists(st.integers()),
    )
)
def test_fields_of_any_kind_decode_or_are_refused_as_a_decode_error(value: dict[str, Any]) -> None:
    try:
        decode(Thing, value, what="get thing")
    except DecodeError as error:
        assert all("$" in problem for problem in error.problems)  # noqa: PT017 -- both ends are right


# --- text ------------------------------------------------------------------------------------------------------------


def refusal(text: bytes, **options: Any) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        parse_json(text, what="list jobs", **options)
    assert str(caught.value).startswith("list jobs: ")
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("text", [b"<html>", b"  \r\n<!DOCTYPE html><p>Sign in", b"\xef\xbb\xbf<html>"])
def test_a_page_in_place_of_json_is_called_a_page(text: bytes) -> None:
    assert "an HTML page" in str(refusal(text))


def test_other_text_in_place_of_json_is_quoted_up_to_a_line() -> None:
    error = refusal(b"upstream connect error " * 1000)

    assert "upstream connect error" in str(error)
    assert len(str(error)) < 150


@pytest.mark.parametrize(
    "text", [b'{"items": [', b'{"a": 1} {"b": 2}', b"\xff\xfe\xfd", b"nul", b"{'a': 1}", b"9" * 5000]
)
def test_broken_json_is_a_decode_error(text: bytes) -> None:
    refusal(text)


def test_json_too_deep_for_the_interpreter_is_a_decode_error() -> None:
    refusal(b"[" * 200_000 + b"]" * 200_000)


def test_what_the_message_quotes_is_hidden_before_it_is_cut() -> None:
    error = refusal(b"x" * 50 + SECRET.encode(), hide=lambda text: text.replace(SECRET, "***"))

    assert SECRET[:8] not in str(error)
    assert "***" in str(error)


def test_the_error_keeps_neither_the_body_nor_the_decoders_errors_alive() -> None:
    for error in (refusal(f'{{"token": "{SECRET}",'.encode()), _shape_error()):
        assert error.__context__ is None
        assert error.__cause__ is None


def _shape_error() -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(Thing, {"id": SECRET}, what="get thing")
    return caught.value


def test_json_of_every_encoding_that_json_allows_is_read() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert parse_json(json.dumps({"a": "é"}, ensure_ascii=False).encode(encoding), what="x") == {"a": "é"}


@pytest.mark.parametrize("number", [2**63, -(2**63), 10**30, "9" * 25, 1e25])
def test_a_whole_number_that_no_database_can_hold_is_none(number: object) -> None:
    assert problems_of(Thing, {"id": ID, "count": number})[0].startswith("a whole number of 64 bits expected")
    assert thing(count=2**63 - 1).count == 2**63 - 1
    assert thing(ratio=number).ratio
