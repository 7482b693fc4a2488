"""The names of datasets, and which of them the fan-out brings."""

from collections.abc import Iterable
from typing import Final

from aiocircle.errors import ConfigurationError
from aiocircle.export.tables import TABLES

FANNED_OUT: Final = ("pipelines", "workflows", "jobs", "job_details", "artifacts", "tests")
"""What one crawl brings, from the outside to the inside."""

OF_JOBS: Final = ("job_details", "artifacts", "tests")
"""What has to be asked for job by job."""

GROUPS: Final = {
    "builds": ("pipelines", "workflows", "jobs"),
    "insights": (
        "insights_workflows",
        "insights_runs",
        "insights_jobs",
        "insights_timeseries",
        "insights_summary",
        "flaky_tests",
    ),
}
NAMES: Final = tuple(name for name in TABLES if name != "gaps")


def parse_datasets(names: Iterable[str]) -> tuple[str, ...]:
    """Return the datasets that are named, each once, in the order of the documentation.

    Args:
        names: Of datasets or of groups of them, with hyphens or underscores.

    Raises:
        ConfigurationError: None is named, or one that there is not.
    """
    wanted: set[str] = set()
    for given in names:
        name = given.strip().replace("-", "_")
        if name not in NAMES and name not in GROUPS:
            raise ConfigurationError(
                f"{given!r} is no dataset", hint=f"there are {', '.join(NAMES)}; and {', '.join(GROUPS)} for several"
            )
        wanted.update(GROUPS.get(name, (name,)))
    if not wanted:
        raise ConfigurationError("no dataset is named", hint=f"name some of {', '.join(NAMES)}")
    return tuple(name for name in NAMES if name in wanted)


def bits_of(datasets: Iterable[str]) -> int:
    """Return datasets of the fan-out as bits, to record what is complete."""
    return sum(1 << FANNED_OUT.index(name) for name in datasets if name in FANNED_OUT)
