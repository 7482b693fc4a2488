"""Addresses of files that only this machine could ask: refused in every spelling, and by whatever name they go."""

import socket
from pathlib import Path
from typing import Any

import pytest
from raw_host import RawHost, opened, reply

from aiocircle import Client, Report, RetryPolicy, Timeouts
from aiocircle.errors import ConnectError, DeadlineError, UnsafeAddressError
from aiocircle.testing import FakeArtifact, Simulator, World

pytestmark = pytest.mark.anyio

SLUG = "gh/acme/web"
ELSEWHERE = "https://circleci.example"  # an API that is not on this machine; it is never asked
BODY = b"what only this machine may see"
METADATA = "/latest/meta-data/"


def host() -> RawHost:
    return RawHost(lambda asked: reply(body=BODY))


def naming(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, str]) -> list[str]:
    """Let names lead where the test wants, with the first look, the second one ...; return the names looked up."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(name: Any, port: Any, *more: Any, **named: Any) -> Any:
        names = answers[min(asked.count(name), len(answers) - 1)]
        if name not in names:
            return real(name, port, *more, **named)
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (names[name], port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize(
    "spelling",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST.",
        "x.localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
    ],
)
async def test_this_machine_is_not_asked_in_any_spelling_where_the_api_is_elsewhere(spelling: str) -> None:
    async with host() as here, opened(ELSEWHERE) as seen:
        with pytest.raises(UnsafeAddressError):
            await seen.bytes_of(f"http://{spelling}:{here.port}/x")
        assert here.connections == 0
        assert seen.is_idle()


async def test_a_refused_address_says_why_and_what_to_do() -> None:
    async with opened(ELSEWHERE) as seen:
        with pytest.raises(UnsafeAddressError, match="leads to a cloud's metadata service") as caught:
            await seen.bytes_of(f"http://169.254.169.254{METADATA}?X-Amz-Signature=secret")
    assert caught.value.hint
    assert "secret" not in repr(caught.value)


async def test_a_name_that_leads_to_this_machine_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = naming(monkeypatch, {"files.example": "127.0.0.1"})
    async with host() as here, opened(ELSEWHERE) as seen:
        with pytest.raises(UnsafeAddressError, match=r"files\.example leads to this machine") as caught:
            await seen.bytes_of(f"http://files.example:{here.port}/x")
        assert here.connections == 0
        assert seen.is_idle()
    assert caught.value.hint
    assert len(asked) == 1, "it is not tried again"


async def test_a_name_that_leads_elsewhere_with_the_next_look_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is judged is what is connected to: 203.0.113.1 is nobody, and 127.0.0.1 is never asked."""
    asked = naming(monkeypatch, {"files.example": "203.0.113.1"}, {"files.example": "127.0.0.1"})
    timeouts = Timeouts(connect=0.2)
    async with host() as here, opened(ELSEWHERE, timeouts=timeouts, retry=RetryPolicy(attempts=3, base=0.001)) as seen:
        with pytest.raises((ConnectError, DeadlineError), match=r"no connection to files\.example"):
            await seen.bytes_of(f"http://files.example:{here.port}/x")
        assert here.connections == 0
    assert asked == ["files.example"]


async def test_a_redirect_is_judged_like_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The artifact's host is let in as the API's own; what it redirects to is not."""
    naming(monkeypatch, {"circleci.example": "127.0.0.1", "files.example": "169.254.169.254"})
    leads = ["http://169.254.169.254/", "http://[fe80::1]/", "http://files.example/", "http://[::ffff:169.254.1.1]/"]
    async with (
        RawHost(lambda asked: reply(302, Location=leads[int(asked.target[1:])])) as here,
        opened(f"http://circleci.example:{here.port}", allow_http=True) as seen,
    ):
        for number in range(len(leads)):
            with pytest.raises(UnsafeAddressError):
                await seen.bytes_of(f"http://circleci.example:{here.port}/{number}")
        assert len(here.asked) == len(leads)


async def test_an_api_whose_name_leads_to_this_machine_may_have_its_files_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    naming(monkeypatch, {"circleci.example": "127.0.0.1", "files.example": "127.0.0.1"})
    async with host() as here, opened(f"http://circleci.example:{here.port}", allow_http=True) as seen:
        for name in ("circleci.example", "files.example", "127.0.0.1"):
            assert await seen.bytes_of(f"http://{name}:{here.port}/x") == BODY


async def test_proxies_that_the_user_chose_may_be_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async with host() as here:
        monkeypatch.setenv("http_proxy", f"http://localhost:{here.port}")
        async with opened(ELSEWHERE, trust_env=True) as seen:
            assert await seen.bytes_of("http://files.example/x") == BODY
            with pytest.raises(UnsafeAddressError):
                await seen.bytes_of(f"http://127.0.0.1:{here.port}/x")
        assert [asked.target for asked in here.asked] == ["http://files.example/x"]


async def test_beside_a_proxy_on_this_machine_nothing_else_there_may_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    naming(monkeypatch, {"proxy.corp": "127.0.0.1"})
    async with host() as proxy, host() as here:
        monkeypatch.setenv("http_proxy", f"http://proxy.corp:{proxy.port}")
        monkeypatch.setenv("no_proxy", "proxy.corp")
        async with opened(ELSEWHERE, trust_env=True) as seen:
            assert await seen.bytes_of("http://files.example/x") == BODY
            with pytest.raises(UnsafeAddressError):
                await seen.bytes_of(f"http://proxy.corp:{here.port}/x")
        assert not here.asked


async def test_a_name_that_leads_nowhere_is_an_error_in_words_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with opened(ELSEWHERE, retry=RetryPolicy(attempts=2, base=0.001)) as seen:
        with pytest.raises(ConnectError, match=r"files\.example: the name does not resolve") as caught:
            await seen.bytes_of("https://files.example/x")
    assert caught.value.hint == "is the host's name right, and can this machine resolve names?"


# --- in the middle of a run ------------------------------------------------------------------------------------------

GOOD = [FakeArtifact(f"good/{n}", size=1000 * n) for n in range(5)]


async def run(tmp_path: Path, *bad: FakeArtifact, fault: str | None = None) -> tuple[Simulator, World, Report]:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [*GOOD[:2], *bad, *GOOD[2:]])
    async with (
        Simulator(world) as sim,
        Client(sim.token, host=sim.url, timeouts=Timeouts(connect=0.5), retry=RetryPolicy(base=0.001)) as client,
    ):
        if fault is not None:
            sim.faults.add(fault, match="/bad")
        report = await client.download(SLUG, job=1, to=tmp_path)
        assert sim.stats.leaks == 0
    return sim, world, report


def assert_only_the_bad_ones_failed(tmp_path: Path, world: World, report: Report, failed: int) -> None:
    assert {one.code for one in report.failures} == {"unsafe_address"}
    assert (report.files, report.failed, report.stopped_by) == (len(GOOD), failed, None)
    assert not list(tmp_path.rglob("bad*"))
    for one in GOOD:
        assert (tmp_path / "0" / one.path).read_bytes() == world.artifact_bytes(SLUG, 1, one.path)


@pytest.mark.parametrize(
    "fault", ["redirect-file", "redirect-link-local", "redirect-link-local-mapped", "redirect-link-local-number"]
)
async def test_a_redirect_to_what_only_this_machine_could_ask_is_refused_and_the_others_go_on(
    tmp_path: Path, fault: str
) -> None:
    sim, world, report = await run(tmp_path, FakeArtifact("bad", size=10), fault=fault)
    assert sim.stats.faulted[fault] == 1
    assert_only_the_bad_ones_failed(tmp_path, world, report, 1)


async def test_a_listing_cannot_make_this_machine_ask_its_neighbours(tmp_path: Path) -> None:
    addresses = [
        f"http://169.254.169.254{METADATA}",
        "http://[fe80::1]/x",
        "https://[::ffff:169.254.169.254]/x",
        "http://[fd00:ec2::254]/x",
        "file:///etc/passwd",
        "http://2852039166/x",
    ]
    bad = [FakeArtifact(f"bad{number}", url=url) for number, url in enumerate(addresses)]
    _, world, report = await run(tmp_path, *bad)
    assert_only_the_bad_ones_failed(tmp_path, world, report, len(bad))
