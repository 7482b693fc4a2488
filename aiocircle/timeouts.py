"""How long to wait for a host."""

import math

from attrs import field, frozen, validators

_FINITE = validators.lt(math.inf)  # timers of the event loop take no more


@frozen(kw_only=True, cache_hash=True)
class Timeouts:
    """Time limits in seconds.

    Attributes:
        connect: To have a connection: name, TCP and TLS together.
        stall: Without a single byte arriving.
        min_rate: Bytes a second, not seconds: a body that comes more slowly than that for ``stall`` seconds is given
            up like one that does not come at all. Only time in which its bytes are waited for counts; 0 is for no such
            limit. The default is what no line that can be used falls short of, and what a host that drips on
            purpose does.
        total: For an API request as a whole, waiting for the rate limit not counted. Bodies of artifacts have no such
            limit.
    """

    connect: float = field(default=10.0, validator=(validators.gt(0), _FINITE))
    stall: float = field(default=60.0, validator=(validators.gt(0), _FINITE))
    min_rate: float = field(default=100.0, validator=(validators.ge(0), _FINITE))
    total: float = field(default=120.0, validator=(validators.gt(0), _FINITE))
