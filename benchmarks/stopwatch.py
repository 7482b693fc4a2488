"""Run one command and write down what it cost: ``stopwatch.py RESULT SECONDS COMMAND...``.

A process of its own, with nothing imported that is not needed: on Linux a child's peak memory starts at that of the
process it was started from (``exec`` keeps the high-water mark), so a large parent would be every peer's floor.

The result is one line: exit status, wall seconds, CPU seconds of the whole tree, peak KiB of its largest process.
"""

import os
import signal
import sys
import time


def _run(limit: int, command: list[str]) -> str:
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, setsid=True)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(pid, signal.SIGKILL))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.alarm(limit)
    try:
        _, status, usage = os.wait4(pid, 0)
    except (KeyboardInterrupt, SystemExit):
        os.killpg(pid, signal.SIGKILL)
        raise
    wall = time.perf_counter() - started
    signal.alarm(0)
    return f"{os.waitstatus_to_exitcode(status)} {wall} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}"


def main() -> None:
    result, limit, *command = sys.argv[1:]
    line = _run(int(limit), command)
    with open(result, "w") as file:  # noqa: PTH123 -- pathlib would cost memory, which is what is measured
        file.write(line)


if __name__ == "__main__":
    main()
