"""The client that cannot be beaten: it knows the policy, the moment, and what others will send.

It sends each request so that it arrives at the first moment at which the policy accepts it, after its predecessor, and
with as many requests under way as the contestants have workers. Its way there and back takes the average time, and it
loses nothing on the way. Others who use the same token get what it leaves, which is little: a considerate client is
slower. Where a server counts late it does not exploit that, so there a contestant may be faster.
"""

from benchmarks.limits.counters import FixedWindow
from benchmarks.limits.policies import Server
from benchmarks.limits.situations import Situation

__all__ = ["answers"]


def answers(situation: Situation, seed: int) -> list[float]:
    """Return the seconds after the start at which the answers come, in order.

    Args:
        situation: Policy and network.
        seed: The same that a contestant meets.
    """
    server = situation.server(seed)
    _count_at_once(server)
    start = situation.start(seed)
    times: list[float] = []
    for name in server.buckets:
        loads = [load for load in situation.loads if server.routes[load.route] == name]
        route = loads[0].route
        total = sum(load.requests for load in loads)
        workers = sum(load.workers for load in loads)
        arrivals: list[float] = []
        moment = start + situation.mean_rtt / 2
        while len(arrivals) < total:
            if len(arrivals) >= workers:
                moment = max(moment, arrivals[-workers] + situation.mean_rtt)
            moment = _accepted(server, route, moment)
            arrivals.append(moment)
        times += [arrival - start + situation.mean_rtt / 2 for arrival in arrivals]
    return sorted(times)


def _accepted(server: Server, route: str, moment: float) -> float:
    while True:
        moment = server.opening(moment, route)
        if server.judge(moment, route).accepted:
            return moment


def _count_at_once(server: Server) -> None:
    for bucket in server.buckets.values():
        for counter in bucket.counters:
            if isinstance(counter, FixedWindow):
                counter.lag = 0.0
