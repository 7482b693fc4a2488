"""parfive as its guide shows it: every file enqueued, so many connections at once, its own defaults else.

A peer of ``download.py``. parfive knows no listing, so that is read here, all pages of it.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from parfive import Downloader, SessionConfig

AT_ONCE = 64
TOKEN = {"Circle-Token": os.environ["CIRCLE_TOKEN"]}


def listed(address: str) -> Iterator[dict[str, Any]]:
    query = ""
    while True:
        with urlopen(Request(address + query, headers=TOKEN)) as response:
            page = json.load(response)
        yield from page["items"]
        if not page["next_page_token"]:
            return
        query = "?" + urlencode({"page-token": page["next_page_token"]})


def main() -> int:
    root = Path(os.environ["OUTPUT"])
    downloader = Downloader(max_conn=AT_ONCE, progress=False, config=SessionConfig(headers=TOKEN))
    for item in listed(os.environ["LISTING"]):
        target = root / str(item["node_index"]) / item["path"]
        downloader.enqueue_file(item["url"], path=target.parent, filename=target.name)
    errors = downloader.download().errors
    print(*errors[:1])
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
