"""Packages that are needed for some formats only, and are loaded when one of these is asked for."""

from importlib import import_module
from typing import Any

from aiocircle.errors import ConfigurationError


def load_extra(package: str, *, what: str, extra: str) -> Any:
    """Return a package.

    Args:
        package: Its name as it is imported and, its dots aside, as it is installed.
        what: What needs it, as the beginning of a sentence.
        extra: The extra of aiocircle that installs it.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return import_module(package)
    except ImportError:
        raise ConfigurationError(
            f"{what} needs the package {package}, which is not installed", hint=f"pip install 'aiocircle[{extra}]'"
        ) from None


def load_zstd(what: str) -> Any:
    """Return the module for Zstandard: Python's own from 3.14 on, and its backport before.

    Raises:
        ConfigurationError: There is neither.
    """
    try:
        return import_module("compression.zstd")
    except ImportError:
        return load_extra("backports.zstd", what=what, extra="zstd")
