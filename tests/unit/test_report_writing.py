"""What may go into a page and how it is written: escaping, refusals, nothing left behind."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ci_history import History, write_export, write_ledger
from hostile_history import ADDRESSES, HOSTILE, hostile_ledger, hostile_rows
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.download.outputs import records_of
from aiocircle.errors import StoreError, UnsafePathError
from aiocircle.export.records import creation
from aiocircle.export.rows import RawRow
from aiocircle.export.state import State
from aiocircle.export.tables import TABLES, Table
from aiocircle.report import write_report
from aiocircle.report.amounts import shown, web_address
from aiocircle.report.writing import embedded

MOST_BYTES = 1_500_000


class Elements(HTMLParser):
    """What a page consists of, as an independent reader sees it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs


@given(st.text() | st.sampled_from(HOSTILE))
def test_no_text_ends_the_element_that_data_lie_in(text: str) -> None:
    written = embedded({"name": text})
    assert json.loads(written) == {"name": text}
    assert not set(written) & set("<>&\u2028\u2029")


@given(st.text())
def test_shown_names_are_printable_and_never_empty(text: str) -> None:
    assert shown(text).isprintable()
    assert shown(text)
    assert shown(text) == text or not text or not text.isprintable()


@pytest.mark.parametrize(
    "url",
    [*ADDRESSES, "", "//a.example", "https:", "https://", " https://a.example", "java\nscript:x", "http://[", None, 7],
)
def test_only_web_addresses_become_links(url: object) -> None:
    if isinstance(url, str) and url.startswith("https://a.example/"):
        assert web_address(url) == url  # whose quotation mark the template escapes
    else:
        assert web_address(url) is None


def test_hostile_names_make_no_element_and_no_attribute(tmp_path: Path) -> None:
    write_export(tmp_path / "hostile", hostile_rows())
    hostile_ledger(tmp_path / "hostile")
    write_export(tmp_path / "harmless", History(days=3, pipelines_a_day=4).rows)
    write_ledger(tmp_path / "harmless", files=10, failures=10)
    pages = []
    for name in ("hostile", "harmless"):
        write_report(tmp_path / name, tmp_path / "page.html")
        pages.append(Elements((tmp_path / "page.html").read_text("utf-8")))
    hostile, harmless = pages
    assert set(hostile.names) == set(harmless.names)
    assert hostile.names.count("script") == harmless.names.count("script") == 2
    assert {name for name, _ in hostile.attributes} == {name for name, _ in harmless.attributes}
    addresses = [value or "" for name, value in hostile.attributes if name in {"href", "src"}]
    assert all(one.startswith(("#", "https://", "data:image/svg+xml,")) for one in addresses)


def test_a_page_asks_for_nothing_and_forbids_it(tmp_path: Path) -> None:
    write_export(tmp_path, History(days=2).rows)
    written = write_report(tmp_path, tmp_path / "page.html")
    text = written.path.read_text("utf-8")
    assert "default-src 'none'" in text
    assert "unsafe-inline" not in text
    assert written.size == written.path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("left_out", [*(name for name in TABLES if name in History(days=1).rows), "all"])
def test_a_page_is_written_whatever_is_missing_and_says_so(left_out: str, tmp_path: Path) -> None:
    rows = {name: [] if left_out in {name, "all"} else values for name, values in History(days=2).rows.items()}
    write_export(tmp_path, rows)
    write_report(tmp_path, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    if left_out in {"workflows", "jobs", "job_details", "tests", "insights_runs", "all"}:
        assert "Not shown here" in text


def test_a_page_about_an_export_that_did_not_come_to_its_end_says_so(tmp_path: Path) -> None:
    page, said = tmp_path / "page.html", "has not come to its end"

    def opened() -> State:
        state = State(tmp_path, origin="https://host", raw=False, now=datetime(2026, 11, 2, tzinfo=UTC))
        state.use([TABLES["pipelines"], TABLES["gaps"]])
        return state

    with closing(opened()), pytest.raises(StoreError, match="locked") as caught:
        write_report(tmp_path, page)
    assert caught.value.hint
    write_report(tmp_path, page)
    assert said in page.read_text("utf-8")
    with closing(opened()) as state:
        state.end_run()
    write_report(tmp_path, page)
    assert said not in page.read_text("utf-8")


def test_a_directory_without_either_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is neither an export nor a download"):
        write_report(tmp_path, tmp_path / "page.html")


def test_a_raw_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".aiocircle").mkdir()
    with closing(sqlite3.connect(tmp_path / ".aiocircle" / "export.sqlite")) as database:
        database.execute(creation(Table("jobs", RawRow, ("key",))))
    with pytest.raises(StoreError, match="a raw export has no columns"):
        write_report(tmp_path, tmp_path / "page.html")


@pytest.mark.parametrize(("name", "why"), [("export.sqlite", "not a database"), ("ledger.sqlite", "not a database")])
def test_what_is_no_database_is_refused(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / ".aiocircle").mkdir()
    (tmp_path / ".aiocircle" / name).write_bytes(b"something else" * 100)
    with pytest.raises(StoreError, match=why):
        write_report(tmp_path, tmp_path / "page.html")


@pytest.mark.parametrize(("name", "why"), [("export.sqlite", "no export"), ("ledger.sqlite", "no ledger")])
def test_another_database_is_refused(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / ".aiocircle").mkdir()
    with closing(sqlite3.connect(tmp_path / ".aiocircle" / name)) as database:
        database.execute("CREATE TABLE others (name TEXT)")
    with pytest.raises(StoreError, match=why):
        write_report(tmp_path, tmp_path / "page.html")


def test_a_page_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    write_ledger(tmp_path, files=8)
    with pytest.raises(StoreError, match="no such file or directory"):
        write_report(tmp_path, tmp_path / "nowhere" / "page.html")
    (tmp_path / "taken").mkdir()
    with pytest.raises(UnsafePathError, match="a directory stands at this name"):
        write_report(tmp_path, tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".aiocircle", "taken"]


def test_the_databases_are_not_changed(tmp_path: Path) -> None:
    paths = [write_export(tmp_path, History(days=2).rows), write_ledger(tmp_path, files=20)]
    before = [path.read_bytes() for path in paths]
    write_report(tmp_path, tmp_path / "page.html")
    assert [path.read_bytes() for path in paths] == before
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["export.sqlite", "ledger.sqlite"]


def test_the_ledger_of_a_bucket_is_found_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    ledger = write_ledger(tmp_path, files=20)
    address = "s3://bucket/builds/7"
    ledger.parent.rename(tmp_path / "records")
    records_of(address).parent.mkdir(parents=True)
    (tmp_path / "records").rename(records_of(address))
    written = write_report(address, tmp_path / "page.html")
    assert (written.has_download, written.has_export) == (True, False)
    text = written.path.read_text("utf-8")
    assert f"<title>What was downloaded: {address}</title>" in text
    assert f"aiocircle retry {address}" in text


def test_without_jinja2_a_sentence_says_what_to_install(tmp_path: Path) -> None:
    write_ledger(tmp_path, files=8)
    program = (
        "import sys; sys.modules['jinja2'] = None; from aiocircle.cli.app import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "report", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7
    assert done.stderr == "aiocircle: a report needs the package jinja2\nhint: pip install 'aiocircle[report]'\n"
