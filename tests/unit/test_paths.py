"""An artifact's path becomes a safe one, or is refused."""

import ntpath
import posixpath
import re
import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aiocircle.download.paths import PlacedPath, SafePath, safe_parts, safe_path
from aiocircle.errors import UnsafePathError

DIGEST = "~[0-9a-f]{16}"


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "coverage/index.html",
        ".hidden",
        "..foo",
        "foo..",
        "a...b",
        "...",
        "-rf",
        "~x",
        "~/x",
        "a b/ c ",
        "100%",
        "%2e%2e/%2E%2E/x",
        "a#b?c&d=e+f",
        "emoji 🎉/é/é",
        "CON",
        "aux.c",
        "dir/C:/x",
        "ab:c",
        "trailing./dot.",
        "a\u200bb",
        "0/.aiocircle/x",
        ".aiocircle2",
        "aiocircle",
        "x" * 255,
        "é" * 127,
        "/".join("abcdefghij" for _ in range(200)),
    ],
)
def test_harmless_names_are_kept_on_posix(path: str) -> None:
    result = safe_path(path)
    assert str(result.path) == path
    assert result.note is None


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../x",
        "a/../../x",
        "a/..",
        "/../x",
        "./../x",
        "..\\x",
        "a\\..\\..\\x",
        "a\\../x",
        "a/..\\x",
        "C:\\..\\x",
        "",
        "/",
        "//",
        ".",
        "./",
        "dir/",
        "/dir/",
        "dir/.",
        "/".join("x" for _ in range(201)),
        "/".join("x" * 200 for _ in range(15)),
    ],
)
@pytest.mark.parametrize("windows", [False, True])
def test_what_leads_outside_or_names_no_file_is_refused(path: str, windows: bool) -> None:
    with pytest.raises(UnsafePathError):
        safe_path(path, windows=windows)


@pytest.mark.parametrize(
    ("path", "expected", "note"),
    [
        ("/tmp/x", "tmp/x", "leading slash removed"),
        ("//server/share/x", "server/share/x", "leading slash removed"),
        ("a//b", "a/b", "empty and '.' components removed"),
        ("./a/./b", "a/b", "empty and '.' components removed"),
        ("/./a", "a", "leading slash removed; empty and '.' components removed"),
        ("C:/x", "C%3A/x", "drive letter percent-encoded"),
        ("/c:x", "c%3Ax", "leading slash removed; drive letter percent-encoded"),
        ("a\\b", "a%5Cb", "backslash percent-encoded"),
        ("\\\\server\\share", "%5C%5Cserver%5Cshare", "backslash percent-encoded"),
        ("a\0b", "a%00b", "control character percent-encoded"),
        ("a\nb/\x7f/\x85", "a%0Ab/%7F/%C2%85", "control character percent-encoded"),
        ("x\u202egpj.exe", "x%E2%80%AEgpj.exe", "control character percent-encoded"),
        ("\u2066\u2028", "%E2%81%A6%E2%80%A8", "control character percent-encoded"),
        ("a\ud800b", "a%ED%A0%80b", "broken character percent-encoded"),
        (".aiocircle/ledger", "%2Eaiocircle/ledger", ".aiocircle belongs to the downloader, dot percent-encoded"),
        ("/.AioCircle", "%2EAioCircle", None),
        ("\uff0e\uff41iocircle/x", "%EF%BC%8E\uff41iocircle/x", None),
        (".aio\u200dcircle/x", "%2Eaio\u200dcircle/x", None),
        (".aiocircle. ", "%2Eaiocircle. ", None),
    ],
)
def test_names_with_one_harmless_reading_are_altered_with_a_note(path: str, expected: str, note: str | None) -> None:
    result = safe_path(path)
    assert str(result.path) == expected
    assert result.note
    assert note in {None, result.note}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("CON", "%43ON"),
        ("a/nul.txt", "a/%6Eul.txt"),
        ("aux .c", "%61ux .c"),
        ("com1", "%63om1"),
        ("COM\u00b9.log", "%43OM\u00b9.log"),
        ("LPT0", "%4CPT0"),
        ("CONIN$", "%43ONIN$"),
        ("conout$.x", "%63onout$.x"),
        ("CON:", "CON%3A"),
        ('<>:"|?*', "%3C%3E%3A%22%7C%3F%2A"),
        ("a./b", "a%2E/b"),
        ("a ", "a%20"),
        ("...", "..%2E"),
        (".. /x", "..%20/x"),
        ("AIOCIR~1/x", "AIOCIR%7E1/x"),
        ("dir/a~12.txt", "dir/a%7E12.txt"),
    ],
)
def test_windows_rules_are_applied_on_windows_only(path: str, expected: str) -> None:
    there = safe_path(path, windows=True)
    here = safe_path(path)
    assert str(there.path) == expected
    assert there.note
    assert str(here.path) == path
    assert here.note is None


@pytest.mark.parametrize(
    "path",
    [
        "console",
        "nullify.txt",
        "COM10",
        "~1",
        "backups~1",
        "abcdefgh~1.txt",
        "a~1.html",
        "file.txt~1~",
        ".a",
        "a.b.c",
    ],
)
def test_windows_rules_leave_what_windows_can_hold(path: str) -> None:
    assert safe_path(path, windows=True) == PlacedPath(SafePath((path,)))


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("x" * 256, f"x{{238}}{DIGEST}"),
        ("x" * 300 + ".html", f"x{{233}}{DIGEST}\\.html"),
        ("x" * 300 + ".tar.gz", f"x{{231}}{DIGEST}\\.tar\\.gz"),
        ("a." + "y" * 300, f"a\\.y{{236}}{DIGEST}"),
        ("é" * 128, f"é{{119}}{DIGEST}"),
        ("🎉" * 100 + ".png", f"🎉{{58}}{DIGEST}\\.png"),
        ("\0" * 100, f"(?:%00){{79}}%{DIGEST}"),
    ],
)
def test_a_long_component_keeps_its_start_and_its_extension(path: str, shape: str) -> None:
    result = safe_path(f"dir/{path}/f")
    assert result.path.parts[1] == safe_path(f"other/{path}").path.name
    assert re.fullmatch(shape, result.path.parts[1])
    assert "shortened" in (result.note or "")


def test_long_names_that_differ_at_the_end_stay_different() -> None:
    assert safe_path("x" * 300 + "1.log").path != safe_path("x" * 300 + "2.log").path


@pytest.mark.parametrize(
    "parts",
    [
        (),
        ("",),
        (".",),
        ("a", ".."),
        ("a/b",),
        ("a\\b",),
        ("a\0",),
        ("C:",),
        ("\ud800",),
        ("x" * 256,),
        (".AIOCIRCLE", "x"),
    ],
)
def test_a_safe_path_cannot_be_made_of_unsafe_parts(parts: tuple[str, ...]) -> None:
    with pytest.raises(UnsafePathError):
        SafePath(parts)


def test_the_text_of_a_refusal_shows_no_control_character_and_stays_short() -> None:
    with pytest.raises(UnsafePathError) as refusal:
        safe_path("../\x1b[31m\n\u202e" + "x" * 10_000)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300


# Fragments that mean something to one file system or another, joined at random.
NASTY = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "/",
                "//",
                "\\",
                ".",
                "..",
                "...",
                "C:",
                ":",
                "\0",
                "\n",
                "CON",
                "nul.",
                " ",
                "~",
                "~1",
                "%2e",
                ".aiocircle",
                "\u202e",
                "\u200d",
                "\ud800",
                "\udfff",
                "\uff0e",
                "\u2024",
                "é",
                "e\u0301",
                "K",
                "\u212a",
                "🎉",
                ".tar.gz",
            ]
        ),
        st.text(max_size=5),
        st.sampled_from(["x" * 250, "é" * 130, "\x01" * 90]),
    ),
    max_size=12,
).map("".join)


@given(NASTY, st.booleans())
@settings(max_examples=500)
def test_whatever_comes_in_what_comes_out_stays_inside(path: str, windows: bool) -> None:
    try:
        result = safe_path(path, windows=windows).path
    except UnsafePathError:
        return
    assert posixpath.normpath(posixpath.join("/base/out", str(result))) == f"/base/out/{result}"
    inside = ntpath.normpath(ntpath.join("D:\\root\\out", str(result)))
    assert inside == "D:\\root\\out\\" + "\\".join(result.parts)
    assert "\0" not in str(result)
    for part in result.parts:
        assert part not in {"", ".", ".."}
        assert len(part.encode()) <= 255
    assert len(str(result).encode()) <= 3000
    assert unicodedata.normalize("NFKC", result.parts[0]).casefold() != ".aiocircle"


@given(NASTY, st.booleans())
@settings(max_examples=500)
def test_a_safe_path_is_left_alone_the_second_time(path: str, windows: bool) -> None:
    try:
        once = safe_path(path, windows=windows)
    except UnsafePathError:
        return
    assert safe_path(str(once.path), windows=windows) == PlacedPath(once.path, None)


@given(NASTY, st.booleans())
def test_a_note_is_there_exactly_if_the_name_was_altered(path: str, windows: bool) -> None:
    try:
        result = safe_path(path, windows=windows)
    except UnsafePathError:
        return
    assert (result.note is None) == (str(result.path) == path)


@given(NASTY)
def test_a_name_is_refused_in_every_place_or_in_none(path: str) -> None:
    try:
        parts, _ = safe_parts(path)
    except UnsafePathError:
        with pytest.raises(UnsafePathError):
            safe_path(path)
        return
    assume(len("/".join(parts)) < 700)
    assert safe_path(path).path.parts[1:] == parts[1:]
