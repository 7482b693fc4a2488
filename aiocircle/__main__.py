"""The command ``aiocircle``, which is ``python -m aiocircle`` as well.

Fifty thousand objects of imported code come to life in its first moments and stay until its last. The interpreter would
look through them for garbage a hundred times while they come, and once more at the end: a quarter of a short run. So it
looks more seldom, when a few MiB may be garbage, and not at all at what is left when all is done.
"""

import gc
import sys

BETWEEN_LOOKS = 10_000  # objects; usual are 700


def main() -> int:
    """Run the command and return its exit code."""
    gc.set_threshold(BETWEEN_LOOKS)
    from aiocircle.cli.app import main as run  # noqa: PLC0415 -- this is what brings the objects

    try:
        return run()
    finally:
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
