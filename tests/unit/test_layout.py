"""A layout decides where artifacts go; no value of a field can add, remove or leave a level."""

import posixpath

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.download.layout import DEFAULT_LAYOUT_MANY_JOBS, DEFAULT_LAYOUT_ONE_JOB, ArtifactPlace, Layout
from aiocircle.errors import ConfigurationError, UnsafePathError

PLACE = ArtifactPlace(
    project="gh/acme/web",
    pipeline_number=7,
    workflow_id="5034460f-c7c4-4c43-9457-de07e2029e7b",
    workflow_name="build and test",
    job_number=412,
    job_name="unit",
    branch="feature/x",
    node_index=3,
    path="coverage/index.html",
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (DEFAULT_LAYOUT_ONE_JOB, "3/coverage/index.html"),
        (DEFAULT_LAYOUT_MANY_JOBS, "412/3/coverage/index.html"),
        ("{path}", "coverage/index.html"),
        ("{name}", "index.html"),
        ("{path}/{name}", "coverage/index.html/index.html"),
        ("{project}/{pipeline_number}/{path}", "gh/acme/web/7/coverage/index.html"),
        ("{branch}/{path}", "feature%2Fx/coverage/index.html"),
        ("{workflow_name}-{workflow_id}/{job_name}/{name}", f"build and test-{PLACE.workflow_id}/unit/index.html"),
        ("node{node_index:04d}/{name}", "node0003/index.html"),
        ("{node_index:02}{job_number:d}.{name}", "03412.index.html"),
        ("{{x}}/{path}", "{x}/coverage/index.html"),
    ],
)
def test_a_template_is_filled_in(template: str, expected: str) -> None:
    placed = Layout(template).place(PLACE)
    assert str(placed.path) == expected
    assert placed.note is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "_"), ("", "_"), (".", "%2E"), ("..", "%2E%2E"), ("../..", "..%2F.."), ("a\\..", "a%5C.."), ("/", "%2F")],
)
def test_a_value_is_one_component_whatever_it_contains(value: str | None, expected: str) -> None:
    placed = Layout("{branch}/{path}").place(evolve(PLACE, branch=value))
    assert str(placed.path) == f"{expected}/coverage/index.html"


def test_what_is_not_known_is_an_underscore_even_where_a_width_is_asked_for() -> None:
    assert str(Layout("{pipeline_number:04d}/{name}").place(evolve(PLACE, pipeline_number=None)).path) == "_/index.html"


def test_a_project_cannot_climb() -> None:
    assert (
        str(Layout("{project}/{name}").place(evolve(PLACE, project="gh/../..")).path) == "gh/%2E%2E/%2E%2E/index.html"
    )


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("", "relative"),
        ("/{path}", "relative"),
        ("{path}/", "relative"),
        ("../{path}", "relative"),
        ("a/../{path}", "relative"),
        ("a//{path}", "relative"),
        ("./{path}", "relative"),
        ("a\\{path}", "relative"),
        ("C:/{path}", "relative"),
        ("{job_number}", r"needs \{path\} or \{name\}"),
        ("constant", r"needs \{path\} or \{name\}"),
        ("{size}/{path}", r"unknown field \{size\}"),
        ("{}/{path}", r"unknown field \{\}"),
        ("{0}/{path}", r"unknown field \{0\}"),
        ("{path.parent}", r"unknown field \{path\.parent\}"),
        ("{path[0]}", r"unknown field \{path\[0\]\}"),
        ("{path!r}", "only whole numbers"),
        ("{path:>40}", "only whole numbers"),
        ("{branch:04d}/{path}", "only whole numbers"),
        ("{node_index:4d}/{path}", "only whole numbers"),
        ("{node_index:0999d}/{path}", "only whole numbers"),
        ("{node_index:{job_number}}/{path}", "only whole numbers"),
        ("{path", "braces"),
        ("path}", "braces"),
    ],
)
def test_a_template_that_cannot_work_is_refused_in_one_sentence_that_lists_the_fields(
    template: str, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason) as refusal:
        Layout(template)
    assert "{node_index} {path} {name}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_layout_says_what_it_keeps_apart() -> None:
    many, one, flat = Layout(DEFAULT_LAYOUT_MANY_JOBS), Layout(DEFAULT_LAYOUT_ONE_JOB), Layout("{name}")
    assert many.fields == ("job_number", "node_index", "path")
    assert (many.distinguishes_nodes, many.distinguishes_jobs) == (True, True)
    assert (one.distinguishes_nodes, one.distinguishes_jobs) == (True, False)
    assert (flat.distinguishes_nodes, flat.distinguishes_jobs) == (False, False)


def test_the_note_about_the_artifacts_own_name_is_kept() -> None:
    placed = Layout(DEFAULT_LAYOUT_ONE_JOB).place(evolve(PLACE, path="/tmp/C\\x"))
    assert str(placed.path) == "3/tmp/C%5Cx"
    assert placed.note == "leading slash removed; backslash percent-encoded"


@pytest.mark.parametrize("path", ["", "dir/", "../x", "a\\..\\b"])
@pytest.mark.parametrize("template", ["{path}", "0{path}", "{node_index}/{path}", "{path}x", "{name}", "{path}/{name}"])
def test_an_unsafe_name_is_refused_in_every_layout(template: str, path: str) -> None:
    with pytest.raises(UnsafePathError):
        Layout(template).place(evolve(PLACE, path=path))


def test_only_the_root_of_the_output_belongs_to_the_downloader() -> None:
    own = evolve(PLACE, path=".aiocircle/ledger", job_name=".AIOCIRCLE")
    assert str(Layout("{path}").place(own).path) == "%2Eaiocircle/ledger"
    assert str(Layout(".{path}").place(evolve(PLACE, path="aiocircle/x")).path) == "%2Eaiocircle/x"
    assert str(Layout("{job_name}/{name}").place(own).path) == "%2EAIOCIRCLE/ledger"
    assert str(Layout("0/{path}").place(own).path) == "0/.aiocircle/ledger"


def test_windows_rules_hold_for_values_too() -> None:
    placed = Layout("{job_name}/{path}").place(evolve(PLACE, job_name="aux", path="what?"), windows=True)
    assert str(placed.path) == "%61ux/what%3F"


VALUE = st.none() | st.lists(
    st.sampled_from(["..", ".", "/", "\\", "C:", "\0", "a", "\ud800"]) | st.text(max_size=3)
).map("".join)


@given(VALUE, VALUE, VALUE)
def test_the_number_of_levels_is_the_templates(project: str | None, branch: str | None, job_name: str | None) -> None:
    context = evolve(PLACE, project=project or "a", branch=branch, job_name=job_name)
    placed = Layout("{branch}{job_name}/{job_name}.{branch}/{name}").place(context)
    assert len(placed.path.parts) == 3
    outside = Layout("{project}/{name}").place(context)
    assert posixpath.normpath(f"/base/{outside.path}") == f"/base/{outside.path}"
