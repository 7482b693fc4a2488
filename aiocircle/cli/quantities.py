"""Dates, sizes and parts as people type them."""

import re
from datetime import UTC, datetime, timedelta

from aiocircle.cli.exits import UsageError
from aiocircle.download.filters import Shard

_AGES = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SIZES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def moment(flag: str, text: str | None) -> datetime | None:
    """Read a date, a date with a time (UTC unless it says otherwise), or an age: ``30d``, ``12h``, ``2w``.

    Raises:
        UsageError: It is neither.
    """
    if text is None:
        return None
    try:
        if (ago := _age(text)) is not None:
            return datetime.now(UTC) - ago
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise UsageError(
            f"{flag} {text!r} is no date and no age", hint="such as 2026-11-01, 2026-11-01T09:30Z, 12h or 30d"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def age(flag: str, text: str) -> float:
    """Read an age, and return its seconds.

    Raises:
        UsageError: It is none.
    """
    found = _age(text)
    if found is None:
        raise UsageError(f"{flag} {text!r} is no age", hint="such as 12h, 3d or 2w")
    return found.total_seconds()


def _age(text: str) -> timedelta | None:
    found = re.fullmatch(r"([0-9]{1,6})([mhdw])", text.strip(), re.IGNORECASE)
    return None if found is None else timedelta(**{_AGES[found[2].lower()]: int(found[1])})


def size(flag: str, text: str | None) -> int | None:
    """Read a number of bytes: ``1500``, ``10k``, ``1.5M``, ``2GiB``; a unit is a power of 1024.

    Raises:
        UsageError: It is none.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([kmgt]?)(?:i?b)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise UsageError(f"{flag} {text!r} is no size", hint="such as 1500, 10k, 1.5M or 2GiB")
    return int(float(found[1]) * 1024 ** _SIZES[found[2].lower()])


def shard(text: str | None) -> Shard | None:
    """Read a part: ``2/5``.

    Raises:
        UsageError: It is none.
        ConfigurationError: There is no such part.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
    if found is None:
        raise UsageError(f"--shard {text!r} is no part", hint="it is I/N, such as 2/5: the second of five parts")
    return Shard(int(found[1]), int(found[2]))
