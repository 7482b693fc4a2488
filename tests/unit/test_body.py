"""A body becomes a file only if it is whole, is what its headers say, and does not grow beyond measure."""

import base64
import gzip
import hashlib
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aiocircle.download.body import STEP, Body
from aiocircle.errors import IntegrityError, InterruptedBodyError

TEXT = b"All happy families are alike. " * 4000
MIB = 1024 * 1024


def received(
    headers: Mapping[str, str], wire: Iterable[bytes], *, size: int | None = None, name: str = "a.txt", **limits: int
) -> bytes:
    body = Body(CIMultiDict(headers), size=size, name=name, **limits)
    taken = b"".join(piece for data in wire for piece in body.feed(data))
    body.end()
    return taken


def in_pieces(data: bytes, step: int = 1000) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


def quoted(algorithm: str, data: bytes) -> str:
    digest = hashlib.new(algorithm.replace("-", ""), data).digest()
    return f"{algorithm}=:{base64.b64encode(digest).decode()}:"


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


# --- lengths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [len(TEXT), None])
def test_plain_bytes_pass_as_they_are(size: int | None) -> None:
    assert received({}, in_pieces(TEXT), size=size) == TEXT


def test_an_empty_body_is_an_empty_file() -> None:
    assert received({}, [], size=0) == b""
    assert received({}, [], size=None) == b""


@pytest.mark.parametrize("size", [len(TEXT) - 1, len(TEXT) + 1, 0])
def test_a_body_of_another_length_than_announced_is_refused(size: int) -> None:
    with pytest.raises(InterruptedBodyError, match=f"{len(TEXT)} bytes arrived, {size} were announced"):
        received({}, [TEXT], size=size)


def test_the_announced_length_is_that_of_the_wire_not_of_the_decoded_file() -> None:
    packed = gzip.compress(TEXT)
    assert received({"Content-Encoding": "gzip"}, [packed], size=len(packed)) == TEXT
    with pytest.raises(InterruptedBodyError):
        received({"Content-Encoding": "gzip"}, [packed], size=len(TEXT))


# --- encodings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_no_encoding_is_no_encoding_however_it_is_written(encoding: str) -> None:
    body = Body({"Content-Encoding": encoding}, size=None, name="a.txt")
    assert body.is_plain
    assert list(body.feed(TEXT)) == [TEXT]


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), (" GZip ", gzip.compress), ("deflate", zlib.compress)],
)
@pytest.mark.parametrize("step", [1, 7, 1000, 10**6])
def test_an_encoding_that_nobody_asked_for_is_taken_off(
    encoding: str, pack: Callable[[bytes], bytes], step: int
) -> None:
    assert received({"Content-Encoding": encoding}, in_pieces(pack(TEXT), step)) == TEXT


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=5), st.integers(1, 400))
def test_gzip_of_several_members_is_taken_off_to_its_last_byte(members: list[bytes], step: int) -> None:
    packed = b"".join(map(gzip.compress, members))
    assert received({"Content-Encoding": "gzip"}, in_pieces(packed, step)) == b"".join(members)


def test_an_empty_file_survives_its_encoding() -> None:
    assert received({"Content-Encoding": "gzip"}, [gzip.compress(b"")]) == b""


@pytest.mark.parametrize("name", ["logs.tar.gz", "LOGS.TGZ", "a.gzip", "picture.svgz"])
def test_a_file_that_is_gzip_by_name_keeps_its_gzip(name: str) -> None:
    packed = gzip.compress(TEXT)
    assert received({"Content-Encoding": "gzip"}, in_pieces(packed), size=len(packed), name=name) == packed


def test_deflate_is_taken_off_whatever_the_name() -> None:
    assert received({"Content-Encoding": "deflate"}, [zlib.compress(b"x")], name="a.gz") == b"x"


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip", "x" * 5000])
def test_an_encoding_that_cannot_be_taken_off_is_refused_in_words(encoding: str) -> None:
    with pytest.raises(IntegrityError, match="encoding") as caught:
        Body({"Content-Encoding": encoding}, size=None, name="a.txt")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("lost", [1, 4, 8, 100])
def test_an_encoded_stream_that_is_cut_is_refused_even_if_no_length_was_announced(
    pack: Callable[[bytes], bytes], lost: int
) -> None:
    encoding = "gzip" if pack is gzip.compress else "deflate"
    with pytest.raises(InterruptedBodyError, match="ended before its own end"):
        received({"Content-Encoding": encoding}, in_pieces(pack(TEXT)[:-lost]))


def test_an_encoded_stream_without_a_byte_is_refused() -> None:
    with pytest.raises(InterruptedBodyError):
        received({"Content-Encoding": "gzip"}, [], size=0)


def test_a_second_member_that_is_cut_is_refused() -> None:
    with pytest.raises(InterruptedBodyError):
        received({"Content-Encoding": "gzip"}, [gzip.compress(TEXT) + gzip.compress(TEXT)[:-1]])


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("together", [True, False])
def test_what_stands_behind_the_end_of_an_encoded_stream_is_not_lost_in_silence(
    pack: Callable[[bytes], bytes], together: bool
) -> None:
    encoding = "gzip" if pack is gzip.compress else "deflate"
    wire = [pack(TEXT) + b"and more"] if together else [pack(TEXT), b"and more"]
    with pytest.raises(IntegrityError):
        received({"Content-Encoding": encoding}, wire)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_is_not_encoded_as_its_header_says_is_refused(encoding: str) -> None:
    with pytest.raises(IntegrityError, match="not encoded in the way"):
        received({"Content-Encoding": encoding}, [TEXT])


def test_a_damaged_gzip_is_refused() -> None:
    packed = bytearray(gzip.compress(TEXT))
    packed[-6] ^= 1  # in the checksum
    with pytest.raises(IntegrityError):
        received({"Content-Encoding": "gzip"}, [bytes(packed)])


# --- bombs -----------------------------------------------------------------------------------------------------------


def zeros(mib: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(MIB)
    return b"".join([*(packer.compress(block) for _ in range(mib)), packer.flush()])


def test_decoding_takes_the_memory_of_one_step_however_much_comes_out() -> None:
    wire = zeros(100)
    body = Body({"Content-Encoding": "gzip"}, size=len(wire), name="a")
    given_out, largest = 0, 0
    tracemalloc.start()
    for piece in body.feed(wire):
        given_out += len(piece)
        largest = max(largest, len(piece))
    body.end()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert given_out == 100 * MIB
    assert largest <= STEP
    assert peak < 4 * STEP


def test_an_honest_file_of_zeros_is_no_bomb() -> None:
    assert received({"Content-Encoding": "gzip"}, in_pieces(zeros(20))) == bytes(20 * MIB)


def test_a_bomb_is_refused_once_it_passes_what_a_job_may_store() -> None:
    wire = zeros(20)
    assert len(received({"Content-Encoding": "gzip"}, [wire], longest=20 * MIB)) == 20 * MIB
    body = Body({"Content-Encoding": "gzip"}, size=None, name="a", longest=3 * MIB)
    given_out: list[int] = []
    with pytest.raises(IntegrityError, match="grows beyond"):
        given_out.extend(map(len, body.feed(wire)))
    assert STEP <= sum(given_out) <= 3 * MIB


def test_many_small_members_count_together() -> None:
    with pytest.raises(IntegrityError, match="grows beyond"):
        received({"Content-Encoding": "gzip"}, [zeros(1)] * 5, longest=4 * MIB)


# --- digests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr-Digest": quoted("sha-256", TEXT)},
        {"repr-digest": quoted("sha-512", TEXT)},
        {"Content-Digest": quoted("sha-256", TEXT)},
        {"Repr-Digest": f"unixsum=:AAAA:, {quoted('sha-256', TEXT)}"},
        {"Content-MD5": md5(TEXT)},
    ],
    ids=str,
)
def test_a_digest_that_fits_lets_the_body_pass_and_one_that_does_not_refuses_it(headers: dict[str, str]) -> None:
    assert received(headers, in_pieces(TEXT), size=len(TEXT)) == TEXT
    other = b"x" + TEXT[1:]
    with pytest.raises(IntegrityError, match="digest"):
        received(headers, in_pieces(other), size=len(other))


def test_a_strong_digest_goes_before_md5() -> None:
    assert received({"Repr-Digest": quoted("sha-256", TEXT), "Content-MD5": md5(b"other")}, [TEXT]) == TEXT
    with pytest.raises(IntegrityError):
        received({"Repr-Digest": quoted("sha-256", b"other"), "Content-MD5": md5(TEXT)}, [TEXT])


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr-Digest": "adler=:A3gDgQ==:"},
        {"Repr-Digest": "sha-256=:not base64:"},
        {"Repr-Digest": "sha-256=:QUJD:"},
        {"Repr-Digest": "sha-256=deadbeef"},
        {"Repr-Digest": ""},
        {"Content-MD5": hashlib.md5(b"x").hexdigest()},
        {"Content-MD5": "?"},
        {"Content-MD5": ""},
        {"ETag": '"0123456789abcdef0123456789abcdef"'},
    ],
    ids=str,
)
def test_what_is_no_digest_of_a_known_algorithm_is_ignored(headers: dict[str, str]) -> None:
    assert received(headers, [TEXT]) == TEXT


def test_a_digest_of_the_encoded_bytes_is_not_held_against_the_decoded_ones() -> None:
    packed = gzip.compress(TEXT)
    headers = {"Content-Encoding": "gzip", "Repr-Digest": quoted("sha-256", packed)}
    assert received(headers, [packed]) == TEXT
    headers["Repr-Digest"] = quoted("sha-256", TEXT)
    assert received(headers, [packed]) == TEXT


def test_the_digest_of_a_file_that_keeps_its_gzip_is_checked() -> None:
    packed = gzip.compress(TEXT)
    headers = {"Content-Encoding": "gzip", "Repr-Digest": quoted("sha-256", packed)}
    assert received(headers, [packed], name="a.gz") == packed
    with pytest.raises(IntegrityError, match="digest"):
        received({**headers, "Repr-Digest": quoted("sha-256", TEXT)}, [packed], name="a.gz")
