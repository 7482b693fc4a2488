"""What a page consists of, as values: tiles, sections, plots and the tables behind them.

A plot is data and a kind: the page's own script draws it, in the reader's browser. The table behind it says the same
in text. Whatever cannot be shown is said in words (`Absent`), so that an empty place is never taken for a zero.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import frozen

Kind = Literal["strips", "stack", "lines", "bars", "histogram", "timeline"]
MOST_ROWS = 200  # of a table behind a plot, whose rows are many where its bins and groups are


@frozen
class Link:
    """A text that leads somewhere. ``href`` is an address that ``web_address`` let through, or ``None``."""

    text: str
    href: str | None = None


Cell = str | Link | Sequence[Link]


@frozen
class Grid:
    """A table. Of many rows the page has the first.

    Attributes:
        columns: The columns' titles.
        rows: Its cells.
        figures: Which columns are figures; all but the first by default.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    figures: range = range(1, 99)

    @property
    def first_rows(self) -> Sequence[Sequence[Cell]]:
        """The rows that the page has."""
        return self.rows[:MOST_ROWS]

    @property
    def left_out(self) -> int:
        """How many more there are."""
        return max(0, len(self.rows) - MOST_ROWS)


@frozen(kw_only=True)
class Plot:
    """A plot.

    Attributes:
        id: Its name within the page.
        kind: How it is drawn.
        title: What it is.
        lead: How to read it, and how its figures are counted.
        label: The same for those who cannot see it, with its chief figure.
        data: What is drawn, for the script; JSON.
        grid: The same as text.
        notes: What was left out, and why.
        is_wide: It takes the page's whole width.
    """

    id: str
    kind: Kind
    title: str
    lead: str
    label: str
    data: Mapping[str, Any]
    grid: Grid
    notes: Sequence[str] = ()
    is_wide: bool = False


@frozen(kw_only=True)
class Listing:
    """A table that is shown as such, with a command to copy if there is one."""

    id: str
    title: str
    lead: str
    grid: Grid
    command: str | None = None
    notes: Sequence[str] = ()


@frozen
class Absent:
    """What is not shown, and why."""

    what: str
    why: str


@frozen(kw_only=True)
class Tile:
    """A headline figure, with a line of its course if there is one."""

    title: str
    value: str
    detail: str = ""
    course: Sequence[float | None] = ()


Part = Plot | Listing | Absent


@frozen
class Section:
    """A part of the page, with plots."""

    id: str
    title: str
    parts: Sequence[Part]

    @property
    def shown(self) -> Sequence[Plot | Listing]:
        """What there is to see."""
        return [part for part in self.parts if not isinstance(part, Absent)]

    @property
    def placed(self) -> Sequence[tuple[Plot | Listing, bool]]:
        """What there is to see, and whether it takes the whole width: two plots share a row, one alone has it."""
        placed: list[tuple[Plot | Listing, bool]] = []
        waiting = False
        for part in self.shown:
            is_wide = isinstance(part, Listing) or part.is_wide
            if is_wide and waiting:
                placed[-1] = placed[-1][0], True
            waiting = not is_wide and not waiting
            placed.append((part, is_wide))
        if waiting:
            placed[-1] = placed[-1][0], True
        return placed

    @property
    def absent(self) -> Sequence[Absent]:
        """What there is not."""
        return [part for part in self.parts if isinstance(part, Absent)]


@frozen(kw_only=True)
class Page:
    """All of it."""

    title: str
    subtitle: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    notes: Sequence[str]
