"""Whatever artifacts are called, files lie below the output, under names of their own."""

from pathlib import Path

import pytest
from downloads import SLUG, assert_no_parts, expected, opened, surroundings, tree, world_of

from aiocircle import DownloadOptions, Report
from aiocircle.errors import PartialDownloadError
from aiocircle.testing import FakeArtifact, World

pytestmark = pytest.mark.anyio


REFUSED = [
    "..",
    "../escaped",
    "../../escaped",
    "a/../../escaped",
    "a/..",
    "..\\escaped",
    "a\\..\\..\\escaped",
    "",
    "/",
    "a/",
    "x/" * 201 + "deep",
    "/".join(["é" * 120] * 14),
]
MADE_SAFE = {
    "/etc/escaped": "etc/escaped",
    "//host/share/escaped": "host/share/escaped",
    "C:\\Windows\\escaped": "C%3A%5CWindows%5Cescaped",
    "\\\\host\\share": "%5C%5Chost%5Cshare",
    "C:escaped": "C%3Aescaped",
    "nul\0byte": "nul%00byte",
    "new\nline": "new%0Aline",
    "bell\x07\x1b[2J": "bell%07%1B[2J",
    "right\u202eleft": "right%E2%80%AEleft",
    "lone\ud800surrogate": "lone%ED%A0%80surrogate",
    "double//slash": "double/slash",
    "./here": "here",
    "a/./b": "a/b",
}
KEPT = [
    ".hidden",
    "..foo",
    "foo..",
    "a...b",
    "...",
    "-rf",
    "--help",
    "~",
    "~root/x",
    "a b/ c ",
    "trailing dot./x.",
    "100%",
    "%2e%2e/%2E%2E/x",
    "a#b?c&d=e+f",
    "a;b,c|d<e>f*g",
    "CON",
    "aux.c",
    "día/日本語/é/🎉",
    "e\u0301",
    "\u00e9",
    "Case",
    "case",
    "CASE",
    "lock",
    "ledger.sqlite",
    "parts/x",
    ".aiocircle/parts/x",
    "x.part",
    "$(touch escaped)",
    "`touch escaped`",
    "x" * 255,
    "/".join(["deep"] * 150),
]


@pytest.fixture
def odd_world() -> World:
    names = [*REFUSED, *MADE_SAFE, *KEPT, "n" * 300 + ".tar.gz"]
    return world_of(*[FakeArtifact(name, size=50 + index) for index, name in enumerate(names)])


async def test_hostile_names_are_refused_or_made_safe_and_harmless_ones_are_kept(
    tmp_path: Path, odd_world: World
) -> None:
    out = tmp_path / "a" / "b" / "out"
    out.mkdir(parents=True)
    (tmp_path / "a" / "escaped").write_bytes(b"precious")
    before = surroundings(tmp_path, out)
    async with opened(odd_world) as (sim, client):
        report = await client.download(SLUG, job=1, to=out)
        again = await client.download(SLUG, job=1, to=out)
        assert max(sim.stats.fetches.values()) == 1, "what lies there is not fetched again, whatever its name"
        refused = {sim.stats.fetches[1, 0, name] for name in REFUSED}
        assert refused == {0}, "a name that is refused is not worth a request"
    assert surroundings(tmp_path, out) == before
    found = tree(out)
    for name in KEPT:
        assert found.pop(f"0/{name}") == odd_world.artifact_bytes(SLUG, 1, name), name
    for name, safe in MADE_SAFE.items():
        assert found.pop(f"0/{safe}") == odd_world.artifact_bytes(SLUG, 1, name), name
    ((shortened, content),) = found.items()
    assert shortened.startswith("0/nnnn")
    assert shortened.endswith(".tar.gz")
    assert content == odd_world.artifact_bytes(SLUG, 1, "n" * 300 + ".tar.gz")
    assert sorted(str(one.path) for one in report.failures) == sorted(REFUSED)
    assert {one.code for one in report.failures} == {"unsafe_path"}
    assert {one.path for one in report.altered} == {*MADE_SAFE, "n" * 300 + ".tar.gz"}
    assert all(one.note for one in report.altered)
    assert again.present == report.files == len(KEPT) + len(MADE_SAFE) + 1
    with pytest.raises(PartialDownloadError, match=f"{len(REFUSED)} of"):
        report.raise_for_failures()
    assert_no_parts(out)


async def test_with_a_flat_layout_no_name_reaches_the_downloaders_own_files(tmp_path: Path) -> None:
    names = [".aiocircle/lock", ".aiocircle/ledger.sqlite", ".AioCircle/parts/x", ".aiocircle"]
    world = world_of(*[FakeArtifact(name, size=20) for name in names])
    async with opened(world) as (_, client):
        options = DownloadOptions(layout="{path}")
        report = await client.download(SLUG, job=1, to=tmp_path, options=options)
        assert report.ok
        assert report.files == len(names)
        assert {one.partition("/")[0].lower() for one in tree(tmp_path)} == {"%2eaiocircle", *_suffixed(report)}
        assert (await client.download(SLUG, job=1, to=tmp_path, options=options)).present == len(names)


def _suffixed(report: Report) -> set[str]:
    return {one.target.partition("/")[0].lower() for one in report.altered}


async def test_links_in_the_output_are_never_followed(tmp_path: Path) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    (outside / "d").mkdir(parents=True)
    (outside / "file").write_bytes(b"precious")
    (out / "0" / "deep").mkdir(parents=True)
    (out / "0" / "link").symlink_to(outside)
    (out / "0" / "deep" / "link").symlink_to(outside / "d")
    (out / "0" / "final").symlink_to(outside / "file")
    before = surroundings(tmp_path, out)
    names = ["link/x", "link/d/x", "deep/link/x", "final", "fine"]
    world = world_of(*[FakeArtifact(name, size=30) for name in names])
    async with opened(world) as (_, client):
        report = await client.download(SLUG, job=1, to=out)
    assert surroundings(tmp_path, out) == before
    assert sorted(str(one.path) for one in report.failures) == ["deep/link/x", "link/d/x", "link/x"]
    assert {one.code for one in report.failures} == {"unsafe_path"}
    assert not (out / "0" / "final").is_symlink()
    assert report.files == 2


async def test_the_same_artifact_listed_twice_is_fetched_once(tmp_path: Path) -> None:
    world = world_of(*[FakeArtifact(f"{n}", size=100) for n in range(45)])
    async with opened(world) as (sim, client):
        sim.faults.add("items-duplicated")
        report = await client.download(SLUG, job=1, to=tmp_path)
        assert set(sim.stats.fetches.values()) == {1}
    assert report.ok
    assert tree(tmp_path) == expected(world, 1)


async def test_artifacts_that_want_one_name_get_different_ones_in_the_order_of_the_listing(tmp_path: Path) -> None:
    stored = [
        FakeArtifact("same", 0, size=10),
        FakeArtifact("same", 1, size=11),
        FakeArtifact("dir", 0, size=12),
        FakeArtifact("dir/file", 0, size=13),
        FakeArtifact("a%00", 0, size=14),
        FakeArtifact("a\0", 0, size=15),
    ]
    world = world_of(*stored)
    async with opened(world) as (sim, client):
        options = DownloadOptions(layout="{path}")
        report = await client.download(SLUG, job=1, to=tmp_path, options=options)
        first = tree(tmp_path)
        again = await client.download(SLUG, job=1, to=tmp_path, options=options)
        assert set(sim.stats.fetches.values()) == {1}
    assert report.ok
    assert sorted(map(len, first.values())) == [10, 11, 12, 13, 14, 15]
    assert (len(first["same"]), len(first["dir"]), len(first["a%00"])) == (10, 12, 14)
    assert sorted(first.values()) == sorted(world.artifact_bytes(SLUG, 1, one.path, one.node_index) for one in stored)
    assert len(report.altered) == 3
    assert again.present == 6
    assert tree(tmp_path) == first
