"""What processes that share a budget keep in their store: a budget, who has which ticket, and who is there. Pure.

A record is text (JSON), since a store must hand it to processes that were started apart. It is made of the classes of
``budget`` as they are, so that nothing about the budget is written twice. ``VERSION`` tells what they are made of:
programs whose classes differ keep records of their own, rather than misread each other's.

A record that cannot be read is worth nothing and is dropped: a budget can be learned anew at the price of a few
careful requests.
"""

import json
from zlib import crc32

from attrs import define, field, fields
from cattrs import Converter

from aiocircle.ratelimit.bucket import Bucket, Ticket
from aiocircle.ratelimit.budget import Budget, Group, Tally, Track
from aiocircle.ratelimit.pace import LongWindow, Pace
from aiocircle.ratelimit.quota import NEVER, Mark, Quota

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

    def isolate(self, name: str, mine: set[str], now: float) -> None:
        """Leave nothing in it but what this process knows to have under way."""
        for other in [other for other in self.members if other != name]:
            self.drop(other, now)
        for key in [key for key in self.tickets if key not in mine]:
            self.budget.lost(self.tickets.pop(key).ticket, now)  # granted by a swap of which nothing was heard

    def alive(self, now: float) -> list[Member]:
        """Return the processes that showed a sign of life lately."""
        return [member for member in self.members.values() if member.seen_at >= now - UNSEEN]

    def divide(self, parts: int) -> None:
        """Use one part in so many of each window from now on, since others use the rest unseen."""
        self.budget.share = parts
        for bucket in self.budget.buckets.values():
            bucket.share = parts
            for quota in bucket.quotas.values():
                quota.share, quota.shared_until = parts, NEVER

    def others(self, name: str) -> list[Member]:
        """Return the processes beside this one."""
        return [member for other, member in self.members.items() if other != name]


def _version() -> str:
    """Return what changes whenever a class in a record gains, loses or renames an attribute."""
    kinds = (Record, Member, Held, Ticket, Mark, Budget, Group, Track, Tally, Bucket, Quota, Pace, LongWindow)
    return f"{crc32(repr([[attribute.name for attribute in fields(kind)] for kind in kinds]).encode()):08x}"


VERSION = _version()


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
