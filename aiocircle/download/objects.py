"""The objects of a bucket, by way of obstore; credentials come from the environment, as obstore finds them there.

What obstore says in its errors may have a signature in it, so of its words only the status and the code are repeated.
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

from aiocircle.download.leftovers import Leftovers
from aiocircle.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PIECES = 2  # of a large object that are under way at a time
PIECE = 5 * 1024 * 1024  # bytes; S3 takes no smaller ones but as the last
MOST_PIECES = 10_000  # of one object, in S3
RETRIES: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
TIMEOUTS: Any = {"connect_timeout": "10s", "timeout": "120s"}
ALLOW_HTTP = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}
_ADDRESS = re.compile(r"(s3|gs|az)://([^/]+)/?(.*)", re.DOTALL)
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,80})</Code>")
_REFUSED = frozenset({"401", "403"})
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound"})
_HINTS = {
    "s3": "credentials and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL",
    "gs": "credentials come from GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS",
    "az": "credentials come from AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY (or a SAS token)",
}


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
        self._scheme, self._objects = _opened(address)

    def leftovers(self, own: Path) -> Leftovers | None:
        """Return the notes of uploads in a local directory; ``None`` for buckets of whose uploads none can be told."""
        scheme, bucket, prefix = _parts_of(self.address)
        return Leftovers(bucket, prefix, own, _client_settings(scheme)) if scheme == "s3" else None

    def check(self) -> None:
        """See whether it answers; one that may be written to but not listed does."""
        try:
            with self._explained(self.address):
                next(iter(self._objects.list(chunk_size=1)), None)
        except StoreError as error:
            if "AccessDenied" not in str(error):
                raise

    def put(self, key: str, data: bytes, sha256: str) -> None:
        """Store an object with one request."""
        with self._explained(key):
            self._objects.put(key, data, use_multipart=False, attributes=_noted(sha256))

    def send(self, key: str, source: io.RawIOBase, size: int, sha256: str) -> None:
        """Store an object of so many bytes in pieces; if that fails, or the source does, none of them is left."""
        with self._explained(key):
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
    def _explained(self, what: str, *, missing: bool = False) -> Iterator[None]:
        """Turn what the bucket refuses into words; with ``missing``, an object that is not there is no refusal."""
        from obstore.exceptions import BaseError  # noqa: PLC0415 -- an extra

        try:
            yield
        except (BaseError, OSError) as error:
            said = str(error)
            status, code = (found and found[1] for found in (_STATUS.search(said), _CODE.search(said)))
            if isinstance(error, FileNotFoundError):
                if missing and code not in _NO_BUCKET:
                    raise FileNotFoundError(what) from None
                status = status or "404"
            words = f"answered {' '.join(filter(None, (status, code)))}" if status else "does not answer"
            raise StoreError(
                f"{what}: {self._scheme} {words}",
                fatal=status is None or status in _REFUSED or code in _NO_BUCKET,
                hint="run the same command again" if status and status[0] == "5" else _HINTS[self._scheme],
            ) from None


def _opened(address: str) -> tuple[str, "ObjectStore"]:
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
            return scheme, S3Store(bucket, prefix=prefix, client_options=client, retry_config=RETRIES)
        if scheme == "gs":
            return scheme, GCSStore(bucket, prefix=prefix, client_options=client, retry_config=RETRIES)
        return scheme, AzureStore(bucket, prefix=prefix, client_options=client, retry_config=RETRIES)
    except (BaseError, OSError, ValueError):  # its words may repeat a key that cannot be read
        raise ConfigurationError(
            f"{address}: the settings in the environment do not fit", hint=_HINTS[scheme]
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
