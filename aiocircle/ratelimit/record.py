"""What processes that share a budget keep in their store: a budget, who has which ticket, and who is there. Pure.

A record is text (JSON), since a store must hand it to processes that were started apart. It is made of the classes of
``budget`` as they are, so that nothing about the budget is written twice; and of ``VERSION``, which changes whenever
those classes change in a way that an older program would misread.

A record that cannot be read is worth nothing and is dropped: a budget can be learned anew at the price of a few
careful requests.
"""

import json

from attrs import define, field
from cattrs import Converter

from aiocircle.ratelimit.bucket import Ticket
from aiocircle.ratelimit.budget import Budget

VERSION = 1
UNSEEN = 2.0  # seconds after which a process that showed no sign of life is dead
EXPIRES = 3600.0  # seconds after which a record says nothing of now
AHEAD = 1.0  # seconds by which a record may be of the future; one from before a reboot is further


@define(eq=False)
class Member:
    """A process that shares the budget.

    Attributes:
        label: For people: host and process number.
        seen_at: When it last wrote, in the store's time.
        waiting: How many of its requests stood in line then.
    """

    label: str
    seen_at: float
    waiting: int = 0


@define(eq=False)
class Held:
    """A ticket that is out, and the id of the process that has it."""

    owner: str
    ticket: Ticket


@define(eq=False)
class Record:
    """The state of one shared budget. Times are the store's."""

    budget: Budget = field(factory=Budget)
    updated_at: float = 0.0
    tickets: dict[str, Held] = field(factory=dict)
    members: dict[str, Member] = field(factory=dict)

    def is_current(self, now: float) -> bool:
        """Tell whether it still says something of now."""
        return now - EXPIRES < self.updated_at < now + AHEAD

    def reap(self, now: float) -> bool:
        """Count the tickets of dead processes as lost, and tell whether there were any dead."""
        dead = [name for name, member in self.members.items() if member.seen_at < now - UNSEEN]
        for name in dead:
            self.drop(name, now)
        return bool(dead)

    def drop(self, name: str, now: float) -> None:
        """Remove a process; of what it has under way, no answer will come."""
        self.members.pop(name, None)
        for key in [key for key, held in self.tickets.items() if held.owner == name]:
            self.budget.lost(self.tickets.pop(key).ticket, now)

    def others(self, name: str) -> list[Member]:
        """Return the processes beside this one."""
        return [member for other, member in self.members.items() if other != name]

    def next_death(self, name: str) -> float:
        """Return when the next of the others is dead unless it shows a sign of life."""
        return min((member.seen_at + UNSEEN for member in self.others(name)), default=float("inf"))


def _converter() -> Converter:
    converter = Converter(detailed_validation=False)
    converter.register_structure_hook(float, lambda value, _: value + 0.0)  # text raises, as it should
    return converter


_CONVERTER = _converter()
_unstructure = _CONVERTER.get_unstructure_hook(Record)
_structure = _CONVERTER.get_structure_hook(Record)


def dump(record: Record) -> bytes:
    """Return a record as text."""
    return json.dumps([VERSION, _unstructure(record)], separators=(",", ":")).encode()


def load(text: bytes | None, now: float) -> Record:
    """Read a record; what is unreadable, too old or of another version is as good as none."""
    if text is None:
        return Record()
    try:
        version, content = json.loads(text)
        if version != VERSION:
            return Record()
        record: Record = _structure(content, Record)
    except Exception:  # noqa: BLE001 -- whatever is wrong with it, it is dropped
        return Record()
    return record if record.is_current(now) else Record()
