"""Where the benchmark keeps what it needs from others: pinned versions, below the user's cache directory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["kept", "python_packages"]


def kept(name: str) -> Path:
    """Return the directory of that name in this project's part of the cache; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aiocircle" / name


def python_packages(*requirements: str) -> Path:
    """Return a directory to import these packages from, installing them there the first time."""
    name = "+".join(sorted(requirements)).replace("==", "-")
    place = kept(f"{name}-py{sys.version_info.major}{sys.version_info.minor}")
    if not place.exists():
        unfinished = place.with_name(f"{place.name}.{os.getpid()}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(unfinished), *requirements]
        try:
            subprocess.run(command, check=True)
            unfinished.rename(place)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return place
