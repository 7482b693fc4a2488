"""No answer, and no order of interruptions and changes, makes a file of two objects."""

from collections.abc import Mapping

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from aiocircle.download.resume import Action, Kept, announced_sha256, judge, validator_of

TAG = '"3f78"'
KEPT = Kept(have=100, validator=TAG, size=250)
END = {"Content-Range": "bytes 100-249/250", "ETag": TAG}
DATED = {"Date": "Mon, 02 Nov 2026 09:31:00 GMT", "Last-Modified": "Mon, 02 Nov 2026 09:30:00 GMT"}


def verdict(kept: Kept | None, status: int, headers: Mapping[str, str], length: int | None) -> Action:
    return judge(kept, status, CIMultiDict(headers), length).action


@pytest.mark.parametrize(
    ("status", "headers", "length", "action"),
    [
        (200, {"ETag": TAG}, 250, Action.START),
        (200, {"ETag": '"other"'}, 90, Action.START),
        (200, {}, None, Action.START),
        (206, END, 150, Action.APPEND),
        (206, END, None, Action.APPEND),
        (206, {"content-range": " bytes 100-249/250 ", "etag": TAG}, 150, Action.APPEND),
        (206, {**END, "Content-Encoding": "identity"}, 150, Action.APPEND),
        (206, {**END, "Content-Encoding": "gzip"}, 150, Action.AGAIN),
        (206, {**END, "ETag": '"other"'}, 150, Action.AGAIN),
        (206, {**END, "ETag": f"W/{TAG}"}, 150, Action.AGAIN),
        (206, {"Content-Range": END["Content-Range"]}, 150, Action.AGAIN),
        (206, {**END, "Content-Range": "bytes 99-249/250"}, 151, Action.AGAIN),
        (206, {**END, "Content-Range": "bytes 0-249/250"}, 250, Action.AGAIN),
        (206, {**END, "Content-Range": "bytes 107-256/257"}, 150, Action.AGAIN),
        (206, {**END, "Content-Range": "bytes 100-256/257"}, 157, Action.AGAIN),
        (206, {**END, "Content-Range": "bytes 100-199/250"}, 100, Action.AGAIN),
        (206, {**END, "Content-Range": "bytes 100-249/*"}, 150, Action.AGAIN),
        (206, {**END, "Content-Range": "bytes 100-249/249"}, 150, Action.AGAIN),
        (206, {**END, "Content-Range": "bytes 100-99/250"}, 0, Action.AGAIN),
        (206, {**END, "Content-Range": "100-249/250"}, 150, Action.AGAIN),
        (206, {**END, "Content-Range": "bytes 100-249/250, bytes 0-3/250"}, 150, Action.AGAIN),
        (206, {"ETag": TAG}, 150, Action.AGAIN),
        (206, END, 149, Action.AGAIN),
        (206, {**END, "Content-Type": "multipart/byteranges; boundary=x"}, 150, Action.AGAIN),
        (416, {"Content-Range": "bytes */250"}, None, Action.AGAIN),
        (416, {"Content-Range": "bytes */100"}, None, Action.AGAIN),
        (416, {"Content-Range": "bytes */0"}, 0, Action.AGAIN),
        (416, {}, None, Action.AGAIN),
        (204, {}, 0, Action.FAIL),
        (203, {"ETag": TAG}, 250, Action.FAIL),
        (226, {}, 250, Action.FAIL),
    ],
)
def test_every_answer_to_a_request_for_the_rest_has_its_row(
    status: int, headers: Mapping[str, str], length: int | None, action: Action
) -> None:
    assert verdict(KEPT, status, headers, length) is action


@pytest.mark.parametrize(
    ("headers", "size", "action"),
    [
        ({"Content-Range": "bytes */100"}, 100, Action.COMPLETE),
        ({"Content-Range": "bytes */100", "ETag": TAG}, 100, Action.COMPLETE),
        ({"Content-Range": "bytes */100"}, None, Action.COMPLETE),
        ({"Content-Range": "bytes */100", "ETag": '"other"'}, 100, Action.AGAIN),
        ({"Content-Range": "bytes */99"}, 100, Action.AGAIN),
        ({}, 100, Action.AGAIN),
    ],
)
def test_a_part_that_lacks_nothing_is_complete_only_if_the_host_names_its_length(
    headers: Mapping[str, str], size: int | None, action: Action
) -> None:
    assert verdict(Kept(have=100, validator=TAG, size=size), 416, headers, None) is action


@pytest.mark.parametrize(
    ("status", "span", "length", "action"),
    [
        (206, "bytes 40-59/100", 20, Action.APPEND),
        (206, "bytes 40-59/*", 20, Action.APPEND),
        (206, "bytes 40-59/100", None, Action.APPEND),
        (206, "bytes 40-99/100", 60, Action.AGAIN),  # all that is left
        (206, "bytes 40-58/100", 19, Action.AGAIN),
        (206, "bytes 39-59/100", 21, Action.AGAIN),
        (206, "bytes 40-59/101", 20, Action.AGAIN),
        (206, "bytes 40-59/100", 21, Action.AGAIN),
        (200, None, 100, Action.START),
    ],
)
def test_a_stretch_from_the_middle_is_that_stretch_or_of_no_use(
    status: int, span: str | None, length: int | None, action: Action
) -> None:
    wanted = Kept(have=40, validator=TAG, size=100, stop=60)
    assert wanted.conditions() == {"Range": "bytes=40-59", "If-Range": TAG}
    assert verdict(wanted, status, {"ETag": TAG, **({"Content-Range": span} if span else {})}, length) is action


@pytest.mark.parametrize(("status", "action"), [(200, Action.START), (206, Action.FAIL), (204, Action.FAIL)])
def test_a_request_for_all_takes_all_or_nothing(status: int, action: Action) -> None:
    assert verdict(None, status, {"Content-Range": "bytes 0-9/20", "ETag": TAG}, 10) is action


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": TAG}, TAG),
        ({"ETag": '""'}, '""'),
        ({"ETag": f"W/{TAG}"}, None),
        ({"ETag": f"W/{TAG}", **DATED}, None),  # there is a tag, so a date may not stand in for it
        ({"ETag": "bare"}, None),
        ({"ETag": '"a" b"'}, None),
        ({"ETag": '"' + "x" * 200 + '"'}, None),
        (DATED, DATED["Last-Modified"]),
        ({**DATED, "Date": "Mon, 02 Nov 2026 09:30:59 GMT"}, None),
        ({**DATED, "Date": "yesterday"}, None),
        ({**DATED, "Date": f"Mon, 02 Nov {'9' * 20} 09:31:00 GMT"}, None),
        ({**DATED, "Date": "Mon, 02 Nov 2026 09:31:00 -0000"}, None),
        ({"Last-Modified": DATED["Last-Modified"]}, None),
        ({}, None),
    ],
)
def test_only_what_changes_with_every_byte_is_a_validator(headers: Mapping[str, str], validator: str | None) -> None:
    assert validator_of(CIMultiDict(headers)) == validator


def test_a_digest_of_the_whole_is_read_and_junk_is_not() -> None:
    digest = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
    assert (announced_sha256({"Repr-Digest": f"md5=:x:, {digest}"}) or b"").hex().startswith("e3b0c442")
    assert announced_sha256({"Repr-Digest": "sha-256=:" + "=" * 44 + ":"}) is None
    assert announced_sha256({"Content-Digest": digest}) is None


# --- any order of events ---------------------------------------------------------------------------------------------

ODDITIES = ["honest", "no ranges", "no if-range", "weak", "no validator", "shifted", "short", "unsatisfiable", "longer"]


@define
class Host:
    """An object that may be replaced between any two requests, behind a host with habits of its own."""

    objects: list[bytes]
    now: int = 0

    def answer(self, asked: Mapping[str, str], oddity: str) -> tuple[int, dict[str, str], bytes]:
        whole, tag = self.objects[self.now], f'"{self.now}"'
        headers = {"ETag": f"W/{tag}" if oddity == "weak" else tag}
        if oddity == "no validator":
            headers = {}
        matches = oddity == "no if-range" or asked.get("If-Range") == tag
        if "Range" not in asked or not matches or oddity == "no ranges":
            return 200, headers, whole
        first = int(asked["Range"].removeprefix("bytes=").removesuffix("-"))
        if oddity == "unsatisfiable" or first >= len(whole):
            return 416, {**headers, "Content-Range": f"bytes */{len(whole)}"}, b""
        first += oddity == "shifted" and first + 1 < len(whole)
        last, size = len(whole) - 1 - (oddity == "short" and first < len(whole) - 1), len(whole) + (oddity == "longer")
        return 206, {**headers, "Content-Range": f"bytes {first}-{last}/{size}"}, whole[first : last + 1]


@define
class Part:
    """What a downloader does with verdicts, and nothing else."""

    data: bytearray = field(factory=bytearray)
    kept: Kept | None = None

    def attempt(self, host: Host, oddity: str, cut: int) -> bytes | None:
        """Ask once, lose the connection or the process after ``cut`` bytes; return the file if it is complete."""
        status, headers, body = host.answer(self.kept.conditions() if self.kept else {}, oddity)
        match verdict(self.kept, status, headers, len(body)):
            case Action.COMPLETE:
                return bytes(self.data)
            case Action.START:
                self.data.clear()
                validator = validator_of(headers)
                size: int | None = len(body)
            case Action.APPEND:
                assert self.kept is not None
                validator, size = self.kept.validator, self.kept.size
            case _:
                self.data.clear()
                self.kept = None
                return None
        self.data += body[:cut]
        if cut >= len(body):
            return bytes(self.data)
        self.kept = Kept(have=len(self.data), validator=validator, size=size) if validator and self.data else None
        if self.kept is None:
            self.data.clear()
        return None


@settings(max_examples=500)
@given(
    objects=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    events=st.lists(st.tuples(st.sampled_from(ODDITIES), st.integers(0, 12), st.booleans()), max_size=12),
)
def test_no_order_of_interruptions_and_changes_gives_wrong_bytes(
    objects: list[int], events: list[tuple[str, int, bool]]
) -> None:
    host = Host([bytes([65 + number]) * size for number, size in enumerate(objects)])
    part = Part()
    for oddity, cut, changes in events:
        whole = part.attempt(host, oddity, cut)
        if whole is not None:
            assert whole in host.objects[: host.now + 1]
            return
        host.now = min(host.now + changes, len(objects) - 1)
    tries = 0
    while (whole := part.attempt(host, "honest", 99)) is None:
        tries += 1
    assert tries <= 1
    assert whole in host.objects
