"""``python -m benchmarks.limits``: judge the limiters, and print how they did."""

import argparse
import json
import sys
import time
from pathlib import Path

from attrs import asdict

from benchmarks.limits.clients import CONTESTANTS
from benchmarks.limits.cpu import print_costs
from benchmarks.limits.measure import Figures, measure, merge
from benchmarks.limits.real import print_real
from benchmarks.limits.report import bars, table, totals, trace
from benchmarks.limits.table import SITUATIONS
from benchmarks.limits.trial import hold


def main() -> int:
    """Do what the command line asks for; return 1 if a bar is missed."""
    options = _options()
    if options.cpu:
        print_costs()
        return 0
    if options.real:
        return print_real()
    contestants = options.contestants.split(",")
    if options.trace is not None:
        return _trace(options.only, contestants[0], options.trace)
    seeds = range(1 if options.quick else options.seeds)
    figures: dict[str, dict[str, Figures]] = {}
    began = time.perf_counter()
    for situation in SITUATIONS:
        if options.only not in situation.name and options.only not in situation.tags:
            continue
        runs = figures[situation.name] = {}
        for name in contestants:
            runs[name] = merge([measure(hold(situation, seed, CONTESTANTS[name])) for seed in seeds])
        print(table(situation, runs), flush=True)
    print(f"\n{len(figures)} situations, {len(seeds)} seeds, {time.perf_counter() - began:.1f} s of real time\n")
    print(totals(figures), end="\n\n")
    if options.json:
        rows = {name: {who: asdict(row) for who, row in runs.items()} for name, runs in figures.items()}
        options.json.write_text(json.dumps(rows, indent=1))
    return bars(figures) if "aiocircle" in contestants else 0


def _trace(only: str, contestant: str, seed: int) -> int:
    for situation in SITUATIONS:
        if only in situation.name:
            print(situation.name)
            print(trace(hold(situation, seed, CONTESTANTS[contestant])))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--only", default="", help="situations whose name contains this, or that have this tag")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS), help="separated by commas")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each; medians of shares, the worst of the rest")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--cpu", action="store_true", help="print what the limiter costs instead")
    parser.add_argument("--real", action="store_true", help="run against real middleware in real time instead")
    parser.add_argument("--trace", type=int, metavar="SEED", help="print every request of the first contestant instead")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
