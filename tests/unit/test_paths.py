"""Names that builds chose become places below the output directory, and no two artifacts get the same one."""

import itertools
import ntpath
import posixpath
import re
import tracemalloc
import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aiocircle.download.paths import Claims, DuplicateClaim, PlacedPath, SafePath, safe_parts, safe_path
from aiocircle.errors import UnsafePathError

DIGEST = "~[0-9a-f]{16}"


def placed(path: str) -> PlacedPath:
    return PlacedPath(SafePath(tuple(path.split("/"))))


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


def test_the_first_claim_gets_the_name_it_wants() -> None:
    wanted = PlacedPath(SafePath(("a", "b.txt")), "a note")
    assert Claims().claim(wanted, "one") is wanted


def test_the_second_claim_gets_a_name_of_its_own_that_depends_on_its_identity_only() -> None:
    claims, others = Claims(), Claims()
    claims.claim(placed("a/b.tar.gz"), "one")
    others.claim(placed("a/b.tar.gz"), "three")
    got = claims.claim(placed("a/b.tar.gz"), "two")
    assert re.fullmatch(r"a/b~[0-9a-f]{8}\.tar\.gz", str(got.path))
    assert got.note == "'a/b.tar.gz' is taken by another artifact"
    assert got == others.claim(placed("a/b.tar.gz"), "two")


def test_an_earlier_note_is_kept_beside_that_of_a_conflict() -> None:
    claims = Claims()
    claims.claim(placed("tmp/x"), "one")
    got = claims.claim(safe_path("/tmp/x"), "two")
    assert got.note == "leading slash removed; 'tmp/x' is taken by another artifact"


@pytest.mark.parametrize("fold", [False, True])
def test_an_artifact_listed_twice_is_a_duplicate_under_whatever_name_it_got(fold: bool) -> None:
    claims = Claims(fold=fold)
    names = [claims.claim(placed(path), identity) for path, identity in (("a", "1"), ("a", "2"), ("a/b", "3"))]
    for (path, identity), name in zip((("a", "1"), ("a", "2"), ("a/b", "3")), names, strict=True):
        with pytest.raises(DuplicateClaim) as duplicate:
            claims.claim(placed(path), identity)
        assert duplicate.value.path == name.path


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Readme", "README"),
        ("Dir/x", "dir/X"),
        ("\u00e9", "e\u0301"),
        ("\u00c9", "e\u0301"),
        ("stra\u00dfe", "STRASSE"),
        ("\u212a", "k"),
        ("a\u200bb", "ab"),
    ],
)
def test_names_that_fold_together_are_one_name_where_the_file_system_says_so(first: str, second: str) -> None:
    exact, folding = Claims(), Claims(fold=True)
    assert exact.claim(placed(first), "1").note is None
    assert exact.claim(placed(second), "2").note is None
    assert folding.claim(placed(first), "1").note is None
    got = folding.claim(placed(second), "2")
    assert str(got.path) != second
    assert "case" in (got.note or "")


def test_directories_that_fold_together_are_shared() -> None:
    claims = Claims(fold=True)
    claims.claim(placed("Dir/x"), "1")
    assert claims.claim(placed("dir/y"), "2") == placed("dir/y")


def test_a_file_that_finds_a_directory_in_its_place_is_renamed() -> None:
    claims = Claims()
    claims.claim(placed("a/b/c"), "1")
    got = claims.claim(placed("a/b"), "2")
    assert str(got.path).startswith("a/b~")
    assert got.note == "'a/b' is taken by a directory"


def test_a_directory_that_finds_a_file_in_its_place_is_renamed_for_all_its_files_alike() -> None:
    claims = Claims()
    claims.claim(placed("a/b"), "1")
    one, two = claims.claim(placed("a/b/c"), "2"), claims.claim(placed("a/b/d"), "3")
    assert one.path.parent == two.path.parent != ("a", "b")
    assert (one.path.name, two.path.name) == ("c", "d")
    assert one.note == "'a/b' is taken by another artifact"


def test_a_claim_that_fails_takes_nothing() -> None:
    claims = Claims()
    long = "/".join(["x" * 249] * 12)
    claims.claim(placed(long), "1")
    for _ in range(2):
        with pytest.raises(UnsafePathError):
            claims.claim(placed(f"{long[:-250]}{'x' * 249}"), "2")


NAME = st.sampled_from(["a", "A", "b", "b.txt", "B.txt", "\u00e9", "e\u0301"])
PATH = st.lists(NAME, min_size=1, max_size=3).map(tuple)


def _spelling(parts: tuple[str, ...], *, fold: bool) -> str:
    text = "/".join(parts)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()) if fold else text


@given(st.lists(PATH, max_size=25), st.booleans())
@settings(max_examples=300)
def test_no_place_is_ever_both_two_files_or_a_file_and_a_directory(wanted: list[tuple[str, ...]], fold: bool) -> None:
    claims = Claims(fold=fold)
    files: set[str] = set()
    directories: set[str] = set()
    for number, parts in enumerate(wanted):
        name = _spelling(parts, fold=fold)
        above = {_spelling(parts[:depth], fold=fold) for depth in range(1, len(parts))}
        free = name not in files | directories and not above & files
        got = claims.claim(PlacedPath(SafePath(parts)), str(number))
        assert (got.note is None) == free
        assert (got.path.parts == parts) == free
        files.add(_spelling(got.path.parts, fold=fold))
        directories |= {_spelling(got.path.parts[:depth], fold=fold) for depth in range(1, len(got.path.parts))}
    assert len(files) == len(wanted)
    assert not files & directories


@given(st.lists(PATH, min_size=2, max_size=4), st.booleans())
@settings(max_examples=50)
def test_two_artifacts_never_share_a_name_in_any_order(wanted: list[tuple[str, ...]], fold: bool) -> None:
    for order in itertools.permutations(range(len(wanted))):
        claims = Claims(fold=fold)
        names = {
            _spelling(claims.claim(PlacedPath(SafePath(wanted[item])), str(item)).path.parts, fold=fold)
            for item in order
        }
        assert len(names) == len(wanted)


def test_memory_per_name_does_not_depend_on_its_length() -> None:
    tracemalloc.start()
    claims = Claims()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20_000):
            claims.claim(placed(f"{'deep' * 20}/{'x' * 200}{number}"), f"{'identity' * 10}{number}")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 20_000 < 150
