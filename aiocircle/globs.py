r"""Shell patterns over artifact paths, in time that no pattern can blow up.

``*``, ``?`` and ``[...]`` stay within a component, ``**`` crosses ``/``, and ``**/`` stands for any number of whole
directories, none included. A pattern without ``/`` is about the file's name, one with ``/`` about the whole path, and
one that ends in ``/`` about everything below.

A pattern is a row of *fixed* pieces (every element of which eats exactly one character) with *gaps* between them. A
backtracking matcher tries all ways to divide the text over the gaps, which grows with the power of their number. That
is never needed:

* Within a component, if a piece fits at several places, the leftmost is as good as any: the next gap can cover the
  rest. So each ``*`` and its piece is one atomic group, ``(?>[^/]*?piece)``, that never gives a place back.
* A wide gap (``**``) and all up to the next one form a *stretch*. It crosses a fixed number of slashes, so the one that
  starts in the earliest component also ends first, and what follows could not do better with a later one. And if the
  leftmost first piece in a component does not lead to a match, no other one in that component does. So a stretch is an
  atomic group too, and moves on by whole components: ``(?>(?:[^/]*+/)*?stretch)``.

The end of the pattern is ``\Z`` in the last piece. What remains is at most text times pattern, per stretch.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

_NO_SLASH: Final = "\x1f"  # stands for a slash where that divides nothing
_DIRECTORIES: Final = "(?:[^/]*+/)*?"
_LEADING: Final = re.compile(r"(?:\.?/)+")
_TOKEN: Final = re.compile(
    r"""
    (?P<directories> (?:(?<=/)|\A) (?:\*\*+/)+ )
    | (?P<wide> \*\*+ )
    | (?P<star> \* )
    | (?P<one> \? )
    | \[ (?P<negated> !?+ ) (?P<members> \]?+ [^]/]* ) \]
    | (?P<literal> . )
    """,
    re.VERBOSE | re.DOTALL,
)


def glob_matcher(include: Sequence[str], exclude: Sequence[str]) -> Callable[[str], bool]:
    """Return a function that tells whether a path is wanted.

    Args:
        include: Patterns, any of which suffices; everything if there are none.
        exclude: Patterns that win over those. Case matters in both, and a leading ``/`` or ``./`` does not, in
            patterns and in paths. A ``[`` without its ``]`` stands for itself.
    """
    wanted = _any_of(include) if include else None
    unwanted = _any_of(exclude) if exclude else None

    def matches(path: str) -> bool:
        return (wanted is None or bool(wanted.match(path))) and not (unwanted and unwanted.match(path))

    return matches


def name_matcher(patterns: Sequence[str]) -> Callable[[str | None], bool]:
    """Return a function that tells whether a name is like one of the patterns; every name is if there are none.

    A name is no path: ``*`` crosses a ``/`` in it.
    """
    wanted = _any_of([pattern.replace("/", _NO_SLASH) for pattern in patterns]) if patterns else None

    def matches(name: str | None) -> bool:
        return wanted is None or (name is not None and bool(wanted.match(name.replace("/", _NO_SLASH))))

    return matches


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile(r"(?:\.?/)*+(?:" + "|".join(_regex(pattern) for pattern in patterns) + ")")


def _regex(pattern: str) -> str:
    anchored = "/" in pattern
    pattern = pattern[found.end() :] if (found := _LEADING.match(pattern)) else pattern
    if pattern.endswith("/"):
        pattern += "**"
    return "(?>" + "".join(_elements(pattern if anchored else f"**/{pattern}")) + r"\Z))"


def _elements(pattern: str) -> Iterator[str]:
    """Yield the stretches and, within them, the pieces; the last one of each is left open."""
    yield "(?>"
    for token in _TOKEN.finditer(pattern):
        match token.lastgroup:
            case "directories":
                yield f"))(?>{_DIRECTORIES}(?>"
            case "wide":
                yield f"))(?>{_DIRECTORIES}(?>[^/]*?"
            case "star":
                yield ")(?>[^/]*?"
            case "one":
                yield "[^/]"
            case "members":
                yield _character_class(token["members"], negated=bool(token["negated"]))
            case _:
                yield re.escape(token[0])


def _character_class(members: str, *, negated: bool) -> str:
    """Return a set of characters, or of all others but ``/``; a range that runs backwards is empty, as in `fnmatch`."""
    allowed = "".join(
        re.escape(single) or f"{re.escape(low)}-{re.escape(high)}"
        for low, high, single in re.findall(r"(.)-(.)|(.)", members, re.DOTALL)
        if single or low <= high
    )
    if negated:
        return f"[^/{allowed}]"
    return f"(?!/)[{allowed}]" if allowed else "(?!)"
