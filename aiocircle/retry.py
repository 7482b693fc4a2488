"""When a failed request is repeated. Pure: the outcome, the clock and the random number are handed in.

Three questions, in this order:

1. *Whose fault?* A refusal for the caller's sake (4xx but 408 and 429) stays a refusal. Refusals for lack of budget
   (429, 503), failures of the host (5xx, 408) and of the connection may pass.
2. *May it be repeated?* After 429, and 503 with ``Retry-After``, nothing was done: anything may be repeated. A
   connection that never came about: likewise. After everything else the request may have been carried out, so only an
   idempotent one is repeated.
3. *When?* A refusal waits at the limiter, which stops the whole bucket, and so needs no time of its own here. A failure
   waits for ``base * 2^n`` seconds, all of it random ("full jitter"), or for ``Retry-After`` where the host gave one.
"""

from attrs import field, frozen, validators

HTTP_TIMEOUT = 408
TOO_MANY_REQUESTS = 429
SERVICE_UNAVAILABLE = 503
FIRST_SERVER_ERROR = 500
NOT_IMPLEMENTED = 501


@frozen(kw_only=True)
class Failure:
    """How one attempt ended.

    Attributes:
        status: The HTTP status, or ``None`` when no answer came.
        retry_after: Seconds that the host asked to wait.
        sent: The request may have reached the host.
        permanent: Repeating cannot help: a certificate that does not verify, a refused redirect.
        stale_signature: A signed address was refused; the artifact's own address gives a new one.
    """

    status: int | None = None
    retry_after: float | None = None
    sent: bool = True
    permanent: bool = False
    stale_signature: bool = False


@frozen(kw_only=True)
class RetryPolicy:
    """How often and how long a request is repeated.

    Attributes:
        attempts: Tries in all, the first included.
        refusals: How often 429 or 503 with a date to come back is sat out; they are no tries, since nothing was done.
        total: Seconds from the first try after which none is begun.
        base: Seconds: the upper end of the first random delay; it doubles with each failure.
        cap: Seconds: no delay of our own choosing is longer.
    """

    attempts: int = field(default=5, validator=validators.ge(1))
    refusals: int = field(default=10, validator=validators.ge(0))
    total: float = field(default=600.0, validator=validators.ge(0))
    base: float = field(default=0.5, validator=validators.gt(0))
    cap: float = field(default=30.0, validator=validators.gt(0))

    def next_delay(
        self, failure: Failure, *, idempotent: bool, failures: int, refusals: int, elapsed: float, random: float
    ) -> float | None:
        """Return seconds to wait before the next try, or ``None`` to give up.

        Args:
            failure: How the last try ended.
            idempotent: Carrying the request out twice does no harm.
            failures: Tries that failed so far, the last one included if it is no refusal.
            refusals: Refusals so far, the last one included if it is one.
            elapsed: Seconds since the first try began.
            random: A number in [0, 1).
        """
        if not self._may_repeat(failure, idempotent=idempotent) or elapsed >= self.total:
            return None
        if is_refusal(failure):
            return 0.0 if refusals <= self.refusals else None
        if failures >= self.attempts:
            return None
        if failure.retry_after is not None:
            return failure.retry_after if elapsed + failure.retry_after < self.total else None
        return min(self.cap, self.base * 2.0 ** min(failures - 1, 30)) * random

    def _may_repeat(self, failure: Failure, *, idempotent: bool) -> bool:
        if failure.permanent:
            return False
        if failure.stale_signature or is_refusal(failure) or not failure.sent:
            return idempotent or not failure.stale_signature
        if failure.status is None or failure.status == HTTP_TIMEOUT:
            return idempotent
        return idempotent and failure.status >= FIRST_SERVER_ERROR and failure.status != NOT_IMPLEMENTED


def is_refusal(failure: Failure) -> bool:
    """Tell whether the host refused for lack of budget and said, or implied, when to come back: nothing was done."""
    if failure.status == TOO_MANY_REQUESTS:
        return True
    return failure.status == SERVICE_UNAVAILABLE and failure.retry_after is not None
