"""Processes around one store, as tests of shared budgets have them."""

from collections.abc import Iterator

import pytest
from redis_server import REDIS_SERVER, RedisServer, redis_server

ORIGIN = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer | None]:
    if not REDIS_SERVER:
        yield None
        return
    with redis_server() as server:
        yield server
