"""How to download: settings of a run, as a value."""

from collections.abc import Sequence
from pathlib import Path

from attrs import field, frozen, validators

from aiocircle.download.filters import Shard
from aiocircle.given import one_of, path_or_none, several_of

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

    Raises:
        ConfigurationError: Something is of another kind than said here.
    """

    concurrency: int | None = field(default=None, validator=[one_of(int), validators.optional(validators.ge(1))])
    buffer: int = field(default=64 * 1024 * 1024, validator=[one_of(int), validators.ge(SMALLEST_BATCH)])
    include: Sequence[str] = field(default=(), validator=several_of(str))
    exclude: Sequence[str] = field(default=(), validator=several_of(str))
    nodes: Sequence[int] = field(default=(), validator=several_of(int))
    min_size: int | None = field(default=None, validator=one_of(int))
    max_size: int | None = field(default=None, validator=one_of(int))
    shard: Shard | None = field(default=None, validator=one_of(Shard))
    layout: str | None = field(default=None, validator=one_of(str))
    sync: bool = field(default=False, validator=one_of(bool))
    dry_run: bool = field(default=False, validator=one_of(bool))
    dedupe: bool = field(default=False, validator=one_of(bool))
    state: str | Path | None = field(default=None, validator=path_or_none)
