"""What the plots of groups over time have in common: the groups' names, and percentiles bin by bin."""

from collections.abc import Sequence

from aiocircle.report.amounts import count, duration, moment, shown
from aiocircle.report.database import Bins
from aiocircle.report.parts import Cell, Grid, Plot

Names = dict[tuple[str, str], str]


def labels(groups: Sequence[tuple[str, str]]) -> Names:
    """Return what groups of project and name are called: with the project only where there are several."""
    many = len({project for project, _ in groups}) > 1
    return {(project, name): f"{shown(name)} · {shown(project)}" if many else shown(name) for project, name in groups}


def bands(
    bins: Bins,
    groups: dict[str, list[list[float | None]]],
    *,
    id: str,  # noqa: A002 -- the plot's own word
    title: str,
    lead: str,
    what: str,
    ranks: Sequence[int],
    number_of: str,
    notes: list[str],
) -> Plot:
    """Return the plot of percentiles over time, of one group at a time.

    Args:
        bins: The stretches of time.
        groups: By name, for each bin: how many there were, then each percentile, all ``None`` where there were none.
        id: The plot's name.
        title: What it is.
        lead: How it is counted.
        what: What a group is.
        ranks: Which percentiles these are.
        number_of: What was counted.
        notes: What was left out.
    """
    titles = [f"p{rank}" for rank in ranks]
    rows: list[Sequence[Cell]] = [
        (name, moment(start, exact=True), count(numbers[place]), *(duration(values[place]) for values in columns))
        for name, (numbers, *columns) in groups.items()
        for place, start in enumerate(bins.starts)
        if numbers[place]
    ]
    return Plot(
        id=id,
        kind="lines",
        title=title,
        lead=lead,
        label=f"{title}: {', '.join(titles)} by {bins.word}, for {len(groups)} to choose from",
        data={
            **bins.data(),
            "unit": "seconds",
            "what": what,
            "of": number_of,
            "choices": [
                {
                    "name": name,
                    "numbers": numbers,
                    "lines": [{"name": text, "values": values} for text, values in zip(titles, columns, strict=True)],
                }
                for name, (numbers, *columns) in groups.items()
            ],
        },
        grid=Grid([what, f"{bins.word.title()} from (UTC)", number_of.title(), *titles], rows, range(2, 99)),
        notes=notes,
    )
