"""How many connections to fetch one large file by. Pure: times and bytes are handed in.

One is right unless it is the connection that limits: a long way with a small window, or a host that grants each
connection so much and no more. Nobody tells, so it is tried. Connections are doubled while the rate of all large files
together rises noticeably by it, and by more than that after a step by which each was as quick as before. When it does
not rise, the link, the host or this machine is the limit, and the step is taken back. It is the sum that counts, since
a file that takes another one's share has won nothing.

A new connection is slow at first: it begins, and it finds out how fast it may be, in as many round trips as the way is
long. So a rate is taken when all connections have brought something, and some time after that, longer where it took
them long to begin.

Nothing is tried where the processor is busy or the disk lags behind, nor for what is over in a moment anyway.
"""

from attrs import define, field, frozen

PERIOD = 0.3  # seconds over which a rate is taken, at least
SAMPLE = 4 * 1024 * 1024  # bytes over which it is: of some connections one learns by a MiB at a time
MOST = 8  # connections of a file; hosts look askance at more
NOTICEABLE = 1.25  # times the rate before
PLAIN = 0.8  # of what as many more connections would bring if each were as quick
WORTH = 1.0  # seconds that are left at the present rate, below which a step does not pay any more
WORTH_TRYING = 8.0  # the same, where no step has won anything yet: one in vain costs about one on a link that is full
REST = 30.0  # seconds after a step in vain; after each further one twice as many
SETTLING = 2.0  # times the seconds that it took the new connections to begin


@frozen(kw_only=True)
class Sight:
    """What is to be seen of the large files of a run.

    Attributes:
        now: Seconds.
        received: Bytes of them that have come.
        left: Bytes still to come.
        files: How many they are.
        flowing: Connections that have brought something.
        most: Connections that each may have.
        busy: The processor or the disk is the limit.
    """

    now: float
    received: int
    left: int
    files: int
    flowing: int
    most: int
    busy: bool


@define(eq=False)
class Width:
    """The number of connections for each large file that is aimed at.

    Attributes:
        size: It.
        rate: Bytes a second of all large files, as they were last taken.
        each: And of each connection.
    """

    size: int = 1
    rate: float = 0.0
    each: float = 0.0
    _files: int = field(default=0, init=False)
    _stepped_at: float = field(default=0.0, init=False)
    _since: float | None = field(default=None, init=False)  # when the period begins; later than now while it settles
    _had: int | None = field(default=None, init=False)  # bytes at its beginning
    _before: tuple[int, float] | None = field(default=None, init=False)  # size and rate before the step to be judged
    _rest: float = field(default=REST, init=False)
    _rests_until: float = field(default=float("-inf"), init=False)

    def look(self, sight: Sight) -> bool:
        """Take a look, from time to time, and tell whether the size has changed."""
        if sight.files != self._files:
            self._files, self._before = sight.files, None
            self._settle_from(sight.now)
        if not sight.files or sight.flowing < sight.files * self.size:
            if self._since is not None:
                self._settle_from(sight.now)
            return False
        if self._since is None:
            self._since = sight.now + max(PERIOD, SETTLING * (sight.now - self._stepped_at))
        if sight.now < self._since:
            return False
        if self._had is None:
            self._since, self._had = sight.now, sight.received
        if sight.now - self._since < PERIOD or sight.received - self._had < SAMPLE:
            return False
        self.rate = (sight.received - self._had) / (sight.now - self._since)
        self.each = self.rate / (sight.files * self.size)
        self._since, self._had = sight.now, sight.received
        size = self.size
        self._judge(sight)
        return self.size != size

    def _judge(self, sight: Sight) -> None:
        before, self._before = self._before, None
        step = 2
        if before is not None:
            size, rate = before
            if self.rate > PLAIN * rate * self.size / size:
                step = 4
            elif self.rate < NOTICEABLE * rate:
                self.size, self._rests_until, self._rest = size, sight.now + self._rest, 2 * self._rest
                self._settle_from(sight.now)
        wider = min(sight.most, step * self.size)
        is_over_soon = sight.left < (WORTH_TRYING if self.size == 1 else WORTH) * self.rate
        if sight.busy or is_over_soon or sight.now < self._rests_until or wider <= self.size:
            return
        self._before = self.size, self.rate
        self.size = wider
        self._settle_from(sight.now)

    def _settle_from(self, now: float) -> None:
        self._stepped_at, self._since, self._had = now, None, None
