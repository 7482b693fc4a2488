"""From what happened to figures. Their definitions stand with ``Figures``."""

import math
from bisect import bisect_left, insort
from collections import defaultdict
from functools import lru_cache
from itertools import pairwise

from attrs import frozen

from benchmarks.limits import optimum
from benchmarks.limits.situations import Situation
from benchmarks.limits.trial import Pause, Trial, Try

__all__ = ["Figures", "measure", "merge"]


@frozen
class Figures:
    """How a contestant did in a situation.

    Attributes:
        speed: The optimum's time over the contestant's, each to the last accepted answer. Lost jobs count as if they
            had been answered when the run ended.
        steady: Accepted answers in the steady span over those that the optimum, working without end, gets in that
            span. It begins at the later of three windows and a fifth of the run, and ends with nine tenths of it, each
            moved to the next end of a window plus a quarter of one. ``None`` if that is less than two windows.
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
    accepted = sorted(attempt.back for attempt in trial.tries if attempt.status == 200)
    lost = trial.situation.requests - sum(job.done for job in trial.jobs)
    best = _optimum(trial.situation, trial.seed, 0.0)[-1]
    seconds = trial.ended if lost or not accepted else accepted[-1]
    return Figures(
        speed=best / seconds,
        steady=_steady(trial, accepted, seconds) if "steady" in trial.situation.tags else None,
        refusals=sum(attempt.status in {429, 503} for attempt in trial.tries),
        lost=lost,
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
def _optimum(situation: Situation, seed: int, endless: float) -> list[float]:
    return optimum.answers(situation, seed, endless=endless)


def _steady(trial: Trial, accepted: list[float], seconds: float) -> float | None:
    window, start = trial.situation.window, trial.situation.start(trial.seed)
    phase = math.ceil(start / window) * window - start + window / 4

    def whole(moment: float) -> float:
        return math.ceil((moment - phase) / window) * window + phase

    since, until = whole(max(3 * window, 0.2 * seconds)), whole(0.9 * seconds - window)
    if until - since < 2 * window:
        return None
    possible = _optimum(trial.situation, trial.seed, until + 2 * trial.situation.rtt)
    return _between(accepted, since, until) / _between(possible, since, until)


def _between(times: list[float], since: float, until: float) -> int:
    return bisect_left(times, until) - bisect_left(times, since)


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
