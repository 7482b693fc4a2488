"""What became of a download."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import define, field, frozen

from aiocircle.crawl.fanout import ListingFailed, Skipped
from aiocircle.crawl.seen import Seen
from aiocircle.errors import AioCircleError, NotFoundError, PartialDownloadError
from aiocircle.ratelimit.limiter import LimiterTotals

ItemStatus = Literal["stored", "present", "duplicate", "failed", "planned", "skipped"]
"""``stored`` now; ``present`` from an earlier run; ``duplicate`` of an item of this run; ``failed``; ``planned`` in a
dry run; ``skipped``, whether an artifact or a job, for a reason."""

EXPIRED_FILE = "expired: the host lists the file and has it no longer"
EXPIRED_ENTRY = "expired: the host does not list it any more"
KEPT_OUTCOMES = 10_000  # failures and notes kept in memory; beyond that they are only counted


@frozen(kw_only=True)
class ItemOutcome:
    """What became of one artifact, of one listing that failed, or of one job that is skipped.

    Attributes:
        target: Its name below the output, ``/``-separated; empty where it got none.
        status: One of ``ItemStatus``.
        size: Bytes stored or present.
        job_number: The job it belongs to.
        node_index: The parallel node it comes from.
        path: Its name as listed.
        reason: Why it failed or was skipped, in words.
        code: The error's code.
        note: Why its name differs from the one listed.
    """

    target: str
    status: ItemStatus
    size: int = 0
    job_number: int | None = None
    node_index: int | None = None
    path: str | None = None
    reason: str | None = None
    code: str | None = None
    note: str | None = None


def outcome_of(step: Skipped | ListingFailed) -> ItemOutcome:
    """Return the outcome of what was passed over, or could not be listed."""
    if isinstance(step, Skipped):
        number, name, why = step.job_number, step.name, step.reason
        return ItemOutcome(target="", status="skipped", job_number=number, path=name, reason=why)
    error = step.error
    number, what = step.job_number, step.what
    return ItemOutcome(target="", status="failed", job_number=number, path=what, reason=str(error), code=error.code)


@frozen(kw_only=True)
class Report:
    """What a download did.

    Attributes:
        output: Where the files lie.
        files: Files stored by this run.
        size: Their bytes.
        present: Files that were complete from an earlier run.
        duplicates: Artifacts the host listed twice.
        failed: Artifacts, and listings of jobs, that failed.
        planned: Files a dry run would have fetched.
        skipped: What was passed over: jobs without artifacts by nature (approvals, such as never ran), what expired,
            jobs and single artifacts, and artifacts of another size than wanted.
        skipped_why: How many of them for each reason.
        jobs: Jobs whose artifacts were listed.
        seconds: Duration of the run.
        requests: HTTP requests sent.
        refusals: Requests the host refused for lack of budget (429, 503).
        waits: How often a budget was waited for.
        waited: Seconds during which one was waited for.
        failures: The failed ones, the first ten thousand of them.
        altered: Those whose name was altered to be safe or unique, the first ten thousand of them.
        stopped_by: The error that ended the run early: the token was refused, the disk is full.
        nothing_matched: What filters passed over, in words, if they left nothing.
    """

    output: str
    files: int
    size: int
    present: int
    duplicates: int
    failed: int
    planned: int
    skipped: int
    skipped_why: Mapping[str, int]
    jobs: int
    seconds: float
    requests: int
    refusals: int
    waits: int
    waited: float
    failures: Sequence[ItemOutcome]
    altered: Sequence[ItemOutcome]
    stopped_by: AioCircleError | None = None
    nothing_matched: str | None = None

    @property
    def ok(self) -> bool:
        """Whether everything selected lies complete in the output, but for what was skipped for a reason."""
        return not self.failed and self.stopped_by is None and not self._is_all_expired

    @property
    def expired(self) -> int:
        """How many artifacts the host listed and had no longer. They are skipped: no repetition brings them back."""
        return sum(self.skipped_why.get(why, 0) for why in (EXPIRED_FILE, EXPIRED_ENTRY))

    @property
    def _is_all_expired(self) -> bool:
        return bool(self.expired) and not self.files and not self.present

    def raise_for_failures(self) -> None:
        """Raise if not everything selected lies complete in the output, but for what was skipped for a reason.

        Raises:
            PartialDownloadError: Some items failed.
            NotFoundError: Nothing failed, but all that there was has expired.
            AioCircleError: What ended the run early.
        """
        if self.stopped_by is not None:
            raise self.stopped_by
        if self.failed:
            of = self.failed + self.files + self.present + self.planned
            raise PartialDownloadError(
                f"{self.failed} of {of} items failed, the first with: {self.failures[0].reason}",
                report=self,
                hint="run the same command again: what is complete is kept",
            )
        if self._is_all_expired:
            raise NotFoundError(
                404, "download", f"all {self.expired} artifacts have expired", hint="CircleCI keeps them for 30 days"
            )


@define(eq=False)
class Tally:
    """Counts outcomes while a run goes on."""

    counts: dict[ItemStatus, int] = field(factory=dict)
    size: int = 0
    jobs: int = 0
    skipped_why: Counter[str] = field(factory=Counter)
    failures: list[ItemOutcome] = field(factory=list)
    altered: list[ItemOutcome] = field(factory=list)
    seen: Seen = field(factory=Seen)

    def add(self, outcome: ItemOutcome) -> None:
        """Count an outcome."""
        self.counts[outcome.status] = self.counts.get(outcome.status, 0) + 1
        if outcome.status == "stored":
            self.size += outcome.size
        if outcome.status == "failed" and len(self.failures) < KEPT_OUTCOMES:
            self.failures.append(outcome)
        if outcome.status == "skipped":
            self.skipped_why[outcome.reason or ""] += 1
        if outcome.note and len(self.altered) < KEPT_OUTCOMES:
            self.altered.append(outcome)

    def report(
        self,
        *,
        output: str,
        seconds: float,
        before: LimiterTotals,
        after: LimiterTotals,
        stopped_by: AioCircleError | None,
    ) -> Report:
        """Return the report of what has been counted."""
        count = self.counts.get
        return Report(
            output=output,
            files=count("stored", 0),
            size=self.size,
            present=count("present", 0),
            duplicates=count("duplicate", 0),
            failed=count("failed", 0),
            planned=count("planned", 0),
            skipped=count("skipped", 0),
            skipped_why=dict(self.skipped_why),
            jobs=self.jobs,
            seconds=seconds,
            requests=after.requests - before.requests,
            refusals=after.refusals - before.refusals,
            waits=after.waits - before.waits,
            waited=after.waited - before.waited,
            failures=tuple(self.failures),
            altered=tuple(self.altered),
            stopped_by=stopped_by,
            nothing_matched=None if self.counts.keys() - {"skipped"} else self.seen.in_words(),
        )
