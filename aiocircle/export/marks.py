"""What is known of how much of a history is covered, and what is committed together."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import define, field, frozen

from aiocircle.export.tables import Table


@frozen(kw_only=True)
class Sweep:
    """How far the pipelines of a scope are covered.

    Attributes:
        since: From when on; ``None`` together with ``newest`` is from the beginning.
        newest: When the newest pipeline was created that is covered; ``None`` if no sweep has come to its end.
        token: The page at which a sweep was broken off.
        token_newest: When the newest pipeline was created that it saw.
    """

    since: datetime | None = None
    newest: datetime | None = None
    token: str | None = None
    token_newest: datetime | None = None


@frozen(kw_only=True)
class PipelineMark:
    """What is covered of a pipeline.

    Attributes:
        datasets: Those that were looked for, as bits; nothing is said of others.
        covered: Of these, the ones that are complete.
        is_open: More of them may come.
    """

    id: str
    project: str
    number: int | None
    created_at: datetime | None
    branch: str | None
    state: str | None
    datasets: int
    covered: int
    is_open: bool


@define(eq=False)
class Collected:
    """Rows and marks that are to be committed together.

    Attributes:
        rows: By table.
        pipelines: What is covered of pipelines.
        workflows: Of workflows that have ended, by id.
        jobs: Of jobs that have ended in workflows that have not: the workflow's id, the job's number, datasets as bits.
        sweeps: By scope.
        checked: Projects, pipeline and workflow ids whose gaps are looked for anew; ``""`` of what lies above.
        usage_jobs: Ids of exports of usage data of which nothing more comes.
        complete: Tables, and projects or organisations, of which all that there is was collected in this run; if it is
            of a part only, the columns that say of which.
    """

    rows: dict[Table, list[tuple[Any, ...]]] = field(factory=dict)
    pipelines: list[PipelineMark] = field(factory=list)
    workflows: dict[str, int] = field(factory=dict)
    jobs: list[tuple[str, int, int]] = field(factory=list)
    sweeps: dict[str, Sweep] = field(factory=dict)
    checked: list[tuple[str, str, str]] = field(factory=list)
    usage_jobs: list[str] = field(factory=list)
    complete: list[tuple[Table, str, Mapping[str, str]]] = field(factory=list)
    count: int = 0

    def add(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows of a table."""
        self.rows.setdefault(table, []).extend(rows)
        self.count += len(rows)
