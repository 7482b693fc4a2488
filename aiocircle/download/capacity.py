"""What this process can afford: files in flight for its descriptors and its memory, and the processor's time."""

import resource
import time

from aiocircle.download.local_store import KEPT_PARENTS

THREADS = 4  # writers; more than the cores of a usual machine gain nothing
DESCRIPTORS_OF_A_FILE = 3  # its part, its connection to the storage, and the idle one to the host of its address
SPARE_DESCRIPTORS = 24  # for the interpreter, the ledger, the listings' connections, the store's own
LOAD_SECONDS = 0.04  # over which the processor's load is taken
PLENTY_OF_DESCRIPTORS = 256
# Bytes that asyncio and OpenSSL keep for a connection by TLS, and the most that they keep of what came at once besides:
# 304 and 577 KiB are what a connection was seen to take, idle and after a long body.
TLS_CONNECTION = 304 * 1024
TLS_BACKLOG = 256 * 1024


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


def room(memory: int, size: int, *, secure: bool) -> float:
    """Return how many files fit into memory together with the connections by which they come.

    Args:
        memory: Bytes for all of them.
        size: Bytes that are kept of each.
        secure: The connections are those of https.
    """
    return memory / (size + (TLS_CONNECTION + min(size, TLS_BACKLOG) if secure else 0))
