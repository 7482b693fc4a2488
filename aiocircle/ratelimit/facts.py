"""What an answer says about the rate, as values."""

from typing import Literal

import attrs


@attrs.frozen
class QuotaFact:
    """What one answer says about one quota. ``None`` stands for what it does not say.

    Attributes:
        system: The family of headers it was read from: ``std``, ``x`` or ``policy``.
        limit: Requests per window.
        remaining: Requests left in the current window after this one; never negative, never above ``limit``.
        window: The window's length, in seconds.
        reset: Seconds from the answer to the window's end.
        name: The policy's name.
        partition: The policy's partition key (``pk``), as sent. Quotas of one name and several keys are separate.
    """

    system: Literal["std", "x", "policy"]
    limit: int | None = None
    remaining: int | None = None
    window: float | None = None
    reset: float | None = None
    name: str | None = None
    partition: str | None = None

    @property
    def key(self) -> tuple[str, float | None, str | None, str | None]:
        """What tells this quota from every other, in this answer and the next."""
        return self.system, self.window, self.name, self.partition


@attrs.frozen
class RateFacts:
    """What one answer says about the rate.

    Attributes:
        quotas: In the order ``std``, ``x`` by window (unknown first), ``policy`` as listed.
        retry_after: Seconds that ``Retry-After`` asks for; only on 429 and 503.
        pause: Seconds for which nothing should be sent, only on 429 and 503: ``retry_after``, else the longest reset
            of an exhausted quota.
        backoff: This is a 429 or 503 that does not say how long to pause, or says zero: wait by a rule of your own.
        unavailable: This is a 503: the host is in trouble, which says nothing of a rate.
    """

    quotas: tuple[QuotaFact, ...] = ()
    retry_after: float | None = None
    pause: float | None = None
    backoff: bool = False
    unavailable: bool = False
