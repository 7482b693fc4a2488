"""Whatever body comes, it is a value or an error in words, in bounded memory."""

import gzip
import json
import tracemalloc
import zlib

import pytest
from exchanges import SLUG, failing, world
from raw_host import TOKEN, RawHost, opened, reply

from aiocircle.errors import (
    APIError,
    BadRequestError,
    DecodeError,
    NotFoundError,
)
from aiocircle.session import MAX_JSON
from aiocircle.testing import Simulator

pytestmark = pytest.mark.anyio


async def test_gzip_is_unpacked() -> None:
    packed = gzip.compress(b'{"a": 1}')
    async with RawHost(lambda _: reply(200, packed, Content_Encoding="gzip")) as host, opened(host.url) as seen:
        assert await seen.get() == {"a": 1}


async def test_an_empty_body_is_no_value() -> None:
    async with RawHost(lambda _: reply(200, b" \n")) as host, opened(host.url) as seen:
        assert await seen.get() is None


async def test_an_answer_without_content_is_no_value() -> None:
    async with RawHost(lambda _: b"HTTP/1.1 204 No Content\r\n\r\n") as host, opened(host.url) as seen:
        assert await seen.post() is None
        assert await seen.get() is None

    assert host.connections == 1


async def test_an_endless_body_is_given_up_at_the_limit() -> None:
    mib = b"100000\r\n" + b"7" * (1 << 20) + b"\r\n"
    parts = [reply(200, b"", Transfer_Encoding="chunked"), *[mib] * 1000]
    async with RawHost(lambda _: parts) as host, opened(host.url) as seen:
        error = await failing(seen)

    assert isinstance(error, DecodeError)
    assert f"{MAX_JSON >> 20} MiB" in str(error)
    assert error.hint
    assert len(host.asked) == 1


async def test_a_gzip_bomb_is_given_up_in_bounded_memory() -> None:
    packer = zlib.compressobj(1, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(400)) + packer.flush()
    async with RawHost(lambda _: reply(200, bomb, Content_Encoding="gzip")) as host, opened(host.url) as seen:
        tracemalloc.start()
        try:
            error = await failing(seen)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert isinstance(error, DecodeError)
    assert peak < 2.5 * MAX_JSON


async def test_a_bomb_in_an_error_is_cut_short() -> None:
    bomb = gzip.compress(bytes(50 << 20), 1)
    async with RawHost(lambda _: reply(404, bomb, Content_Encoding="gzip")) as host, opened(host.url) as seen:
        tracemalloc.start()
        try:
            error = await failing(seen)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert isinstance(error, NotFoundError)
    assert peak < 8 << 20


NO_PAGE: dict[str, bytes] = {
    "html": b"<!DOCTYPE html><title>Sign in</title>",
    "cut": b'{"items": [{"path": "a", "url": "https://',
    "text": b"upstream connect error",
    "empty": b"",
    "null": b"null",
    "number": b"7",
    "array": b"[1, 2]",
    "no-items": b'{"next_page_token": null}',
    "items-null": b'{"items": null}',
    "items-object": b'{"items": {}, "next_page_token": null}',
    "token-number": b'{"items": [], "next_page_token": 7}',
    "item-null": b'{"items": [null], "next_page_token": null}',
    "item-text": b'{"items": ["a"], "next_page_token": null}',
    "item-wrong": b'{"items": [{"path": 7, "url": [], "node_index": "x"}], "next_page_token": null}',
    "deep": b"[" * 100_000,
    "deep-item": b'{"items": [{"path": ' + b"[" * 500 + b"]" * 500 + b'}], "next_page_token": null}',
    "latin-1": '{"items": [], "next_page_token": "é"}'.encode("latin-1"),
}


@pytest.mark.parametrize("body", NO_PAGE.values(), ids=NO_PAGE.keys())
async def test_what_is_no_page_is_an_error_with_a_hint_and_is_not_repeated(body: bytes) -> None:
    async with RawHost(lambda _: reply(200, body)) as host, opened(host.url) as seen:
        with pytest.raises(DecodeError) as caught:
            await seen.client.artifacts.list(SLUG, 7).collect()

    assert caught.value.hint
    assert str(caught.value).startswith("list artifacts: ")
    assert len(str(caught.value)) < 250
    assert len(host.asked) == 1


@pytest.mark.parametrize("fault", ["json-cut", "json-html-200", "json-shape", "items-null"])
async def test_the_simulators_broken_answers_are_errors_with_a_hint(fault: str) -> None:
    async with Simulator(world(), token=TOKEN, faults=[fault]) as sim, opened(sim.url) as seen:
        with pytest.raises(DecodeError) as caught:
            await seen.client.artifacts.list(SLUG, 7).collect()

        assert caught.value.hint
        assert sim.stats.requests["project.job.artifacts"] == 1


ERRORS: dict[str, tuple[bytes, str, object]] = {
    "core": (b'{"message": "Project not found"}', "Project not found", {"message": "Project not found"}),
    "policy": (b'{"error": "bad rego"}', "bad rego", {"error": "bad rego"}),
    "v3": (
        b'{"error": {"id": "1", "type": "x", "title": "Invalid", "detail": "page[limit] is 1 to 100"}}',
        "page[limit] is 1 to 100",
        {"error": {"id": "1", "type": "x", "title": "Invalid", "detail": "page[limit] is 1 to 100"}},
    ),
    "v3-title": (b'{"error": {"title": "Invalid"}}', "Invalid", {"error": {"title": "Invalid"}}),
    "list-in-message": (b'{"message": ["a", "b"]}', "['a', 'b']", {"message": ["a", "b"]}),
    "number-in-message": (b'{"message": 7}', "7", {"message": 7}),
    "null": (b"null", "(the host gave no reason)", None),
    "empty-object": (b"{}", "(the host gave no reason)", {}),
    "no-words": (b'{"message": null, "error": ""}', "(the host gave no reason)", {"message": None, "error": ""}),
    "string": (b'"nope"', "nope", "nope"),
    "array": (b'["nope"]', "['nope']", ["nope"]),
    "text": (b"no\n such  host", "no such host", "no\n such  host"),
    "html": (b"<html><h1>502</h1>", "(an HTML or XML page)", "<html><h1>502</h1>"),
    "xml": (b'<?xml version="1.0"?><Error/>', "(an HTML or XML page)", '<?xml version="1.0"?><Error/>'),
    "empty": (b"", "(the host gave no reason)", ""),
    "cut": (b'{"message": "half', '{"message": "half', '{"message": "half'),
    "terminal-control": (b'{"message": "a\\u001b[2Jb"}', "a\ufffd[2Jb", {"message": "a\x1b[2Jb"}),
    "text-with-terminal-control": (b"a\x1b[2Jb", "a\ufffd[2Jb", "a\x1b[2Jb"),
    "half-a-surrogate-pair": (b'{"message": "a\\ud800"}', "a\ufffd", {"message": "a\ud800"}),
    "not-utf-8": (b"\xff\xfe", "\ufffd\ufffd", "\ufffd\ufffd"),
}


@pytest.mark.parametrize(("body", "message", "value"), ERRORS.values(), ids=ERRORS.keys())
async def test_an_errors_words_are_found_in_each_shape(body: bytes, message: str, value: object) -> None:
    async with RawHost(lambda _: reply(404, body, X_Request_Id="r-1")) as host, opened(host.url) as seen:
        error = await failing(seen)

    assert isinstance(error, NotFoundError)
    assert (error.message, error.body) == (message, value)
    assert (error.status, error.operation, error.request_id) == (404, "get thing", "r-1")
    assert str(error) == f"get thing: 404 {message}"
    assert error.hint


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (404, b"<html>Not here</html>", "no API"),
        (404, b'{"message": "Not found"}', "may not see it"),
        (502, b"<html><h1>502</h1>", "trouble of its own"),
        (400, b'{"message": "bad"}', ""),
    ],
)
async def test_an_error_says_what_to_do_where_that_is_known(status: int, body: bytes, hint: str) -> None:
    async with RawHost(lambda _: reply(status, body)) as host, opened(host.url) as seen:
        error = await failing(seen)

    assert hint in (error.hint or "")
    assert bool(hint) == bool(error.hint)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"[" * 900 + b"]" * 900, b'{"error":' * 900 + b"1" + b"}" * 900], ids=len
)
async def test_an_error_whose_body_is_too_deep_is_still_that_error(body: bytes) -> None:
    async with RawHost(lambda _: reply(400, body)) as host, opened(host.url) as seen:
        assert isinstance(await failing(seen), BadRequestError)


async def test_the_words_of_a_long_error_are_cut() -> None:
    long = json.dumps({"message": "long " * 10_000}).encode()
    bodies = {"/api/v2/json": long, "/api/v2/text": long[12:]}
    async with RawHost(lambda asked: reply(400, bodies[asked.target])) as host, opened(host.url) as seen:
        for path in ("/json", "/text"):
            with pytest.raises(BadRequestError) as caught:
                await seen.get(path)
            assert len(str(caught.value)) < 400


async def test_a_redirect_of_a_post_is_an_error_that_says_so() -> None:
    async with RawHost(lambda _: reply(308, Location="/elsewhere")) as host, opened(host.url) as seen:
        with pytest.raises(APIError, match="redirects this, and it was not followed"):
            await seen.post()
