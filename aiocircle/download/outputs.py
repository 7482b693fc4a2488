"""What an output's text means: ``out``, ``s3://bucket/prefix``, ``out.tar``, ``-``."""

import hashlib
import os
import re
from pathlib import Path

from aiocircle.auth import home_of_user
from aiocircle.download.content_store import ContentStore
from aiocircle.download.local_store import KEPT_PARENTS, LocalStore
from aiocircle.download.paths import OWN_DIRECTORY
from aiocircle.download.stores import STDOUT, Store, has_directory
from aiocircle.errors import ConfigurationError, StoreError

_BUCKET = re.compile(r"(s3|gs|az):/", re.IGNORECASE)  # with one slash it is a mistake, and no directory's name
_OTHER_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_WHICH_ENDPOINT = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ENDPOINT")
_OTHER_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "GOOGLE_BASE_URL")  # no part of the text where they are not set
_OTHER_ARCHIVE = re.compile(r".*\.(tar\.\w+|t[bx]z2?|tzst|7z|rar)", re.IGNORECASE | re.DOTALL)
MOST_OF_A_NAME = 80


def open_store(
    output: str,
    *,
    state: Path | None = None,
    sync: bool = False,
    dedupe: bool = False,
    kept_parents: int = KEPT_PARENTS,
) -> Store:
    """Return the store that an output's text means; it is to be entered.

    Args:
        output: A directory, a bucket's address, the name of an archive, or ``-``.
        state: Where records and parts of a bucket lie locally; ``None`` for a place of its own.
        sync: Flush each file to the disk before it gets its name.
        dedupe: Keep equal files once, with hard links.
        kept_parents: Directories that each thread keeps open.

    Raises:
        ConfigurationError: It means nothing, or does not go with the other settings.
    """
    _check_named(output)
    if dedupe and not is_directory(output):
        raise ConfigurationError(f"--dedupe needs a directory, and {output} is none")
    if state is not None and not is_bucket(output):
        raise ConfigurationError(f"--state is for buckets; the records of {output} lie beside it")
    if is_bucket(output):
        from aiocircle.download.cloud_store import CloudStore  # noqa: PLC0415 -- what few need costs a start

        return CloudStore(output, state or state_of(output), sync=sync)
    if is_archive(output):
        from aiocircle.download.archive_store import ArchiveStore  # noqa: PLC0415 -- the same

        return ArchiveStore(output, sync=sync)
    if _OTHER_URL.match(output):
        raise ConfigurationError(f"{output!r}: files go to directories, archives, s3://, gs:// and az:// only")
    if _OTHER_ARCHIVE.fullmatch(output) and not has_directory(output):
        hint = f"for a directory of that name write {output}/"
        raise ConfigurationError(f"{output}: archives are .tar, .tar.gz, .tgz, .tar.zst and .zip", hint=hint)
    directory = ContentStore if dedupe else LocalStore
    return directory(Path(output), sync=sync, kept_parents=kept_parents)


def is_directory(output: str) -> bool:
    """Tell whether an output's text means a directory."""
    return not is_archive(output) and _OTHER_URL.match(output) is None


def is_bucket(output: str) -> bool:
    """Tell whether an output's text means a bucket."""
    return _BUCKET.match(output) is not None


def is_archive(output: str) -> bool:
    """Tell whether an output's text means an archive."""
    return output == STDOUT or output.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip"))


def records_of(output: str, state: Path | None = None) -> Path:
    """Return the local directory in which an output's records lie.

    Raises:
        ConfigurationError: It is no output.
        StoreError: It has none that outlive a run.
    """
    _check_named(output)
    if is_bucket(output):
        return state or state_of(output)
    if is_archive(output) and not has_directory(output):
        what = "standard output" if output == STDOUT else output
        hint = "'aiocircle download' writes the whole archive anew; tar and zip check what is in one"
        raise StoreError(f"{what}: an archive has no ledger", hint=hint)
    return Path(output) / OWN_DIRECTORY


def _check_named(output: str) -> None:
    if not output:  # or a variable of a script's that is not set would mean the directory in which it runs
        raise ConfigurationError("the output has no name", hint="name a directory, a bucket or an archive, or . itself")


def state_of(address: str) -> Path:
    """Return where the records and parts of a bucket lie, below ``$XDG_STATE_HOME`` or ``~/.local/state``.

    The same address at two endpoints is two buckets.

    Raises:
        ConfigurationError: There is neither.
    """
    base = Path(os.environ.get("XDG_STATE_HOME") or "")
    if not base.is_absolute():
        if (home := home_of_user()) is None:
            problem = f"{address}: there is no home directory to keep records of it in"
            raise ConfigurationError(problem, hint="set XDG_STATE_HOME to a directory for them")
        base = home / ".local" / "state"
    others = [value for name in _OTHER_ENDPOINTS if (value := os.environ.get(name))]
    whole = "\n".join([address.rstrip("/"), *(os.environ.get(name, "") for name in _WHICH_ENDPOINT), *others])
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", address).strip("-")[:MOST_OF_A_NAME]
    return base / "aiocircle" / f"{readable}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"
