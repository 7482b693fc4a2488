"""The blocking client in synchronous code, in threads, beside a running loop, and interrupted."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aiocircle import BlockingClient, Client, Plan, Selection
from aiocircle.errors import AioCircleError, AuthenticationError, ConfigurationError, NotFoundError
from aiocircle.events import PageFetched, RequestSent
from aiocircle.testing import FakeArtifact, KongLimits, Simulator, World

ROOT = Path(__file__).parents[2]
SLUG = "gh/acme/web"
PAGES = 4
Start = Callable[..., Simulator]


def world() -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 7, [FakeArtifact(f"{n:03}.bin", size=500) for n in range(20 * PAGES)], tests=5)
    return world


@pytest.fixture
def simulator(circleci_factory: Start) -> Simulator:
    return circleci_factory(world())


@pytest.fixture
def client(simulator: Simulator) -> Iterator[BlockingClient]:
    with BlockingClient(simulator.token, host=simulator.url) as client:
        yield client
    assert not [thread for thread in threading.enumerate() if "loop" in thread.name]


# --- values, listings, downloads -------------------------------------------------------------------------------------


def test_a_call_gives_its_value(client: BlockingClient, simulator: Simulator) -> None:
    assert client.users.me().login
    assert client.jobs.get(SLUG, 7).number == 7
    assert client.host == simulator.url
    assert repr(client) == f"BlockingClient(host={simulator.url!r})"
    assert simulator.token not in f"{client!r} {client.users!r}"


def test_all_of_an_answer_and_several_requests_at_once_by_an_asynchronous_function(client: BlockingClient) -> None:
    assert client.run(lambda api: api.users.me().response()).status == 200
    assert client.request("GET", "/me").status == 200

    async def twice(api: Client) -> list[str | None]:
        return [user.login for user in await asyncio.gather(api.users.me(), api.users.me())]

    assert len(client.run(twice)) == 2


def test_a_listing_is_iterated_over_as_often_as_wanted(client: BlockingClient) -> None:
    artifacts = client.artifacts.list(SLUG, 7)
    expected = [f"{n:03}.bin" for n in range(20 * PAGES)]
    assert [artifact.path for artifact in artifacts] == expected
    assert [artifact.path for artifact in artifacts] == expected
    assert [artifact.path for artifact in artifacts.collect()] == expected
    assert [artifact.path for artifact in artifacts.collect(limit=3)] == expected[:3]
    first = artifacts.first()
    assert first is not None
    assert first.path == expected[0]


def test_pages_have_numbers_and_tokens_to_resume_from(client: BlockingClient) -> None:
    pages = list(client.artifacts.list(SLUG, 7).pages())
    assert [page.number for page in pages] == list(range(1, PAGES + 1))
    assert [len(page.items) for page in pages] == [20] * PAGES
    rest = client.artifacts.list(SLUG, 7, page_token=pages[1].next_page_token)
    assert [artifact.path for artifact in rest] == [one.path for page in pages[2:] for one in page.items]


def test_leaving_a_listing_early_leaves_nothing(simulator: Simulator) -> None:
    """No task, no open generator in the loop, and no page more than the one that was on its way."""
    fetched = []

    def on_event(event: object) -> None:
        fetched.extend([event] if isinstance(event, PageFetched) else [])

    with BlockingClient(simulator.token, host=simulator.url, on_event=on_event) as client:

        async def tasks(_api: Client) -> int:
            return len(asyncio.all_tasks())

        before = client.run(tasks)
        for artifact in client.artifacts.list(SLUG, 7):
            assert artifact.path == "000.bin"
            break
        assert client.run(tasks) == before
        assert len(fetched) <= 2
        with pytest.raises(ZeroDivisionError):
            sum(1 // 0 for _ in client.artifacts.list(SLUG, 7))
        gc.collect()  # the error's traceback has kept the listing
        assert client.run(tasks) == before


def test_a_listing_that_is_half_read_when_the_client_closes_ends_with_it(simulator: Simulator) -> None:
    with BlockingClient(simulator.token, host=simulator.url) as client:
        items = iter(client.artifacts.list(SLUG, 7))
        for _ in range(20):
            next(items)
    with pytest.raises(ConfigurationError, match="closed"):
        next(items)
    del items
    gc.collect()


def test_a_download_is_a_call(client: BlockingClient, simulator: Simulator, tmp_path: Path) -> None:
    outcomes: list[str] = []
    report = client.download(SLUG, job=7, to=tmp_path, on_outcome=lambda outcome: outcomes.append(outcome.status))
    assert (report.files, report.ok, len(outcomes)) == (20 * PAGES, True, 20 * PAGES)
    for number in (0, 79):
        name = f"{number:03}.bin"
        assert (tmp_path / "0" / name).read_bytes() == simulator.world.artifact_bytes(SLUG, 7, name)


def test_a_selection_is_downloaded_too(client: BlockingClient, tmp_path: Path) -> None:
    assert client.download(Selection(SLUG, job=7), tmp_path).files == 20 * PAGES


def test_a_plan_is_a_call_and_is_saved_and_read_in_the_clients_loop(client: BlockingClient, tmp_path: Path) -> None:
    plan = client.artifacts.plan(SLUG, job=7)
    client.run(lambda _: plan.save(tmp_path / "plan"))
    for number, each in enumerate([plan, client.run(lambda _: Plan.read(tmp_path / "plan"))]):
        assert client.download(each, tmp_path / str(number)).files == 20 * PAGES


def test_other_settings_share_the_loop_and_the_limiter(client: BlockingClient) -> None:
    other = client.with_options(max_wait=1)
    assert isinstance(other, BlockingClient)
    assert other.users.me() == client.users.me()
    assert other.limiter.totals() == client.limiter.totals()
    assert client.limiter.snapshot()[0].name == client.host


def test_names_are_those_of_the_asynchronous_client(client: BlockingClient) -> None:
    assert {"users", "artifacts", "download", "limiter", "close", "run"} <= set(dir(client))
    assert {"list"} <= set(dir(client.artifacts))
    assert client.users.me.__doc__
    for thing in (client, client.users):
        with pytest.raises(AttributeError):
            _ = thing.nonsense  # type: ignore[union-attr]
        assert not hasattr(thing, "_opened")


# --- errors ----------------------------------------------------------------------------------------------------------


def test_errors_keep_their_types_and_hints(client: BlockingClient, simulator: Simulator, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.jobs.get(SLUG, 999)
    assert caught.value.status == 404
    assert caught.value.hint
    with pytest.raises(ConfigurationError):
        client.projects.get("no-slug")
    with pytest.raises(ConfigurationError):
        client.download(SLUG, to=tmp_path)
    with BlockingClient("wrong", host=simulator.url) as stranger, pytest.raises(AuthenticationError):
        stranger.users.me()


def test_a_closed_client_says_so_and_may_be_closed_again_and_opened(simulator: Simulator) -> None:
    client = BlockingClient(simulator.token, host=simulator.url)
    attempts: list[Callable[[], object]] = [
        lambda: client.users,
        lambda: client.limiter,
        lambda: client.request("GET", "/me"),
    ]
    for attempt in attempts:
        with pytest.raises(ConfigurationError, match="closed") as caught:
            attempt()
        assert "with BlockingClient()" in (caught.value.hint or "")
    client.close()
    with client:
        users = client.users
        with pytest.raises(ConfigurationError, match="open already"):
            client.open()
        assert users.me().login
    client.close()
    client.close()
    with pytest.raises(ConfigurationError, match="closed"):
        users.me()
    with client:
        assert client.users.me().login


def test_a_session_of_another_loop_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="session"):
        BlockingClient("token", session=object())  # type: ignore[call-arg]


def test_a_callback_that_calls_the_client_is_told_why_it_cannot(simulator: Simulator, tmp_path: Path) -> None:
    told: list[AioCircleError] = []
    client = BlockingClient(simulator.token, host=simulator.url)

    def on_outcome(_outcome: object) -> None:
        try:
            client.users.me()
        except AioCircleError as error:
            told.append(error)

    with client:
        assert client.download(SLUG, job=7, to=tmp_path, on_outcome=on_outcome).ok
    assert "callback" in str(told[0])


# --- threads ---------------------------------------------------------------------------------------------------------


def test_several_threads_share_one_budget(circleci_factory: Start) -> None:
    simulator = circleci_factory(world(), limits=KongLimits({"second": 20}))
    with BlockingClient(simulator.token, host=simulator.url) as client, ThreadPoolExecutor(16) as threads:
        users = list(threads.map(lambda _: client.users.me().login, range(48)))
        assert len(set(users)) == 1
        totals = client.limiter.totals()
    assert (totals.requests, totals.refusals) == (48, 0)
    assert totals.waits > 0


def test_closing_ends_the_calls_of_other_threads(simulator: Simulator) -> None:
    began, ended = threading.Event(), []

    async def for_ever(_api: Client) -> None:
        try:
            began.set()
            await asyncio.sleep(60)
        finally:
            ended.append("undone")

    client = BlockingClient(simulator.token, host=simulator.url).open()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(client.run, for_ever)
        assert began.wait(5)
        client.close()
        assert ended == ["undone"]
        with pytest.raises(ConfigurationError, match="closed"):
            call.result(5)


def test_it_works_in_the_thread_of_a_running_loop(simulator: Simulator) -> None:
    """As in a notebook. It blocks that loop, which the watch of our tests would take for a mistake."""
    done = script(
        """
        async def cell():
            with BlockingClient(TOKEN, host=HOST) as client:
                print(client.users.me().login, len(list(client.artifacts.list("gh/acme/web", 7))))

        asyncio.run(cell())
        """,
        simulator,
    )
    stdout, stderr = done.communicate(timeout=30)
    assert (done.returncode, stderr) == (0, "")
    assert stdout.split()[1] == str(20 * PAGES)


# --- interruptions ---------------------------------------------------------------------------------------------------


def script(text: str, simulator: Simulator) -> "subprocess.Popen[str]":
    head = "import asyncio, signal, sys, threading, time\nfrom aiocircle import BlockingClient\n"
    head += "TOKEN, HOST = sys.argv[1:]\n"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", head + textwrap.dedent(text), simulator.token, simulator.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_cancels_the_call_that_runs_and_leaves_nothing(circleci_factory: Start, tmp_path: Path) -> None:
    """What was half fetched is gone from under final names, no task is left, and the client works on."""
    served = World(pipelines=0)
    served.add_job(SLUG, 7, [FakeArtifact(f"{n}.bin", size=3_000_000) for n in range(4)])
    simulator = circleci_factory(served)
    simulator.faults.add("stall-half", match="bin")
    process = script(
        f"""
        async def tasks(_api):
            return len(asyncio.all_tasks())

        with BlockingClient(TOKEN, host=HOST) as client:
            before = client.run(tasks)
            try:
                client.download("gh/acme/web", job=7, to={str(tmp_path)!r})
            except KeyboardInterrupt:
                print("interrupted", client.run(tasks) - before, client.users.me().login != "")
        print(threading.active_count())
        """,
        simulator,
    )
    until(lambda: len(list(tmp_path.rglob("parts/*"))) >= 4)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (0, "")
    assert stdout.split() == ["interrupted", "0", "True", "1"]
    assert time.monotonic() - began < 5
    assert not list(tmp_path.rglob("*.bin"))


def test_ctrl_c_that_nobody_catches_ends_the_program_at_once(circleci_factory: Start) -> None:
    simulator = circleci_factory(world())
    process = script(
        """
        with BlockingClient(TOKEN, host=HOST) as client:
            print("ready", flush=True)
            client.run(lambda api: asyncio.sleep(60))
        """,
        simulator,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    assert "never" not in stderr


def test_interruptions_at_any_moment_leave_a_client_that_works(simulator: Simulator) -> None:
    """A timer interrupts calls again and again, wherever they are; no task and no listing is left in the loop."""
    process = script(
        """
        async def tasks(_api):
            return len(asyncio.all_tasks())

        class Interrupted(Exception):
            pass

        def interrupt(*_):
            if expected:
                raise Interrupted

        signal.signal(signal.SIGALRM, interrupt)
        interrupted = 0
        with BlockingClient(TOKEN, host=HOST) as client:
            client.users, client.artifacts  # an import that is interrupted is not ours to mend
            before = client.run(tasks)
            for step in range(600):
                try:
                    expected = True
                    signal.setitimer(signal.ITIMER_REAL, 0.0001 + 0.0001 * (step % 60))
                    client.users.me()
                    client.artifacts.list("gh/acme/web", 7).collect()
                    expected = False
                except Interrupted:
                    interrupted += 1
                signal.setitimer(signal.ITIMER_REAL, 0)
                expected = False
            time.sleep(0.1)
            assert client.run(tasks) == before, client.run(tasks)
            assert client.users.me().login
            assert client.limiter.snapshot()[0].waiting == 0
        print(interrupted > 50, threading.active_count())
        """,
        simulator,
    )
    stdout, stderr = process.communicate(timeout=40)
    assert (process.returncode, stdout.split()) == (0, ["True", "1"]), stderr
    assert "never" not in stderr  # awaited, retrieved
    assert "destroyed" not in stderr


def test_interruptions_while_it_opens_and_closes_leave_no_thread_and_a_client_that_works(simulator: Simulator) -> None:
    process = script(
        """
        class Interrupted(BaseException):
            pass

        def interrupt(*_):
            if expected:
                raise Interrupted

        signal.signal(signal.SIGALRM, interrupt)
        with BlockingClient(TOKEN, host=HOST) as client:  # an import that is interrupted is not ours to mend
            client.users.me()
        interrupted = 0
        for step in range(400):
            client = BlockingClient(TOKEN, host=HOST)
            try:
                expected = True
                signal.setitimer(signal.ITIMER_REAL, 0.00002 + 0.00001 * (step % 80))  # it takes half a millisecond
                with client:
                    pass
                expected = False
            except Interrupted:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            expected = False
            client.close()  # who was interrupted before it began to close has it open still
            if step % 20 == 0:
                with client:
                    assert client.users.me().login
        print(interrupted > 20, threading.active_count())
        """,
        simulator,
    )
    stdout, stderr = process.communicate(timeout=40)
    assert (process.returncode, stdout.split()) == (0, ["True", "1"]), stderr
    assert "never" not in stderr
    assert "Unclosed" not in stderr


def test_a_client_left_open_does_not_keep_the_program_from_ending(simulator: Simulator) -> None:
    process = script(
        """
        client = BlockingClient(TOKEN, host=HOST).open()
        items = iter(client.artifacts.list("gh/acme/web", 7))
        print(next(items).path)
        """,
        simulator,
    )
    stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout, stderr) == (0, "000.bin\n", "")


def test_a_forked_process_gets_an_error_instead_of_waiting_for_a_thread_that_it_has_not(simulator: Simulator) -> None:
    process = script(
        """
        import os, signal
        with BlockingClient(TOKEN, host=HOST) as client:
            items = iter(client.artifacts.list("gh/acme/web", 7))
            next(items)
            child = os.fork()
            if not child:
                signal.alarm(5)
                try:
                    client.users.me()
                except Exception as error:
                    print(error, flush=True)
                del items
                client.close()
                os._exit(0)  # as multiprocessing ends its own
            else:
                print(os.waitpid(child, 0)[1], client.users.me().login != "", flush=True)
        """,
        simulator,
    )
    stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (0, "")
    assert stdout.splitlines() == [
        "the client is open in the process that this one was forked from, and its thread is there",
        "0 True",
    ]


def test_a_forked_process_ends_as_any_other_and_takes_nothing_from_the_one_that_it_came_from(
    simulator: Simulator,
) -> None:
    """What it collected of the client waited for a thread, and took the connection off the loop of the other one."""
    process = script(
        """
        import os, signal, sys
        client = BlockingClient(TOKEN, host=HOST).open()
        items = iter(client.artifacts.list("gh/acme/web", 7))
        next(items)
        child = os.fork()
        if not child:
            signal.alarm(5)
            with BlockingClient(TOKEN, host=HOST) as own:
                print(own.users.me().login != "", flush=True)
            try:
                client.open()
            except Exception as error:
                print(error, flush=True)
            sys.exit(3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), client.users.me().login != "", len(list(items)))
        client.close()
        """,
        simulator,
    )
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (0, "")
    assert stdout.splitlines() == [
        "True",
        "the client is open in the process that this one was forked from, and its thread is there",
        "3 True 79",
    ]


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_events_arrive(simulator: Simulator) -> None:
    sent: list[object] = []
    with BlockingClient(simulator.token, host=simulator.url, on_event=sent.append) as client:
        client.users.me()
    assert [event.status for event in sent if isinstance(event, RequestSent)] == [200]
