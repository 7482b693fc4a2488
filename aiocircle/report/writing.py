"""The page, written to a file: what lies in the directory, read, put into the template, and renamed into its place.

The page asks nobody for anything, and its own policy forbids it to: the browser runs the one script and the one style
whose digests it names, whatever a branch or a test may be called. Names reach the page in two ways only: by a template
that escapes them, and as JSON in which no character can end its element; the script puts them in as text.
"""

import base64
import hashlib
import json
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from aiocircle._version import __version__
from aiocircle.download.outputs import is_bucket, records_of
from aiocircle.download.records import LEDGER
from aiocircle.download.replacing import replacing
from aiocircle.download.stores import is_plain_file
from aiocircle.errors import ConfigurationError, StoreError
from aiocircle.export.rows import RawRow
from aiocircle.export.tables import TABLES
from aiocircle.given import check_path
from aiocircle.report.amounts import moment, shown
from aiocircle.report.credits import credit_section
from aiocircle.report.database import Database
from aiocircle.report.downloads import download_section, download_tiles
from aiocircle.report.gaps import gap_section, unfinished
from aiocircle.report.jobs import job_section, queue_section
from aiocircle.report.parts import Page, Plot, Section, Tile
from aiocircle.report.results import test_section
from aiocircle.report.summary import export_span, export_tiles
from aiocircle.report.timeline import timeline_section
from aiocircle.report.workflows import workflow_section

if TYPE_CHECKING:
    import jinja2

EXPORT = "export.sqlite"
SCRIPTS: Final = ("dom.js", "scales.js", "plots.js", "bars.js", "timeline.js", "page.js")
# Of JSON these occur in texts only. "<" begins "</script>" and "<!--"; the others end lines in older scripts.
_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@frozen(kw_only=True)
class Rendered:
    """A report as it is written.

    Attributes:
        text: The page, in UTF-8.
        has_export: It tells of an export.
        has_download: It tells of a download.
    """

    text: bytes
    has_export: bool
    has_download: bool


@frozen(kw_only=True)
class Written:
    """A report that was written.

    Attributes:
        path: Where it lies.
        size: Its bytes.
        has_export: It tells of an export.
        has_download: It tells of a download.
    """

    path: Path
    size: int
    has_export: bool
    has_download: bool


def write_report(directory: str | Path, to: str | Path) -> Written:
    """Write one HTML page about the export or the download, or both, that lie in a directory; blocks.

    Nothing in the directory is changed. The page needs nothing but itself, and is replaced as a whole.

    Args:
        directory: Where ``aiocircle export`` or ``aiocircle download`` wrote to; of a bucket, its address.
        to: The file to write.

    Raises:
        ConfigurationError: The package jinja2 is not there.
        StoreError: There is neither, one cannot be read, or the page cannot be written.
    """
    check_path(to, "the page's file")
    page = render_report(directory)
    with replacing(Path(to)) as file:
        file.write(page.text)
    return Written(path=Path(to), size=len(page.text), has_export=page.has_export, has_download=page.has_download)


def render_report(directory: str | Path) -> Rendered:
    """Return the page that ``write_report`` writes; blocks.

    Raises:
        ConfigurationError: The package jinja2 is not there.
        StoreError: There is neither, or one cannot be read.
    """
    check_path(directory, "the directory")
    output = str(directory)
    template = _template()
    own = records_of(output)
    export, ledger = own / EXPORT, own / LEDGER
    found = [path for path in (export, ledger) if is_plain_file(path)]
    if not found:
        hint = "give the directory that 'aiocircle export' or 'aiocircle download' wrote to (-o)"
        raise StoreError(f"{output}: there is neither an export nor a download", hint=hint)
    text = _render(template, _page(output, *((path if path in found else None) for path in (export, ledger))))
    return Rendered(text=text, has_export=export in found, has_download=ledger in found)


def _page(output: str, export: Path | None, ledger: Path | None) -> Page:
    tiles: list[Tile] = []
    sections: list[Section] = []
    notes: list[str] = []
    subtitle = shown(output if is_bucket(output) else Path(output).absolute().name)
    if export is not None:
        with Database(export) as database:
            _check(database)
            sections += [
                workflow_section(database),
                job_section(database),
                queue_section(database),
                test_section(database),
                credit_section(database),
                timeline_section(database),
                gap_section(database),
            ]
            tiles += export_tiles(database)
            notes = unfinished(database)
            subtitle = export_span(database) or subtitle
    if ledger is not None:
        with Database(ledger) as database:
            if not database.columns("files"):
                raise StoreError(f"{ledger}: it is no ledger")
            sections.append(download_section(database, output))
            tiles += download_tiles(database)
    title = "What CI did" if export is not None else "What was downloaded"
    return Page(title=title, subtitle=subtitle, tiles=tiles, sections=sections, notes=notes)


def _check(database: Database) -> None:
    tables = [table for table in TABLES if database.columns(table)]
    if not tables:
        raise StoreError(f"{database.path}: it is no export")
    raw = set(RawRow._fields)
    if any(raw <= set(database.columns(table)) for table in tables):
        hint = "export into another directory without --raw"
        raise StoreError(f"{database.path}: a raw export has no columns that a report could read", hint=hint)


def _template() -> "jinja2.Template":
    try:
        import jinja2  # noqa: PLC0415 -- what only the report needs costs a start
    except ImportError:
        hint = "pip install 'aiocircle[report]'"
        raise ConfigurationError("a report needs the package jinja2", hint=hint) from None
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_own("page.html"))


def _render(template: "jinja2.Template", page: Page) -> bytes:
    script = '"use strict";\n(() => {\n' + "\n".join(_own(name) for name in SCRIPTS) + "\n})();\n"
    style = _own("page.css")
    text = template.render(
        page=page,
        data=embedded(_data(page)),
        script=script,
        style=style,
        script_digest=_digest(script),
        style_digest=_digest(style),
        version=__version__,
        made=moment(datetime.now(UTC).timestamp(), exact=True),
    )
    return text.encode("utf-8", "replace")


def _data(page: Page) -> dict[str, Any]:
    plots = [part for section in page.sections for part in section.shown if isinstance(part, Plot)]
    return {
        "plots": [{"id": plot.id, "kind": plot.kind, "label": plot.label, "data": plot.data} for plot in plots],
        "courses": [list(tile.course) for tile in page.tiles],
    }


def embedded(value: Any) -> str:
    """Return a value as JSON that may stand in a ``script`` element, whatever its texts are."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _own(name: str) -> str:
    return files("aiocircle.report").joinpath("page", name).read_text(encoding="utf-8")
