"""The page opened in a real browser: every plot drawn, nothing asked for, nothing complained of, nothing injected."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from browser import Tab, browser_tab, needs_chromium
from ci_history import History, write_export, write_ledger
from hostile_history import hostile_ledger, hostile_rows

from aiocircle.report import write_report

pytestmark = [pytest.mark.anyio, needs_chromium, pytest.mark.timeout(120)]

PLOTS = {
    *("success", "runs", "durations", "slowest-jobs", "failures", "queue-distribution", "queue-course"),
    *("slowest-tests", "flakiest-tests", "credits-workflow", "pipeline"),
    *("throughput", "file-rate", "in-flight", "sizes", "slowest-files"),
}
MARKS = "Object.fromEntries([...document.querySelectorAll('.plot')].map(p => [p.id.slice(5), Number(p.dataset.marks)]))"
COLOURS = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('.card')).color]"
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
SHIFTS = """new Promise(done => {
  let sum = 0;
  const add = list => list.getEntries().forEach(one => { sum += one.value; });
  new PerformanceObserver(add).observe({type: "layout-shift", buffered: true});
  requestAnimationFrame(() => requestAnimationFrame(() => done(sum)));
})"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def tab(anyio_backend: str) -> AsyncIterator[Tab]:
    async with asyncio.timeout(110), browser_tab() as tab:
        yield tab


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("out")
    write_export(directory, History(days=84, pipelines_a_day=6).rows)
    write_ledger(directory)
    return write_report(directory, directory / "report.html").path


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 400)])
async def test_every_plot_is_drawn_without_a_request_or_a_complaint(
    scheme: str, width: int, tab: Tab, report: Path, tmp_path: Path
) -> None:
    await tab.open(report.as_uri(), scheme=scheme, width=width)
    marks = await tab.evaluate(MARKS)
    assert set(marks) == PLOTS
    assert all(marks.values()), marks
    assert tab.complaints == []
    assert [address for address in tab.requests if not address.startswith("data:")] == [report.as_uri()]
    assert await tab.evaluate(OVERFLOW) <= 0
    assert await tab.evaluate(SHIFTS) < 0.01
    picture = await tab.screenshot(tmp_path / "report.png")
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 100_000


async def test_the_page_follows_the_system_and_its_own_button(tab: Tab, report: Path) -> None:
    await tab.open(report.as_uri(), scheme="light")
    light = await tab.evaluate(COLOURS)
    await tab.evaluate("document.getElementById('theme').click()")
    dark = await tab.evaluate(COLOURS)
    await tab.open(report.as_uri(), scheme="dark")
    assert await tab.evaluate(COLOURS) == dark != light
    await tab.evaluate("document.getElementById('theme').click()")
    assert await tab.evaluate(COLOURS) == light


async def test_pointer_and_keys_show_the_exact_figures(tab: Tab, report: Path) -> None:
    await tab.open(report.as_uri())
    for plot in sorted(PLOTS):
        shown = await tab.evaluate(
            f"""(() => {{
              const root = document.querySelector('#plot-{plot} svg');
              root.focus();
              root.dispatchEvent(new KeyboardEvent('keydown', {{key: 'End', bubbles: true}}));
              const tip = document.getElementById('tip');
              return [tip.hidden, tip.textContent, document.getElementById('said').textContent];
            }})()"""
        )
        assert shown[0] is False, plot
        assert shown[1], plot
        assert shown[2], plot
    assert tab.complaints == []


async def test_what_is_chosen_in_one_plot_is_chosen_in_those_of_the_same_kind(tab: Tab, report: Path) -> None:
    await tab.open(report.as_uri())
    chosen = await tab.evaluate(
        """(() => {
          const ids = ['throughput', 'file-rate', 'in-flight'];
          const [first, ...others] = ids.map(id => document.querySelector(`#${id} select`));
          first.value = '1';
          first.dispatchEvent(new Event('change'));
          return others.map(one => one.value);
        })()"""
    )
    assert chosen == ["1", "1"]


async def test_every_timeline_to_choose_from_is_drawn(tab: Tab, report: Path) -> None:
    await tab.open(report.as_uri())
    drawn = await tab.evaluate(
        """[...document.querySelectorAll('#pipeline option')].map((_, place) => {
          const select = document.querySelector('#pipeline select');
          select.value = String(place);
          select.dispatchEvent(new Event('change'));
          return Number(document.getElementById('plot-pipeline').dataset.marks);
        })"""
    )
    assert len(drawn) >= 5
    assert min(drawn) > 0
    assert tab.complaints == []


@pytest.fixture
def hostile_report(tmp_path: Path) -> Path:
    write_export(tmp_path, hostile_rows())
    hostile_ledger(tmp_path)
    return write_report(tmp_path, tmp_path / "report.html").path


async def test_hostile_names_stay_text(tab: Tab, hostile_report: Path) -> None:
    report = hostile_report
    await tab.open(report.as_uri())
    marks: dict[str, Any] = await tab.evaluate(MARKS)
    assert all(marks.values())
    assert {"success", "durations", "slowest-jobs", "failures", "slowest-tests", "pipeline", "slowest-files"} <= set(
        marks
    )
    await tab.evaluate(
        """document.querySelectorAll('.plot svg').forEach(root => {
          root.focus();
          for (const key of ['Home', 'End']) root.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
        })"""
    )
    assert await tab.evaluate("typeof window.hacked") == "undefined"
    assert await tab.evaluate("document.querySelectorAll('script').length") == 2
    assert (
        await tab.evaluate("document.querySelectorAll('img, iframe, object, base, form, [onerror], [onload]').length")
        == 0
    )
    schemes = await tab.evaluate("[...new Set([...document.links].map(one => one.protocol))].sort()")
    assert set(schemes) <= {"https:", "http:", "file:"}  # file: leads to places within the page
    assert tab.complaints == []
    assert [address for address in tab.requests if not address.startswith("data:")] == [report.as_uri()]


@pytest.fixture
def small_report(tmp_path: Path) -> Path:
    history = History(days=1, pipelines_a_day=1)
    write_export(tmp_path, {name: rows for name, rows in history.rows.items() if name in {"workflows", "jobs"}})
    return write_report(tmp_path, tmp_path / "report.html").path


async def test_a_page_of_one_point_is_drawn(tab: Tab, small_report: Path) -> None:
    await tab.open(small_report.as_uri())
    assert all((await tab.evaluate(MARKS)).values())
    assert tab.complaints == []
