"""Who watches: a handler is told everything, unless it says itself what it looks at."""

from unittest.mock import MagicMock, Mock

import pytest

from aiocircle.events import ListingEnded, RequestSent, guarded, ignore, kinds_of


def test_a_handler_that_names_kinds_is_asked_for_them_and_nobody_else() -> None:
    def some(_event: object) -> None: ...

    some.kinds = frozenset({ListingEnded})  # type: ignore[attr-defined]
    assert kinds_of(some) == kinds_of(guarded(some)) == frozenset({ListingEnded})
    assert kinds_of(lambda _event: None) is None
    assert kinds_of(ignore) == frozenset()


@pytest.mark.parametrize("mock", [Mock, MagicMock])
def test_a_mock_is_a_handler_like_any_other(mock: type[Mock]) -> None:
    assert kinds_of(guarded(mock())) is None


def test_what_a_handler_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    handler = Mock(side_effect=ValueError("broken"))
    guarded(handler)(RequestSent(method="GET", url="https://h.example/", status=200, seconds=0.1))
    assert "on_event failed for RequestSent" in caplog.text
