"""As many files are in flight as help: latency brings more, a busy processor does not, a refusal brings fewer."""

from aiocircle.download.crowd import FIRST, MOST, Crowd

PLENTY = 1e9


def test_while_latency_is_all_that_is_waited_for_a_round_trip_doubles_the_crowd() -> None:
    crowd = Crowd()
    for _ in range(FIRST):
        crowd.arrived(0.05, busy=0.1, room=PLENTY)
    assert crowd.size == 2 * FIRST
    for _ in range(MOST):
        crowd.arrived(0.05, busy=0.1, room=PLENTY)
    assert crowd.size == MOST


def test_a_wait_that_grows_with_the_crowd_ends_its_growth() -> None:
    crowd = Crowd()
    for _ in range(1000):
        crowd.arrived(0.05 * crowd.size / FIRST, busy=0.1, room=PLENTY)
    assert crowd.size < 2 * FIRST


def test_a_busy_processor_or_full_memory_ends_its_growth() -> None:
    busy, full = Crowd(), Crowd()
    for _ in range(1000):
        busy.arrived(0.05, busy=0.9, room=PLENTY)
        full.arrived(0.05, busy=0.1, room=FIRST + 8)
    assert (busy.size, full.size) == (FIRST, FIRST + 8)


def test_a_refusal_halves_the_crowd_once_a_second_and_it_comes_back_slowly() -> None:
    crowd = Crowd()
    crowd.refused(10.0)
    crowd.refused(10.5)
    assert crowd.size == FIRST // 2
    crowd.refused(11.0)
    assert crowd.size == FIRST // 4
    for _ in range(FIRST // 4):
        crowd.arrived(0.05, busy=0.1, room=PLENTY)
    assert crowd.size == FIRST // 4 + 1


def test_what_was_asked_for_is_never_exceeded_and_one_stays_one() -> None:
    crowd = Crowd(size=1, fixed=True)
    for _ in range(100):
        crowd.arrived(0.05, busy=0.1, room=PLENTY)
    crowd.refused(1.0)
    assert crowd.size == 1
