"""The storage behind the API: signed addresses that expire, and ranges as RFC 9110 has them.

Like S3, it answers XML when a signature is wrong or too old, and it wants no other credentials than the signature.
"""

import functools
import hashlib
import hmac
import re
import time
import zlib
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

from aiocircle.testing.artifacts import FakeArtifact
from aiocircle.testing.content import Content
from aiocircle.testing.exchange import Answer, Slice
from aiocircle.testing.kong import http_date
from aiocircle.testing.records import Job

CREDENTIAL_HEADERS = ("Circle-Token", "Authorization", "Proxy-Authorization", "Cookie")

_LONG_AGO, _YEAR = 1_577_836_800, 365 * 86_400  # 2020 began then, in seconds since the epoch
_DATE = "%Y%m%dT%H%M%SZ"
_SIGNATURE = "X-Amz-Signature"
_SIGNED = re.compile(r"(?:^|&)X-Amz-Signature=([^&]*)")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_NODE = re.compile(r"\d{1,9}", re.ASCII)
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'


class Object(NamedTuple):
    """What a signed address names."""

    job_id: str
    node_index: int
    path: str


class Signer:
    """Makes signed addresses and judges them. As in S3, equivalent spellings of an address have the same signature."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, job: Job, artifact: FakeArtifact, ttl: float, now: float) -> str:
        """Return path and query of the object's address, good for ``ttl`` seconds from ``now``; if negative, over."""
        path = f"/bucket/{job.id}/{artifact.node_index}/{quote(artifact.path, errors='surrogatepass')}"
        return self.sign_path(path, ttl, now)

    def sign_path(self, path: str, ttl: float, now: float) -> str:
        """Return path and query of the address of a quoted path; see `sign`."""
        issued = now if ttl >= 0 else now + ttl - 1
        query = _unsigned_query(int(issued), max(0, int(ttl)))
        return f"{path}?{query}&{_SIGNATURE}={self._signature(path, _read_query(query).canonical)}"

    def refusal(self, path: str, query_string: str, now: float) -> Answer | None:
        """Return the answer to a wrong or expired address, or None if it is good."""
        given = _SIGNED.search(query_string)
        if given is None:
            return xml_error(403, "AccessDenied", "Access Denied")
        query = _read_query(_SIGNED.sub("", query_string, count=1).lstrip("&"))
        if not hmac.compare_digest(given[1].encode(), self._signature(path, query.canonical).encode()):
            return xml_error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.")
        if now >= query.expires + 1:
            return xml_error(403, "AccessDenied", "Request has expired")
        return None

    def _signature(self, path: str, canonical_query: bytes) -> str:
        return hmac.digest(self._secret, unquote_to_bytes(path) + b"\n" + canonical_query, "sha256").hex()


class _Query(NamedTuple):
    """A signed query: its spelling-independent form, and when it expires, in seconds since the epoch."""

    canonical: bytes
    expires: float


# Addresses signed in the same second differ in nothing but path and signature: what they share is remembered.
@functools.lru_cache(maxsize=64)
def _unsigned_query(issued: int, ttl: int) -> str:
    date = datetime.fromtimestamp(issued, UTC).strftime(_DATE)
    fields = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"SIMULATOR/{date[:8]}/us-east-1/s3/aws4_request",
        "X-Amz-Date": date,
        "X-Amz-Expires": str(ttl),
        "X-Amz-SignedHeaders": "host",
    }
    return urlencode(fields)


@functools.lru_cache(maxsize=64)
def _read_query(query_string: str) -> _Query:
    pairs = sorted(parse_qsl(query_string, keep_blank_values=True))
    fields = dict(pairs)
    try:
        issued = datetime.strptime(fields["X-Amz-Date"], _DATE).replace(tzinfo=UTC).timestamp()
        expires = issued + int(fields["X-Amz-Expires"])
    except (KeyError, ValueError):
        expires = 0.0
    return _Query(repr(pairs).encode(), expires)


def read_path(path: str) -> Object | None:
    """Return the object that a storage path names."""
    head, bucket, *rest = [*path.split("/", 2), "", ""][:3]
    return read_object(*rest) if (head, bucket) == ("", "bucket") else None


def read_object(text: str) -> Object | None:
    """Return the object that ``{job}/{node}/{quoted path}`` names, or None if it has another form."""
    job_id, node, quoted = [*text.split("/", 2), "", ""][:3]
    if not _NODE.fullmatch(node):
        return None
    try:
        path = unquote_to_bytes(quoted).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return Object(job_id, int(node), path)


def object_answer(content: Content, range_header: str | None, if_range: str | None) -> Answer:
    """Return the whole object or the part that is asked for: 200, 206 or 416.

    One range is served; several, or a malformed one, are ignored, as RFC 9110 allows. A part is given only if
    ``if_range`` is absent or a strong validator of the object's own: its ETag, or its date, which is long past.
    """
    headers = {
        "Content-Type": "application/octet-stream",
        "ETag": content.etag,
        "Accept-Ranges": "bytes",
        "Last-Modified": (modified := last_modified(content)),
    }
    wanted = None if range_header is None else _RANGE.fullmatch(range_header.strip())
    if wanted is None or wanted.groups() == ("", "") or if_range not in {None, content.etag, modified}:
        return Answer(200, headers, Slice(content, 0, content.size))
    first, last = wanted.groups()
    start = int(first) if first else max(0, content.size - int(last))
    stop = min(int(last) + 1, content.size) if first and last else content.size
    if first and last and int(last) < int(first):
        return Answer(200, headers, Slice(content, 0, content.size))
    if start >= content.size or (not first and int(last) == 0):
        headers |= {"Content-Range": f"bytes */{content.size}", "Content-Type": "application/xml"}
        return Answer(416, headers, _xml("InvalidRange", "The requested range is not satisfiable"))
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
    return Answer(206, headers, Slice(content, start, stop))


def last_modified(content: Content) -> str:
    """Return when an object was stored: long ago, and each at a time of its own."""
    return http_date(_LONG_AGO + zlib.crc32(content.etag.encode()) % _YEAR)


def xml_error(status: int, code: str, message: str) -> Answer:
    """Return an error as S3 writes it."""
    return Answer(status, {"Content-Type": "application/xml"}, _xml(code, message))


def new_secret() -> bytes:
    """Return a secret for signatures, new at every start."""
    return hashlib.sha256(f"{time.time_ns()}".encode()).digest()


def _xml(code: str, message: str) -> bytes:
    return _XML.format(code=code, message=message).encode()
