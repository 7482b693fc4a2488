"""What a run wants of the jobs below a place, and the names that it gives: kept, as text, with everything that failed.

So whoever fetches a failure once more, in however many runs, fetches what that run would have fetched.
"""

import functools
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import asdict, evolve, frozen

from aiocircle.crawl.selection import Selection
from aiocircle.download.filters import Shard, SizeRange, artifact_filter
from aiocircle.download.layout import DEFAULT_LAYOUT_MANY_JOBS, DEFAULT_LAYOUT_ONE_JOB, Layout
from aiocircle.download.options import DownloadOptions
from aiocircle.errors import ConfigurationError

if TYPE_CHECKING:
    from aiocircle.api import Artifact
    from aiocircle.download.planfile import Plan

CHOOSING = ("include", "exclude", "nodes", "min_size", "max_size", "layout", "shard")  # of the options
BELOW = ("workflow_names", "job_names", "statuses", "all_reruns")  # of a selection


@frozen(eq=False, kw_only=True)
class Choice:
    """What is wanted, and what it is called.

    Attributes:
        layout: Makes names.
        wanted: Tells whether a listed artifact is wanted.
        sizes: Which sizes are.
        shard: Which part of all is; ``None`` for all.
        below: What a `Selection` of a place is to say of workflows and jobs.
        text: All of that, for ``choice_in``.
    """

    layout: Layout
    wanted: "Callable[[Artifact], bool]"
    sizes: SizeRange
    shard: Shard | None
    below: Mapping[str, Any]
    text: str


def choice_of(selection: "Selection | Plan | None", options: DownloadOptions) -> Choice:
    """Return what a run of these chooses."""
    default = DEFAULT_LAYOUT_ONE_JOB if selection and selection.is_one_job else DEFAULT_LAYOUT_MANY_JOBS
    below = {name: getattr(selection, name) for name in BELOW} if isinstance(selection, Selection) else {}
    return _choice(evolve(options, layout=options.layout or default), below)


@functools.lru_cache(maxsize=64)  # what failed is of few runs, and may be much
def choice_in(text: str | None) -> Choice:
    """Return what a text says.

    Raises:
        ConfigurationError: Somebody has changed it.
    """
    try:
        told = json.loads(text or "{}")
    except ValueError:
        told = {"layout": text}  # an older version kept no more
    try:
        below = {name: told.pop(name) for name in BELOW if name in told}
        return _choice(with_told({"layout": DEFAULT_LAYOUT_MANY_JOBS, **told}, DownloadOptions()), below)
    except (TypeError, AttributeError, ValueError):
        raise ConfigurationError(f"what was chosen is not known any more: {text}") from None


def told_of(options: DownloadOptions) -> dict[str, Any]:
    """Return what chooses among options, as JSON has it."""
    return {name: value for name, value in asdict(options).items() if name in CHOOSING}


def with_told(told: Mapping[str, Any], options: DownloadOptions) -> DownloadOptions:
    """Return options with what ``told_of`` returned.

    Raises:
        TypeError, ValueError, ConfigurationError: It is something else.
    """
    shard = told.get("shard")
    return evolve(options, **{**told, "shard": None if shard is None else Shard(**shard)})


def _choice(options: DownloadOptions, below: dict[str, Any]) -> Choice:
    usual = told_of(DownloadOptions())
    how = {name: value for name, value in told_of(options).items() if value != usual[name]}
    return Choice(
        layout=Layout(options.layout or DEFAULT_LAYOUT_MANY_JOBS),
        wanted=artifact_filter(options.include, options.exclude, options.nodes),
        sizes=SizeRange(options.min_size, options.max_size),
        shard=options.shard,
        below=below,
        text=json.dumps({**{name: value for name, value in below.items() if value}, **how}),
    )


EVERYTHING = choice_of(None, DownloadOptions())
