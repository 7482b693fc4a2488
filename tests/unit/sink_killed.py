"""Writes tables into a sink and is killed at a point: what a test starts.

``FORMAT DIRECTORY POINT START``. POINT is ``write`` for the middle of the rows, the number of a call that makes,
renames or removes a file, or seconds with a point. ``count`` is for none: it prints the number of those calls.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from sink_rows import rows_of

from aiocircle.export.sinks import open_sink
from aiocircle.export.tables import TABLES

NAMES = ("jobs", "schedules", "contexts")
COUNT = 200


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    kind, directory, point, start = sys.argv[1:5]
    killed_at = int(point) if point.isdigit() else -1
    count = 0
    if "." in point:
        signal.setitimer(signal.ITIMER_REAL, float(point))  # its signal ends the process as a kill does

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        path = str(arguments[0]) if arguments else ""
        is_one = event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"} or (
            event == "open" and ".aiocircle" in path
        )
        if is_one:
            count += 1
            if count == killed_at:
                die()

    with open_sink(kind, directory) as sink:
        sys.addaudithook(watch)
        for name in NAMES:
            table = TABLES[name]
            sink.begin(table)
            rows = rows_of(table, COUNT, start=int(start))
            sink.write(rows[: COUNT // 2])
            if point == "write" and name == NAMES[1]:
                die()
            sink.write(rows[COUNT // 2 :])
    sys.stdout.write(str(count))


if __name__ == "__main__":
    main()
