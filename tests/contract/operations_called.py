"""Counts which operations were called, in however many processes, and prints it when the tests are over.

A plugin of tests/conftest.py: the process that starts those of pytest-xdist reads no deeper conftest.
"""

from typing import Any

import pytest

CALLED = pytest.StashKey[dict[str, set[str]]]()


@pytest.fixture
def coverage_of_operations(pytestconfig: pytest.Config) -> dict[str, set[str]]:
    """What each operation was called with."""
    return _called(pytestconfig)


def _called(config: pytest.Config) -> dict[str, set[str]]:
    from api_document import OPERATIONS  # most runs of a few tests do not need the document

    return config.stash.setdefault(CALLED, {name: set() for name in OPERATIONS})


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands its count to the process that started it."""
    if CALLED in session.config.stash and hasattr(session.config, "workeroutput"):
        called = session.config.stash[CALLED]
        session.config.workeroutput["operations"] = {name: sorted(how) for name, how in called.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for name, how in getattr(node, "workeroutput", {}).get("operations", {}).items():
        _called(node.config)[name].update(how)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if CALLED not in config.stash:
        return
    from api_document import OPERATIONS

    called = config.stash[CALLED]
    terminalreporter.section("operations of the API, called against its document")
    for name, how in called.items():
        operation = OPERATIONS[name]
        tested = " and ".join(sorted(how)) or "NOT CALLED"
        terminalreporter.line(f"{operation.method:6} {name:40} {tested}")
    terminalreporter.line(f"{sum(map(bool, called.values()))} of {len(called)} operations")
