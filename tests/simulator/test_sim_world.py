"""The world: the same for the same seed, of any size, and exactly what was placed in it."""

import tracemalloc
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.testing import ODDITIES, FakeArtifact, GeneratedArtifacts, World
from aiocircle.testing.artifacts import KIB, MIB, quote_path
from aiocircle.testing.content import HEAD_SIZE, RING_SIZE, SeededContent, ring, sha256
from aiocircle.testing.ids import MOST_PIPELINES, MOST_PROJECTS, Address, IdSpace, Kind

SLUG = "gh/acme/web"


def fingerprint(world: World) -> list[object]:
    pipelines = list(world.pipelines(SLUG))
    jobs = [job for pipeline in pipelines for workflow in pipeline.workflows for job in workflow.jobs]
    return [pipelines, jobs, [list(job.artifacts) for job in jobs[:20]]]


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    assert fingerprint(World(7)) == fingerprint(World(7))
    assert fingerprint(World(7)) != fingerprint(World(8))


def test_bytes_follow_from_the_seed_and_differ_between_nodes_and_paths() -> None:
    def demo(seed: int) -> bytes:
        world = World.demo(files=40, large=0, seed=seed)
        assert world.demo_job is not None
        number = world.demo_job.number
        assert number is not None
        return world.artifact_bytes(SLUG, number, "coverage/html/module-000000.html", 1)

    assert demo(1) == demo(1)
    assert demo(1) != demo(2)
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("a", node, size=100) for node in (0, 1)] + [FakeArtifact("b", size=100)])
    bodies = {world.artifact_bytes(SLUG, 1, path, node) for path, node in [("a", 0), ("a", 1), ("b", 0)]}
    assert len(bodies) == 3


@given(
    st.builds(
        Address,
        st.sampled_from(Kind),
        st.integers(0, MOST_PROJECTS - 1),
        st.integers(0, MOST_PIPELINES),
        st.integers(0, 255),
        st.integers(0, 65_535),
    )
)
def test_an_identifier_leads_back_to_what_it_names(address: Address) -> None:
    ids = IdSpace(3)
    assert ids.read(ids.make(address)) == address
    assert IdSpace(4).read(ids.make(address)) is None


@pytest.mark.parametrize(
    "text", ["", "x", "00000000-0000-4000-8000-000000000000", "825dd4a1-a1d8-40e7-8253-01a46563bd61"]
)
def test_an_invented_identifier_names_nothing(text: str) -> None:
    assert IdSpace(12345).read(text) is None


def test_everything_generated_is_found_again_by_identifier_and_number() -> None:
    world = World(pipelines=45)
    for slug in world.projects:
        for pipeline in world.pipelines(slug):
            assert world.pipeline_by_id(pipeline.id) == pipeline
            for workflow in pipeline.workflows:
                assert workflow.id is not None
                assert world.workflow_by_id(workflow.id) == (pipeline, workflow)
                for job in workflow.jobs:
                    assert world.job_by_id(job.id) == job
                    assert job.number is None or world.job(slug, job.number) == job


def test_a_world_has_thousands_of_projects_and_says_how_many_at_most() -> None:
    world = World(slugs=[f"gh/acme/p{number}" for number in range(1000)], pipelines=2)
    for slug in ("gh/acme/p255", "gh/acme/p256", "gh/acme/p999"):
        for pipeline in world.pipelines(slug):
            assert world.pipeline_by_id(pipeline.id) == pipeline
            assert pipeline.project.slug == slug
    for slugs, pipelines in ((map("gh/acme/p{}".format, range(65537)), 0), ([SLUG], 1 << 24)):
        with pytest.raises(ValueError, match=r"a world has 65,536 projects, and each 16,777,215 pipelines, at most"):
            World(slugs=slugs, pipelines=pipelines)


def test_job_numbers_are_unique_in_a_project() -> None:
    jobs = [j for p in World(pipelines=60).pipelines(SLUG) for w in p.workflows for j in w.jobs if j.number is not None]
    assert len({job.number for job in jobs}) == len(jobs) > 100


def test_pipelines_come_newest_first() -> None:
    pipelines = list(World(pipelines=30).pipelines(SLUG))
    assert [p.number for p in pipelines] == list(range(30, 0, -1))
    assert [p.created_at for p in pipelines] == sorted((p.created_at for p in pipelines), reverse=True)


def test_the_world_has_the_cases_that_clients_stumble_over() -> None:
    pipelines = list(World(pipelines=60, oddities=ODDITIES).pipelines(SLUG))
    workflows = [workflow for pipeline in pipelines for workflow in pipeline.workflows]
    jobs = [job for workflow in workflows for job in workflow.jobs]
    assert any(p.state == "errored" and not p.workflows for p in pipelines)
    assert any(p.branch is None and p.tag for p in pipelines)
    assert any(p.branch is None and p.tag is None for p in pipelines)
    assert {"unknown", "webhook"} <= {p.trigger for p in pipelines}
    assert any(workflow.id is None for workflow in workflows)
    assert any(job.type == "approval" and job.started_at is None and job.number for job in jobs)
    assert any(job.number is None for job in jobs)
    assert {"skipped", "blocked", "failed", "success", "on_hold"} <= {job.status for job in jobs}
    reruns = [p for p in pipelines if len({w.id for w in p.workflows if w.id}) > 1]
    assert reruns
    for pipeline in reruns:
        first, second = pipeline.workflows[:2]
        assert first.name == second.name
        assert first.created_at < second.created_at


def test_a_million_artifacts_take_no_more_room_than_ten() -> None:
    world = World.demo(files=10, large=0)
    tracemalloc.start()
    try:
        big = world.add_job(SLUG, artifacts=GeneratedArtifacts("big", 1_000_000, 8))
        assert len(big.artifacts) == 1_000_000
        last = big.artifacts[-1]
        assert big.artifacts.find(last.node_index, last.path) == last
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_every_generated_artifact_is_found_by_its_name_and_by_no_other() -> None:
    stored = GeneratedArtifacts("x", 500, 4, large=5, large_size=10)
    assert len({(a.node_index, a.path) for a in stored}) == len(stored) == 505
    for artifact in stored:
        assert stored.find(artifact.node_index, artifact.path) == artifact
        assert stored.find(artifact.node_index, artifact.path + "x") is None
    assert stored.find(0, "core/dump-000099.core") is None
    assert stored.find(0, "coverage/html/module-999999.html") is None


def test_the_demo_has_mixed_sizes_shared_paths_and_difficult_names() -> None:
    world = World.demo()
    assert world.demo_job is not None
    stored = list(world.demo_job.artifacts)
    assert len(stored) == 3003
    small = [a for a in stored if KIB <= a.size <= 64 * KIB]
    assert len(small) > 2800
    assert sum(a.size == MIB for a in stored) > 20
    assert [a.size for a in stored[-3:]] == [64 * MIB] * 3
    assert {a.node_index for a in stored} == {0, 1, 2, 3}
    nodes_of_first = {a.node_index for a in stored if a.path == stored[0].path}
    assert nodes_of_first == {0, 1, 2, 3}
    for character in " +%#?&本í":
        assert any(character in a.path for a in stored), character


def test_a_placed_job_has_exactly_its_artifacts() -> None:
    world = World(pipelines=0)
    artifacts = [
        FakeArtifact("../../etc/passwd", body=b"no"),
        FakeArtifact("same", node_index=2, size=3),
        FakeArtifact("\ud800", size=1),
        FakeArtifact("", size=0),
    ]
    job = world.add_job(SLUG, 9, artifacts)
    assert list(job.artifacts) == artifacts
    assert job.nodes == 3
    assert world.artifact_bytes(SLUG, 9, "../../etc/passwd") == b"no"
    assert len(world.artifact_bytes(SLUG, 9, "same", 2)) == 3
    with pytest.raises(KeyError):
        world.artifact_bytes(SLUG, 9, "same", 0)


def test_jobs_placed_beside_each_other_share_a_workflow() -> None:
    world = World(pipelines=3)
    first = world.add_job(SLUG, name="one")
    second = world.add_job(SLUG, name="two", beside=first)
    other = world.add_job(SLUG, name="three")
    found = world.workflow_of(first)
    assert found is not None
    assert found == world.workflow_of(second)
    assert [job.name for job in found[1].jobs] == ["one", "two"]
    assert world.workflow_of(other) != found
    assert world.newest_number(SLUG) == 5


def test_more_jobs_than_a_byte_can_count_fit_in_one_workflow() -> None:
    world = World(pipelines=0)
    first = world.add_job(SLUG)
    jobs = [world.add_job(SLUG, beside=first) for _ in range(300)]
    assert world.job_by_id(jobs[-1].id) == jobs[-1]


def test_a_taken_number_and_an_unknown_project_are_refused_in_words() -> None:
    world = World(pipelines=1)
    with pytest.raises(ValueError, match=r"World\(pipelines=0\)"):
        world.add_job(SLUG, 1)
    with pytest.raises(ValueError, match="no such project: 'gh/x/y'"):
        world.add_job("gh/x/y")
    world.add_job(SLUG, 500)
    with pytest.raises(ValueError, match="job 500"):
        world.add_job(SLUG, 500)


@pytest.mark.parametrize("slug", ["gh/acme", "a/b/c/d", "gh//web", ""])
def test_a_slug_has_three_segments(slug: str) -> None:
    with pytest.raises(ValueError, match="three segments"):
        World(slugs=[slug])


def test_an_unknown_oddity_is_refused() -> None:
    with pytest.raises(ValueError, match="no such oddity: 'nope'"):
        World(oddities=["nope"])


@given(st.integers(0, 3 * RING_SIZE), st.data())
def test_any_slice_of_a_content_is_that_part_of_the_whole(size: int, data: st.DataObject) -> None:
    content = SeededContent(size, bytes(range(HEAD_SIZE)), ring(0))
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size + 10))
    whole = content.read(0, size)
    assert len(whole) == size
    assert content.read(start, stop) == whole[start:stop]


def test_a_chunk_of_a_round_size_is_nowhere_the_same_as_its_neighbours() -> None:
    content = SeededContent(8 * MIB, bytes(range(100, 100 + HEAD_SIZE)), ring(0))
    for size in (4 * KIB, 64 * KIB, 256 * KIB, MIB):
        pieces = [content.read(at, at + KIB) for at in range(0, 8 * MIB, size)]
        assert len(set(pieces)) == len(pieces)


def test_a_digest_is_that_of_the_bytes() -> None:
    world = World(pipelines=0)
    world.add_job(SLUG, 1, [FakeArtifact("a", body=b"abc")])
    assert world.artifact_sha256(SLUG, 1, "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(world.artifact_content(SLUG, 1, "a")) == world.artifact_sha256(SLUG, 1, "a")


def test_another_generation_is_another_object_of_the_same_size() -> None:
    world = World(pipelines=0)
    job = world.add_job(SLUG, 1, [FakeArtifact("a", body=b"abc"), FakeArtifact("b", size=100)])
    for artifact in job.artifacts:
        old, new = (world.content(job, artifact, generation) for generation in (0, 1))
        assert old.size == new.size
        assert old.etag != new.etag
        assert old.read(0, old.size) != new.read(0, new.size)


@pytest.mark.parametrize(
    ("path", "quoted"),
    [
        ("a b", "a+b"),
        ("a+b", "a%2Bb"),
        ("a%20b", "a%2520b"),
        ("100%/x#y?z&w", "100%25/x%23y%3Fz%26w"),
        ("día~*_-.", "d%C3%ADa%7E*_-."),
        ("/tmp/x", "/tmp/x"),
        ("..\\x", "..%5Cx"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_names_are_quoted_as_java_does_it(path: str, quoted: str) -> None:
    assert quote_path(path) == quoted


def test_a_world_of_millions_of_pipelines_is_listed_at_once() -> None:
    newest = list(islice(World(pipelines=5_000_000).pipelines(SLUG), 3))
    assert [pipeline.number for pipeline in newest] == [5_000_000, 4_999_999, 4_999_998]
