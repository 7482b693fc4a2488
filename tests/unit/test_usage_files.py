"""Files of usage data: whatever way a database writes a value, it is read as what it is, or kept as it was written."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.errors import InterruptedBodyError, UsageExportError
from aiocircle.export.rows import UsageRow
from aiocircle.export.tables import TABLES
from aiocircle.export.usage_files import LONGEST_LINE, UsageFile

MOMENT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def read(body: bytes, pieces: Sequence[bytes] = ()) -> list[UsageRow]:
    with closing(UsageFile()) as file:
        for piece in pieces:
            file.take(piece)
        file.end(b"" if pieces else body)
        return [row for row, _ in batches(file)]


def batches(file: UsageFile) -> Iterator[Any]:
    records = file.records()
    while batch := records.batch(2):
        yield from batch


def one(**given: str) -> UsageRow:
    columns = {"ORGANIZATION_ID": "o", "JOB_ID": "j", **given}
    (row,) = read(f"{','.join(columns)}\n{','.join(columns.values())}\n".encode())
    return row


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-02 09:30:00",
        "2026-11-02 09:30:00.000",
        "2026-11-02T09:30:00Z",
        "2026-11-02T09:30:00.000+00:00",
        "2026-11-02 09:30:00 UTC",
        "2026-11-02 09:30:00.000 Z",
        "2026-11-02 10:30:00.000 +0100",
        "2026-11-02 01:30:00 -08:00",
    ],
)
def test_a_time_is_read_in_every_spelling_and_is_in_utc(text: str) -> None:
    row = one(JOB_RUN_STARTED_AT=text)
    assert row.job_run_started_at == MOMENT
    assert row.job_run_started_at.tzinfo is UTC
    assert row.more == {}


def test_a_date_is_its_midnight() -> None:
    assert one(JOB_RUN_DATE="2026-11-02").job_run_date == datetime(2026, 11, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("PARALLELISM", "4", 4),
        ("PARALLELISM", "4.0", 4),
        ("JOB_RUN_SECONDS", "12.5", 12.5),
        ("TOTAL_CREDITS", "1e3", 1000.0),
        ("IS_UNREGISTERED_USER", "Y", True),
        ("IS_UNREGISTERED_USER", "N", False),
        ("IS_WORKFLOW_SUCCESSFUL", "TRUE", True),
        ("IS_WORKFLOW_SUCCESSFUL", "0", False),
        ("WORKFLOW_NAME", "\\N", None),
        ("WORKFLOW_NAME", "", None),
        ("DLC_CREDITS", "\\N", None),
    ],
)
def test_a_value_is_of_its_columns_kind(column: str, text: str, value: Any) -> None:
    row = one(**{column: text})
    found = getattr(row, column.lower())
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("PARALLELISM", "4.5"),
        ("PARALLELISM", "many"),
        ("PARALLELISM", "1e400"),
        ("TOTAL_CREDITS", "nan"),
        ("TOTAL_CREDITS", "inf"),
        ("JOB_RUN_STARTED_AT", "soon"),
        ("IS_UNREGISTERED_USER", "perhaps"),
    ],
)
def test_what_is_not_of_its_columns_kind_is_kept_as_written(column: str, text: str) -> None:
    row = one(**{column: text})
    assert getattr(row, column.lower()) is None
    assert row.more == {column.lower(): text}


def test_a_job_is_told_apart_by_its_day_and_a_row_of_no_job_by_all_but_what_changes() -> None:
    assert one(JOB_RUN_DATE="2026-11-02").id == one(JOB_RUN_DATE="2026-11-02 00:00:00").id == "j/2026-11-02"
    assert one().id == "j"
    seats = [one(JOB_ID="\\N", USER_CREDITS=credits_used, LAST_BUILD_FINISHED_AT=at).id for credits_used, at in SEATS]
    assert seats[0] == seats[1] != seats[2]


SEATS = (("25000", "2026-11-01"), ("25000", "2026-11-02"), ("50000", "2026-11-02"))


def test_the_columns_are_those_of_the_table() -> None:
    table = TABLES["usage"]
    assert (table.key, table.date) == (("id",), "job_run_date")
    assert len(table.columns) == 49 + 1
    assert {column.kind for column in table.columns if column.name.endswith(("_credits", "_pct"))} == {"real"}


# --- the stream ------------------------------------------------------------------------------------------------------

TEXT = b"\xef\xbb\xbfORGANIZATION_ID,JOB_ID\r\n" + b"".join(b"o,job %d\r\n" % number for number in range(50))


@given(st.lists(st.integers(2, 40), max_size=30), st.booleans(), st.integers(1, 3))
def test_pieces_of_any_size_are_one_file(sizes: list[int], packed: bool, members: int) -> None:
    part = len(TEXT) // members + 1
    body = b"".join(gzip.compress(TEXT[at : at + part]) for at in range(0, len(TEXT), part)) if packed else TEXT
    pieces, rest = [], body
    for size in [*sizes, len(body)]:
        pieces.append(rest[:size])
        rest = rest[size:]
    assert [row.job_id for row in read(b"", pieces)] == [f"job {number}" for number in range(50)]


@given(st.integers(2, 200))
def test_a_cut_of_a_compressed_file_is_never_taken_for_its_end(lost: int) -> None:
    body = gzip.compress(TEXT, mtime=0)
    with pytest.raises(InterruptedBodyError):
        read(body[: max(2, len(body) - lost)])


def test_zeros_behind_a_compressed_file_are_none_of_its_bytes() -> None:
    assert len(read(gzip.compress(TEXT) + bytes(1000))) == 50


def test_a_damaged_file_is_found_out() -> None:
    body = bytearray(gzip.compress(TEXT, mtime=0))
    body[-5] ^= 0xFF  # of its check value
    with pytest.raises(InterruptedBodyError, match="damaged"):
        read(bytes(body))


def test_a_file_of_nothing_but_ends_is_bounded_as_well() -> None:
    with closing(UsageFile(longest=1000)) as file, pytest.raises(UsageExportError, match="more than 1000 bytes"):
        file.take(gzip.compress(b"") * 1000)


def test_a_line_without_end_is_refused() -> None:
    line = b"ORGANIZATION_ID,JOB_ID\n" + b"x" * 100_000 + b","
    stream = zlib.compressobj(wbits=31)
    body = stream.compress(line + b"y," * LONGEST_LINE) + stream.flush()
    with pytest.raises(UsageExportError, match="characters or more"):
        read(body)


def test_a_file_is_received_anew_as_if_nothing_had_come() -> None:
    with closing(UsageFile(longest=len(TEXT))) as file:
        for before in (gzip.compress(TEXT)[:40], TEXT):
            file.take(before)
            file.begin()
        file.end(gzip.compress(TEXT[: TEXT.index(b"o,job 24")]))
        assert len(list(batches(file))) == 24
