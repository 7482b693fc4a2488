"""What tests of a session's exchanges share."""

import socket

import pytest
from raw_host import Opened

from aiocircle.api import Artifact
from aiocircle.errors import (
    AioCircleError,
)
from aiocircle.pagination import Paginator
from aiocircle.testing import FakeArtifact, World

SLUG = "gh/acme/web"
BODY = bytes(range(256)) * 200


def world() -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 7, [FakeArtifact(f"{n}.bin", body=BODY) for n in range(50)])
    return world


async def artifact_in(seen: Opened) -> str:
    artifact = await seen.client.artifacts.list(SLUG, 7).first()
    assert artifact is not None
    return artifact.url or ""


async def failing(seen: Opened, address: str | None = None) -> AioCircleError:
    with pytest.raises(AioCircleError) as caught:
        await (seen.get() if address is None else seen.bytes_of(address))
    assert seen.is_idle()
    return caught.value


def listing(seen: Opened) -> Paginator[Artifact]:
    return seen.client.artifacts.list(SLUG, 7)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
