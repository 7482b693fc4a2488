"""Every operation is called against a host made of CircleCI's document, which judges what is asked for.

Each is called twice: with every parameter, answered with every field that the document knows, none of which may be
left without a place in the model; and with the required ones alone, answered with as little as the document allows.
"""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from api_calls import ALL, ID, arguments, method_of
from api_document import OPERATIONS
from attrs import asdict
from document_host import DocumentHost

from aiocircle import Client, Paginator
from aiocircle.codec import Model
from aiocircle.response import Call
from aiocircle.wire import json_value

pytestmark = pytest.mark.anyio


def plain(value: Any) -> Any:
    """Return a JSON value without what the codec may change: hyphens, absence, and how a moment is spelled."""
    if isinstance(value, dict):
        pairs = {key.replace("-", "_"): plain(item) for key, item in value.items()}
        return {key: item for key, item in pairs.items() if item not in (None, {}, [])}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return datetime.fromisoformat(value).astimezone(UTC)
    return value


def unknown_keys(value: Any, path: str = "$") -> list[str]:
    """Return every key that no field of a model took."""
    if isinstance(value, Model):
        inner = {name: getattr(value, name) for name in asdict(value, recurse=False) if name != "extra"}
        return [f"{path}.{key}" for key in value.extra] + unknown_keys(inner, path)
    if isinstance(value, Mapping):
        return [found for key, item in value.items() for found in unknown_keys(item, f"{path}.{key}")]
    if isinstance(value, list | tuple):
        return [found for item in value for found in unknown_keys(item, f"{path}[]")]
    return []


def items_in(answers: list[tuple[int, Any]]) -> list[Any]:
    return [item for _, page in answers for item in (page["items"] if isinstance(page, dict) else page)]


@pytest.mark.parametrize("every", [True, False], ids=["everything", "required"])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_is_asked_for_and_understood_as_documented(
    name: str, every: bool, coverage_of_operations: dict[str, set[str]]
) -> None:
    operation = ALL[name]
    for status in OPERATIONS[name].answers:
        async with DocumentHost(sparse=not every, status=status) as host, Client("token", host=host.url) as client:
            by_position, by_name = arguments(operation.call, method_of(client, operation), every=every)
            call = method_of(client, operation)(*by_position, **by_name)
            if isinstance(call, Paginator):
                value: Any = await call.collect()
                expected = items_in(host.answered)
            else:
                assert isinstance(call, Call)
                value = await call
                expected = host.answered[-1][1]

        assert host.problems == []
        assert set(host.seen) == {name}
        assert unknown_keys(value) == []
        assert plain(json_value(value)) == plain(expected)
    coverage_of_operations[name].add("every parameter and field" if every else "the required ones")


def test_every_operation_of_the_document_has_a_method() -> None:
    assert set(ALL) == set(OPERATIONS)
    assert len({each.call for each in ALL.values()}) == len(ALL) == 115


def test_listings_go_on_as_they_were_found_to() -> None:
    assert Counter(each.pages for each in ALL.values() if each.pages) == {
        "token": 22,
        "items": 3,
        "array": 2,
        "offset": 1,
    }


async def test_a_listing_follows_its_pages_by_token_and_by_offset() -> None:
    async with DocumentHost(sparse=False) as host, Client("token", host=host.url) as client:
        assert len(await client.pipelines.list("gh/acme/web").collect()) == 4
        assert len(await client.decisions.list(ID, "config").collect()) == 2
        assert len(await client.triggers.list(ID, ID).collect()) == 2
    assert host.problems == []
    assert host.seen == ["listPipelinesForProject"] * 2 + ["GetDecisionLogs"] * 2 + ["listPipelineDefinitionTriggers"]


async def test_the_host_finds_what_is_wrong() -> None:
    """A judge that cannot say no proves nothing."""
    wrong = [
        ("GET", "/no/such/thing", None, None),
        ("GET", "/pipeline/not-a-uuid", None, None),
        ("GET", "/webhook", None, None),
        ("GET", "/insights/gh/acme/web/flaky-tests", {"colour": "red"}, None),
        ("GET", "/insights/gh/acme/web/workflows", {"reporting-window": "for ever"}, None),
        ("POST", "/context", None, {"name": "x"}),
        ("POST", "/context", None, {"name": "x", "owner": {"slug": "gh/acme"}, "more": 1}),
        ("POST", f"/workflow/{ID}/cancel", None, {"unasked": 1}),
    ]
    for method, path, query, body in wrong:
        async with DocumentHost(sparse=False) as host, Client("token", host=host.url) as client:
            try:
                await client.request(method, path, query=query, body=body)
            except Exception:  # noqa: BLE001 -- what it answers does not matter here
                assert path == "/no/such/thing"
        assert host.problems, path
