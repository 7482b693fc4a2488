"""What is drawn in place on a terminal, with rich: a download on stderr, lines that change on stdout."""

from collections.abc import Callable, Iterable
from typing import Self

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from aiocircle.cli.output import binary, printable
from aiocircle.cli.progress import Progress, Running

MARGIN = 3  # columns left free, so that the terminal's echo "^C" does not begin another line
NARROW = 60  # columns below which a transfer has no bar
BAR = 20  # columns
FIGURES = 22  # columns, as of "512.0 MiB of 512.0 MiB"
SHORTEST_NAME = 8  # columns


class OnStderr:
    """Draws on stderr in place; a context manager that leaves the terminal as it was."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=False)
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def width(self) -> int:
        """Columns that may be used."""
        return self._console.width - MARGIN

    def draw(self, lines: Iterable[Text]) -> None:
        """Draw these lines, each cut where it is too long."""
        lines = list(lines)
        for one in lines:
            one.no_wrap = True
            one.truncate(self.width, overflow="ellipsis")
        self._live.update(Group(*lines), refresh=True)


class Drawing(OnStderr):
    """Draws a download's progress."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def refresh(self, now: float) -> None:
        """Draw the state as it is now."""
        self.draw(self._lines(now, self.width))

    def _lines(self, now: float, width: int) -> list[Text]:
        lines = [_overall(self._progress, now, width), self._second_line(now)]
        return lines + [_transfer(one, width) for one in self._progress.largest()]

    def _second_line(self, now: float) -> Text:
        wait = self._progress.waiting(now)
        if wait:
            return Text(wait, style="yellow")
        return Text("all listed" if self._progress.listed else "listing ...", style="dim")


class Lines(OnStderr):
    """Draws a few lines that are asked for each time, each with its style."""

    def __init__(self, lines: Callable[[float], Iterable[tuple[str, str]]]) -> None:
        super().__init__()
        self._lines = lines

    def refresh(self, now: float) -> None:
        """Draw them as they are now."""
        self.draw(Text(text, style=style) for text, style in self._lines(now))


class Board:
    """Lines on stdout that are drawn over and over; a context manager after which the last ones stay."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def width(self) -> int:
        """Columns that may be used."""
        return self._console.width - MARGIN

    def show(self, lines: Iterable[tuple[str, str]]) -> None:
        """Draw these lines, each with its style."""
        texts = [Text(text.rstrip(), style=style, no_wrap=True) for text, style in lines]
        for one in texts:
            one.truncate(self.width, overflow="ellipsis")
        self._live.update(Group(*texts), refresh=True)


def _overall(progress: Progress, now: float, width: int) -> Text:
    """Return the line of totals; what matters least is left out where it does not fit."""
    parts = [*progress.figures(now), f"{now - progress.began:.0f} s"]
    failed = f"{progress.failed:,} failed" if progress.failed else ""
    while len(parts) > 1 and len("  ".join([*parts, failed])) > width:
        parts.pop()
    text = Text("  ".join(parts))
    text.stylize("bold", 0, len(parts[0]))
    return text.append(f"  {failed}", style="red") if failed else text


def _transfer(one: Running, width: int) -> Text:
    figures = f"{binary(one.received)} of {binary(one.size)}" if one.size else binary(one.received)
    tail = Text(f"  {figures:>{FIGURES}}")
    if width >= NARROW and one.size:
        tail = _bar(min(1.0, one.received / one.size)) + tail
    room = max(SHORTEST_NAME, width - tail.cell_len - 4)
    name = _end_of(printable(one.target), room)
    name.pad_right(room - name.cell_len)
    return Text("  ") + name + Text("  ") + tail


def _bar(share: float) -> Text:
    filled = int(share * BAR)
    # Told apart by their weight as well: there may be no colours.
    return Text.assemble(("━" * filled, "cyan"), ("─" * (BAR - filled), "dim"))


def _end_of(name: str, room: int) -> Text:
    """Return a name in so many columns, its beginning left out if need be: the end is what tells names apart."""
    if cell_len(name) <= room:
        return Text(name)
    while cell_len(name) >= room:
        name = name[1:]
    return Text(f"…{name}")
