"""The bytes of artifacts: made when they are read, from any offset, faster than they can be sent.

A file begins with 32 bytes of its own and goes on with the world's ring of random bytes, entered at a place of its own.
The ring's length is a prime number: a client that loses, doubles or misplaces a chunk of a round size ends up at
another place of the ring, so that no such mistake goes unnoticed.
"""

import functools
import hashlib
import random
from collections.abc import Iterator
from typing import Protocol

import attrs

RING_SIZE = 1_048_573
HEAD_SIZE = 32
CHUNK_SIZE = 256 * 1024


class Content(Protocol):
    """The bytes of one object. ``size`` is in bytes; ``etag`` is a strong validator, quotes included."""

    @property
    def size(self) -> int: ...  # noqa: D102 - the class says it
    @property
    def etag(self) -> str: ...  # noqa: D102

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` up to, not including, ``stop``."""
        ...


@attrs.frozen
class FixedContent:
    """Bytes that were handed in."""

    body: bytes
    etag: str

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return len(self.body)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` up to ``stop``."""
        return self.body[start:stop]


@attrs.frozen
class SeededContent:
    """Bytes that follow from a 32-byte key and the world's ring."""

    size: int
    key: bytes
    ring: memoryview = attrs.field(repr=False)

    @property
    def etag(self) -> str:
        """Return a validator that another key or another size does not have."""
        return f'"{self.key[:16].hex()}-{self.size:x}"'

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` up to ``stop``, both clipped to the size."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if start < HEAD_SIZE:
            head = self.key[start : min(stop, HEAD_SIZE)]
            return head if stop <= HEAD_SIZE else head + self.read(HEAD_SIZE, stop)
        entry = int.from_bytes(self.key[:8])
        place = (start + entry) % RING_SIZE
        if stop - start <= RING_SIZE:
            return bytes(self.ring[place : place + stop - start])
        return b"".join(self.read(at, min(at + RING_SIZE, stop)) for at in range(start, stop, RING_SIZE))


def chunks(content: Content, start: int, stop: int, size: int = CHUNK_SIZE) -> Iterator[bytes]:
    """Yield the bytes from ``start`` up to ``stop`` in pieces of at most ``size`` bytes."""
    for at in range(start, stop, size):
        yield content.read(at, min(at + size, stop))


def sha256(content: Content) -> str:
    """Return the hexadecimal SHA-256 of the whole object."""
    digest = hashlib.sha256()
    for chunk in chunks(content, 0, content.size):
        digest.update(chunk)
    return digest.hexdigest()


@functools.lru_cache(maxsize=8)
def ring(seed: int) -> memoryview:
    """Return the ring of a world, written twice, so that a slice that begins anywhere in it is one piece."""
    return memoryview(random.Random(seed).randbytes(RING_SIZE) * 2)


def content_key(*parts: object) -> bytes:
    """Return the 32-byte key of the object that ``parts`` describe."""
    text = "\0".join(map(str, parts))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=HEAD_SIZE).digest()
