"""The situations in which limiters are judged. What the tags mean stands with ``Situation``."""

from benchmarks.limits.dialects import (
    draft6,
    draft7,
    draft8,
    epoch,
    hidden,
    kong,
    late_epoch,
    nearest,
    old_kong,
    refusals_only,
    triple,
    two_systems,
)
from benchmarks.limits.policies import mangled, missing, without_retry_after
from benchmarks.limits.situations import (
    Situation,
    fixed,
    many,
    moving,
    now_and_then,
    once,
    one,
    situation,
    sliding_counter,
    sliding_log,
    steadily,
    token_bucket,
)

__all__ = ["SITUATIONS"]

SECOND, MINUTE, HOUR, DAY = 1.0, 60.0, 3600.0, 86_400.0
FAR = 0.15
WILD = (1.0, 3.0)  # every way takes up to three times as long as the shortest

_STEADY = (
    situation("kong 20/s", "usable steady", one(fixed((20, SECOND))), 590, 1),
    situation("kong 20/s, far", "usable steady", one(fixed((20, SECOND))), 590, 1, rtt=FAR),
    situation("kong 20/s, wild jitter", "usable steady", one(fixed((20, SECOND))), 590, 1, jitter=WILD),
    situation("kong 50/s", "usable steady", one(fixed((50, SECOND))), 1475, 1),
    situation("kong 50/s, far", "usable steady", one(fixed((50, SECOND))), 1475, 1, rtt=FAR),
    situation("kong 50/s, far, wild jitter", "usable", one(fixed((50, SECOND))), 590, 1, rtt=FAR, jitter=WILD),
    situation("kong 5/s", "usable steady", one(fixed((5, SECOND))), 148, 1),
    situation("kong 40/2s", "usable steady", one(fixed((40, 2.0))), 1180, 2),
    situation("kong 40/2s, far", "usable steady", one(fixed((40, 2.0))), 1180, 2, rtt=FAR),
    situation("kong 300/min", "usable steady", one(fixed((300, MINUTE))), 7000, 60),
    situation("kong 300/min, far", "usable steady", one(fixed((300, MINUTE))), 7000, 60, rtt=FAR),
    situation("triple only 20/s", "usable steady", one(fixed((20, SECOND)), triple), 590, 1),
    situation("old kong 20/s, no resets", "usable steady", one(fixed((20, SECOND)), old_kong), 590, 1),
    situation("express draft-6 60/10s", "usable steady", one(fixed((60, 10.0), aligned=False), draft6), 1470, 10),
    situation("express draft-7 60/10s", "usable steady", one(fixed((60, 10.0), aligned=False), draft7), 1470, 10),
    situation("express draft-8 60/10s", "usable steady", one(fixed((60, 10.0), aligned=False), draft8), 1470, 10),
    situation(
        "express draft-8 60/10s, far, wild jitter",
        "usable",
        one(fixed((60, 10.0), aligned=False), draft8),
        590,
        10,
        rtt=FAR,
        jitter=WILD,
    ),
    situation("express legacy 60/10s", "usable steady", one(fixed((60, 10.0), aligned=False), epoch), 1470, 10),
    situation(
        "express draft-6 20/s, far", "usable steady", one(fixed((20, SECOND), aligned=False), draft6), 590, 1, rtt=FAR
    ),
    situation("express legacy 20/2s", "usable", one(fixed((20, 2.0), aligned=False), epoch), 290, 2),
    situation("slowapi 20/2s, late reset", "usable", one(fixed((20, 2.0), aligned=False), late_epoch), 290, 2),
    situation("slowapi 60/10s, late reset", "usable", one(fixed((60, 10.0), aligned=False), late_epoch), 590, 10),
)
_SHORT = (
    situation("short: 50 at 20/s", "usable short", one(fixed((20, SECOND))), 50, 1),
    situation("short: 12 at 5/s", "usable short", one(fixed((5, SECOND))), 12, 1),
    situation("short: 100 at 40/2s, far", "usable short", one(fixed((40, 2.0))), 100, 2, rtt=FAR),
    situation("short: 150 at 60/10s, draft-8", "usable short", one(fixed((60, 10.0), aligned=False), draft8), 150, 10),
    situation("short: 700 at 300/min", "usable short", one(fixed((300, MINUTE))), 700, 60),
    situation("short: 2500 at 1000/min, far", "usable short", one(fixed((1000, MINUTE))), 2500, 60, rtt=FAR),
    situation("short: 1500 at 1000/hour", "usable short", one(fixed((1000, HOUR))), 1500, 3600),
    situation("cold: 200 of 1000/min", "usable", one(fixed((1000, MINUTE))), 200, 60),
)
_SEVERAL = (
    situation("20/s and 300/min", "usable", one(fixed((20, SECOND), (300, MINUTE))), 1400, 60),
    situation("50/s and 1000/min, far", "usable", one(fixed((50, SECOND), (1000, MINUTE))), 3500, 60, rtt=FAR),
    situation(
        "10/s 400/min 20000/h 100000/d",
        "usable",
        one(fixed((10, SECOND), (400, MINUTE), (20_000, HOUR), (100_000, DAY))),
        1500,
        60,
    ),
    situation(
        "policies, nearest shown, 20/s 300/min", "usable", one(fixed((20, SECOND), (300, MINUTE)), nearest), 1400, 60
    ),
    situation(
        "policies, nearest shown, 50/s 1000/min, far",
        "usable",
        one(fixed((50, SECOND), (1000, MINUTE)), nearest),
        3500,
        60,
        rtt=FAR,
    ),
    situation(
        "policies, nearest shown, 300/min 5000/h",
        "usable",
        one(fixed((300, MINUTE), (5000, HOUR)), nearest),
        1000,
        60,
    ),
    situation("two systems, policy lower", "usable", one(fixed((60, 10.0), (90, 10.0)), two_systems), 870, 10),
    situation("two systems, x lower", "usable", one(fixed((90, 10.0), (60, 10.0)), two_systems), 870, 10),
)
_OTHER = (
    situation("sliding log 20/s", "usable steady sliding", one(sliding_log(20, SECOND), draft6), 590, 1),
    situation("sliding log 100/10s, far", "usable sliding", one(sliding_log(100, 10.0), draft6), 960, 10, rtt=FAR),
    situation("sliding counter 20/s", "usable sliding", one(sliding_counter(20, SECOND)), 590, 1),
    situation("sliding counter 100/10s", "usable sliding", one(sliding_counter(100, 10.0)), 960, 10),
    situation("sliding counter 300/min, far", "usable sliding", one(sliding_counter(300, MINUTE)), 1400, 60, rtt=FAR),
    situation(
        "sliding counter 100/10s, penalised",
        "usable sliding penalised",
        one(sliding_counter(100, 10.0), penalised=True),
        960,
        10,
    ),
    situation("kong 20/s, penalised", "usable penalised", one(fixed((20, SECOND)), penalised=True), 590, 1),
    situation("token bucket 20, 10/s", "usable token", one(token_bucket(20, 10.0), draft6), 600, 2),
    situation("token bucket 100, 5/s, far", "usable token", one(token_bucket(100, 5.0), triple), 800, 20, rtt=FAR),
    situation("token bucket 40, 20/s, legacy", "usable token", one(token_bucket(40, 20.0), epoch), 800, 2),
)
_ROUTES = (
    situation(
        "one quota behind four routes",
        "usable routes",
        many(kong, True, a=(20, 1), b=(20, 1), c=(20, 1), d=(20, 1)),
        {"a": 150, "b": 150, "c": 150, "d": 140},
        1,
    ),
    situation(
        "own quotas, different", "usable routes", many(kong, False, a=(20, 1), b=(5, 1)), {"a": 590, "b": 148}, 1
    ),
    situation(
        "own quotas, equal limits", "usable routes", many(kong, False, a=(20, 1), b=(20, 1)), {"a": 390, "b": 390}, 1
    ),
)
_MOVING = (
    situation("limit raised 10 to 30/s", "moving usable", one(moving(1, (-1e6, 10), (15, 30))), 590, 1),
    situation("limit shrunk 30 to 10/s", "moving", one(moving(1, (-1e6, 30), (15.3, 10))), 590, 1),
    situation("limit shrunk 300 to 200/min", "moving", one(moving(MINUTE, (-1e6, 300), (130, 200))), 1400, 60),
    situation("another takes 30 % of 20/s", "foreign", one(fixed((20, SECOND)), foreign=steadily(6, 600)), 400, 1),
    situation(
        "another takes 30 % of 300/min", "foreign", one(fixed((300, MINUTE)), foreign=steadily(1.5, 4000)), 1400, 60
    ),
    situation(
        "another takes 80 % of 20/s at times",
        "foreign",
        one(fixed((20, SECOND)), foreign=now_and_then(16, 5, 15, 600)),
        400,
        1,
    ),
    situation(
        "another takes 290 of 300/min once, no headers",
        "foreign",
        one(fixed((300, MINUTE)), hidden, foreign=once(290, MINUTE, 5)),
        3000,
        60,
    ),
)
_FAULTS = (
    situation("no headers, 20/s", "hidden", one(fixed((20, SECOND)), hidden), 590, 1),
    situation("no headers, 50/s, far", "hidden", one(fixed((50, SECOND)), hidden), 1500, 1, rtt=FAR),
    situation("no headers, 300/min", "hidden", one(fixed((300, MINUTE)), hidden), 800, 60),
    situation("no headers, bare 429", "hidden", one(fixed((20, SECOND)), hidden, tamper=without_retry_after), 590, 1),
    situation(
        "no headers, 20/s, another had 18 before",
        "hidden",
        one(fixed((20, SECOND)), hidden, foreign=once(18, SECOND, 0)),
        590,
        1,
    ),
    situation("headers on refusals only, 20/s", "hidden", one(fixed((20, SECOND)), refusals_only(kong)), 590, 1),
    situation(
        "headers on refusals only, 50/s, far", "hidden", one(fixed((50, SECOND)), refusals_only(kong)), 1500, 1, rtt=FAR
    ),
    situation("headers on refusals only, 300/min", "hidden", one(fixed((300, MINUTE)), refusals_only(kong)), 800, 60),
    situation(
        "headers on refusals only, 60/10s",
        "hidden",
        one(fixed((60, 10.0), aligned=False), refusals_only(draft6)),
        590,
        10,
    ),
    situation("burst guard 30/s in 1000/min", "burst", one(fixed((1000, MINUTE)), guard=(30, 1.0)), 2500, 60),
    situation(
        "burst guard 10/s in 300/min, far", "burst", one(fixed((300, MINUTE)), guard=(10, 1.0)), 700, 60, rtt=FAR
    ),
    situation("headers on 70 % of answers", "usable faults", one(fixed((20, SECOND)), tamper=missing(0.3)), 590, 1),
    situation("10 % mangled", "faults", one(fixed((20, SECOND)), tamper=mangled(0.1)), 590, 1),
    situation("counted 5 ms late", "usable faults", one(fixed((20, SECOND), lag=0.005)), 590, 1),
    situation("counted 60 ms late", "faults", one(fixed((20, SECOND), lag=0.06)), 590, 1),
    situation("503 storms", "faults", one(fixed((20, SECOND)), storms=((5, 8), (20, 22.5), (30, 31.2))), 590, 1),
    situation("1 % lost", "usable faults", one(fixed((20, SECOND))), 590, 1, loss=0.01),
    situation("1 % lost of 300/min, far", "usable faults", one(fixed((300, MINUTE))), 800, 60, rtt=FAR, loss=0.01),
)
SITUATIONS: tuple[Situation, ...] = (*_STEADY, *_SHORT, *_SEVERAL, *_OTHER, *_ROUTES, *_MOVING, *_FAULTS)
