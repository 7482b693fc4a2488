"""The certificates of authorities, read once, and while everything else is imported.

OpenSSL takes 30 ms to read those of a usual system. aiohttp has it read them twice when it is imported, for every
program, whether it will ask anybody by https or not: a fifth of the time in which this command starts. So nothing is
read for aiohttp's own contexts. They trust nobody then, so that whatever were to use them would fail and not be fooled.
"""

import importlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from aiocircle.errors import ConfigurationError


@cache
def trusting() -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, or those of ``SSL_CERT_FILE``; the client is imported.

    Raises:
        ConfigurationError: ``SSLKEYLOGFILE`` names a file that cannot be written.
    """
    with _reading_none():
        try:
            context = ssl.create_default_context()
        except OSError as error:
            raise ConfigurationError(
                f"the file that SSLKEYLOGFILE names cannot be written: {(error.strerror or '?').lower()}",
                hint="the keys of connections are recorded there: name another, or none",
            ) from None
        reading = threading.Thread(target=_read, args=(context,), daemon=True)
        reading.start()
        importlib.import_module("aiocircle.client")
    reading.join()
    return context


_read = ssl.SSLContext.set_default_verify_paths  # which lets other threads run


@contextmanager
def _reading_none() -> Iterator[None]:
    ssl.SSLContext.set_default_verify_paths = lambda _: None  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del ssl.SSLContext.set_default_verify_paths
