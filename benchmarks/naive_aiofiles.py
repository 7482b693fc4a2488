"""The script that most people write first: aiohttp, aiofiles, one task per artifact, 64 at once.

A peer of ``download.py``. It is complete, in that it follows the listing's pages and checks the status, and otherwise
does what tutorials do.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import aiofiles
import aiohttp

AT_ONCE = 64
CHUNK = 64 * 1024


async def listed(session: aiohttp.ClientSession, address: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    params: dict[str, str] = {}
    while True:
        async with session.get(address, params=params) as response:
            response.raise_for_status()
            page = await response.json()
        items.extend(page["items"])
        if not page["next_page_token"]:
            return items
        params = {"page-token": page["next_page_token"]}


async def download(session: aiohttp.ClientSession, gate: asyncio.Semaphore, item: dict[str, Any], root: Path) -> None:
    target = root / str(item["node_index"]) / item["path"]
    async with gate, session.get(item["url"]) as response:
        response.raise_for_status()
        target.parent.mkdir(parents=True, exist_ok=True)
        async with aiofiles.open(target, "wb") as file:
            async for chunk in response.content.iter_chunked(CHUNK):
                await file.write(chunk)


async def main() -> None:
    root = Path(os.environ["OUTPUT"])
    gate = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession(headers={"Circle-Token": os.environ["CIRCLE_TOKEN"]}) as session:
        items = await listed(session, os.environ["LISTING"])
        await asyncio.gather(*(download(session, gate, item, root) for item in items))


if __name__ == "__main__":
    asyncio.run(main())
