"""Counts which operations were called, and prints it when the tests are over."""

import pytest
from api_document import OPERATIONS

CALLED = pytest.StashKey[dict[str, set[str]]]()


@pytest.fixture
def coverage_of_operations(pytestconfig: pytest.Config) -> dict[str, set[str]]:
    """What each operation was called with."""
    return pytestconfig.stash.setdefault(CALLED, {name: set() for name in OPERATIONS})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    called = config.stash.get(CALLED, None)
    if called is None:
        return
    terminalreporter.section("operations of the API, called against its document")
    for name, how in called.items():
        operation = OPERATIONS[name]
        tested = " and ".join(sorted(how)) or "NOT CALLED"
        terminalreporter.line(f"{operation.method:6} {name:40} {tested}")
    terminalreporter.line(f"{sum(map(bool, called.values()))} of {len(called)} operations")
