"""Where an artifact goes, as a template over what is known about it.

A template is a relative path with fields in braces, such as ``{branch}/{job_name}/{path}``. Only ``{path}`` and
``{project}`` have several components; every other value becomes part of one, whatever it contains, so that a branch
``feature/x`` or a job named ``..`` cannot add or remove a level. What the template yields is checked like any name that
came from outside (`aiocircle.download.paths`).

The default layouts keep the node's index, and the job's number where there are several: parallel nodes upload the same
paths as a rule (https://circleci.com/docs/artifacts), and the official tool's habit of adding the node only when there
is more than one moves every file the day somebody raises ``parallelism``.
"""

import re
from string import Formatter
from typing import Final, NamedTuple

from attrs import Factory, field, fields, frozen

from aiocircle.download.paths import PlacedPath, joined_notes, safe_parts, safe_path
from aiocircle.errors import ConfigurationError

DEFAULT_LAYOUT_ONE_JOB: Final = "{node_index}/{path}"
DEFAULT_LAYOUT_MANY_JOBS: Final = "{job_number}/{node_index}/{path}"


@frozen(kw_only=True)
class ArtifactPlace:
    """What is known about an artifact before a byte of it is read.

    Attributes:
        project: The project's slug, three segments.
        pipeline_number: The pipeline's number within the project; ``None`` where it was not looked up, as below.
        workflow_id: The workflow's id.
        workflow_name: The workflow's name.
        job_number: The job's number within the project.
        job_name: The job's name.
        branch: The pipeline's branch.
        node_index: Which of the job's parallel nodes uploaded it, from 0.
        path: The artifact's name as listed.
    """

    project: str
    pipeline_number: int | None = None
    workflow_id: str | None = None
    workflow_name: str | None = None
    job_number: int
    job_name: str | None = None
    branch: str | None = None
    node_index: int
    path: str


_INTEGERS: Final = frozenset({"pipeline_number", "job_number", "node_index"})
FIELDS: Final = (*(attribute.name for attribute in fields(ArtifactPlace)), "name")
_PADDING: Final = re.compile(r"(?:0[1-9][0-9]?)?d?")
_ABSENT: Final = "_"


class _Piece(NamedTuple):
    literal: str
    field: str | None
    padding: str


@frozen
class Layout:
    """A template, checked once and filled in for every artifact.

    The fields are those of `ArtifactPlace`, and ``{name}``, the last component of ``path``. What is not known becomes
    ``_``. Whole numbers can be padded: ``{node_index:04d}``. Braces meant literally are doubled.

    Attributes:
        template: The template, one of whose fields is ``{path}`` or ``{name}``.

    Raises:
        ConfigurationError: The template cannot work.
    """

    template: str
    _pieces: tuple[_Piece, ...] = field(
        init=False, repr=False, eq=False, default=Factory(lambda self: _parsed(self.template), takes_self=True)
    )

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields used, in order and each one once."""
        return tuple(dict.fromkeys(piece.field for piece in self._pieces if piece.field))

    @property
    def distinguishes_nodes(self) -> bool:
        """Whether the same path on two nodes of a job goes to two places."""
        return "node_index" in self.fields

    @property
    def distinguishes_jobs(self) -> bool:
        """Whether the same path in two jobs of a project goes to two places."""
        return "job_number" in self.fields

    def place(self, context: ArtifactPlace, *, windows: bool = False) -> PlacedPath:
        """Return where an artifact goes.

        Args:
            context: What is known about it.
            windows: Apply Windows' rules about names as well.

        Raises:
            UnsafePathError: Its name would lead outside, names no file, or is beyond the limits of file systems.
        """
        parts, note = safe_parts(context.path, windows=windows)
        filled = "".join(
            [piece.literal + (_value(piece, context, parts) if piece.field else "") for piece in self._pieces]
        )
        placed = safe_path(filled, windows=windows)
        return PlacedPath(placed.path, joined_notes(note, placed.note)) if note else placed


def _parsed(template: str) -> tuple[_Piece, ...]:
    if not {"", ".", ".."}.isdisjoint(template.split("/")) or "\\" in template or template[1:2] == ":":
        raise _unusable(
            template, "must be a relative path, its components divided by '/', none of them '', '.' or '..'"
        )
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise _unusable(template, f"has unbalanced braces ({error})") from None
    for _, name, padding, conversion in parsed:
        if name is not None and name not in FIELDS:
            raise _unusable(template, f"has an unknown field {{{name}}}")
        if conversion or (padding and not (name in _INTEGERS and _PADDING.fullmatch(padding))):
            raise _unusable(template, f"formats {{{name}}}, where only whole numbers take a width, such as :04d")
    if {"path", "name"}.isdisjoint(name for _, name, _, _ in parsed):
        raise _unusable(template, "needs {path} or {name}, or all artifacts would have one name")
    return tuple(_Piece(literal, name, padding or "") for literal, name, padding, _ in parsed)


def _unusable(template: str, reason: str) -> ConfigurationError:
    known = " ".join(f"{{{name}}}" for name in FIELDS)
    return ConfigurationError(f"layout {template!r} {reason}; the fields are {known}")


def _value(piece: _Piece, context: ArtifactPlace, path: tuple[str, ...]) -> str:
    if piece.field == "path":
        return "/".join(path)
    if piece.field == "name":
        return path[-1]
    value = getattr(context, piece.field or "")
    if isinstance(value, int):
        return format(value, piece.padding)
    if piece.field == "project":
        return "/".join(_component(segment) for segment in value.split("/"))
    return _component(value)


def _component(value: str | None) -> str:
    if not value:
        return _ABSENT
    if value in {".", ".."}:
        return value.replace(".", "%2E")
    return value.replace("/", "%2F").replace("\\", "%5C")
