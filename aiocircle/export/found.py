"""What the streams of an export consist of, besides what the fan-out finds."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from aiocircle.crawl.fanout import ListingFailed, Skipped

Pair = tuple[tuple[Any, ...], Mapping[str, Any]]
"""A row, and the item as the host gave it."""


@frozen
class Pairs:
    """Items of a dataset that came together."""

    dataset: str
    pairs: Sequence[Pair]


@frozen
class Missing:
    """Something of a dataset that could not be had."""

    dataset: str
    why: Skipped | ListingFailed


@frozen
class AllOf:
    """Everything that a project or an organisation has of a dataset has been handed out.

    Attributes:
        dataset: Which.
        owner: Whose.
        part: If it is of a branch or a window only: the columns of the key that say so.
    """

    dataset: str
    owner: str
    part: Mapping[str, str] = field(factory=dict)


@frozen
class UsageDone:
    """Nothing more comes of an export of usage data that was created."""

    export_id: str
