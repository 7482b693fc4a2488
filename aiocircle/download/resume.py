"""What an answer does to a half file. Pure.

The danger is a file of two halves: one of the object as it was, one of the object as it is. RFC 9110 gives the means
against it. A *strong* validator is the same only while every byte is (section 8.8.1); ``If-Range`` (13.1.5) makes a
range depend on it: the part while the object is the one we began with, else all of the new object. So:

* A part is kept only with a strong validator: an entity tag without ``W/``, or, where there is no tag at all, a
  ``Last-Modified`` that lies a minute or more before the answer's ``Date`` (8.8.2.2). Where there is neither, the file
  begins anew; so does one whose bytes were not the file's (``Content-Encoding``).
* ``Range: bytes=N-`` asks for all that is missing; N is what was surely written.
* Hosts ignore ``If-Range``, ``Range``, or both. An answer is therefore appended only if it proves by itself that it is
  the missing end of the same object: the validator is named again and is the same, one ``Content-Range`` begins at N
  and reaches the object's end, the object is as long as it was, and the length of the body is that of the range.
* Everything else is settled without the kept bytes: a whole object (200) is written from its beginning, and an answer
  that fits nothing is dropped together with the part, and the object asked for anew without a range.
* ``Range: bytes=N-M`` asks for a stretch from the middle, where several are fetched at a time. What is appended then
  reaches M instead of the object's end, and everything else is as it was.
* 416 says that nothing is missing if its ``Content-Range: bytes */N`` names the length that is there already. A host
  that honours ``If-Range`` says so only of the same object.

``judge`` goes through the table below from the top; the first row that fits counts.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Final

from attrs import frozen

OK: Final = 200
PARTIAL: Final = 206
UNSATISFIABLE: Final = 416
LONGEST_VALIDATOR: Final = 100  # characters; S3's have 34, and a part's name must hold it
STRONG_AFTER: Final = timedelta(seconds=60)

_TAG = re.compile(r'"[\x21\x23-\x7e]*"')
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_NOTHING_OF = re.compile(r"bytes \*/(\d{1,18})", re.ASCII)
_SHA256 = re.compile(r"\bsha-256=:([A-Za-z0-9+/=]{44}):")


class Action(Enum):
    """What to do with an answer."""

    START = auto()
    """It is the whole object: write it from its beginning, whatever was kept."""
    APPEND = auto()
    """It is the end that was missing: write it behind what was kept."""
    COMPLETE = auto()
    """Nothing was missing."""
    AGAIN = auto()
    """It is of no use, and neither is the part: drop both and ask anew, for the whole object."""
    FAIL = auto()
    """It cannot become the file, and asking again will not help."""


@frozen(kw_only=True)
class Kept:
    """What is there of a file.

    Attributes:
        have: Bytes surely written.
        validator: The strong validator of the object that they are the beginning of.
        size: The object's length in bytes, or ``None`` if the host did not tell.
        stop: Where the stretch ends that is asked for, if that is not the object's end.
    """

    have: int
    validator: str
    size: int | None
    stop: int | None = None

    def conditions(self) -> dict[str, str]:
        """Return the header fields that ask for the rest."""
        last = "" if self.stop is None else self.stop - 1
        return {"Range": f"bytes={self.have}-{last}", "If-Range": self.validator}


@frozen
class Verdict:
    """What to do with an answer, and why, if it is of no use."""

    action: Action
    reason: str = ""


@frozen(kw_only=True)
class _Seen:
    """What an answer says about itself."""

    status: int
    length: int | None
    validator: str | None
    span: tuple[int, int, int | None] | None  # first, last, length of the object
    whole: int | None  # the length that a 416 names
    plain: bool


_Row = tuple[int | None, Callable[[Kept, _Seen], bool], Action, str]

_ASKED_FOR_A_PART: Final[tuple[_Row, ...]] = (
    (OK, lambda _, __: True, Action.START, ""),
    (PARTIAL, lambda _, seen: seen.span is None, Action.AGAIN, "a part without a single, sound Content-Range"),
    (PARTIAL, lambda _, seen: not seen.plain, Action.AGAIN, "a part of an encoded form of the file"),
    (PARTIAL, lambda kept, seen: seen.validator != kept.validator, Action.AGAIN, "a part of another object"),
    (PARTIAL, lambda kept, seen: _first(seen) != kept.have, Action.AGAIN, "another part than was asked for"),
    (PARTIAL, lambda kept, seen: not _same_size(kept, seen), Action.AGAIN, "a part of an object of another length"),
    (PARTIAL, lambda kept, seen: not _reaches_its_end(kept, seen), Action.AGAIN, "a part that ends too early or late"),
    (PARTIAL, lambda _, seen: not _as_long_as_said(seen), Action.AGAIN, "a body of another length than its range"),
    (PARTIAL, lambda _, __: True, Action.APPEND, ""),
    (
        UNSATISFIABLE,
        lambda kept, seen: seen.validator not in {None, kept.validator},
        Action.AGAIN,
        "the object is another one by now",
    ),
    (UNSATISFIABLE, lambda kept, seen: seen.whole == kept.have == _size(kept), Action.COMPLETE, ""),
    (UNSATISFIABLE, lambda _, __: True, Action.AGAIN, "no part behind what is there"),
)
_ASKED_FOR_ALL: Final[tuple[_Row, ...]] = ((OK, lambda _, __: True, Action.START, ""),)
_NOTHING_KEPT: Final = Kept(have=0, validator="", size=None)


def judge(kept: Kept | None, status: int, headers: Mapping[str, str], length: int | None) -> Verdict:
    """Return what to do with an answer.

    Args:
        kept: What its request was for the rest of; ``None`` if it asked for the whole object.
        status: HTTP status: a success, or 416.
        headers: Header fields, looked up without regard to case.
        length: Bytes of the body as announced, or ``None``.
    """
    seen = _Seen(
        status=status,
        length=length,
        validator=validator_of(headers),
        span=_span(headers),
        whole=int(found[1]) if (found := _NOTHING_OF.fullmatch(headers.get("Content-Range", "").strip())) else None,
        plain=is_plain(headers),
    )
    table = _ASKED_FOR_ALL if kept is None else _ASKED_FOR_A_PART
    for wanted, fits, action, reason in table:
        if status == wanted and fits(kept or _NOTHING_KEPT, seen):
            return Verdict(action, f"the host sent {reason}" if reason else "")
    return Verdict(Action.FAIL, f"the host answered {status} where a whole file was asked for")


def validator_of(headers: Mapping[str, str]) -> str | None:
    """Return what identifies every byte of an answer's object, fit for ``If-Range``, or ``None``."""
    tag = headers.get("ETag")
    if tag is not None:
        tag = tag.strip()
        return tag if len(tag) <= LONGEST_VALIDATOR and _TAG.fullmatch(tag) else None
    modified = headers.get("Last-Modified", "").strip()
    if len(modified) > LONGEST_VALIDATOR:
        return None
    try:
        age = parsedate_to_datetime(headers.get("Date", "")) - parsedate_to_datetime(modified)
    except (ValueError, TypeError, OverflowError):  # the last one of a year or a zone with very many digits
        return None
    return modified if age >= STRONG_AFTER else None


def is_plain(headers: Mapping[str, str]) -> bool:
    """Tell whether the bytes on the wire are the object's own."""
    return headers.get("Content-Encoding", "").strip().lower() in {"", "identity"}


def announced_sha256(headers: Mapping[str, str]) -> bytes | None:
    """Return the digest that a host announces of the whole object (RFC 9530), whatever part of it the answer holds."""
    found = _SHA256.search(headers.get("Repr-Digest", ""))
    try:
        return base64.b64decode(found[1], validate=True) if found else None
    except binascii.Error:
        return None


def _span(headers: Mapping[str, str]) -> tuple[int, int, int | None] | None:
    if headers.get("Content-Type", "").lower().startswith("multipart/byteranges"):
        return None
    found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None:
        return None
    first, last, size = int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])
    sound = first <= last and (size is None or last < size)
    return (first, last, size) if sound else None


def _first(seen: _Seen) -> int | None:
    return seen.span[0] if seen.span else None


def _size(kept: Kept) -> int:
    return kept.have if kept.size is None else kept.size


def _same_size(kept: Kept, seen: _Seen) -> bool:
    assert seen.span is not None
    size = seen.span[2]
    return size is None or kept.size is None or size == kept.size


def _reaches_its_end(kept: Kept, seen: _Seen) -> bool:
    assert seen.span is not None
    stop = seen.span[2] if kept.stop is None else kept.stop
    # Without the object's length nobody knows where its end is.
    return stop is not None and seen.span[1] + 1 == stop


def _as_long_as_said(seen: _Seen) -> bool:
    assert seen.span is not None
    return seen.length is None or seen.length == seen.span[1] - seen.span[0] + 1
