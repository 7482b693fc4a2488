"""Which of a job's artifacts are wanted: by path and node when they are listed, by size when their answer begins.

A listing tells no size, so what is of another size than wanted costs a request, but not its bytes.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen

from aiocircle.errors import ConfigurationError
from aiocircle.globs import glob_matcher

if TYPE_CHECKING:  # the command's help needs neither, and they bring aiohttp
    from aiocircle.api import Artifact
    from aiocircle.crawl.seen import Seen
    from aiocircle.download.options import DownloadOptions
    from aiocircle.transport import Answer

OK = 200


class UnwantedSize(Exception):  # noqa: N818 -- to be skipped is no error
    """An artifact is smaller or larger than wanted; the text says so."""


@frozen
class SizeRange:
    """From so many bytes to so many, both included; ``None`` for no limit.

    Raises:
        ConfigurationError: No size is in it.
    """

    smallest: int | None = None
    largest: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.largest is not None and (self.largest < 0 or self.largest < (self.smallest or 0)):
            raise ConfigurationError(f"no file has {self.smallest or 0} bytes or more and {self.largest} or fewer")

    def check(self, size: int | None) -> None:
        """Refuse a size outside; one that is not known is let in.

        Raises:
            UnwantedSize: It is outside.
        """
        if size is None:
            return
        if self.smallest is not None and size < self.smallest:
            raise UnwantedSize(f"smaller than {self.smallest} bytes")
        if self.largest is not None and size > self.largest:
            raise UnwantedSize(f"larger than {self.largest} bytes")

    def check_head(self, answer: "Answer") -> None:
        """Refuse an answer whose head tells a size outside, before a byte of its body is read.

        Raises:
            UnwantedSize: It is outside.
        """
        if answer.status == OK and answer.headers.get("Content-Encoding", "identity") == "identity":
            self.check(answer.size)


@frozen
class Shard:
    """A stable part of all artifacts: part ``number`` of ``of``, counted from 1. The parts are disjoint and complete.

    Raises:
        ConfigurationError: There is no such part.
    """

    number: int
    of: int = field()

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ConfigurationError(f"there is no part {self.number} of {self.of}", hint="parts are 1/N to N/N")

    def __contains__(self, identity: str) -> bool:
        """Tell whether the artifact of this identity (project, job, node, path) belongs to the part."""
        digest = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) % self.of == self.number - 1


def artifact_filter(
    include: Sequence[str], exclude: Sequence[str], nodes: Sequence[int]
) -> "Callable[[Artifact], bool]":
    """Return a function that tells whether a listed artifact is wanted.

    Args:
        include: Globs over paths, any of which suffices; everything if there are none.
        exclude: Globs over paths, which win.
        nodes: Indices of parallel nodes; all of them if there are none.
    """
    by_path = glob_matcher(include, exclude)
    by_node = frozenset(nodes)

    def wanted(artifact: "Artifact") -> bool:
        return (not by_node or artifact.node_index in by_node) and by_path(artifact.path or "")

    return wanted


def note_unwanted(artifact: "Artifact", options: "DownloadOptions", seen: "Seen") -> None:
    """Note what an artifact has that ``artifact_filter`` did not let pass."""
    if options.nodes and artifact.node_index not in options.nodes:
        seen.note("nodes", artifact.node_index)
    else:
        seen.note("paths", artifact.path)
