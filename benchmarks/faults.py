"""What becomes of a download under each fault of the simulator: ``python -m benchmarks.faults [NAME ...]``.

For each store, one job is fetched under each fault twice: once it strikes one request, and once all of them. A row says
what became of the struck file, whether its second request asked for its missing end only, and how many bytes of it were
sent more than once. Every byte that stands under a final name is compared, also after a next run without the fault,
which has to complete all: the program ends with status 1 if a file is wrong or missing.

``--store local --store tar`` looks at these only. A bucket needs SeaweedFS, which scripts/test installs and names in
``WEED``; without it that store is left out, and the last line says so.
"""

import argparse
import asyncio
import signal
import sys
import time

from aiocircle.testing import FAULTS
from benchmarks.fault_run import Result, run
from benchmarks.fault_stores import Stores, stores

ROW = "{:28} {:9} {:7} {:26} {:8} {:>10}  {}"


async def table(kinds: Stores, names: list[str], chosen: list[str]) -> int:
    """Print a row for each fault and store, and return the program's exit status."""
    rows = wrong = 0
    print(ROW.format("fault", "where", "store", "strikes once", "resumed", "sent twice", "strikes always"))
    for fault in names or FAULTS:
        kind = FAULTS[fault]
        for store in chosen or kinds.names:
            once = await run(kind, kinds.make(store), times=1)
            always = await run(kind, kinds.make(store), times=None)
            print(_row(fault, kind.places[0], store, once, always), flush=True)
            rows += 1
            for problem in filter(None, (once.wrong, always.wrong)):
                print(f"  {problem}", flush=True)
                wrong += 1
    left_out = "" if "s3" in kinds.names else "; s3 IS LEFT OUT: there is no SeaweedFS (WEED)"
    print(f"{len(names or FAULTS)} faults, {rows} rows, {wrong} with wrong or missing files{left_out}")
    return 1 if wrong else 0


def _row(fault: str, place: str, store: str, once: Result, always: Result) -> str:
    twice = "-" if once.twice is None else f"{once.twice:,}"
    resumed = "yes" if once.resumed else "-"
    return ROW.format(fault, place, store, once.outcome, resumed, twice, always.outcome)


def main() -> int:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults")
    parser.add_argument("name", nargs="*", choices=[[], *FAULTS], metavar="NAME", help="a fault; all by default")
    parser.add_argument("--store", action="append", default=[], choices=["local", "dedupe", "tar", "s3"])
    arguments = parser.parse_args()
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the server would outlive the table
    with stores() as kinds:
        if missing := [name for name in arguments.store if name not in kinds.names]:
            parser.error(f"{missing[0]} needs SeaweedFS, which scripts/test installs; WEED says where it lies")
        status = asyncio.run(table(kinds, arguments.name, arguments.store))
    print(f"{time.monotonic() - began:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
