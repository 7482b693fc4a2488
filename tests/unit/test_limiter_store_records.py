"""What a shared store holds, and what a store's address may say."""

import sqlite3
import stat
from pathlib import Path

import pytest
import shared_settings
from redis_server import needs_redis, redis_server
from shared_settings import ORIGIN

from aiocircle import Client
from aiocircle.errors import ConfigurationError
from aiocircle.ratelimit.address import parse_store
from aiocircle.ratelimit.record import VERSION, Held, Member, Record, dump, load
from aiocircle.ratelimit.redis_store import ServerTime

redis = shared_settings.redis


def test_a_record_survives_writing_and_reading_and_what_is_unreadable_is_dropped() -> None:
    record = Record(updated_at=1000.0)
    record.members["me"] = Member("host 1", 1000.0, 3)
    ticket = record.budget.send(1000.0, "/a")
    record.tickets["t"] = Held("me", ticket)
    text = dump(load(dump(record), 1000.5))
    assert dump(load(text, 1000.5)) == text
    for bad in (
        None,
        b"",
        b"[]",
        b"{",
        text[:-9],
        text.replace(VERSION.encode(), b"older"),
        text.replace(b'"sent":1', b'"sent":[]'),
    ):
        assert not load(bad, 1000.5).members
    assert not load(text, 1000 + 4000).members  # it expired
    assert not load(text, 10).members  # it is from before a reboot


def test_the_servers_time_is_known_as_well_as_its_answers_tell() -> None:
    time = ServerTime()
    time.saw(5000.0, 10.0, 10.4)
    assert time.at(10.4) == pytest.approx(5000.2)
    time.saw(5001.3, 11.3, 11.302)
    assert time.at(11.302) == pytest.approx(5001.301, abs=1e-3)
    time.saw(5002.0, 12.0, 13.0)  # a slow answer tells nothing new
    assert time.at(13.0) == pytest.approx(5003.0, abs=2e-3)
    time.saw(4000.0, 14.0, 14.0)  # its clock was set
    assert time.at(14.0) == 4000


@pytest.mark.parametrize(
    "text",
    ["", "sqlite:", "sqlite", "limits.db", "redis:", "redis://", "redis://:secret@:70000/0", "mysql://secret@h/1"],
)
def test_a_store_that_is_none_is_an_error_that_says_what_to_write(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Client("t0ken", limiter=text)
    assert "sqlite:PATH" in str(caught.value.hint)
    assert "secret" not in str(caught.value) + str(caught.value.hint)


@pytest.mark.anyio
async def test_a_file_that_cannot_be_used_is_an_error_and_a_new_one_is_its_owners_alone(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("this is no SQLite file" * 100)
    for path in (tmp_path, tmp_path / "none" / "limits.db", text):
        with pytest.raises(ConfigurationError) as caught:
            async with Client("t0ken", limiter=f"sqlite:{path}"):
                pass
        assert str(path) in str(caught.value)
        assert caught.value.hint
    async with Client("t0ken", limiter=f"sqlite:{tmp_path / 'limits.db'}"):
        pass
    assert stat.S_IMODE((tmp_path / "limits.db").stat().st_mode) == 0o600
    sqlite3.connect(tmp_path / "limits.db").close()


@pytest.mark.anyio
async def test_without_the_package_for_redis_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio.retry", None)
    with pytest.raises(ConfigurationError) as caught:
        async with Client("t0ken", limiter="redis://127.0.0.1:1/0"):
            pass
    assert caught.value.hint == "pip install 'aiocircle[redis]'"


@needs_redis
@pytest.mark.anyio
async def test_the_password_of_the_server_is_needed_and_in_no_message() -> None:
    with redis_server(password="hunter2") as server:
        async with Client("t0ken", limiter=server.url) as client:
            await client.limiter.refresh(ORIGIN)
            assert "hunter2" not in repr(client.limiter._store) + repr(parse_store(server.url))
        with pytest.raises(ConfigurationError) as caught:
            async with Client("t0ken", limiter=server.url.replace("hunter2", "wr0ng")):
                pass
        assert "wr0ng" not in f"{caught.value} {caught.value.hint}"
