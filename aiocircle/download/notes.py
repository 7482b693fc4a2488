"""What becomes of everything in a run: counted for the report, told to whoever listens, and recorded in the ledger."""

from collections.abc import Callable

from attrs import evolve

from aiocircle.crawl.fanout import JobRef
from aiocircle.download.items import source_of
from aiocircle.download.ledger import Ledger
from aiocircle.download.outcomes import Outcomes
from aiocircle.download.records import Failed, Source, failure_key
from aiocircle.download.report import ItemOutcome, Tally
from aiocircle.errors import AioCircleError, GoneError, NotFoundError
from aiocircle.events import TransferEnded
from aiocircle.session import Session


class Notes:
    """Takes note of outcomes.

    Args:
        session: Its listeners are told, and its clock says when.
        on_outcome: Called with each outcome.

    Attributes:
        tally: What has been counted.
        outcomes: For who reads along, if anybody does.
        ledger: Where failures are recorded, once it is open.
    """

    def __init__(self, session: Session, on_outcome: Callable[[ItemOutcome], None] | None) -> None:
        self._session = session
        self._on_outcome = on_outcome
        self.tally = Tally()
        self.outcomes: Outcomes | None = None
        self.ledger: Ledger | None = None

    def add(self, outcome: ItemOutcome) -> None:
        """Note what became of an item."""
        self.tally.add(outcome)
        if self._session.watched(TransferEnded):
            self._session.emit(
                TransferEnded(target=outcome.target, status=outcome.status, size=outcome.size, reason=outcome.reason)
            )
        if self._on_outcome:
            self._on_outcome(outcome)
        if self.outcomes is not None:
            self.outcomes.add(outcome)

    async def caught_up(self) -> None:
        """Wait until who reads along is not far behind."""
        if self.outcomes is not None:
            await self.outcomes.caught_up()

    def failure(self, outcome: ItemOutcome, source: Source | None, error: AioCircleError, choice: str) -> None:
        """Note that an item, or a listing, could not be had; ``choice`` is the text of what it was chosen by."""
        self.add(evolve(outcome, status="failed", reason=str(error), code=error.code))
        if self.ledger is not None and source is not None:
            failed = Failed(
                source=source,
                target=outcome.target,
                code=error.code,
                reason=str(error),
                ended=self._session.clock.wall(),
                choice=choice,
            )
            self.ledger.fail(failed)

    def missing(
        self,
        outcome: ItemOutcome,
        source: Source,
        error: NotFoundError | GoneError | None,
        choice: str,
        *,
        reason: str,
    ) -> None:
        """Note that the host has an item no longer, unless it was not shown the token that would let it in.

        Args:
            outcome: The item's.
            source: The item.
            error: The host's answer; ``None`` if a listing simply lacks the item.
            choice: As in ``failure``.
            reason: What the report is to say.
        """
        if error is not None and not error.authenticated:
            self.failure(outcome, source, error, choice)
            return
        code = NotFoundError.code if error is None else error.code
        self.add(evolve(outcome, status="skipped", reason=reason, code=code))
        if self.ledger is not None:
            self.ledger.resolve(source.identity, failure_key(source, choice))

    def listed(self, job: JobRef, choice: str, levels: int) -> None:
        """Note that a job's artifacts were listed: what was recorded of a listing that failed holds no longer.

        Args:
            job: It.
            choice: As in ``failure``.
            levels: 1 if only the job was asked for, 2 if all wanted jobs of its workflow were, 3 if all of its
                pipeline's; 0 if none of that is known.
        """
        self.tally.jobs += 1
        if self.ledger is not None:
            whole = source_of(job)
            workflow = evolve(whole, job=None)
            places = (whole, workflow, evolve(workflow, workflow=None))[:levels]
            self.ledger.resolve(*(failure_key(place, choice) for place in places))
