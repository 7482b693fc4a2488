"""The command ``aiocircle``, which is ``python -m aiocircle`` as well.

Fifty thousand objects of imported code come to life in its first moments and stay until its last. The interpreter would
look through them for garbage a hundred times while they come, and once more at the end: a quarter of a short run. So it
looks more seldom, when a few MiB may be garbage, and not at all at what is left when all is done.
"""

import gc
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

BETWEEN_LOOKS = 10_000  # objects; usual are 700
CANCELLED = 6  # ``exits.ExitCode.CANCELLED``, which is not imported yet
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = b"aiocircle: stopped\n"


def main() -> int:
    """Run the command and return its exit code.

    Until a command says otherwise (``cli.interrupts``), Ctrl-C and the like end it at once: it has done nothing
    yet, and while Python imports, it drops a ``KeyboardInterrupt`` here and there, or prints a traceback that tells
    nobody anything. One that is ignored already stays so: a script has Ctrl-C ignored by what it starts with ``&``.
    """
    gc.set_threshold(BETWEEN_LOOKS)
    heeded = [one for one in ENDING if signal.getsignal(one) is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, _leave)
    from aiocircle.cli.app import main as run  # noqa: PLC0415 -- this is what brings the objects

    try:
        return run()
    except KeyboardInterrupt:  # behind what turns it into a sentence
        return CANCELLED
    finally:
        gc.freeze()
        for number in heeded:
            signal.signal(number, signal.SIG_IGN)  # nothing is left to do but to end, with the status that it has


def _leave(_signal: int, _frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, STOPPED)
    os._exit(CANCELLED)


if __name__ == "__main__":
    sys.exit(main())
