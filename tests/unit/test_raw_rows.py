"""Items as the host gave them keep apart what their typed rows keep apart."""

import pytest
from sink_rows import row

from aiocircle.export.convert import raw_row
from aiocircle.export.tables import TABLES, Table


def keyed(table: Table, *key: object) -> object:
    """Return a row of which nothing but the key is set."""
    return row(table, **{**dict.fromkeys(table.names), **dict(zip(table.key, key, strict=True))})


@pytest.mark.parametrize(
    ("name", "one", "another"),
    [
        ("insights_jobs", ("gh/a/b", "", "w", "build/linux", "test"), ("gh/a/b", "", "w", "build", "linux/test")),
        ("flaky_tests", ("gh/a/b", "w", "j", "spec/a", "b", ""), ("gh/a/b", "w", "j", "spec", "a/b", "")),
        ("artifacts", ("gh/a/b", 1, 0, "out/1"), ("gh/a/b", 1, 0, "out/2")),
        ("job_details", ("gh/a/b", 1), ("gh/a/b", 11)),
    ],
)
def test_slashes_in_names_do_not_make_two_items_one(
    name: str, one: tuple[object, ...], another: tuple[object, ...]
) -> None:
    table = TABLES[name]
    first, second = (raw_row(table, keyed(table, *key), {}).key for key in (one, another))
    assert first != second


def test_a_key_of_one_value_is_that() -> None:
    table = TABLES["pipelines"]
    assert raw_row(table, keyed(table, "5034460f"), {}).key == "5034460f"


def test_an_item_that_names_no_owner_is_nobodys() -> None:
    assert raw_row(TABLES["usage"], keyed(TABLES["usage"], "1"), {}).project == ""
