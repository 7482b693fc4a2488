"""Two artifacts never share a file, whatever their names."""

import itertools
import re
import tracemalloc
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocircle.download.paths import Claims, DuplicateClaim, PlacedPath, SafePath, safe_path
from aiocircle.errors import UnsafePathError


def placed(path: str) -> PlacedPath:
    return PlacedPath(SafePath(tuple(path.split("/"))))


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


def test_a_name_that_is_kept_for_an_artifact_goes_to_it_once_and_to_no_other() -> None:
    claims = Claims()
    claims.keep(placed("a/b"), "one")
    assert str(claims.claim(placed("a/b"), "two by address", "two").path) != "a/b"
    assert claims.claim(placed("a/b"), "one by address", "one") == placed("a/b")
    with pytest.raises(DuplicateClaim):
        claims.claim(placed("a/b"), "one by address", "one")
    assert str(claims.claim(placed("a/b"), "one by another", "one").path) != "a/b"


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
