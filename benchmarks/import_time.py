"""How long ``import aiocircle`` takes, beside the ``import aiohttp`` that it cannot do without.

Fresh interpreters in turn, whole-process wall time, medians.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
RUNS = 15
HEAVY = ("cyclopts", "rich")
STATEMENTS = {
    "nothing": "pass",
    "import aiohttp": "import aiohttp",
    "import aiocircle": "import aiocircle",
    "aiocircle.Client": "import aiocircle; aiocircle.Client",
}


def _fresh(statement: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or the compiler would be measured
    command = [sys.executable, "-c", statement]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def _milliseconds(statement: str) -> float:
    started = time.perf_counter()
    _fresh(statement)
    return (time.perf_counter() - started) * 1000


def _loaded(statement: str) -> list[str]:
    return _fresh(f"{statement}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])").split()


def main() -> None:
    for statement in STATEMENTS.values():
        _fresh(statement)
    rounds = [{name: _milliseconds(statement) for name, statement in STATEMENTS.items()} for _ in range(RUNS)]
    medians = {name: median(figures[name] for figures in rounds) for name in STATEMENTS}
    for name, figure in medians.items():
        loaded = _loaded(STATEMENTS[name])
        print(f"{name:18} {figure:6.1f} ms   loads {' and '.join(loaded) or 'neither ' + ' nor '.join(HEAVY)}")
    for name in ("import aiocircle", "aiocircle.Client"):
        print(f"{name} - import aiohttp: {medians[name] - medians['import aiohttp']:+.1f} ms")


if __name__ == "__main__":
    main()
