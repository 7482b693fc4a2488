"""What cannot be meant is refused in words: no directory is named ``None``, and no glob taken letter by letter."""

from pathlib import Path
from typing import Any

import pytest

from aiocircle import Client, DownloadOptions, ExportOptions, Plan, Selection
from aiocircle.download.missing import missing_in
from aiocircle.errors import ConfigurationError
from aiocircle.report import write_report

SLUG = "gh/acme/web"
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "options",
    [
        *({"include": "*.xml"}, {"include": [1]}, {"exclude": None}, {"nodes": "01"}, {"nodes": 1}, {"nodes": ["1"]}),
        *({"min_size": "10k"}, {"max_size": 1.5}, {"shard": "1/2"}, {"layout": 5}, {"dedupe": "no"}, {"dry_run": 1}),
        *({"concurrency": "8"}, {"state": 5}, {"concurrency": True}, {"sync": "yes"}, {"buffer": "1M"}),
    ],
)
def test_options_of_another_kind_are_refused_in_words(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        DownloadOptions(**options)


@pytest.mark.parametrize(
    "which",
    [
        *(
            {"all": True, "statuses": "failed"},
            {"all": True, "job_names": "b*"},
            {"all": True, "workflow_names": [None]},
        ),
        *({"job": "7"}, {"pipeline": 1.0}, {"latest": "yes"}, {"since": "2026-11-01"}, {"workflow": 5}),
        *({"latest": True, "branch": ["main"]}, {"all": 1}),
    ],
)
def test_selections_of_another_kind_are_refused_in_words(which: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Selection(SLUG, **which)


@pytest.mark.parametrize("path", [None, 5, b"out", True])
async def test_what_is_no_path_is_refused_in_words(path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with Client("token") as client:
        with pytest.raises(ConfigurationError, match="the output is no path"):
            client.download(SLUG, job=1, to=path)
        with pytest.raises(ConfigurationError, match="the output is no path"):
            await client.download_failed(to=path)
        with pytest.raises(ConfigurationError, match="the output is no path"):
            client.export.run(SLUG, "builds", to=path, options=ExportOptions())
    with pytest.raises(ConfigurationError, match="is no path"):
        await Plan.read(path)
    with pytest.raises(ConfigurationError, match="is no path"):
        missing_in(path)
    with pytest.raises(ConfigurationError, match="is no path"):
        write_report(path, "page.html")
    assert list(tmp_path.iterdir()) == []
