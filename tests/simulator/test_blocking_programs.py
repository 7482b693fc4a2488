"""Programs with a blocking client: interrupted, left open, forked."""

import signal
import time
from pathlib import Path

import pytest
from blocking_programs import SLUG, Start, script, until, world

from aiocircle.testing import FakeArtifact, Simulator, World


@pytest.fixture
def simulator(circleci_factory: Start) -> Simulator:
    return circleci_factory(world())


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


def alarms(kind: str) -> str:
    """Return what a program interrupts its own work with: an exception that a timer raises wherever that is."""
    return f"""
class Interrupted({kind}):
    pass

expected = False

def interrupt(*_):
    if expected:
        raise Interrupted

def is_interrupted(after, work):
    global expected
    came = False
    try:
        expected = True
        signal.setitimer(signal.ITIMER_REAL, after)
        work()
        expected = False
    except Interrupted:
        came = True
    signal.setitimer(signal.ITIMER_REAL, 0)
    expected = False
    return came

signal.signal(signal.SIGALRM, interrupt)
"""


def test_interruptions_at_any_moment_leave_a_client_that_works(simulator: Simulator) -> None:
    """A timer interrupts calls again and again, wherever they are; no task and no listing is left in the loop."""
    process = script(
        """
        async def tasks(_api):
            return len(asyncio.all_tasks())

        def work():
            client.users.me()
            client.artifacts.list("gh/acme/web", 7).collect()

        interrupted = 0
        with BlockingClient(TOKEN, host=HOST) as client:
            client.users, client.artifacts  # an import that is interrupted is not ours to mend
            before = client.run(tasks)
            for step in range(600):
                interrupted += is_interrupted(0.0001 + 0.0001 * (step % 60), work)
            time.sleep(0.1)
            assert client.run(tasks) == before, client.run(tasks)
            assert client.users.me().login
            assert client.limiter.snapshot()[0].waiting == 0
        print(interrupted > 50, threading.active_count())
        """,
        simulator,
        alarms("Exception"),
    )
    stdout, stderr = process.communicate(timeout=40)
    assert (process.returncode, stdout.split()) == (0, ["True", "1"]), stderr
    assert "never" not in stderr  # awaited, retrieved
    assert "destroyed" not in stderr


def test_interruptions_while_it_opens_and_closes_leave_no_thread_and_a_client_that_works(simulator: Simulator) -> None:
    process = script(
        """
        def work():
            with client:
                pass

        with BlockingClient(TOKEN, host=HOST) as client:  # an import that is interrupted is not ours to mend
            client.users.me()
        interrupted = 0
        for step in range(400):
            client = BlockingClient(TOKEN, host=HOST)
            interrupted += is_interrupted(0.00002 + 0.00001 * (step % 80), work)  # it takes half a millisecond
            client.close()  # who was interrupted before it began to close has it open still
            if step % 20 == 0:
                with client:
                    assert client.users.me().login
        print(interrupted > 20, threading.active_count())
        """,
        simulator,
        alarms("BaseException"),
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
