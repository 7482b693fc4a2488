"""One of several processes that share a budget: asks so many times, and says how it went.

python limit_sharer.py URL LIMITER REQUESTS
"""

import asyncio
import json
import sys

import aiocircle
from aiocircle.events import Event, LimiterStoreBack, LimiterStoreLost
from aiocircle.testing import DEFAULT_TOKEN

AT_ONCE = 16


async def main(url: str, limiter: str, requests: int) -> None:
    told: list[str] = []

    def on_event(event: Event) -> None:
        if isinstance(event, LimiterStoreLost | LimiterStoreBack):
            told.append(type(event).__name__)

    todo = iter(range(requests))
    async with aiocircle.Client(DEFAULT_TOKEN, host=url, limiter=limiter, on_event=on_event) as client:

        async def ask() -> None:
            for _ in todo:
                await client.request("GET", "/me")

        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
        totals = client.limiter.totals()
    sys.stdout.write(json.dumps({"requests": totals.requests, "refusals": totals.refusals, "told": told}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
