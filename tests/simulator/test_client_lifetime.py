"""A client before it is open, while it is, and after: what is asked for at the wrong time is an error, never a wait."""

import asyncio
from pathlib import Path

import pytest
from raw_host import TOKEN, Asked, RawHost, opened, reply

from aiocircle import Client
from aiocircle.errors import ConfigurationError

pytestmark = pytest.mark.anyio

CLOSED = "closed while it was in use"


def refusing(asked: Asked) -> bytes:
    return reply(429, Retry_After="200") if asked.target.endswith("/later") else reply()


@pytest.mark.parametrize("shared", [False, True])
async def test_who_waits_for_the_limit_when_the_client_closes_gets_an_error_and_is_not_cancelled(
    tmp_path: Path, *, shared: bool
) -> None:
    """A task of a group that ends as cancelled, although nobody cancelled it, is lost without a word."""
    limiter = f"sqlite:{tmp_path / 'limits.db'}" if shared else None
    async with RawHost(refusing) as host:
        async with opened(host.url, limiter=limiter, clock=None) as seen:
            await seen.get()
            waiting = [asyncio.ensure_future(seen.get("/later")) for _ in range(3)]
            async with asyncio.timeout(5):
                while not any(lane.waiting == len(waiting) for lane in seen.limiter.snapshot()):
                    await asyncio.sleep(0.01)
        ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    for error in ended:
        assert isinstance(error, ConfigurationError)
        assert CLOSED in str(error)


@pytest.mark.parametrize("shared", [False, True])
async def test_what_comes_after_the_end_is_an_error_at_once(tmp_path: Path, *, shared: bool) -> None:
    limiter = f"sqlite:{tmp_path / 'limits.db'}" if shared else None
    async with RawHost(refusing) as host:
        async with opened(host.url, limiter=limiter) as seen:
            await seen.get()
            limits = seen.limiter
        with pytest.raises(ConfigurationError, match=CLOSED):
            await limits.refresh(host.url)  # which would leave the store's thread behind
        for path in ("/me", "/elsewhere"):
            with pytest.raises(ConfigurationError, match=CLOSED):
                await asyncio.wait_for(seen.get(path), 5)
    assert len(host.asked) == 1


async def test_a_client_is_opened_once_at_a_time_and_any_number_of_times() -> None:
    async with RawHost(refusing) as host:
        client = Client(TOKEN, host=host.url)
        for _ in range(2):
            async with client:
                with pytest.raises(ConfigurationError, match="open already"):
                    await client.__aenter__()
                await client.request("GET", "/me")
            with pytest.raises(ConfigurationError, match="not open"):
                await client.request("GET", "/me")


async def test_a_client_that_could_not_be_opened_can_be_opened_later(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    async with RawHost(refusing) as host:
        client = Client(TOKEN, host=host.url, limiter=f"sqlite:{folder / 'limits.db'}")
        with pytest.raises(ConfigurationError, match="cannot be used"):
            await client.__aenter__()
        folder.mkdir()
        async with client:
            await client.request("GET", "/me")
