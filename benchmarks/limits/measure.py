"""From what happened to figures. Their definitions stand with ``Figures``."""

import math
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from attrs import frozen

from benchmarks.limits import optimum
from benchmarks.limits.counters import Counter, FixedWindow
from benchmarks.limits.situations import Situation
from benchmarks.limits.trial import Pause, Trial, Try

__all__ = ["Figures", "measure", "merge"]


@frozen
class Figures:
    """How a contestant did in a situation.

    Attributes:
        speed: The optimum's time over the contestant's, each to the answer that was the contestant's last: a job that
            was given up is no gain. 0 if the run was broken off.
        steady: Requests accepted in the steady span over those that the policy allows in a span of that length, which
            is ``limit * length / window``. By the server's clock of arrivals. The span begins with the first window
            after three windows and a fifth of the run, and ends with the last that is over by nine tenths of it.
            Windows that are not aligned to the clock are taken to begin with the first accepted request after the one
            before. ``None`` if that is less than two windows.
        refusals: Answers with 429 or 503.
        lost: Jobs that never got their answer.
        first: The most requests of one bucket that were sent before any answer of that bucket was back.
        overtaken: The worst violation of first come, first served: the most jobs of one route that asked later than
            some job and yet were sent earlier (a job's sending is that of the try that was accepted).
        pause: The longest time from the end of a pause that a refusal asked for (or from the moment at which the
            policy accepts again, if that is later) to the sending of the next request that was accepted: how much
            later than one round trip the next accepted answer comes. ``None`` if nothing was to be sent after one.
        seconds: The contestant's time.
        stalled: Why the run was broken off, if it was.
    """

    speed: float
    steady: float | None
    refusals: int
    lost: int
    first: int
    overtaken: int
    pause: float | None
    seconds: float
    stalled: str = ""


def measure(trial: Trial) -> Figures:
    """Compute the figures of one run."""
    accepted = [attempt for attempt in trial.tries if attempt.status == 200]
    answered = sum(job.done for job in trial.jobs)
    seconds = max((attempt.back for attempt in accepted), default=math.inf)
    best = _optimum(trial.situation, trial.seed)[answered - 1] if answered else 0.0
    return Figures(
        speed=0.0 if trial.stalled else best / seconds,
        steady=_steady(trial, [attempt.arrived for attempt in accepted], seconds)
        if "steady" in trial.situation.tags
        else None,
        refusals=sum(attempt.status in {429, 503} for attempt in trial.tries),
        lost=trial.situation.requests - answered,
        first=_before_the_first_answer(trial),
        overtaken=_overtaken(trial),
        pause=_after_pauses(trial),
        seconds=seconds,
        stalled=trial.stalled,
    )


def merge(runs: list[Figures]) -> Figures:
    """Return the median of shares over several seeds, and the worst of what should not happen at all."""
    steady = [run.steady for run in runs if run.steady is not None]
    pauses = [run.pause for run in runs if run.pause is not None]
    return Figures(
        speed=_median([run.speed for run in runs]),
        steady=_median(steady) if steady else None,
        refusals=max(run.refusals for run in runs),
        lost=max(run.lost for run in runs),
        first=max(run.first for run in runs),
        overtaken=max(run.overtaken for run in runs),
        pause=max(pauses) if pauses else None,
        seconds=_median([run.seconds for run in runs]),
        stalled=next((run.stalled for run in runs if run.stalled), ""),
    )


def _median(values: list[float]) -> float:
    return sorted(values)[(len(values) - 1) // 2]  # of an even number, the worse


@lru_cache(maxsize=256)
def _optimum(situation: Situation, seed: int) -> list[float]:
    return optimum.answers(situation, seed)


def _steady(trial: Trial, arrivals: list[float], seconds: float) -> float | None:
    arrivals = sorted(arrivals)
    server = trial.situation.server(trial.seed)
    (bucket,) = server.buckets.values()
    (counter,) = bucket.counters
    window = counter.window
    begins = [
        begin
        for begin in _window_starts(trial, counter, arrivals)
        if max(3 * window, 0.2 * seconds) <= begin <= 0.9 * seconds
    ]
    if len(begins) < 3:
        return None
    allowed = counter.limit(trial.situation.start(trial.seed)) * (begins[-1] - begins[0]) / window
    return (bisect_left(arrivals, begins[-1]) - bisect_left(arrivals, begins[0])) / allowed


def _window_starts(trial: Trial, counter: Counter, arrivals: list[float]) -> Iterator[float]:
    if isinstance(counter, FixedWindow) and counter.aligned:
        start = trial.situation.start(trial.seed)
        first = math.ceil(start / counter.window) * counter.window - start
        yield from (first + n * counter.window for n in range(int(arrivals[-1] / counter.window) + 1))
        return
    last = -math.inf
    for arrival in arrivals:
        if arrival >= last + counter.window:
            yield arrival
            last = arrival


def _before_the_first_answer(trial: Trial) -> int:
    by_bucket: dict[str, list[Try]] = defaultdict(list)
    for attempt in trial.tries:
        by_bucket[attempt.bucket].append(attempt)
    worst = 0
    for tries in by_bucket.values():
        first = min((attempt.back for attempt in tries if not math.isnan(attempt.back)), default=math.inf)
        worst = max(worst, sum(attempt.sent < first for attempt in tries))
    return worst


def _overtaken(trial: Trial) -> int:
    by_route: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for job in trial.jobs:
        if job.done:
            sent = next(attempt.sent for attempt in job.tries if attempt.status == 200)
            by_route[job.route].append((job.asked, sent))
    worst = 0
    for jobs in by_route.values():
        jobs.sort(reverse=True)  # from the last that asked; equal ones from the last that was sent
        later: list[float] = []
        waiting: list[float] = []
        for (asked, sent), (asked_before, _) in pairwise([*jobs, (-1.0, -1.0)]):
            worst = max(worst, bisect_left(later, sent - 1e-9))
            waiting.append(sent)
            if asked_before != asked:
                for time in waiting:
                    insort(later, time)
                waiting.clear()
    return worst


def _after_pauses(trial: Trial) -> float | None:
    sent: dict[str, list[float]] = defaultdict(list)
    for attempt in trial.tries:
        if attempt.status == 200:
            sent[attempt.bucket].append(attempt.sent)
    delays = []
    for pause in _not_extended(trial.pauses):
        opens = pause.ends if math.isnan(pause.opens) else max(pause.ends, pause.opens - trial.situation.mean_rtt / 2)
        times = sent[pause.bucket]
        index = bisect_left(times, pause.ends)
        if index < len(times):
            delays.append(max(0.0, times[index] - opens))
    return max(delays) if delays else None


def _not_extended(pauses: list[Pause]) -> list[Pause]:
    """Return the pauses during which no other began that ends later."""
    return [
        pause
        for index, pause in enumerate(pauses)
        if not any(
            other.bucket == pause.bucket and other.ends > pause.ends for other in pauses[index + 1 : index + 200]
        )
    ]
