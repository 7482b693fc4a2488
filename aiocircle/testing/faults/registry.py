"""Which faults there are, which of them are switched on, and which request meets which."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import get_args

import attrs

from aiocircle.testing.exchange import Answer, Exchange, Place

Spoil = Callable[[Exchange], Answer]
"""Turns a request into a spoiled answer. It may ask `Exchange.proceed` for the true one."""

_ARGUMENT = re.compile(r"(?P<name>[\w-]+)(:(?P<times>\d+))?(\+(?P<after>\d+))?(@(?P<place>\w+))?")


@attrs.frozen
class FaultKind:
    """A fault that can be switched on.

    Attributes:
        name: How it is asked for.
        description: One line: what the client sees.
        places: Where it happens unless told otherwise.
        settings: Its adjustable figures, with their defaults.
        spoil: What it does.
        listings_only: Whether only listings can meet it.
    """

    name: str
    description: str
    places: tuple[Place, ...]
    spoil: Spoil
    settings: Mapping[str, float] = attrs.field(factory=dict)
    listings_only: bool = False


FAULTS: dict[str, FaultKind] = {}
"""Every fault by name, in the order of the documentation."""


def fault(
    name: str,
    description: str,
    place: Place | tuple[Place, ...],
    settings: Mapping[str, float] | None = None,
    *,
    listings_only: bool = False,
) -> Callable[[Spoil], Spoil]:
    """Register the decorated function as the fault ``name``."""
    places = (place,) if isinstance(place, str) else place

    def register(spoil: Spoil) -> Spoil:
        FAULTS[name] = FaultKind(name, description, places, spoil, settings or {}, listings_only)
        return spoil

    return register


@attrs.define
class Armed:
    """A fault that is switched on. ``met`` counts the requests that matched, ``struck`` those that it spoiled."""

    kind: FaultKind
    places: tuple[Place, ...]
    times: int | None
    after: int
    match: re.Pattern[str] | None
    settings: Mapping[str, float]
    met: int = 0
    struck: int = 0

    def strikes(self, place: Place, path: str, *, listing: bool) -> bool:
        """Return whether this request is to be spoiled, and count it."""
        if place not in self.places or (self.kind.listings_only and not listing):
            return False
        if self.match is not None and not self.match.search(path):
            return False
        self.met += 1
        if self.met <= self.after or (self.times is not None and self.struck >= self.times):
            return False
        self.struck += 1
        return True


class FaultBox:
    """The faults of one simulator. May be changed from any thread while the simulator runs."""

    def __init__(self) -> None:
        self._armed: tuple[Armed, ...] = ()

    def __iter__(self) -> Iterator[Armed]:
        return iter(self._armed)

    def add(
        self,
        name: str,
        times: int | None = None,
        match: str | None = None,
        *,
        after: int = 0,
        place: Place | None = None,
        **settings: float,
    ) -> Armed:
        """Switch a fault on and return its counters.

        Args:
            name: A name of `FAULTS`.
            times: How many matching requests it spoils; all of them if left out.
            match: A regular expression searched for in the raw path.
            after: How many matching requests pass unharmed first.
            place: Where it happens: ``api`` (JSON endpoints), ``artifact`` (a file's listed address) or ``storage``
                (the signed address); by default where the fault is at home.
            **settings: The fault's figures, as listed with it.

        Raises:
            ValueError: the name, the place or a setting is unknown.
        """
        kind = FAULTS.get(name)
        if kind is None:
            message = f"no such fault: {name!r}; --list-faults shows them"
            raise ValueError(message)
        if place is not None and place not in get_args(Place):
            message = f"no such place: {place!r}; there are {', '.join(get_args(Place))}"
            raise ValueError(message)
        if unknown := sorted(settings.keys() - kind.settings.keys()):
            known = ", ".join(kind.settings) or "none"
            message = f"fault {name} has no setting {unknown[0]!r}; it has: {known}"
            raise ValueError(message)
        pattern = None if match is None else re.compile(match)
        armed = Armed(
            kind, kind.places if place is None else (place,), times, after, pattern, {**kind.settings, **settings}
        )
        self._armed = (*self._armed, armed)
        return armed

    def clear(self) -> None:
        """Switch all faults off."""
        self._armed = ()

    def take(self, place: Place, path: str, *, listing: bool) -> Armed | None:
        """Return the first fault that spoils this request; the others do not count it."""
        return next((armed for armed in self._armed if armed.strikes(place, path, listing=listing)), None)


def parse_fault(text: str, box: FaultBox) -> Armed:
    """Switch on what ``NAME[:times][+after][@place]`` describes.

    Raises:
        ValueError: the text has another form, or names something unknown.
    """
    found = _ARGUMENT.fullmatch(text)
    if found is None:
        message = f"a fault is written NAME[:times][+after][@place]: {text!r}"
        raise ValueError(message)
    times, after, place = found["times"], found["after"], found["place"]
    return box.add(
        found["name"],
        None if times is None else int(times),
        after=int(after or 0),
        place=place,  # type: ignore[arg-type] # add() judges it
    )
