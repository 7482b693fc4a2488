"""The blocking client in synchronous code, in threads, and beside a running loop."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blocking_programs import PAGES, SLUG, Start, script, world

from aiocircle import BlockingClient, Client, Plan, Selection
from aiocircle.errors import AioCircleError, AuthenticationError, ConfigurationError, NotFoundError
from aiocircle.events import PageFetched, RequestSent
from aiocircle.testing import KongLimits, Simulator


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


def test_events_arrive(simulator: Simulator) -> None:
    sent: list[object] = []
    with BlockingClient(simulator.token, host=simulator.url, on_event=sent.append) as client:
        client.users.me()
    assert [event.status for event in sent if isinstance(event, RequestSent)] == [200]
