"""The package as a whole: what importing it costs and gives."""

import re
import subprocess
import sys

import pytest

import aiocircle
from aiocircle import errors


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


@pytest.mark.parametrize("name", aiocircle.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(aiocircle, name) is not None
    assert name in dir(aiocircle)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = aiocircle.nonsense  # type: ignore[attr-defined]


def all_errors() -> list[type[errors.AioCircleError]]:
    found: list[type[errors.AioCircleError]] = [errors.AioCircleError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return found


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in all_errors()]
    assert len(set(codes)) == len(codes)


def test_the_drawing_of_the_errors_shows_them_all() -> None:
    drawn = set(re.findall(r"[A-Z]\w+Error", errors.__doc__ or ""))
    assert drawn == {kind.__name__ for kind in all_errors()}
