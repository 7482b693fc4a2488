"""``python -m aiocircle`` is the command ``aiocircle``."""

import sys

from aiocircle.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
