"""Figures as lines of a table, and the bars that aiocircle must clear."""

from collections.abc import Callable, Iterator, Mapping
from math import isnan

from attrs import frozen

from benchmarks.limits.measure import Figures
from benchmarks.limits.situations import Situation
from benchmarks.limits.table import SITUATIONS
from benchmarks.limits.trial import Trial

__all__ = ["bars", "table", "totals", "trace"]

_BY_NAME = {situation.name: situation for situation in SITUATIONS}
Rows = list[tuple[Situation, Figures]]
HEAD = f"{'':44}{'speed':>7}{'steady':>8}{'refused':>9}{'lost':>6}{'first':>7}{'overtaken':>11}{'pause +s':>10}"


def table(situation: Situation, runs: Mapping[str, Figures]) -> str:
    """Return a situation's lines."""
    lines = [] if len(runs) == 1 else [f"{situation.name}  [{' '.join(sorted(situation.tags))}]"]
    if situation is SITUATIONS[0]:
        lines.insert(0, HEAD)
    for name, run in runs.items():
        steady = f"{run.steady:8.1%}" if run.steady is not None else f"{'':8}"
        pause = f"{run.pause:10.3f}" if run.pause is not None else f"{'':10}"
        label = situation.name if len(runs) == 1 else f"    {name}"
        lines.append(
            f"{label:44}{run.speed:7.1%}{steady}{run.refusals:9}{run.lost:6}{run.first:7}{run.overtaken:11}{pause}"
            f"{'  ' + run.stalled if run.stalled else ''}"
        )
    return "\n".join(lines)


def totals(figures: Mapping[str, Mapping[str, Figures]]) -> str:
    """Return a line for each contestant over all situations."""
    lines = [
        f"{'over all situations':24}{'mean speed':>12}{'refused':>10}{'clean in':>10}{'lost':>7}{'most overtaken':>16}"
    ]
    for name in next(iter(figures.values()), {}):
        runs = [row[name] for row in figures.values()]
        speed = sum(min(1.0, run.speed) for run in runs) / len(runs)
        refusals, clean = sum(run.refusals for run in runs), sum(not run.refusals for run in runs)
        lost, overtaken = sum(run.lost for run in runs), max(run.overtaken for run in runs)
        lines.append(f"{name:24}{speed:12.1%}{refusals:10}{clean:10}{lost:7}{overtaken:16}")
    return "\n".join(lines)


def trace(trial: Trial) -> str:
    """Return a line for every request, as it came to the server. Clock is what the server's clock showed."""
    start = trial.situation.start(trial.seed)
    lines = [f"{'sent':>10}{'arrived':>11}{'back':>11}  {'clock':12} status  headers"]
    for attempt in sorted(trial.tries, key=lambda attempt: (isnan(attempt.arrived), attempt.arrived, attempt.sent)):
        clock = "" if isnan(attempt.arrived) else f"{(start + attempt.arrived) % 3600:.4f}"
        told = " ".join([attempt.bucket, *(f"{name}={value}" for name, value in attempt.headers)])
        status = attempt.status or "lost"
        lines.append(f"{attempt.sent:10.4f} {attempt.arrived:10.4f} {attempt.back:10.4f}  {clock:12} {status}  {told}")
    return "\n".join(lines)


@frozen
class Bar:
    """What aiocircle must reach: the worst (or mean) figure of some situations, against a bound."""

    text: str
    chosen: Callable[[Situation], bool]
    figure: Callable[[Figures], float | None]
    bound: float
    least: bool = True
    mean: bool = False
    share: bool = True

    def judge(self, rows: Rows) -> tuple[bool, str]:
        """Return whether it is cleared, and a line that says by which situation."""
        values = [(value, s.name) for s, run in rows if self.chosen(s) and (value := self.figure(run)) is not None]
        if not values:
            return True, f"  --   {self.text}: no such situation was run"
        worst, where = min(values) if self.least else max(values)
        if self.mean:
            worst, where = sum(value for value, _ in values) / len(values), "mean"
        passed = worst >= self.bound if self.least else worst <= self.bound
        misses = sum((value < self.bound) if self.least else (value > self.bound) for value, _ in values)
        shown = f"{worst:.1%}" if self.share else f"{worst:g}"
        also = f"; {misses} of {len(values)} miss it" if not passed and not self.mean else ""
        return passed, f"  {'PASS' if passed else 'FAIL'} {self.text}: {shown} ({where}{also})"


def _tag(*tags: str) -> Callable[[Situation], bool]:
    return lambda situation: situation.tags.issuperset(tags)


def _every(_situation: Situation) -> bool:
    return True


def _bars() -> Iterator[Bar]:
    def refusals(run: Figures) -> float:
        return run.refusals

    def speed(run: Figures) -> float:
        return run.speed

    def steady(run: Figures) -> float | None:
        return run.steady

    yield Bar("refusals on usable headers = 0", _tag("usable"), refusals, 0, least=False, share=False)
    yield Bar("steady >= 97 % at 20 ms", lambda s: s.rtt <= 0.02 and _windowed(s), steady, 0.97)
    yield Bar("steady >= 95 % at 150 ms", lambda s: s.rtt > 0.02 and _windowed(s), steady, 0.95)
    yield Bar("short jobs >= 92 %", _tag("short"), speed, 0.92)
    yield Bar("sliding windows >= 86 %", lambda s: "sliding" in s.tags and "penalised" not in s.tags, speed, 0.86)
    yield Bar("token buckets >= 95 %", _tag("token"), speed, 0.95)
    yield Bar("refusals that count >= 88 %", _tag("penalised"), speed, 0.88)
    yield Bar("without headers <= 16 refusals", _tag("hidden"), refusals, 16, least=False, share=False)
    yield Bar("without headers >= 75 %", _tag("hidden"), speed, 0.75)
    yield Bar("hidden burst guard <= 8 refusals", _tag("burst"), refusals, 8, least=False, share=False)
    yield Bar("at most 2 sent before the first answer", _every, lambda run: run.first, 2, least=False, share=False)
    yield Bar("nothing lost", _every, lambda run: run.lost, 0, least=False, share=False)
    yield Bar("after a pause within rtt + 50 ms", _every, lambda run: run.pause, 0.05, least=False, share=False)
    yield Bar("mean speed (100 % at most each) >= 88 %", _every, lambda run: min(1.0, run.speed), 0.88, mean=True)


def _windowed(situation: Situation) -> bool:
    """Tell whether the bars for fixed windows with usable headers apply."""
    return {"steady", "usable"} <= situation.tags and not {"sliding", "token", "penalised"} & situation.tags


def bars(figures: Mapping[str, Mapping[str, Figures]]) -> int:
    """Print each bar with aiocircle's figure; return 1 if one is missed."""
    rows = [(_BY_NAME[name], runs["aiocircle"]) for name, runs in figures.items()]
    missed = 0
    for bar in _bars():
        passed, line = bar.judge(rows)
        missed |= not passed
        print(line)
    return int(missed)
