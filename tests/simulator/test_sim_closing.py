"""The simulator ends what it began, whatever its clients do."""

import socket
import time

import aiohttp
import pytest
from sim_client import api, hop, with_token
from sim_served import SLUG, first_url
from tls import TLS

from aiocircle.testing import FakeArtifact, Simulator, SimulatorThread, World


@pytest.mark.parametrize("fault", ["stall", "stall-half", "slow-drip", "silence@storage"])
def test_closing_waits_for_nobody(fault: str) -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=1_000_000)])
    thread = SimulatorThread(world, faults=[fault])
    with thread as sim:
        location = hop(sim, first_url(sim))
        target, port = location.split(sim.storage_url)[1], int(sim.storage_url.rpartition(":")[2])
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        for client in clients:
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        deadline = time.monotonic() + 5
        while sim.stats.in_flight < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sim.stats.in_flight == 20
        began = time.monotonic()
    assert time.monotonic() - began < 1
    for client in clients:
        client.close()


def test_closing_does_not_wait_for_a_client_that_does_not_read() -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("f", size=100_000_000)])
    with SimulatorThread(world) as sim:
        target = hop(sim, first_url(sim)).split(sim.storage_url)[1]
        client = socket.create_connection(("127.0.0.1", int(sim.storage_url.rpartition(":")[2])))
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        client.recv(10)
        began = time.monotonic()
    assert time.monotonic() - began < 1
    client.close()


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    with SimulatorThread(World(pipelines=0)) as sim:
        port = int(sim.url.rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)), SimulatorThread(World(pipelines=0), port=port):
            pass
        assert api(sim, "/me").status == 200


@pytest.mark.anyio
async def test_https_is_served_with_a_context_and_the_foreign_origin_stays_http(tls: TLS) -> None:
    world = World(pipelines=0)
    job = world.add_job(SLUG, 1, [FakeArtifact("f", size=700_000)])
    async with Simulator(world, ssl_context=tls.server) as sim, aiohttp.ClientSession() as session:
        assert sim.url.startswith("https://127.0.0.1:")
        assert sim.storage_url.startswith("https://")
        assert sim.foreign_url.startswith("http://")
        url = f"{sim.url}/output/job/{job.id}/artifacts/0/f"
        async with session.get(url, headers=with_token(sim), ssl=tls.client, allow_redirects=False) as reply:
            location = reply.headers["Location"]
        async with session.get(location, ssl=tls.client) as reply:
            assert await reply.read() == world.artifact_bytes(SLUG, 1, "f")
