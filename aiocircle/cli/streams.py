"""Standard input, output and error as the command needs them, however it was started.

A daemon, cron or ``>&-`` may leave them out. Then Python has ``None`` in their place, and the first socket or file that
is opened gets their number, and with it whatever is written to standard error. So nothing is put there first.
"""

import os
import sys


def prepare() -> None:
    """Give this process every standard stream."""
    for number in range(3):
        _open_if_closed(number)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 -- as long as the process
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        # The lowest number that is free is this one, since those below are open by now.
        os.open(os.devnull, os.O_RDWR)
