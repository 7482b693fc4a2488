"""What all tests share: one event loop implementation, the simulator's fixture, and a watch on blocking calls."""

import os
from collections.abc import Generator, Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

pytest_plugins = ["operations_called", "object_servers", "tls"]

settings.register_profile("ci", deadline=None, print_blob=True)
settings.load_profile("ci")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that is skipped for want of a program is a failure where ``CI`` is set."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"SKIPPED, WHICH CI DOES NOT ALLOW: {report.longrepr}"
    return report


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A blocking call inside an event loop of our package's code fails the test.

    One is meant, and bounded: the loop stands still for a hop of small files where the disk is quick.
    """
    with blockbuster_ctx("aiocircle", excluded_modules=["aiocircle.testing"]) as watch:
        for name in ("threading.Lock.acquire", "threading.Lock.acquire_lock"):
            watch.functions[name].can_block_in("aiocircle/download/small.py", {"_hop"})
        yield watch


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token or setting of the person who runs the tests may reach them."""
    for name in list(os.environ):
        if name.startswith(("CIRCLE", "AIOCIRCLE_")):
            monkeypatch.delenv(name)
