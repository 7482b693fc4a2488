"""What a process can afford."""

from aiocircle.download.capacity import TLS_CONNECTION, room

KIB = 1024


def test_a_connection_by_tls_takes_room_beside_what_comes_by_it() -> None:
    assert room(64 * KIB, 16 * KIB, secure=False) == 4
    assert room(2 * (TLS_CONNECTION + 32 * KIB), 16 * KIB, secure=True) == 2


def test_what_tls_keeps_of_a_long_body_is_bounded() -> None:
    assert room(TLS_CONNECTION + (1024 + 256) * KIB, 1024 * KIB, secure=True) == 1
