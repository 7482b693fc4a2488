"""JSON Lines and CSV say what there was, and a file stands under its name only when it is whole."""

import csv
import gzip
import io
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sink_rows import ALL, NAMES, in_pieces, plain, row, rows_of

from aiocircle.errors import ConfigurationError, StoreError
from aiocircle.export.sinks import Compression, open_sink
from aiocircle.export.sinks.text import Csv, JsonLines
from aiocircle.export.tables import TABLES, Table, raw_table
from aiocircle.extras import load_zstd

SCHEDULES = TABLES["schedules"]
RAW = raw_table(SCHEDULES)


def text_of(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zst":
        data = load_zstd("this test").decompress(data)
    return data.decode()


def objects_in(path: Path) -> list[Any]:
    lines = text_of(path).split("\n")
    assert lines.pop() == ""
    return [json.loads(line, parse_constant=pytest.fail) for line in lines]


def fields_in(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text_of(path), newline=""), strict=True))


def field_of(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return (
        json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if isinstance(value, (dict, list))
        else (str(value).lower() if isinstance(value, bool) else str(value))
    )


def raw_rows(*values: Any) -> list[tuple[Any, ...]]:
    return [row(RAW, str(place), "p", None, None, None, None, {"v": value}) for place, value in enumerate(values)]


@pytest.mark.parametrize("table", ALL, ids=NAMES)
@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_lines_of_json_are_the_rows(tmp_path: Path, table: Table, compression: Compression | None) -> None:
    rows = rows_of(table)
    with open_sink("jsonl", tmp_path, compression=compression) as sink:
        assert not sink.has(table)
        sink.begin(table)
        for some in in_pieces(rows, 7):
            sink.write(some)
        assert not sink.has(table)
    assert sink.has(table)
    (file,) = tmp_path.iterdir()
    assert objects_in(file) == plain(table, rows)


@pytest.mark.parametrize("table", ALL, ids=NAMES)
@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_fields_of_csv_are_the_rows(tmp_path: Path, table: Table, compression: Compression | None) -> None:
    rows = rows_of(table)
    with open_sink("csv", tmp_path, compression=compression) as sink:
        sink.begin(table)
        for some in in_pieces(rows, 7):
            sink.write(some)
    (file,) = tmp_path.iterdir()
    head, *found = fields_in(file)
    assert head == list(table.names)
    assert found == [list(map(field_of, row.values())) for row in plain(table, rows)]


@given(texts=st.lists(st.text(st.characters()), min_size=1, max_size=5))
def test_any_text_comes_back_but_halves_of_pairs(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    directory = tmp_path_factory.mktemp("any")
    shown = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    for kind in ("csv", "jsonl"):
        with open_sink(kind, directory) as sink:
            sink.begin(RAW)
            sink.write([row(RAW, text, "p", text, None, None, None, {"x": text}) for text in texts])
    for found, text in zip(objects_in(directory / "schedules.jsonl"), shown, strict=True):
        assert (found["key"], found["pipeline_id"], found["json"]) == (text, text, {"x": text})
    for fields, text in zip(fields_in(directory / "schedules.csv")[1:], shown, strict=True):
        assert fields[0] == fields[2] == text
        assert json.loads(fields[-1]) == {"x": text}


def test_halves_of_pairs_become_replacement_characters_and_halves_that_meet_their_character(tmp_path: Path) -> None:
    with JsonLines(tmp_path) as sink:
        sink.begin(RAW)
        sink.write(raw_rows("a\ud83d", "\ude00b", "\ud83d\ude00"))
    assert [row["json"]["v"] for row in objects_in(tmp_path / "schedules.jsonl")] == ["a�", "�b", "😀"]


def test_numbers_that_are_none_are_null_in_json_and_large_ones_are_exact(tmp_path: Path) -> None:
    table = TABLES["insights_summary"]
    values = {"total_runs": 2**70, "success_rate": float("nan"), "runs_per_day": float("inf")}
    one = row(table, **{name: values.get(name, "x" if name in table.key else None) for name in table.names})
    with JsonLines(tmp_path) as sink:
        sink.begin(table)
        sink.write([one])
        sink.begin(RAW)
        sink.write(raw_rows([1.5, float("-inf")], {"a": float("nan")}, 2**200))
    (found,) = objects_in(tmp_path / "insights_summary.jsonl")
    assert (found["total_runs"], found["success_rate"], found["runs_per_day"]) == (2**70, None, None)
    nested = [one["json"]["v"] for one in objects_in(tmp_path / "schedules.jsonl")]
    assert nested == [[1.5, None], {"a": None}, 2**200]


def test_times_are_in_utc_with_z_wherever_they_come_from(tmp_path: Path) -> None:
    moments = [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 -- a user's
    ]
    table = TABLES["contexts"]
    for kind in ("csv", "jsonl"):
        with open_sink(kind, tmp_path) as sink:
            sink.begin(table)
            sink.write([row(table, "o", str(place), None, moment) for place, moment in enumerate(moments)])
    assert {row["created_at"] for row in objects_in(tmp_path / "contexts.jsonl")} == {"2026-01-02T03:04:05.000000Z"}
    assert {row[3] for row in fields_in(tmp_path / "contexts.csv")[1:]} == {"2026-01-02T03:04:05.000000Z"}


def test_formulas_are_left_alone_unless_asked(tmp_path: Path) -> None:
    table = TABLES["contexts"]
    texts = ["=1+1", "+1", "-1", "@x", "\tx", "plain", "a=b", ""]
    for asked in (False, True):
        with Csv(tmp_path, for_spreadsheets=asked) as sink:
            sink.begin(table)
            sink.write([row(table, "o", str(place), text, None) for place, text in enumerate(texts)])
        found = [row[2] for row in fields_in(tmp_path / "contexts.csv")[1:]]
        assert found == ([f"'{text}" for text in texts[:5]] + texts[5:] if asked else texts)


def test_lines_of_csv_end_as_the_standard_says(tmp_path: Path) -> None:
    with Csv(tmp_path) as sink:
        sink.begin(TABLES["contexts"])
        sink.write([row(TABLES["contexts"], "o", "i", 'a "b"', None)])
    expected = b'organization,id,name,created_at\r\no,i,"a ""b""",\r\n'
    assert (tmp_path / "contexts.csv").read_bytes() == expected


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_gzip_gives_the_same_bytes_again(tmp_path: Path, kind: str) -> None:
    for attempt in ("1", "2"):
        with open_sink(kind, tmp_path / attempt, compression="gzip") as sink:
            sink.begin(SCHEDULES)
            sink.write(rows_of(SCHEDULES))
    data = [(tmp_path / attempt / f"schedules.{kind}.gz").read_bytes() for attempt in ("1", "2")]
    assert data[0] == data[1]
    assert data[0][4:8] == bytes(4)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_table_has_one_file_whatever_its_compression(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"schedules.{kind}.bak").touch()
    given: tuple[tuple[Compression | None, str], ...] = ((None, ""), ("gzip", ".gz"), ("zstd", ".zst"), (None, ""))
    for compression, suffix in given:
        with open_sink(kind, tmp_path, compression=compression) as sink:
            sink.begin(SCHEDULES)
        assert {one.name for one in tmp_path.iterdir()} == {f"schedules.{kind}{suffix}", f"schedules.{kind}.bak"}


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_a_table_without_rows_is_a_file_that_says_so(tmp_path: Path, compression: Compression | None) -> None:
    for kind, expected in (("jsonl", ""), ("csv", ",".join(SCHEDULES.names) + "\r\n")):
        with open_sink(kind, tmp_path / kind, compression=compression) as sink:
            sink.begin(SCHEDULES)
        (file,) = (tmp_path / kind).iterdir()
        assert text_of(file) == expected
        assert sink.has(SCHEDULES)


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_what_is_broken_off_leaves_what_was_there(tmp_path: Path, kind: str, compression: Compression | None) -> None:
    with open_sink(kind, tmp_path, compression=compression) as sink:
        sink.begin(SCHEDULES)
        sink.write(rows_of(SCHEDULES, 3))
    (before,) = tmp_path.iterdir()
    data = before.read_bytes()
    with suppress(ZeroDivisionError), sink:
        sink.begin(SCHEDULES)
        sink.write(rows_of(SCHEDULES, 50))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [before]
    assert before.read_bytes() == data
    with sink:
        sink.begin(SCHEDULES)
    assert list(tmp_path.iterdir()) == [before]
    assert before.read_bytes() != data


def test_two_writers_of_one_format_are_kept_apart_and_two_formats_are_not(tmp_path: Path) -> None:
    with open_sink("jsonl", tmp_path) as one, open_sink("csv", tmp_path) as other:
        one.begin(SCHEDULES)
        other.begin(SCHEDULES)
        with pytest.raises(StoreError, match="another process is writing jsonl") as caught:
            JsonLines(tmp_path).begin(SCHEDULES)
        assert caught.value.hint
    assert sorted(found.name for found in tmp_path.iterdir()) == ["schedules.csv", "schedules.jsonl"]


def test_what_a_format_does_not_take_is_one_sentence(tmp_path: Path) -> None:
    for kind, settings, words in (
        ("xlsx", {}, "no format"),
        ("sqlite", {"compression": "gzip"}, "no setting 'compression'"),
        ("jsonl", {"partition": "day"}, "no setting 'partition'"),
        ("jsonl", {"for_spreadsheets": True}, "no setting 'for_spreadsheets'"),
        ("csv", {"compression": "bz2"}, "'bz2' is no compression"),
    ):
        with pytest.raises(ConfigurationError, match=words) as caught:
            open_sink(kind, tmp_path, **settings)
        assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_only_a_whole_table_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="as a whole"):
        JsonLines(tmp_path).begin(SCHEDULES, whole=False)
    with pytest.raises(ValueError, match="no table was begun"):
        JsonLines(tmp_path).write([])
