"""Identifiers that carry what they name, so that a world of any size needs no table of them.

A CircleCI identifier is a UUID and tells nothing. Here it looks the same, but the project, pipeline, workflow and job
numbers are packed into it, masked, beside a check value that depends on the world's seed: an identifier of another
world, or an invented one, is recognised as unknown.
"""

import functools
import hashlib
import uuid
from enum import IntEnum
from typing import NamedTuple

MOST_PROJECTS = 1 << 16
MOST_PIPELINES = (1 << 24) - 1  # of a project
_CHECK_BYTES = 6
_VARIANT = 0x80
_VERSION = 0x40


class Kind(IntEnum):
    """What an identifier names."""

    USER = 0
    ORGANIZATION = 1
    PROJECT = 2
    PIPELINE = 3
    WORKFLOW = 4
    JOB = 5
    APPROVAL = 6
    CONTEXT = 7
    RESTRICTION = 8
    GROUP = 9
    SCHEDULE = 10
    WEBHOOK = 11
    COMPONENT = 12
    ENVIRONMENT = 13
    DEFINITION = 14
    TRIGGER = 15


class Address(NamedTuple):
    """Where a thing stands in the world: indexes of project, workflow and job, and the pipeline's number."""

    kind: Kind
    project: int = 0
    pipeline: int = 0
    workflow: int = 0
    job: int = 0


class IdSpace:
    """The identifiers of one world: ``make(address)`` gives the UUID, ``read(uuid)`` the address or None."""

    def __init__(self, seed: int) -> None:
        self._key = hashlib.blake2b(repr(seed).encode(), digest_size=32).digest()
        # A downloader asks for one job's files thousands of times.
        self.make = functools.lru_cache(maxsize=1024)(self._make)
        self.read = functools.lru_cache(maxsize=1024)(self._read)

    def _make(self, address: Address) -> str:
        """Return the UUID of ``address``, in its 36-character form."""
        fields = _pack(address)
        check = self._digest(bytes((address.kind,)) + fields, _CHECK_BYTES)
        mask = self._digest(check, len(fields) + 1)
        masked = bytes(a ^ b for a, b in zip(fields, mask, strict=False))
        middle = bytes((_VERSION | address.kind, masked[0], _VARIANT | mask[-1] & 0x3F))
        return str(uuid.UUID(bytes=check + middle + masked[1:]))

    def _read(self, text: str) -> Address | None:
        """Return what ``text`` names, or None if this world never made it."""
        try:
            raw = uuid.UUID(text).bytes
            kind = Kind(raw[6] & 0x0F)
        except ValueError:
            return None
        mask = self._digest(raw[:_CHECK_BYTES], 9)
        fields = bytes(a ^ b for a, b in zip(raw[7:8] + raw[9:], mask, strict=False))
        address = _unpack(kind, fields)
        return address if self.make(address) == text.lower() else None

    def _digest(self, data: bytes, size: int) -> bytes:
        return hashlib.blake2b(data, key=self._key, digest_size=size).digest()


def _pack(address: Address) -> bytes:
    """Return eight bytes: workflow, project (low), job (2), project (high), pipeline (3)."""
    return (
        address.workflow.to_bytes(1)
        + (address.project & 0xFF).to_bytes(1)
        + address.job.to_bytes(2)
        + (address.project >> 8).to_bytes(1)
        + address.pipeline.to_bytes(3)
    )


def _unpack(kind: Kind, fields: bytes) -> Address:
    return Address(
        kind,
        project=fields[4] << 8 | fields[1],
        pipeline=int.from_bytes(fields[5:8]),
        workflow=fields[0],
        job=int.from_bytes(fields[2:4]),
    )
