"""Named faults: what goes wrong between a client and CircleCI, one by one and on demand.

`FAULTS` lists them all; `FaultBox` is what a simulator offers as ``sim.faults``.
"""

from aiocircle.testing.faults import bodies, listings, names, redirects, statuses
from aiocircle.testing.faults.registry import FAULTS, Armed, FaultBox, FaultKind, parse_fault

__all__ = [
    "FAULTS",
    "Armed",
    "FaultBox",
    "FaultKind",
    "bodies",
    "listings",
    "names",
    "parse_fault",
    "redirects",
    "statuses",
]
