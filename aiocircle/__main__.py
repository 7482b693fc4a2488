"""The command ``aiocircle``, which is ``python -m aiocircle`` as well.

Fifty thousand objects of imported code come to life in its first moments and stay until its last. The interpreter would
look through them for garbage a hundred times while they come, and once more at the end: a quarter of a short run. So it
looks more seldom, when a few MiB may be garbage, and not at all at what is left when all is done.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

BETWEEN_LOOKS = 10_000  # objects; usual are 700
CANCELLED = 6  # ``exits.ExitCode.CANCELLED``, which is not imported yet


def main() -> int:
    """Run the command and return its exit code."""
    gc.set_threshold(BETWEEN_LOOKS)
    run = _imported()
    try:
        return run()
    except KeyboardInterrupt:  # in the moments before the app turns it into a sentence, and after
        return CANCELLED
    finally:
        gc.freeze()


def _imported() -> Callable[[], int]:
    """Return the command. Ctrl-C and SIGTERM end its import quietly: a traceback of that tells nobody anything."""
    usual = {number: signal.signal(number, _leave) for number in (signal.SIGINT, signal.SIGTERM)}
    from aiocircle.cli.app import main as run  # noqa: PLC0415 -- this is what brings the objects

    for number, handler in usual.items():
        signal.signal(number, handler)
    return run


def _leave(_signal: int, _frame: FrameType | None) -> None:
    os._exit(CANCELLED)


if __name__ == "__main__":
    sys.exit(main())
