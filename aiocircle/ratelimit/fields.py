"""The values that rate headers carry: numbers, delays, dates, and the structured lists of the IETF drafts.

Everything here answers ``None`` for what is malformed, never raises, and is linear in the length of its text.

Numbers are ASCII digits with an optional fraction: ``int()`` and ``float()`` would also take signs, underscores,
exponents and the digits of other scripts. What has more digits than an unsigned 64-bit number saturates, as RFC 9111
(section 1.2.2) asks for delta-seconds.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

import attrs

_MAX_DIGITS = 20  # as many as 2**64 - 1 has
_SATURATED = 10**_MAX_DIGITS
_MAX_FRACTION = 9

_NEGATIVE = re.compile(r"-[0-9]+(?:\.[0-9]+)?")

# A delay this large is none: 30 years are taken for seconds since the epoch, 3,000 years for milliseconds.
_EPOCH_SECONDS = 10**9
_EPOCH_MILLISECONDS = 10**11


@lru_cache(maxsize=4096)  # a host's limits, resets and remainders recur
def read_number(text: str) -> int | float | None:
    """Read digits, or digits with a fraction."""
    text = text.strip(" \t")
    if not text.isascii():
        return None
    if text.isdigit():
        return _saturated(text)
    whole, _, fraction = text.partition(".")
    if whole.isdigit() and fraction.isdigit():
        return float(f"{_saturated(whole)}.{fraction[:_MAX_FRACTION]}")
    return None


def _saturated(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else _SATURATED


def read_count(text: str) -> int | None:
    """Read a number of requests; a fraction is cut."""
    number = read_number(text)
    return None if number is None else int(number)


@lru_cache(maxsize=4096)
def read_remaining(text: str) -> int | None:
    """Read a number of requests left; a negative one means none."""
    count = read_count(text)
    if count is None and _NEGATIVE.fullmatch(text.strip(" \t")):
        return 0
    return count


def read_window(text: str) -> float | None:
    """Read the length of a window, in seconds; zero is no length."""
    return float(read_number(text) or 0) or None


# --- delays and dates ------------------------------------------------------------------------------------------------

_ZONE = r"(?P<zone>GMT|UTC|UT|Z|[+-][0-9]{2}:?[0-9]{2})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATE_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (  # RFC 9110, section 5.6.7
        # IMF-fixdate and RFC 850, both without the weekday, which a comma parts from the rest.
        rf"(?P<day>[0-9]{{1,2}})[ -](?P<month>[a-z]{{3}})[ -](?P<year>[0-9]{{4}}|[0-9]{{2}}) {_TIME} {_ZONE}",
        # asctime
        rf"[a-z]{{3}} (?P<month>[a-z]{{3}}) {{1,2}}(?P<day>[0-9]{{1,2}}) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TWO_DIGITS = 100
_FIRST_OF_1900S = 69  # POSIX: the two-digit years 69 to 99 lie in the 1900s
_LEAP_SECOND = 60


@attrs.frozen
class ServerClock:
    """The moment of an answer as its server tells it. Read only when a header names a point in time.

    Attributes:
        dates: The answer's ``Date`` fields.
        wall: Seconds since the epoch by our own clock, where no ``Date`` can be read.
    """

    dates: Sequence[str]
    wall: float

    def now(self) -> float:
        """Return seconds since the epoch."""
        moments = (read_date(date.rpartition(",")[2]) for date in self.dates)
        return next((moment for moment in moments if moment is not None), self.wall)


def read_delays(values: Iterable[str], clock: ServerClock, *, epoch: bool) -> Iterator[float]:
    """Read every delay of the joined ``values``, in seconds from the answer; a moment that is past is zero.

    Args:
        values: Seconds or dates, separated by commas. A date's own comma splits like any other: the weekday before it
            is redundant, and alone it is malformed.
        clock: What dates are taken against.
        epoch: Whether numbers too large for a delay are moments: seconds or milliseconds since the epoch.
    """
    for member in members(values):
        delay = _delay(member.partition(";")[0], clock, epoch=epoch)
        if delay is not None:
            yield delay


def _delay(text: str, clock: ServerClock, *, epoch: bool) -> float | None:
    number = read_number(text)
    if number is None:
        moment = read_date(text)
    elif not epoch or number < _EPOCH_SECONDS:
        return float(number)
    else:
        moment = float(number) if number < _EPOCH_MILLISECONDS else number / 1000
    return None if moment is None else max(0.0, moment - clock.now())


def read_date(text: str) -> float | None:
    """Read an HTTP date without its weekday, or an ISO 8601 one, as seconds since the epoch; no zone means UTC."""
    text = text.strip(" \t")
    if not text.isascii():
        return None
    matches = (form.fullmatch(text) for form in _DATE_FORMS)
    match = next((match for match in matches if match), None)
    try:
        moment = datetime.fromisoformat(text) if match is None else _http_date(match.groupdict())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _http_date(parts: dict[str, str]) -> datetime:
    year, day, hour, minute, second = (int(parts[part]) for part in ("year", "day", "hour", "minute", "second"))
    if year < _TWO_DIGITS:
        year += 1900 if year >= _FIRST_OF_1900S else 2000
    if second == _LEAP_SECOND:
        second -= 1
    month = _MONTHS.index(parts["month"].lower()) + 1
    return datetime(year, month, day, hour, minute, second, tzinfo=_zone(parts.get("zone", "GMT")))


def _zone(text: str) -> timezone:
    if text[0] not in "+-":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text[0] == "-" else offset)


# --- structured fields (RFC 9651), as far as the drafts use them -----------------------------------------------------

# A quoted string that never ends reaches to the end of the text, so nothing is scanned twice.
_SCANNERS = {mark: re.compile(rf'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|{mark}', re.DOTALL) for mark in ",;"}
_STRING = re.compile(r'"((?:[^"\\]|\\["\\])*+)"')
_TOKEN = re.compile(r"[A-Za-z*][-!#$%&'*+.^_`|~:/0-9A-Za-z]*")


def members(values: Iterable[str]) -> Iterator[str]:
    """Yield the members of a list that may be split over several fields. Commas in quoted strings do not part them."""
    for value in values:
        yield from _split(value, ",")


def read_item(member: str) -> tuple[str, dict[str, str]]:
    """Split ``item;key=value;flag`` into the item and its parameters, whose keys are put in lower case."""
    item, *parameters = (part.strip(" \t") for part in _split(member, ";"))
    pairs = (parameter.partition("=") for parameter in parameters)
    return item, {key.rstrip(" \t").lower(): value.lstrip(" \t") for key, _, value in pairs}


def read_text(item: str) -> str | None:
    """Read a quoted string, or a token."""
    match = _STRING.fullmatch(item)
    if match:
        return re.sub(r"\\(.)", r"\1", match[1])
    return item if _TOKEN.fullmatch(item) else None


def _split(text: str, mark: str) -> list[str]:
    if '"' not in text:
        return text.split(mark)
    parts, start = [], 0
    for match in _SCANNERS[mark].finditer(text):
        if match[0] == mark:
            parts.append(text[start : match.start()])
            start = match.end()
    parts.append(text[start:])
    return parts
