"""What this process can afford: files in flight for its descriptors, and the processor's time that it uses."""

import resource
import time

from aiocircle.download.local_store import KEPT_PARENTS

THREADS = 4  # writers; more than the cores of a usual machine gain nothing
DESCRIPTORS_OF_A_FILE = 3  # its part, its connection to the storage, and the idle one to the host of its address
SPARE_DESCRIPTORS = 24  # for the interpreter, the ledger, the listings' connections, the store's own
LOAD_SECONDS = 0.04  # over which the processor's load is taken
PLENTY_OF_DESCRIPTORS = 256


class Load:
    """The share of one processor that this process used of late."""

    def __init__(self) -> None:
        self._since, self._used, self._share = time.monotonic(), time.process_time(), 1.0

    def now(self) -> float:
        """Return it."""
        passed = time.monotonic() - self._since
        if passed >= LOAD_SECONDS:
            used = time.process_time()
            self._share = (used - self._used) / passed
            self._since, self._used = self._since + passed, used
        return self._share


def affordable(concurrency: int) -> tuple[int, int]:
    """Return how many files may be in flight, and directories kept open by a thread, so that descriptors suffice."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return concurrency, KEPT_PARENTS
    kept = KEPT_PARENTS if allowed >= PLENTY_OF_DESCRIPTORS else 1
    left = allowed - SPARE_DESCRIPTORS - THREADS * (kept + 1)  # a thread opens one more before it closes the oldest
    return max(1, min(concurrency, left // DESCRIPTORS_OF_A_FILE)), kept
