"""Project slugs, and every CircleCI web address that a person may paste.

A slug is three opaque segments, ``vcs/org/project``. Nothing is read out of them and nothing rewritten: ``github``
stays ``github``, and the organisation and project of ``circleci/<org>/<project>`` may be ids or names.

An address is read from left to right: the host, a prefix that says which page it is, the slug's three segments, and
what the page shows. The slug is never guessed from the end, where an id can look like a name.
"""

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import parse_qs, quote, unquote
from uuid import UUID

import attrs

from aiocircle.errors import ConfigurationError
from aiocircle.hosts import parse_host

_SLUG_HINT = "give vcs/organisation/project, such as gh/acme/web; the project's settings page shows it"
_TARGET_HINT = (
    "give a project slug such as gh/acme/web, or the address of a project, pipeline, workflow or job such as "
    "https://app.circleci.com/pipelines/gh/acme/web/42"
)


def _check_segment(_slug: "ProjectSlug", _attribute: "attrs.Attribute[str]", segment: str) -> None:
    if not segment:
        raise ConfigurationError("the project slug has an empty segment", hint=_SLUG_HINT)
    if segment in {".", ".."}:
        raise ConfigurationError(f"the project slug has the segment {segment!r}", hint=_SLUG_HINT)
    if "/" in segment:
        raise ConfigurationError("a segment of the project slug has a slash in it", hint=_SLUG_HINT)
    if not segment.isprintable():
        raise ConfigurationError("the project slug has a character that is not printable", hint=_SLUG_HINT)


@attrs.frozen
class ProjectSlug:
    """A project's address in the API: ``gh/acme/web``, ``circleci/<org>/<project>``.

    Raises:
        ConfigurationError: A segment is empty, ``.`` or ``..``, or holds a slash or an unprintable character.
    """

    vcs: str = attrs.field(validator=_check_segment)
    org: str = attrs.field(validator=_check_segment)
    project: str = attrs.field(validator=_check_segment)

    @classmethod
    def parse(cls, text: str) -> "ProjectSlug":
        """Read a slug, also one that is percent-encoded as a whole (``gh%2Facme%2Fweb``).

        Raises:
            ConfigurationError: It does not have three sound segments.
        """
        text = text.strip()
        segments = (text if "/" in text else _unquote(text)).split("/")
        if len(segments) != 3:  # noqa: PLR2004 -- vcs, organisation, project
            raise ConfigurationError(
                f"a project slug has three segments, and {_shortened(text)} has {len(segments)}", hint=_SLUG_HINT
            )
        return cls(*segments)

    @property
    def path(self) -> str:
        """The slug as it goes into a URL: each segment percent-encoded, the slashes literal.

        Some proxies, and Server, refuse ``%2F``.
        """
        return "/".join(quote(segment, safe="") for segment in (self.vcs, self.org, self.project))

    def __str__(self) -> str:
        return f"{self.vcs}/{self.org}/{self.project}"


@attrs.frozen
class Target:
    """What a pasted text names: a project, and possibly a part of it.

    Attributes:
        slug: The project.
        pipeline_number: Its pipeline.
        workflow_id: The pipeline's workflow.
        job_number: The workflow's job, or the project's job where the address names no workflow.
        branch: A branch of it; only where no pipeline, workflow or job is named.
        host: The origin of the address where that is not CircleCI's cloud: a Server installation. It is as
            trustworthy as the address: no token goes there unless the user configured that host.
    """

    slug: ProjectSlug
    pipeline_number: int | None = None
    workflow_id: UUID | None = None
    job_number: int | None = None
    branch: str | None = None
    host: str | None = None


def parse_target(text: str) -> Target:
    """Read a slug, or any address that names a project, pipeline, workflow or job.

    Known are the addresses of the web application (cloud and Server, of today and before), of the API, of status
    badges, and of repositories on GitHub and Bitbucket, also for git over ssh.

    Raises:
        ConfigurationError: It names no project, or is malformed; the message says what is wrong with it.
    """
    text = text.strip()
    if not text or not text.isprintable():
        raise _refusal("the address is empty" if not text else "the address has a character that is not printable")
    ssh = _SSH_REMOTE.fullmatch(text)
    if ssh:
        return _repository(ssh["host"].lower(), _segments(ssh["path"]))
    address = re.split(r"[?#]", text, maxsplit=1)[0]
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "https", address
    authority, _, path = rest.partition("/")
    if not separator and not _HOST_LIKE.search(authority):
        return _without_host(rest.strip("/"), _branch_of(text))
    return _at(scheme.lower(), authority, _segments(path), _branch_of(text))


_SSH_REMOTE = re.compile(r"(?:ssh://)?git@(?P<host>[^/:]+)(?::[0-9]+/|[:/])(?P<path>.+)")
_HOST_LIKE = re.compile(r"[.:@\[]|^localhost$")
_CLOUD = re.compile(r"https://(?:[^/:]+\.)?circleci\.com")
_REPOSITORY_HOSTS = {"github.com": "gh", "www.github.com": "gh", "bitbucket.org": "bb", "www.bitbucket.org": "bb"}
_VCS = frozenset({"gh", "github", "bb", "bitbucket", "gl", "gitlab", "circleci"})


def _without_host(path: str, branch: str | None) -> Target:
    segments = path.split("/")
    if len(segments) == 3 and (segments[0],) not in _PAGES:  # noqa: PLR2004 -- vcs, organisation, project
        return Target(ProjectSlug.parse(path), branch=branch)
    return _page(None, _segments(path), branch)


def _at(scheme: str, authority: str, segments: list[str], branch: str | None) -> Target:
    if scheme not in {"https", "http"}:
        raise _refusal("the address has a scheme other than https and http")
    user, _, host = authority.rpartition("@")
    if host.lower() in _REPOSITORY_HOSTS:  # whose clone addresses may begin with a user name
        return _repository(host.lower(), segments)
    if user:
        raise _refusal("the address has a user name or password in it")
    origin = parse_host(f"{scheme}://{host}", allow_http=True)
    if origin.endswith(".circle-artifacts.com"):
        raise _refusal("an artifact's own address does not name its project")
    if origin == "https://gitlab.com":
        raise _refusal("CircleCI does not know GitLab projects by their address on GitLab")
    return _page(None if _CLOUD.fullmatch(origin.replace("http:", "https:")) else origin, segments, branch)


def _repository(host: str, segments: Sequence[str]) -> Target:
    vcs = _REPOSITORY_HOSTS.get(host)
    if vcs is None:
        raise _refusal(f"{host} is not a host whose repositories CircleCI knows by their address")
    match segments:
        case [org, project, "tree", *branch] if branch:
            return Target(ProjectSlug(vcs, org, project), branch="/".join(branch))
        case [org, project, *_]:
            return Target(ProjectSlug(vcs, org, project.removesuffix(".git")))
    raise _refusal("the address does not name a repository")


# --- pages of the web application ------------------------------------------------------------------------------------

# What a page's number counts, when it follows the slug directly.
_Counts = Literal["pipelines", "jobs", "nothing"]
_PAGES: dict[tuple[str, ...], _Counts] = {
    ("api", "v2", "project"): "jobs",
    ("api", "v1.1", "project"): "jobs",
    ("settings", "project"): "nothing",
    ("status-badge", "redirect"): "jobs",
    ("pipelines",): "pipelines",
    ("jobs",): "jobs",
    ("projects",): "nothing",
    ("project",): "nothing",
    ("insights",): "nothing",
    (): "jobs",  # circleci.com/gh/acme/web/123, before there were pipelines
}


def _page(host: str | None, segments: list[str], branch: str | None) -> Target:
    prefix = next(prefix for prefix in _PAGES if tuple(segments[: len(prefix)]) == prefix)
    named = segments[len(prefix) :]
    if named and named[0].count("/"):  # a slug percent-encoded as a whole
        named = [*named[0].split("/"), *named[1:]]
    if not named or named[0] not in _VCS:
        raise _refusal(_why_no_project(segments))
    if len(named) < 3:  # noqa: PLR2004 -- vcs, organisation, project
        raise _refusal(f"{_shortened('/'.join(named))} names no project")
    target = _shown(ProjectSlug(*named[:3]), _PAGES[prefix], named[3:])
    narrow = target.pipeline_number or target.workflow_id or target.job_number
    return attrs.evolve(target, host=host, branch=None if narrow else target.branch or branch)


def _why_no_project(segments: Sequence[str]) -> str:
    if any(map(_UUID.fullmatch, segments)):
        return "the address has an id and no project"
    return f"{_shortened('/'.join(segments))} is not the address of a project" if segments else "it names no project"


def _shown(  # noqa: PLR0911 -- one line for each kind of page
    slug: ProjectSlug, counts: _Counts, rest: Sequence[str]
) -> Target:
    match [counts, *rest]:
        case [_] | ["nothing", *_]:
            return Target(slug)
        case [_, "pipelines", *inner]:
            return _shown(slug, "pipelines", inner)
        case [_, "tree", first, *more]:
            return Target(slug, branch="/".join([first, *more]))
        case ["pipelines", number, "workflows", workflow, "jobs", job, *_]:
            return Target(slug, _number(number, "pipeline"), _workflow_id(workflow), _number(job, "job"))
        case ["pipelines", number, "workflows", workflow, *_]:
            return Target(slug, _number(number, "pipeline"), _workflow_id(workflow))
        case [_, "workflows", workflow, "jobs", job, *_]:
            return Target(slug, None, _workflow_id(workflow), _number(job, "job"))
        case [_, "workflows", workflow, *_]:
            return Target(slug, None, _workflow_id(workflow))
        case [_, "pipeline", number, *_] | ["pipelines", number, *_]:
            return Target(slug, _number(number, "pipeline"))
        case [_, "job" | "jobs", number, *_] | [_, number, *_]:
            return Target(slug, job_number=_number(number, "job"))
    raise AssertionError(rest)


_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NUMBER = re.compile(r"0*[1-9][0-9]{0,17}")


def _number(text: str, what: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _refusal(f"{_shortened(text)} is not the number of a {what}")
    return int(text)


def _workflow_id(text: str) -> UUID:
    if not _UUID.fullmatch(text):
        raise _refusal(f"{_shortened(text)} is not the id of a workflow")
    return UUID(text)


# --- parts of an address ---------------------------------------------------------------------------------------------


def _segments(path: str) -> list[str]:
    segments = [_unquote(segment) for segment in path.strip("/").split("/")]
    if segments == [""]:
        return []
    if "" in segments or "." in segments or ".." in segments:
        raise _refusal("the address has an empty, '.' or '..' segment")
    return segments


def _unquote(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _refusal("the address has a percent escape that is not UTF-8") from None


def _branch_of(text: str) -> str | None:
    query = text.partition("#")[0].partition("?")[2]
    try:
        return parse_qs(query, errors="strict").get("branch", [None])[-1]
    except ValueError:
        raise _refusal("the address's query cannot be read") from None


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")  # noqa: PLR2004 -- enough to recognise it


def _refusal(message: str) -> ConfigurationError:
    return ConfigurationError(message, hint=_TARGET_HINT)
