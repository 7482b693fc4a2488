"""An operation of the API as data: what is asked for, where, and what may be done with its answer."""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

from attrs import Factory, field, frozen

from aiocircle.errors import ConfigurationError
from aiocircle.slugs import ProjectSlug

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})

# How a listing goes on: by ``next_page_token``; not at all, as ``items`` or as a bare array; by counting items.
Pages = Literal["token", "items", "array", "offset"]


@frozen
class Operation:
    """One of the API's operations.

    Attributes:
        id: Its name in CircleCI's document.
        call: Its name here: ``"pipelines.get"`` is ``client.pipelines.get``.
        name: Its name for people, as errors and events have it.
        method: HTTP method.
        path: The template below ``/api/v2``; also the route group whose budget it draws on.
        pages: How its listing goes on, if it is one.
        key: The fields that tell its items apart, if it is a listing; none where nothing does.
        idempotent: Carrying it out twice does no harm.
    """

    id: str
    call: str
    name: str
    method: str
    path: str
    pages: Pages | None = field(default=None, kw_only=True)
    key: tuple[str, ...] = field(default=("id",), kw_only=True)
    idempotent: bool = field(
        default=Factory(lambda self: self.method in IDEMPOTENT_METHODS, takes_self=True), kw_only=True
    )

    def fill(self, values: Mapping[str, object]) -> str:
        """Return the path with values in it, each segment percent-encoded.

        Raises:
            ConfigurationError: A value would lead to another operation.
        """
        return self.path.format_map({name: _quoted(name, value) for name, value in values.items()})


def _quoted(name: str, value: object) -> str:
    if name == "slug":
        return (value if isinstance(value, ProjectSlug) else ProjectSlug.parse(str(value))).path
    if name == "org_slug":
        return _quoted_org(str(value))
    text = str(value)
    if text in {"", ".", ".."}:
        raise ConfigurationError(f"{text!r} cannot be the {name} of anything")  # and would lead to another operation
    return quote(text, safe="", errors="surrogatepass")  # a workflow's name may hold whatever JSON can


def _quoted_org(text: str) -> str:
    segments = text.split("/")
    if len(segments) != 2:  # noqa: PLR2004 -- vcs, organisation
        raise ConfigurationError(
            f"{text!r} is not the slug of an organisation", hint="give vcs/organisation, such as gh/acme"
        )
    return "/".join(_quoted("org_slug's segment", segment) for segment in segments)
