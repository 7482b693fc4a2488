"""What a body must be before it may become a file. Pure.

``identity`` is asked for, so the bytes on the wire should be the file. Where a host applies an encoding all the same,
this rule holds: ``gzip`` and ``deflate`` are taken off, for the file the job stored had no such encoding, unless the
artifact's own name says that it is a gzip file; any other encoding is refused. Decoding is bounded in memory by its
steps, and in length by the longest file that a job may store: a file of nothing but zeros is honest, so no ratio is.
The same length bounds a body that was announced without one: it might never end.

Digests are checked where a host gives them (``Repr-Digest``, ``Content-Digest``, RFC 9530; ``Content-MD5``): they cover
the bytes on the wire when no encoding is applied, and are ignored when one is. A weak or unknown algorithm is ignored,
and so is a value that is no digest of its algorithm.
"""

import base64
import hashlib
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from aiocircle.errors import IntegrityError, InterruptedBodyError

STEP = 1024 * 1024  # bytes decoded at a time
LONGEST = 6 * 1024 * 1024 * 1024  # bytes; a job may store files of up to 3 GB, on a Server 5 GB (docs, artifacts)
GZIP, ZLIB = 31, 15  # zlib's numbers for the two wrappings of deflate
GZIP_NAMES = (".gz", ".tgz", ".gzip", ".svgz")

_DIGEST = re.compile(r"\b(sha-256|sha-512)=:([A-Za-z0-9+/=]+):")
_HASHES: Mapping[str, Callable[[], "Hash"]] = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}


class Hash(Protocol):
    """The part of ``hashlib``'s objects that is used."""

    @property
    def digest_size(self) -> int:
        """The length of the digest in bytes."""
        ...

    def update(self, data: bytes | memoryview, /) -> None:
        """Take in more bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of all of them."""
        ...


class Body:
    """Checks and decodes the bytes of one answer, in order.

    Args:
        headers: The answer's header fields.
        size: Its ``Content-Length`` in bytes, or ``None``.
        name: The artifact's name.
        longest: Bytes to which an encoded body, or one without a ``Content-Length``, may grow.

    Raises:
        IntegrityError: The host applied an encoding that cannot be taken off.
    """

    def __init__(self, headers: Mapping[str, str], *, size: int | None, name: str, longest: int = LONGEST) -> None:
        self._size = size
        self._received = 0
        self._most = longest if size is None else math.inf
        self._decoder = _decoder_for(headers.get("Content-Encoding", ""), name, longest)
        self._digest, self._hash = (None, None) if self._decoder else _announced_digest(headers)

    @property
    def is_plain(self) -> bool:
        """Whether the bytes on the wire are the file's, one for one."""
        return self._decoder is None

    def count(self, data: bytes | memoryview) -> None:
        """Take bytes from the wire that are the file's: what ``feed`` does for a plain body."""
        self._received += len(data)
        if self._received > self._most:
            raise IntegrityError("the body goes on beyond what a job may store")
        if self._hash:
            self._hash.update(data)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes from the wire and yield the file's."""
        self.count(data)
        if self._decoder is None:
            yield data
        else:
            yield from self._decoder.feed(data)

    def end(self) -> None:
        """Check, at the end of the body, that it was all there and what it should be.

        Raises:
            InterruptedBodyError: It was shorter or longer than announced, or the encoded stream is not complete.
            IntegrityError: Its digest is another one than announced.
        """
        if self._size is not None and self._received != self._size:
            raise InterruptedBodyError(f"{self._received} bytes arrived, {self._size} were announced")
        if self._decoder is not None and not self._decoder.complete:
            raise InterruptedBodyError("the encoded body ended before its own end")
        if self._hash is not None and self._hash.digest() != self._digest:
            raise IntegrityError("the bytes do not have the digest that the host announced for them")


class _Inflater:
    """Takes off gzip or deflate, one bounded step at a time. Gzip may consist of several members, one after another."""

    def __init__(self, wrapping: int, longest: int) -> None:
        self._wrapping = wrapping
        self._stream = zlib.decompressobj(wrapping)
        self._left = longest

    @property
    def complete(self) -> bool:
        return self._stream.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream.eof:
                self._next_member()
            try:
                piece = self._stream.decompress(data, STEP)
            except zlib.error:
                raise IntegrityError("the body is not encoded in the way its header says") from None
            data = self._stream.unconsumed_tail or self._stream.unused_data
            self._left -= len(piece)
            if self._left < 0:
                raise IntegrityError("the encoded body grows beyond what a job may store")
            if piece:
                yield piece

    def _next_member(self) -> None:
        if self._wrapping != GZIP:
            raise IntegrityError("the encoded body goes on behind its end")
        self._stream = zlib.decompressobj(GZIP)


def _decoder_for(encoding: str, name: str, longest: int) -> _Inflater | None:
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding in {"gzip", "x-gzip"}:
        return None if name.lower().endswith(GZIP_NAMES) else _Inflater(GZIP, longest)
    if encoding == "deflate":
        return _Inflater(ZLIB, longest)
    raise IntegrityError(f"the host applied the encoding {encoding[:40]!r} although none was asked for")


def announces_digest(headers: Mapping[str, str]) -> bool:
    """Tell whether an answer's header fields may name a digest of its body."""
    return "Repr-Digest" in headers or "Content-Digest" in headers or "Content-MD5" in headers


def _announced_digest(headers: Mapping[str, str]) -> tuple[bytes | None, Hash | None]:
    announced = _DIGEST.search(f"{headers.get('Repr-Digest', '')} {headers.get('Content-Digest', '')}")
    hashed: Hash
    if announced:
        value, hashed = announced[2], _HASHES[announced[1]]()
    elif md5 := headers.get("Content-MD5"):
        value, hashed = md5.strip(), hashlib.md5(usedforsecurity=False)
    else:
        return None, None
    try:
        digest = base64.b64decode(value, validate=True)
    except ValueError:
        return None, None
    return (digest, hashed) if len(digest) == hashed.digest_size else (None, None)
