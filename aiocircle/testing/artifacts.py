"""What jobs stored: artifacts placed by hand, and any number of seeded ones, computed when they are looked at."""

import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import overload
from urllib.parse import quote_from_bytes

import attrs

KIB = 1024
MIB = 1024 * KIB


@attrs.frozen
class FakeArtifact:
    """One stored file.

    Attributes:
        path: As the listing says it; nothing is cleaned, so hostile names can be expressed.
        node_index: Which parallel node stored it, from 0.
        size: Bytes; the content then follows from the world's seed. Ignored when ``body`` is given.
        body: The exact content.
        url: What the listing says instead of the true address. ``{api}``, ``{artifact}``, ``{storage}`` and
            ``{foreign}`` stand for the simulator's origins.
    """

    path: str
    node_index: int = 0
    size: int = 0
    body: bytes | None = attrs.field(default=None, repr=False)
    url: str | None = None

    @property
    def length(self) -> int:
        """Return the number of bytes that are served."""
        return self.size if self.body is None else len(self.body)


class Artifacts(Sequence[FakeArtifact]):
    """The artifacts of one job, in the order of the listing."""

    @abstractmethod
    def find(self, node_index: int, path: str) -> FakeArtifact | None:
        """Return the first artifact of that node with that path."""


class PlacedArtifacts(Artifacts):
    """Artifacts that were handed in, one by one."""

    def __init__(self, items: Iterable[FakeArtifact] = ()) -> None:
        self._items = tuple(items)
        self._by_name: dict[tuple[int, str], FakeArtifact] = {}
        for item in self._items:
            self._by_name.setdefault((item.node_index, item.path), item)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> FakeArtifact: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FakeArtifact]: ...
    def __getitem__(self, index: int | slice) -> FakeArtifact | Sequence[FakeArtifact]:
        return self._items[index]

    def find(self, node_index: int, path: str) -> FakeArtifact | None:
        """Return the first artifact of that node with that path."""
        return self._by_name.get((node_index, path))


# Every name contains the group's number once, with six digits or more, so that a path leads back to its artifact. A
# name without a node in it is the same on every node.
_NAMES = (
    "coverage/html/module-{n:06d}.html",
    "nodes/{node}/log-{n:06d}.txt",
    "nodes/{node}/screenshots/log in + sign up/{n:06d}.png",
    "nodes/{node}/reports/100% done/case-{n:06d}.txt",
    "test-results/junit/shard {n:06d}.xml",
    "nodes/{node}/builds/build#{n:06d}.log",
    "nodes/{node}/día/日本語-{n:06d}.txt",
    "nodes/{node}/raw/%41%2F-{n:06d}.bin",
    "home/circleci/project/dist/wheel-{n:06d}.whl",
    "nodes/{node}/query?a=1&b=2/{n:06d}.json",
    "nodes/{node}/trace;v=1,2/{n:06d}.trace",
    "nodes/{node}/deep/a/b/c/d/e/f/{n:06d}.txt",
)
_LARGE = "core/dump-{n:06d}.core"
_NUMBER = re.compile(r"\d{6,}")


class GeneratedArtifacts(Artifacts):
    """``count`` small files and ``large`` large ones on ``nodes`` nodes, computed when asked for.

    One file in four has the same path on every node. Of the small files one in fifty is of 1 MiB, the others are of 1
    to 64 KiB, small ones more often.

    Args:
        seed: Any text; another seed gives other sizes.
        count: Number of small files.
        nodes: Number of parallel nodes the files are spread over.
        large: Number of large files, listed last.
        large_size: Bytes of each large file.
    """

    def __init__(self, seed: str, count: int, nodes: int = 1, large: int = 0, large_size: int = 64 * MIB) -> None:
        self._seed = seed
        self._count = count
        self._nodes = max(1, nodes)
        self._large = large
        self._large_size = large_size

    def __len__(self) -> int:
        return self._count + self._large

    @overload
    def __getitem__(self, index: int) -> FakeArtifact: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FakeArtifact]: ...
    def __getitem__(self, index: int | slice) -> FakeArtifact | Sequence[FakeArtifact]:
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(len(self)))]
        return self._make(range(len(self))[index])

    def __iter__(self) -> Iterator[FakeArtifact]:
        return map(self._make, range(len(self)))

    def find(self, node_index: int, path: str) -> FakeArtifact | None:
        """Return the artifact of that node with that path, by the number in its name."""
        found = _NUMBER.search(path)
        if found is None:
            return None
        number = int(found.group())
        index = self._count + number if path.startswith("core/") else number * self._nodes + node_index
        if not 0 <= index < len(self):
            return None
        artifact = self._make(index)
        return artifact if (artifact.node_index, artifact.path) == (node_index, path) else None

    def _make(self, index: int) -> FakeArtifact:
        if index >= self._count:
            number = index - self._count
            return FakeArtifact(_LARGE.format(n=number), number % self._nodes, self._large_size)
        number, node = divmod(index, self._nodes)
        name = _NAMES[number % len(_NAMES)]
        return FakeArtifact(name.format(n=number, node=node), node, self._small_size(index))

    def _small_size(self, index: int) -> int:
        draw = hashlib.blake2b(f"{self._seed}/{index}".encode(), digest_size=6).digest()
        if draw[0] < 5:  # noqa: PLR2004 - 5 of 256: about one in fifty
            return MIB
        # A power of two from 1 KiB to 32 KiB, and up to as much again: the small ones are the many.
        step = KIB << draw[1] % 6
        return step + int.from_bytes(draw[2:6]) % step


def quote_path(path: str) -> str:
    """Return ``path`` as the artifact's address carries it: the rules of Java's URLEncoder, slashes kept.

    A space becomes ``+``; letters, digits and ``.-*_`` stay; everything else is percent-encoded UTF-8. A lone
    surrogate, which a listing can contain, keeps its three bytes.
    """
    raw = path.encode("utf-8", "surrogatepass")
    return quote_from_bytes(raw, safe="/*").replace("~", "%7E").replace("%20", "+")
