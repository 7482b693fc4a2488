"""How to download: settings of a run, as a value."""

from collections.abc import Sequence
from pathlib import Path

from attrs import field, frozen, validators

from aiocircle.download.filters import Shard

SMALLEST_BATCH = 64 * 1024  # bytes of a file in memory at least


@frozen(kw_only=True)
class DownloadOptions:
    """How to download.

    Attributes:
        concurrency: Files in flight; ``None`` for 64 at first, more while that brings more, less when the host objects.
        buffer: Bytes of file content in memory at most, over all files. Over https the crowd of connections also grows
            no further than what all of them take fits into that: some 300 KiB each.
        include: Globs over the artifact's path; empty for everything.
        exclude: Globs over the artifact's path, which win.
        nodes: Only from these parallel nodes; empty for all.
        min_size: Bytes that an artifact has at least. Its size is known only when its answer begins.
        max_size: Bytes that it has at most.
        shard: Only this part of what is wanted; all parts together are all of it, under the same names.
        layout: A template, or ``None`` for the default one.
        sync: Flush each file to the disk before it gets its name.
        dry_run: Decide on names, fetch nothing.
        dedupe: Keep equal files once, as hard links; they may only be read then. For directories.
        state: Where the records and the half files of a bucket lie; ``None`` for ``$XDG_STATE_HOME/aiocircle``.
    """

    concurrency: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    buffer: int = field(default=64 * 1024 * 1024, validator=validators.ge(SMALLEST_BATCH))
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    nodes: Sequence[int] = ()
    min_size: int | None = None
    max_size: int | None = None
    shard: Shard | None = None
    layout: str | None = None
    sync: bool = False
    dry_run: bool = False
    dedupe: bool = False
    state: str | Path | None = None
