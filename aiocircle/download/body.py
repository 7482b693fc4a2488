"""What a body must be before it may become a file. Pure.

``identity`` is asked for, so the bytes on the wire should be the file. Where a host applies an encoding all the same,
this rule holds: ``gzip`` and ``deflate`` are taken off, for the file the job stored had no such encoding, unless the
artifact's own name says that it is a gzip file; any other encoding is refused. Decoding is bounded in memory by its
steps, and in length by a ratio that no honest file reaches.

Digests are checked where a host gives them (``Repr-Digest``, ``Content-Digest``, RFC 9530; ``Content-MD5``): they cover
the bytes on the wire when no encoding is applied, and are ignored when one is. A weak or unknown algorithm is ignored.
"""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from aiocircle.errors import IntegrityError, InterruptedBodyError

STEP = 1024 * 1024  # bytes decoded at a time
RATIO = 1200  # deflate cannot pass 1032:1; more means nested tricks or a broken stream
GZIP_NAMES = (".gz", ".tgz", ".gzip", ".svgz")

_DIGEST = re.compile(r"\b(sha-256|sha-512)=:([A-Za-z0-9+/=]+):")
_HASHES: Mapping[str, Callable[[], "Hash"]] = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}


class Hash(Protocol):
    """The part of ``hashlib``'s objects that is used."""

    def update(self, data: bytes, /) -> None:
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

    Raises:
        IntegrityError: The host applied an encoding that cannot be taken off.
    """

    def __init__(self, headers: Mapping[str, str], *, size: int | None, name: str) -> None:
        self._size = size
        self._received = 0
        self._decoder = _decoder_for(headers.get("Content-Encoding", ""), name)
        self._digest, self._hash = (None, None) if self._decoder else _announced_digest(headers)

    @property
    def is_plain(self) -> bool:
        """Whether the bytes on the wire are the file's, one for one."""
        return self._decoder is None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes from the wire and yield the file's."""
        self._received += len(data)
        if self._hash:
            self._hash.update(data)
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
    """Takes off gzip or deflate, one bounded step at a time."""

    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.decompressobj(window_bits)
        self._taken = 0
        self._given = 0

    @property
    def complete(self) -> bool:
        return self._stream.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._taken += len(data)
        while data:
            try:
                piece = self._stream.decompress(data, STEP)
            except zlib.error:
                raise IntegrityError("the body is not encoded in the way its header says") from None
            data = self._stream.unconsumed_tail
            self._given += len(piece)
            if self._given > RATIO * self._taken + STEP:
                raise IntegrityError("the encoded body grows without measure")
            if piece:
                yield piece
            if self._stream.eof:
                return


def _decoder_for(encoding: str, name: str) -> _Inflater | None:
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding in {"gzip", "x-gzip"}:
        return None if name.lower().endswith(GZIP_NAMES) else _Inflater(31)
    if encoding == "deflate":
        return _Inflater(15)
    raise IntegrityError(f"the host applied the encoding {encoding[:40]!r} although none was asked for")


def _announced_digest(headers: Mapping[str, str]) -> tuple[bytes | None, Hash | None]:
    announced = _DIGEST.search(f"{headers.get('Repr-Digest', '')} {headers.get('Content-Digest', '')}")
    try:
        if announced:
            return base64.b64decode(announced[2], validate=True), _HASHES[announced[1]]()
        if md5 := headers.get("Content-MD5"):
            return base64.b64decode(md5, validate=True), hashlib.md5(usedforsecurity=False)
    except (binascii.Error, ValueError):
        pass
    return None, None
