"""The package as a whole: what importing it costs and gives."""

import pickle
import re
import subprocess
import sys

import pytest

import aiocircle
from aiocircle import api, errors
from aiocircle.events import ListingEnded, guarded, ignore


def test_importing_the_package_and_its_client_loads_no_package_of_the_command_line() -> None:
    script = (
        "import sys, aiocircle; aiocircle.Client, aiocircle.Download\n"
        "print(*sorted({'cyclopts', 'rich', 'pygments'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_importing_the_package_alone_loads_no_aiohttp() -> None:
    script = "import sys, aiocircle; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_client_loads_only_the_parts_of_the_api_that_downloads_need() -> None:
    script = (
        "import sys, aiocircle; aiocircle.Client; print(*[m for m in sys.modules if m.startswith('aiocircle.api.')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.removeprefix("aiocircle.api.") for name in done.stdout.split()}
    assert loaded == {"namespaces", "operations", "messages", "pipelines", "workflows", "jobs"}


@pytest.mark.parametrize("name", api.__all__)
def test_every_model_and_resource_can_be_had_by_name(name: str) -> None:
    assert getattr(api, name).__name__ == name
    assert name in dir(api)


@pytest.mark.parametrize("name", aiocircle.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(aiocircle, name) is not None
    assert name in dir(aiocircle)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = aiocircle.nonsense


def all_errors() -> list[type[errors.AioCircleError]]:
    found: list[type[errors.AioCircleError]] = [errors.AioCircleError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return [kind for kind in found if kind.__module__ == errors.__name__]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in all_errors()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFoundError(404, "get project", "Project not found", request_id="abc", hint="look again"),
        errors.WaitTooLongError("too long", wait=5.0, max_wait=1.0, resets_at=9.0),
        errors.PartialDownloadError("some failed", report=None),
        errors.PaginationError("stuck", items=[1], page_token="t"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_being_sent_to_another_process(error: errors.AioCircleError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_the_drawing_of_the_errors_shows_them_all() -> None:
    drawn = set(re.findall(r"[A-Z]\w+Error", errors.__doc__ or ""))
    assert drawn == {kind.__name__ for kind in all_errors()}


def test_a_handler_that_raises_is_logged_and_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def handler(_event: object) -> None:
        raise RuntimeError("a mistake in the handler")

    guarded(handler)(ListingEnded(total=1))
    assert "on_event failed for ListingEnded" in caplog.text
    assert "a mistake in the handler" in caplog.text
    assert guarded(ignore) is ignore
