"""Which artifacts are wanted: shell patterns over their paths."""

import fnmatch
import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocircle.globs import glob_matcher


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.xml", ["a.xml", "d/e/a.xml", ".xml", "d/.hidden.xml"], ["a.xml/b", "a.xmlx", "a.XML"]),
        ("index.html", ["index.html", "a/index.html"], ["index.html/a", "xindex.html", "indexhtml"]),
        ("coverage/*.html", ["coverage/a.html"], ["coverage/d/a.html", "x/coverage/a.html", "a.html"]),
        ("coverage/**", ["coverage/a", "coverage/d/a.html"], ["coverage", "x/coverage/a"]),
        ("coverage/", ["coverage/a", "coverage/d/a.html"], ["coverage", "x/coverage/a"]),
        ("coverage/**/*.html", ["coverage/a.html", "coverage/d/e/a.html"], ["coverage/a.css", "a.html"]),
        ("**/coverage/*", ["coverage/a", "x/y/coverage/a"], ["coverage/d/a", "xcoverage/a"]),
        ("**/a/**/b", ["a/b", "x/a/b", "a/x/b", "x/a/y/z/b"], ["ab", "xa/b", "a/xb"]),
        ("logs/**.txt", ["logs/a.txt", "logs/d/a.txt"], ["a.txt", "logs/a.xml"]),
        ("a**b/c", ["ab/c", "a/x/b/c", "axb/c"], ["ab", "ab/x/c"]),
        ("**", ["a", "a/b/c"], []),
        ("*", ["a", "a/b/c"], []),
        ("/*", ["a", "/a", "./a"], ["a/b"]),
        ("./a/b", ["a/b", "/a/b", "./a/b", "//a/b"], ["x/a/b"]),
        ("/a", ["a"], ["b/a"]),
        ("?.log", ["a.log", "d/é.log"], [".log", "ab.log"]),
        ("a?b/c", ["axb/c"], ["a/b/c", "ab/c"]),
        ("a[!x]b/c", ["ayb/c"], ["axb/c", "a/b/c"]),
        ("a[+-9]b/c", ["a+b/c", "a5b/c"], ["a/b/c", "axb/c"]),
        ("[]-]", ["]", "-"], ["a", "[]-]"]),
        ("[!]a]", ["b"], ["]", "a"]),
        ("[a-c-e]", ["a", "b", "-", "e"], ["d"]),
        ("[c-a]", [], ["a", "b", "c", "-", "[c-a]"]),
        ("[!c-a]", ["a", "x"], ["ab"]),
        ("[", ["["], ["a"]),
        ("[]", ["[]"], ["]"]),
        ("[!]", ["[!]"], ["!", "a"]),
        ("a[bc", ["a[bc"], ["ab"]),
        ("a[b/c]d", ["a[b/c]d"], ["abd", "acd"]),
        ("a.b+c(d)|e$^\\{1}", ["a.b+c(d)|e$^\\{1}"], ["aab+c(d)|e$^\\{1}"]),
        ("[[a&&b~~c||d]", ["[", "&", "~", "|", "a"], ["x"]),
        ("a*b*c", ["abc", "aXbYc", "abcbc", "x/abcc"], ["ab/c", "acb"]),
        ("*a*", ["a", "bab"], ["a/b"]),
        ("line\nbreak*", ["line\nbreak", "line\nbreak\n"], ["linebreak"]),
        ("", [], ["a"]),
    ],
)
def test_patterns_mean_what_shells_mean(pattern: str, matching: list[str], others: list[str]) -> None:
    wanted = glob_matcher([pattern], [])
    unwanted = glob_matcher([], [pattern])
    for path in matching:
        assert wanted(path), path
        assert not unwanted(path), path
    for path in others:
        assert not wanted(path), path
        assert unwanted(path), path


def test_nothing_asked_for_is_everything() -> None:
    assert glob_matcher([], [])("any/thing")


def test_any_pattern_includes_and_any_exclusion_wins() -> None:
    matches = glob_matcher(["*.xml", "logs/"], ["secret*", "logs/old/"])
    assert [path for path in ("a.xml", "logs/a", "a.txt", "d/secret.xml", "logs/old/a") if matches(path)] == [
        "a.xml",
        "logs/a",
    ]


@pytest.mark.parametrize(
    "pattern", ["**/**/**/*a*b*c", "*a*a*a*a*a*a*a*a*b", "**a**a**a**a**b", "**a*a*a*a*b", "a*/" * 20 + "b"]
)
@pytest.mark.parametrize("path", ["a" * 3000, "a/" * 1500 + "x", "abx" * 1000, "ab/" * 1000 + "x"])
def test_no_pattern_takes_long(pattern: str, path: str) -> None:
    matches = glob_matcher([pattern], [])
    assert not matches(path)  # backtracking would take years, and the test's time limit ends it


def _model(pattern: str, path: str) -> bool:
    """Try everything: each star with each number of characters."""

    @functools.cache
    def fits(at: int, position: int) -> bool:
        rest = pattern[at:]
        if not rest:
            return position == len(path)
        if rest.startswith("**/") and (at == 0 or pattern[at - 1] == "/"):
            starts = [position, *(index + 1 for index in range(position, len(path)) if path[index] == "/")]
            return any(fits(at + 3, start) for start in starts)
        if rest.startswith("**"):
            return any(fits(at + 2, start) for start in range(position, len(path) + 1))
        if rest.startswith("*"):
            stop = path.find("/", position)
            return any(fits(at + 1, start) for start in range(position, (len(path) if stop < 0 else stop) + 1))
        return (
            position < len(path)
            and ((rest[0] == "?" and path[position] != "/") or rest[0] == path[position])
            and fits(at + 1, position + 1)
        )

    return fits(0, 0)


@given(
    st.lists(st.sampled_from(["a", "b", "/", "*", "**", "?", "**/", "/**/"]), min_size=1, max_size=9).map("".join),
    st.text("aab/", min_size=1, max_size=12),
)
@settings(max_examples=2000)
def test_never_going_back_finds_what_trying_everything_finds(pattern: str, path: str) -> None:
    pattern, path = pattern.lstrip("/"), path.lstrip("/")
    while "***" in pattern:
        pattern = pattern.replace("***", "**")
    if not pattern.endswith("/"):
        expected = _model(pattern if "/" in pattern else f"**/{pattern}", path)
        assert glob_matcher([pattern], [])(path) == expected


@given(
    st.text("ab[]!-^\\.?*", max_size=8).filter(lambda pattern: "**" not in pattern),
    st.text("ab[]!-^\\.", min_size=1, max_size=6),
)
@settings(max_examples=1000)
def test_within_a_name_patterns_are_those_of_fnmatch(pattern: str, name: str) -> None:
    assert glob_matcher([pattern], [])(f"dir/{name}") == fnmatch.fnmatchcase(name, pattern)
