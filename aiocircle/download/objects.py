"""The objects of a bucket, by way of obstore; credentials come from the environment, as obstore finds them there.

What obstore says in its errors may have a signature in it, so its words are not repeated
(`aiocircle.download.bucket_refusals`).
"""

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocircle.download.bucket_refusals import ALLOW_HTTP, CREDENTIALS, is_no_bucket, is_passing, refusal
from aiocircle.download.leftovers import Leftovers
from aiocircle.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

WORN_OUT = 8  # objects in a row, each after a minute of tries, before a busy bucket counts as one that takes nothing
PIECES = 2  # of a large object that are under way at a time
PIECE = 5 * 1024 * 1024  # bytes; S3 takes no smaller ones but as the last
MOST_PIECES = 10_000  # of one object, in S3
SHORT: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}  # a second or two, while somebody looks on
# A bucket that is busy (503 SlowDown) is so for longer. Each wait is up to four times the one before, twice on average.
LONG: Any = {
    "max_retries": 20,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=15), "base": 4},
}
TIMEOUTS: Any = {"connect_timeout": "10s", "timeout": "120s"}
_ADDRESS = re.compile(r"(s3|gs|az)://([^/]+)/?(.*)", re.DOTALL)


class Bucket:
    """A bucket, or what lies under a prefix of it. All methods block; several threads may call them at once.

    Every method raises ``StoreError`` where the bucket refuses.

    Args:
        address: ``s3://bucket/prefix``, ``gs://...`` or ``az://container/prefix``.

    Raises:
        ConfigurationError: It is no such address, or obstore is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._scheme, self._objects = _opened(address, LONG)
        self._lost: str | None = None  # what obstore said when the bucket took nothing any more
        self._worn = 0  # objects in a row that it was too busy for

    def leftovers(self, own: Path) -> Leftovers | None:
        """Return the notes of uploads in a local directory; ``None`` for buckets of whose uploads none can be told."""
        scheme, bucket, prefix = _parts_of(self.address)
        return Leftovers(bucket, prefix, own, _client_settings(scheme)) if scheme == "s3" else None

    def check(self) -> None:
        """See whether it answers; one that may be written to but not listed does."""
        try:
            with self._explained(self.address):
                next(iter(_opened(self.address, SHORT)[1].list(chunk_size=1)), None)
        except StoreError as error:
            if "AccessDenied" not in str(error):
                raise

    def put(self, key: str, data: bytes, sha256: str) -> None:
        """Store an object with one request."""
        with self._explained(key, writes=True):
            self._objects.put(key, data, use_multipart=False, attributes=_noted(sha256))

    def send(self, key: str, source: io.RawIOBase, size: int, sha256: str) -> None:
        """Store an object of so many bytes in pieces; if that fails, none of them is left.

        Raises:
            OSError: The source could not be read.
        """
        with self._explained(key, writes=True):
            self._objects.put(
                key,
                source,
                use_multipart=size > PIECE,
                chunk_size=max(PIECE, -(-size // MOST_PIECES)),
                max_concurrency=PIECES,
                attributes=_noted(sha256),
            )

    def holds(self, key: str, size: int, sha256: str | None) -> bool:
        """Tell whether there is an object of this size, stored with this digest."""
        with self._explained(key):
            found = self._objects.get(key, options={"head": True})
            attributes: Any = found.attributes
            return found.meta["size"] == size and attributes.get("sha256") == sha256

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the names of the objects directly below a prefix, and their sizes in bytes."""
        with self._explained(f"{self.address} {prefix}".rstrip()):
            found = self._objects.list_with_delimiter(prefix or None)
        return {one["path"].rpartition("/")[2]: one["size"] for one in found["objects"]}

    def digest_of(self, key: str) -> tuple[int, str]:
        """Read an object again, and return its size in bytes and its SHA-256.

        Raises:
            FileNotFoundError: There is none.
        """
        digest, size = hashlib.sha256(usedforsecurity=False), 0
        with self._explained(key, missing=True):
            for chunk in self._objects.get(key).stream(min_chunk_size=PIECE):
                digest.update(chunk)
                size += len(chunk)
        return size, digest.hexdigest()

    @contextmanager
    def _explained(self, what: str, *, missing: bool = False, writes: bool = False) -> Iterator[None]:
        """Turn what the bucket refuses into words.

        Args:
            what: What it is about.
            missing: An object that is not there is no refusal.
            writes: After a refusal that all other objects would meet, they shall not find out for a minute each.
        """
        from obstore.exceptions import BaseError  # noqa: PLC0415 -- an extra

        if writes and self._lost is not None:
            raise self._refused(what, self._lost)
        try:
            yield
        except (BaseError, OSError) as error:
            if type(error) is OSError:
                raise  # obstore's word for what a source raised, which is no refusal of the bucket's
            said, is_missing = str(error), isinstance(error, FileNotFoundError)
            if is_missing and missing and not is_no_bucket(said):
                raise FileNotFoundError(what) from None
            if writes:
                self._worn = self._worn + 1 if is_passing(said) else 0
            refused = self._refused(what, said, is_missing=is_missing)
            if writes and refused.fatal:
                self._lost = said
            raise refused from None
        if writes:
            self._worn = 0

    def _refused(self, what: str, said: str, *, is_missing: bool = False) -> StoreError:
        refused = refusal(what, self._scheme, said, is_missing=is_missing)
        refused.fatal = refused.fatal or self._worn >= WORN_OUT
        return refused


def _opened(address: str, retries: Any) -> tuple[str, "ObjectStore"]:
    scheme, bucket, below = _parts_of(address)
    prefix = below or None
    try:
        from obstore.exceptions import BaseError  # noqa: PLC0415 -- an extra
        from obstore.store import AzureStore, GCSStore, S3Store  # noqa: PLC0415
    except ImportError:
        hint = "pip install 'aiocircle[cloud]'"
        raise ConfigurationError(f"{scheme}:// needs the package obstore, which is not installed", hint=hint) from None
    client = _client_settings(scheme)
    try:
        if scheme == "s3":
            return scheme, S3Store(bucket, prefix=prefix, client_options=client, retry_config=retries)
        if scheme == "gs":
            return scheme, GCSStore(bucket, prefix=prefix, client_options=client, retry_config=retries)
        return scheme, AzureStore(bucket, prefix=prefix, client_options=client, retry_config=retries)
    except (BaseError, OSError, ValueError):  # its words may repeat a key that cannot be read
        raise ConfigurationError(
            f"{address}: the settings in the environment do not fit", hint=CREDENTIALS[scheme]
        ) from None


def _parts_of(address: str) -> tuple[str, str, str]:
    """Return an address's scheme, the name of the bucket, and the prefix without slashes at its ends."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ConfigurationError(f"{address!r} names no bucket", hint="s3://bucket/prefix, gs://..., az://...")
    return found[1], found[2], found[3].strip("/")


def _client_settings(scheme: str) -> Any:
    # Of the client's settings obstore takes those of the environment only where none are given.
    may_be_plain = os.environ.get(ALLOW_HTTP[scheme], "").lower() in {"true", "1", "yes"}
    return {**TIMEOUTS, "allow_http": may_be_plain}


def _noted(sha256: str) -> Any:
    return {"sha256": sha256} if sha256 else None
