"""A file that gets its name when it is whole: a plan, a manifest, a page.

It is written beside its name and renamed, so that a failure leaves what was there. A link stays one, and the file that
it leads to is replaced. What is no file, such as a pipe, a terminal or ``/dev/null``, is written to as it is: a rename
would put a file in its place.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from aiocircle.download.stores import explained


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Lend a file to write to, which replaces the one of that name when the block ends without an error.

    Raises:
        StoreError: It cannot be written.
        UnsafePathError: A directory has this name.
    """
    with explained(str(path)):
        if _is_no_file(path):
            with path.open("wb") as file:
                yield file
            return
        final, part = _final_and_part(path)
        try:
            with part.open("xb") as file:
                yield file
            part.replace(final)
        except BaseException:
            with suppress(OSError):  # where it could not be made it need not be removed
                part.unlink()
            raise


def check_replaceable(path: Path) -> None:
    """See whether a file of that name can be written, before the work that it is to tell of.

    Raises:
        StoreError: It cannot.
        UnsafePathError: A directory has this name.
    """
    with explained(str(path)):
        if not _is_no_file(path):
            _, part = _final_and_part(path)
            part.touch(exist_ok=False)
            part.unlink()


def _is_no_file(path: Path) -> bool:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return path.exists() and not path.is_file()


def _final_and_part(path: Path) -> tuple[Path, Path]:
    final = Path(os.path.realpath(path))  # unlike Path.resolve it has an answer where links lead to each other
    return final, final.with_name(f".aiocircle-{secrets.token_hex(4)}.part")
