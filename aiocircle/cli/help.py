"""How ``--help`` looks: two columns of plain text, so that all of it is on one screen."""

import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

FLAGS_WIDTH = 26  # columns; what flags are for begins behind, in all groups
NARROW = 60  # columns below which it follows the flag at once


class PlainHelp:
    """Formats help for cyclopts."""

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:  # noqa: ARG002 -- named by cyclopts
        """Print a group of commands or flags."""
        if not panel.entries:
            return
        _print(console, f"\n{panel.title}:")
        width = max(FLAGS_WIDTH * (panel.format == "parameter"), *(len(_names(entry)) for entry in panel.entries))
        if console.width < NARROW:
            width = 4
        for entry in panel.entries:
            text = f"  {_names(entry):{width}}  {_plain(entry.description)}"
            _print(console, textwrap.fill(text, console.width, subsequent_indent=" " * (width + 4)))

    def render_usage(self, console: "Console", options: "ConsoleOptions", usage: Any) -> None:  # noqa: ARG002
        """Print the line that says how a command is called."""
        if usage:
            _print(console, f"Usage: {_plain(usage)}")

    def render_description(self, console: "Console", options: "ConsoleOptions", description: Any) -> None:  # noqa: ARG002
        """Print what a command is for."""
        if text := _plain(description):
            _print(console, "\n" + text)


def _names(entry: "HelpEntry") -> str:
    if entry.positional_label:
        return entry.positional_label
    long = [f"{name} {entry.metavar}" if entry.metavar else name for name in entry.positive_names]
    return ", ".join([*entry.positive_shorts, *long])


def _plain(thing: Any) -> str:
    text = getattr(thing, "primary_renderable", thing)  # cyclopts' InlineText around rich's Text
    return str(getattr(text, "plain", text) or "").strip()


def _print(console: "Console", text: str) -> None:
    console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)
