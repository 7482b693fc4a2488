from contextlib import suppress
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.errors import ConfigurationError
from aiocircle.slugs import ProjectSlug, Target, parse_target

WORKFLOW = UUID("5034460f-c7c4-4c43-9457-de07e2029e7b")
ORG, PROJECT = "9YytKzouJxzu4TjCRFqAoD", "44n9wujWcTnVZ2b5S8Fnat"
WEB = ProjectSlug("gh", "acme", "web")
APP = ProjectSlug("circleci", ORG, PROJECT)
LONG = ProjectSlug("github", "acme", "web")
BIT = ProjectSlug("bitbucket", "acme", "web")

SEGMENTS = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="/"), min_size=1).filter(
    lambda text: text not in {".", ".."}
)
SLUGS = st.builds(ProjectSlug, SEGMENTS, SEGMENTS, SEGMENTS)
KNOWN_SLUGS = st.builds(
    ProjectSlug, st.sampled_from(["gh", "github", "bb", "bitbucket", "circleci"]), SEGMENTS, SEGMENTS
)


# --- slugs ---


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("gh/acme/web", WEB),
        ("  gh/acme/web\n", WEB),
        ("github/acme/web", LONG),
        ("bitbucket/acme/web", BIT),
        (f"circleci/{ORG}/{PROJECT}", APP),
        ("gh%2Facme%2Fweb", WEB),
        ("gh%2facme%2fweb", WEB),
        ("gh/acme/.github", ProjectSlug("gh", "acme", ".github")),
        ("gh/acme/...", ProjectSlug("gh", "acme", "...")),
        ("gh/acme/web site", ProjectSlug("gh", "acme", "web site")),
        ("gh/acme/100%25", ProjectSlug("gh", "acme", "100%25")),
    ],
)
def test_a_slug_is_three_segments_kept_as_given(text: str, slug: ProjectSlug) -> None:
    assert ProjectSlug.parse(text) == slug
    assert parse_target(text) == Target(slug)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "three segments"),
        ("web", "three segments"),
        ("acme/web", "three segments"),
        ("gh/acme/web/42", "has 4"),
        ("gh/acme/web/", "has 4"),
        ("https://app.circleci.com/pipelines/gh/acme/web", "three segments"),
        ("gh//web", "empty segment"),
        ("/acme/web", "empty segment"),
        ("gh/acme/", "empty segment"),
        ("gh/../web", r"'\.\.'"),
        ("gh/./web", r"'\.'"),
        ("gh%2F..%2Fweb", r"'\.\.'"),
        ("gh/acme/we\x00b", "not printable"),
        ("gh/acme/we\nb", "not printable"),
        ("gh/acme/we\x7fb", "not printable"),
        ("gh/acme/we\u202eb", "not printable"),
        ("gh/acme/we\ud800b", "not printable"),
        ("gh%2Facme%2Fwe%0Ab", "not printable"),
        ("gh%2Facme%2F%FF", "not UTF-8"),
    ],
)
def test_what_is_no_slug_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        ProjectSlug.parse(text)
    assert caught.value.hint
    assert "gh/acme/web" in caught.value.hint


def test_a_slug_cannot_be_built_unsound_either() -> None:
    for segment in ("", ".", "..", "a/b", "a\tb"):
        with pytest.raises(ConfigurationError):
            ProjectSlug("gh", "acme", segment)


def test_a_path_has_each_segment_quoted_and_the_slashes_literal() -> None:
    assert WEB.path == "gh/acme/web"
    assert ProjectSlug("gh", "a b", "c?d#é%2F").path == "gh/a%20b/c%3Fd%23%C3%A9%252F"


@given(SLUGS)
def test_slugs_survive_the_way_through_text(slug: ProjectSlug) -> None:
    assert ProjectSlug.parse(str(slug)) == slug
    assert unquote(slug.path) == str(slug)
    assert slug.path.count("/") == 2
    assert not set(slug.path) & set(" ?#\\\n")


@given(KNOWN_SLUGS)
def test_slugs_survive_the_way_through_an_address(slug: ProjectSlug) -> None:
    for place, target in [
        ("", Target(slug)),
        ("?branch=a%2Fb", Target(slug, branch="a/b")),
        ("/42", Target(slug, 42)),
        (f"/42/workflows/{WORKFLOW}", Target(slug, 42, WORKFLOW)),
        (f"/42/workflows/{WORKFLOW}/jobs/7/artifacts", Target(slug, 42, WORKFLOW, 7)),
    ]:
        assert parse_target(f"https://app.circleci.com/pipelines/{slug.path}{place}") == target


@given(st.text())
def test_any_text_is_a_target_or_a_refusal_in_words(text: str) -> None:
    for pasted in (text, f"https://app.circleci.com/{text}", f"https://app.circleci.com/pipelines/gh/acme/web/{text}"):
        with suppress(ConfigurationError):
            target = parse_target(pasted)
            assert ProjectSlug.parse(str(target.slug)) == target.slug


# --- addresses ---

HERE = f"https://app.circleci.com/pipelines/gh/acme/web/42/workflows/{WORKFLOW}"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        # the web application
        ("https://app.circleci.com/pipelines/gh/acme/web", Target(WEB)),
        ("https://app.circleci.com/pipelines/github/acme/web/", Target(LONG)),
        ("https://app.circleci.com/pipelines/bitbucket/acme/web", Target(BIT)),
        ("https://app.circleci.com/pipelines/gh/acme/web?branch=main", Target(WEB, branch="main")),
        ("https://app.circleci.com/pipelines/gh/acme/web?branch=a%2Fb+c&filter=all", Target(WEB, branch="a/b c")),
        ("https://app.circleci.com/pipelines/gh/acme/web?branch=&filter=all", Target(WEB)),
        ("https://app.circleci.com/pipelines/gh/acme/web/42", Target(WEB, 42)),
        ("https://app.circleci.com/pipelines/gh/acme/web/42?branch=main", Target(WEB, 42)),
        ("https://app.circleci.com/pipelines/gh/acme/web/42/workflows", Target(WEB, 42)),
        (HERE, Target(WEB, 42, WORKFLOW)),
        (HERE.replace(str(WORKFLOW), str(WORKFLOW).upper()), Target(WEB, 42, WORKFLOW)),
        (f"{HERE}/graph", Target(WEB, 42, WORKFLOW)),
        (f"{HERE}/jobs", Target(WEB, 42, WORKFLOW)),
        (f"{HERE}/jobs/123", Target(WEB, 42, WORKFLOW, 123)),
        (f"{HERE}/jobs/123/", Target(WEB, 42, WORKFLOW, 123)),
        (f"{HERE}/jobs/123/artifacts", Target(WEB, 42, WORKFLOW, 123)),
        (f"{HERE}/jobs/123/tests#failed", Target(WEB, 42, WORKFLOW, 123)),
        (f"{HERE}/jobs/123/parallel-runs/0/steps/0-101?invite=true#step-101-0_12", Target(WEB, 42, WORKFLOW, 123)),
        (f"https://app.circleci.com/pipelines/gh/acme/web/workflows/{WORKFLOW}", Target(WEB, None, WORKFLOW)),
        (f"https://app.circleci.com/pipelines/gh/acme/web/workflows/{WORKFLOW}/jobs/7", Target(WEB, None, WORKFLOW, 7)),
        ("https://app.circleci.com/jobs/github/acme/web/123", Target(LONG, job_number=123)),
        ("https://app.circleci.com/jobs/github/acme/web/123/artifacts", Target(LONG, job_number=123)),
        ("https://app.circleci.com/projects/gh/acme/web", Target(WEB)),
        ("https://app.circleci.com/project/gh/acme/web", Target(WEB)),
        ("https://app.circleci.com/settings/project/gh/acme/web/advanced?return-to=x", Target(WEB)),
        ("https://app.circleci.com/insights/gh/acme/web/workflows/build?branch=main", Target(WEB, branch="main")),
        ("https://app.circleci.com/github/acme/web/pipelines", Target(LONG)),
        ("https://app.circleci.com/github/acme/web/pipelines/42", Target(LONG, 42)),
        # GitHub App, GitLab and Bitbucket Data Center projects
        (f"https://app.circleci.com/pipelines/circleci/{ORG}/{PROJECT}", Target(APP)),
        (f"https://app.circleci.com/pipelines/circleci/{ORG}/{PROJECT}/42", Target(APP, 42)),
        (
            f"https://app.circleci.com/pipelines/circleci/{ORG}/{PROJECT}/42/workflows/{WORKFLOW}/jobs/123/artifacts",
            Target(APP, 42, WORKFLOW, 123),
        ),
        (f"https://app.circleci.com/jobs/circleci/{ORG}/{PROJECT}/123", Target(APP, job_number=123)),
        ("https://app.circleci.com/pipelines/circleci/123/456/7", Target(ProjectSlug("circleci", "123", "456"), 7)),
        # of before there were pipelines
        ("https://circleci.com/gh/acme/web", Target(WEB)),
        ("https://circleci.com/gh/acme/web/123", Target(WEB, job_number=123)),
        ("https://circleci.com/gh/acme/web/123#tests/containers/0", Target(WEB, job_number=123)),
        ("https://circleci.com/gh/acme/web/tree/main", Target(WEB, branch="main")),
        ("https://circleci.com/gh/acme/web/tree/feature/a", Target(WEB, branch="feature/a")),
        ("https://circleci.com/gh/acme/web/tree/feature%2Fa", Target(WEB, branch="feature/a")),
        ("https://circleci.com/gh/acme/pipelines", Target(ProjectSlug("gh", "acme", "pipelines"))),
        ("https://circleci.com/gh/pipelines/42/7", Target(ProjectSlug("gh", "pipelines", "42"), job_number=7)),
        # the API and badges
        ("https://circleci.com/api/v2/project/gh/acme/web", Target(WEB)),
        ("https://circleci.com/api/v2/project/gh%2Facme%2Fweb/123/artifacts", Target(WEB, job_number=123)),
        ("https://circleci.com/api/v2/project/gh/acme/web/job/123", Target(WEB, job_number=123)),
        ("https://circleci.com/api/v2/project/gh/acme/web/pipeline/42", Target(WEB, 42)),
        ("https://circleci.com/api/v1.1/project/github/acme/web/123/artifacts", Target(LONG, job_number=123)),
        ("https://dl.circleci.com/status-badge/redirect/gh/acme/web/tree/main", Target(WEB, branch="main")),
        # as they are typed
        ("app.circleci.com/pipelines/gh/acme/web/42", Target(WEB, 42)),
        ("HTTPS://App.CircleCI.com./pipelines/gh/acme/web/42", Target(WEB, 42)),
        ("http://circleci.com:80/gh/acme/web/123", Target(WEB, job_number=123)),
        ("pipelines/gh/acme/web/42", Target(WEB, 42)),
        ("/gh/acme/web/", Target(WEB)),
        ("https://app.circleci.com//pipelines/gh/acme/web//", Target(WEB)),
        ("gh/acme/web?branch=main", Target(WEB, branch="main")),
        ("gh/acme/web/123", Target(WEB, job_number=123)),
        # Server
        (
            f"https://ci.example.com/pipelines/github/acme/web/42/workflows/{WORKFLOW}/jobs/123",
            Target(LONG, 42, WORKFLOW, 123, host="https://ci.example.com"),
        ),
        ("ci.example.com:8443/gh/acme/web/123", Target(WEB, job_number=123, host="https://ci.example.com:8443")),
        ("http://localhost:8080/pipelines/gh/acme/web", Target(WEB, host="http://localhost:8080")),
        ("localhost/gh/acme/web", Target(WEB, host="https://localhost")),
        ("https://circleci.com.example.com/gh/acme/web", Target(WEB, host="https://circleci.com.example.com")),
        ("https://evilcircleci.com/gh/acme/web", Target(WEB, host="https://evilcircleci.com")),
        ("https://circleci.com:8443/gh/acme/web", Target(WEB, host="https://circleci.com:8443")),
        # repositories
        ("https://github.com/acme/web", Target(WEB)),
        ("https://github.com/acme/web.git", Target(WEB)),
        ("github.com/acme/web/", Target(WEB)),
        ("https://www.github.com/acme/web/pull/12/files", Target(WEB)),
        ("https://github.com/acme/web/tree/feature/a", Target(WEB, branch="feature/a")),
        ("https://github.com/acme/web/tree", Target(WEB)),
        ("https://me@bitbucket.org/acme/web.git", Target(ProjectSlug("bb", "acme", "web"))),
        ("https://bitbucket.org/acme/web/src/main/", Target(ProjectSlug("bb", "acme", "web"))),
        ("git@github.com:acme/web.git", Target(WEB)),
        ("ssh://git@github.com/acme/web.git", Target(WEB)),
        ("ssh://git@github.com:22/acme/web.git", Target(WEB)),
        ("git@bitbucket.org:acme/web", Target(ProjectSlug("bb", "acme", "web"))),
    ],
)
def test_an_address_names_its_target(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("web", "not the address of a project"),
        ("acme/web", "not the address of a project"),
        ("https://circleci.com", "names no project"),
        ("https://app.circleci.com/pipelines/", "not the address of a project"),
        ("https://app.circleci.com/pipelines/gh/acme", "'gh/acme' names no project"),
        ("https://app.circleci.com/projects/project-dashboard/github/acme/", "not the address of a project"),
        ("https://circleci.com/docs/guides/intro", "not the address of a project"),
        (f"https://circleci.com/workflow-run/{WORKFLOW}", "an id and no project"),
        (f"https://app.circleci.com/pipelines/workflows/{WORKFLOW}", "an id and no project"),
        (f"https://circleci.com/api/v2/workflow/{WORKFLOW}", "an id and no project"),
        (f"https://output.circle-artifacts.com/output/job/{WORKFLOW}/artifacts/0/a.txt", "does not name its project"),
        ("https://123-456-gh.circle-artifacts.com/0/a.txt", "does not name its project"),
        ("https://app.circleci.com/pipelines/gh/acme/web/latest", "'latest' is not the number of a pipeline"),
        ("https://app.circleci.com/pipelines/gh/acme/web/0", "'0' is not the number"),
        ("https://app.circleci.com/pipelines/gh/acme/web/-1", "not the number"),
        ("https://app.circleci.com/pipelines/gh/acme/web/٣", "not the number"),
        (f"https://app.circleci.com/pipelines/gh/acme/web/{'9' * 5000}", "not the number"),
        ("https://app.circleci.com/pipelines/gh/acme/web/42/workflows/latest", "not the id of a workflow"),
        (f"https://app.circleci.com/pipelines/gh/acme/web/42/workflows/{WORKFLOW.hex}", "not the id of a workflow"),
        (f"{HERE}/jobs/build", "'build' is not the number of a job"),
        ("https://circleci.com/gh/acme/web/edit", "'edit' is not the number of a job"),
        ("https://app.circleci.com/pipelines/gh//web", "empty"),
        ("https://app.circleci.com/pipelines/gh/../web", "segment"),
        ("https://app.circleci.com/pipelines/gh/%2e%2e/web", "segment"),
        ("https://app.circleci.com/pipelines/gh/a%2Fb/web", "slash"),
        ("https://app.circleci.com/pipelines/gh/acme/we%00b", "not printable"),
        ("https://app.circleci.com/pipelines/gh/acme/we%ffb", "not UTF-8"),
        ("https://app.circleci.com/pipelines/gh/acme/we\tb", "not printable"),
        ("https://app.circleci.com/pipelines/gh/acme/web?branch=%ff", "query"),
        ("ftp://circleci.com/gh/acme/web", "scheme"),
        ("https://me:hunter2@app.circleci.com/pipelines/gh/acme/web", "user name"),
        ("https://app.circleci.com@evil.example/pipelines/gh/acme/web", "user name"),
        ("https://-/gh/acme/web", "not the name of a host"),
        ("https:///gh/acme/web", "empty"),
        ("https://github.com/acme", "does not name a repository"),
        ("https://github.com", "does not name a repository"),
        ("https://gitlab.com/acme/web", "GitLab"),
        ("git@gitlab.com:acme/web.git", "gitlab.com is not"),
        ("https://example.com/acme/web", "not the address of a project"),
    ],
)
def test_what_names_no_project_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        parse_target(text)
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)
    assert len(str(caught.value)) < 200
