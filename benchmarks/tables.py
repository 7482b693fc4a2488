"""From single runs to a table, and to the sentences that say where aiocircle loses."""

from collections.abc import Mapping, Sequence
from statistics import median

from attrs import frozen

from benchmarks.peers import OURS, RECIPE
from benchmarks.world import MIB, Workload

_HEADINGS = ("peer", "version", "median s", "files/s", "MB/s", "x recipe", "aiocircle x", "CPU s", "peak MiB")


@frozen
class Run:
    """What one run of a peer cost.

    Attributes:
        wall: Seconds from the start of its process to the end.
        cpu: Seconds of user and system time of all its processes.
        peak: Bytes of memory of the largest of them, at most.
    """

    wall: float
    cpu: float
    peak: int


@frozen
class Row:
    """A peer's runs over one workload.

    Attributes:
        peer: Its name.
        version: Its version.
        runs: Those that brought every file.
        problem: Why there are no more of them; empty if all went well.
    """

    peer: str
    version: str
    runs: Sequence[Run]
    problem: str

    @property
    def wall(self) -> float | None:
        """The median of the wall seconds; ``None`` if the peer could not do it."""
        return median(run.wall for run in self.runs) if self.runs and not self.problem else None


def table(workload: Workload, rows: Sequence[Row]) -> str:
    """Return a Markdown table of a workload."""
    walls = {row.peer: row.wall for row in rows}
    lines = [_HEADINGS, ("---", "---", *["--:"] * (len(_HEADINGS) - 2))]
    lines += [_cells(workload, row, walls) for row in rows]
    return f"{workload}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdict(workload: Workload, rows: Sequence[Row]) -> str:
    """Return in words whom aiocircle is slower than."""
    walls = {row.peer: row.wall for row in rows if row.wall}
    ours = walls.pop(OURS, None)
    if ours is None or not walls:
        return f"{workload.name}: nothing to compare."
    ahead = [f"{peer} ({ours / wall:.2f} times its time)" for peer, wall in walls.items() if wall < ours]
    if ahead:
        return f"{workload.name}: aiocircle LOSES to {', '.join(ahead)}."
    return f"{workload.name}: aiocircle is slower than none of {', '.join(walls)}."


def _cells(workload: Workload, row: Row, walls: Mapping[str, float | None]) -> tuple[str, ...]:
    if row.wall is None:
        return (row.peer, row.version, row.problem, *["-"] * (len(_HEADINGS) - 3))
    return (
        row.peer,
        row.version,
        f"{row.wall:.2f}",
        f"{workload.count / row.wall:,.0f}",
        f"{workload.total / row.wall / 1e6:,.0f}",
        _ratio(walls.get(RECIPE), row.wall),
        _ratio(row.wall, walls.get(OURS)),
        f"{median(run.cpu for run in row.runs):.2f}",
        f"{median(run.peak for run in row.runs) / MIB:.0f}",
    )


def _ratio(dividend: float | None, divisor: float | None) -> str:
    return f"{dividend / divisor:.2f}" if dividend and divisor else "-"
