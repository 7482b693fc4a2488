"""Figures and names as people read them. Pure."""

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
NOTHING: Final = "\N{EN DASH}"  # where there is no figure
_KIBI = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_FEW = 10


def shown(name: object, nothing: str = "(no name)") -> str:
    """Return a name from outside with every character escaped that could do more than be seen."""
    text = "" if name is None else str(name)
    if not text:
        return nothing
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def web_address(url: object) -> str | None:
    """Return an address that may be a link: http and https only; else ``None``."""
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in {"http", "https"} and parts.netloc else None


def duration(seconds: float | None) -> str:
    """Return seconds for people: ``850 ms``, ``4.2 s``, ``3 min 05 s``, ``2 h 10 min``, ``3 d 4 h``."""
    if seconds is None:
        return NOTHING
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < MINUTE:
        return f"{seconds:.1f} s" if seconds < _FEW and seconds % 1 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def size(number: float | None) -> str:
    """Return bytes for people: ``54.2 MiB``."""
    if number is None:
        return NOTHING
    unit = 0
    while abs(number) >= _KIBI and unit < len(_UNITS) - 1:
        number /= _KIBI
        unit += 1
    return f"{number:.1f} {_UNITS[unit]}" if unit else f"{number:.0f} B"


def count(number: float | None) -> str:
    """Return a number with its thousands apart."""
    return NOTHING if number is None else f"{number:,.0f}"


def share(part: float, whole: float) -> str:
    """Return a part of a whole in per cent, or a dash where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole else NOTHING


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 file``, ``3,003 files``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def moment(seconds: float | None, *, exact: bool = False) -> str:
    """Return seconds since the epoch as a date, or with the time of day, in UTC."""
    if seconds is None:
        return NOTHING
    then = datetime.fromtimestamp(seconds, UTC)
    return f"{then.day} {then:%b %Y, %H:%M}" if exact else f"{then.day} {then:%b %Y}"
