"""What a rate limit does now, as values for people."""

from attrs import frozen

from aiocircle.ratelimit.bucket import QuotaState


@frozen
class Sharer:
    """A process that shares a budget: its name, how many of its requests wait, and seconds since it was last seen."""

    label: str
    waiting: int
    seen_ago: float


@frozen(kw_only=True)
class BucketSnapshot:
    """What a bucket does now, for people.

    Attributes:
        name: The origin, and the route groups where the origin has several buckets.
        groups: The route groups that draw on it.
        quotas: Each window as last known; empty while no answer has shown one.
        in_flight: Requests under way.
        waiting: Requests standing in line.
        waits_for: Why the first of them waits: ``"budget"``, ``"pause"``, ``"pace"``, ``"answer"``, or ``None``.
        ready_in: Seconds until the first of them leaves; ``None`` when only an answer can tell.
        sent: Requests sent so far.
        refused: Requests refused so far.
        processes: Processes that share the bucket now, this one included; 1 where nothing is shared.
        sharers: Those processes, where something is shared.
    """

    name: str
    groups: tuple[str, ...] = ()
    quotas: tuple[QuotaState, ...]
    in_flight: int
    waiting: int
    waits_for: str | None
    ready_in: float | None
    sent: int
    refused: int
    processes: int = 1
    sharers: tuple[Sharer, ...] = ()
