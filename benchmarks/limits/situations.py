"""What a situation is, and the words in which the table of them is written."""

from collections.abc import Callable
from random import Random

from attrs import frozen

from benchmarks.limits.counters import Counter, FixedWindow, SlidingCounter, SlidingLog, Steps, TokenBucket
from benchmarks.limits.dialects import Render, kong
from benchmarks.limits.policies import Bucket, Server, Tamper

__all__ = [
    "ROUTE",
    "WORKERS",
    "Build",
    "Counters",
    "Load",
    "Situation",
    "fixed",
    "many",
    "moving",
    "now_and_then",
    "once",
    "one",
    "situation",
    "sliding_counter",
    "sliding_log",
    "steadily",
    "token_bucket",
]

_EPOCH = 1_795_392_000.0  # a midnight in UTC
Build = Callable[[float, Random], Server]


@frozen
class Load:
    """So many requests of a route, taken from one queue by so many workers."""

    route: str
    requests: int
    workers: int = 64


@frozen(kw_only=True)
class Situation:
    """A server, a network, and work to do.

    Attributes:
        name: What it is called.
        tags: What it is judged by. ``usable``: the headers suffice, so nothing may be refused. ``steady``: at least 20
            windows. ``short``: done within three windows. ``sliding``, ``token``, ``penalised``: how it counts.
            ``hidden``: no headers. ``burst``: a guard that no header shows. ``moving``, ``foreign``, ``faults``,
            ``routes``: what happens.
        build: Makes the server, given the moment of the start and a seeded generator.
        loads: The work, by route.
        window: The seconds of the window that binds; the steady state is measured in whole ones.
        rtt: Seconds there and back without jitter.
        jitter: Each way takes ``rtt / 2`` times a number drawn evenly from this range.
        loss: The share of requests lost; half of them before the server counts them, half after.
    """

    name: str
    tags: frozenset[str]
    build: Build
    loads: tuple[Load, ...]
    window: float
    rtt: float = 0.02
    jitter: tuple[float, float] = (0.8, 1.4)
    loss: float = 0.0

    @property
    def mean_rtt(self) -> float:
        """Seconds there and back on average."""
        return self.rtt * sum(self.jitter) / 2

    @property
    def requests(self) -> int:
        """All the work."""
        return sum(load.requests for load in self.loads)

    def start(self, seed: int) -> float:
        """Return the moment of the start, in seconds since the epoch: any moment of a day."""
        return _EPOCH + Random(f"start {seed}").random() * 80_000

    def server(self, seed: int) -> Server:
        """Make the server as it stands at the start."""
        return self.build(self.start(seed), Random(f"{self.name} {seed}"))


ROUTE = "/project/{slug}/pipeline"
WORKERS = 64
NEAR = 0.02
Counters = Callable[[float], list[Counter]]


def fixed(*limits: tuple[int, float], aligned: bool = True, lag: float = 0.0) -> Counters:
    """Return fixed windows, given as limits and lengths."""
    return lambda _: [FixedWindow(Steps.constant(n), window, aligned, lag) for n, window in limits]


def moving(window: float, *steps: tuple[float, int]) -> Counters:
    """Return a window whose limit is another from so many seconds after the start."""
    return lambda start: [FixedWindow(Steps(tuple((start + after, limit) for after, limit in steps)), window)]


def sliding_log(limit: int, window: float) -> Counters:
    """Return a sliding log."""
    return lambda _: [SlidingLog(Steps.constant(limit), window)]


def sliding_counter(limit: int, window: float) -> Counters:
    """Return a sliding counter."""
    return lambda _: [SlidingCounter(Steps.constant(limit), window)]


def token_bucket(capacity: int, rate: float) -> Counters:
    """Return a token bucket."""
    return lambda _: [TokenBucket(capacity, rate)]


def one(
    counters: Counters,
    render: Render = kong,
    *,
    guard: tuple[int, float] | None = None,
    penalised: bool = False,
    foreign: Callable[[float, Random], list[float]] | None = None,
    storms: tuple[tuple[float, float], ...] = (),
    tamper: Tamper | None = None,
) -> Build:
    """Return how to make a server with one bucket. Storms are given in seconds after the start."""

    def build(start: float, random: Random) -> Server:
        bucket = Bucket(
            counters(start),
            render,
            SlidingLog(Steps.constant(guard[0]), guard[1]) if guard else None,
            penalised,
            foreign(start, random) if foreign else (),
        )
        spans = [(start + begin, start + end) for begin, end in storms]
        return Server({"": bucket}, {ROUTE: ""}, spans, tamper, random)

    return build


def many(render: Render, shared: bool, **limits: tuple[int, float]) -> Build:
    """Return how to make a server with several routes, which share the first one's quota or have one each."""

    def build(start: float, random: Random) -> Server:  # noqa: ARG001 - every server is built so
        names = [next(iter(limits))] if shared else list(limits)
        buckets = {
            name: Bucket([FixedWindow(Steps.constant(limits[name][0]), limits[name][1])], render) for name in names
        }
        return Server(buckets, {f"/{name}/{{id}}": names[0] if shared else name for name in limits}, random=random)

    return build


def steadily(rate: float, seconds: float) -> Callable[[float, Random], list[float]]:
    """Return someone who sends at random, so many a second on average."""

    def foreign(start: float, random: Random) -> list[float]:
        times, now = [], start
        while now < start + seconds:
            now += random.expovariate(rate)
            times.append(now)
        return times

    return foreign


def now_and_then(rate: float, on: float, off: float, seconds: float) -> Callable[[float, Random], list[float]]:
    """Return someone who sends at a rate for a while, then nothing for a while, in turn."""

    def foreign(start: float, random: Random) -> list[float]:
        return [at for at in steadily(rate, seconds)(start, random) if (at - start) % (on + off) >= off]

    return foreign


def once(requests: int, window: float, place: int) -> Callable[[float, Random], list[float]]:
    """Return someone who sends so many at the beginning of a window; number 0 is the one that is open at the start."""

    def foreign(start: float, random: Random) -> list[float]:  # noqa: ARG001 - as the others are called
        begin = (start // window + place) * window
        return [begin + number / 10_000 for number in range(requests)]

    return foreign


def situation(
    name: str,
    tags: str,
    build: Build,
    work: int | dict[str, int],
    window: float,
    *,
    rtt: float = NEAR,
    jitter: tuple[float, float] = (0.8, 1.4),
    loss: float = 0.0,
) -> Situation:
    """Return a situation with so many requests, by route if there are several; the workers are shared out evenly."""
    loads = {ROUTE: work} if isinstance(work, int) else {f"/{route}/{{id}}": n for route, n in work.items()}
    return Situation(
        name=name,
        tags=frozenset(tags.split()),
        build=build,
        loads=tuple(Load(route, requests, WORKERS // len(loads)) for route, requests in loads.items()),
        window=window,
        rtt=rtt,
        jitter=jitter,
        loss=loss,
    )
