"""Every operation is called against a host made of CircleCI's document, which judges what is asked for.

Each is called twice: with every parameter, answered with every field that the document knows, none of which may be
left without a place in the model; and with the required ones alone, answered with as little as the document allows.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_type_hints
from uuid import UUID

import pytest
from api_document import OPERATIONS
from attrs import asdict
from document_host import DocumentHost

from aiocircle import Client, Paginator
from aiocircle.api import (
    CheckoutSource,
    ConfigSource,
    GitRef,
    Repo,
    Timetable,
    TriggerSource,
    TriggerWebhook,
    operations,
)
from aiocircle.codec import Model
from aiocircle.operation import Operation
from aiocircle.response import Call
from aiocircle.wire import json_value

pytestmark = pytest.mark.anyio

ALL: dict[str, Operation] = {each.id: each for each in vars(operations).values() if isinstance(each, Operation)}
ID = UUID("5034460f-c7c4-4c43-9457-de07e2029e7b")
MOMENT = datetime(2026, 11, 23, 9, tzinfo=timezone(timedelta(hours=2)))

SAMPLES: dict[str, Any] = {
    "slug": "gh/acme/web site",
    "org": "gh/acme",
    "org_slug": "gh/acme",
    "page_token": "",
    "offset": 0,
    "reporting_window": "last-30-days",
    "granularity": "hourly",
    "digest": "md5",
    "key_type": "user-key",
    "owner_type": "organization",
    "vcs_type": "bitbucket",
    "auth": "github-app",
    "attribution_actor": "system",
    "restriction_type": "expression",
    "event_preset": "pr-comment-equals-run-ci",
    "protocol": "grpc",
    "scope_type": "project",
    "ttl": "1h30m",
    "events": ["job-completed", "workflow-completed"],
    "timetable": Timetable(per_hour=2, hours_of_day=[0, 23], days_of_week=["MON"], months=["JAN"]),
    "config": GitRef(branch="main"),
    "checkout": GitRef(tag="v1"),
    "config_source": ConfigSource(provider="github_app", repo=Repo(external_id="1"), file_path="a.yml"),
    "checkout_source": CheckoutSource(provider="github_app", repo=Repo(external_id="1")),
    "event_source": TriggerSource(provider="webhook", webhook=TriggerWebhook(sender="me")),
    "decisions.make.config": "version: 2.1",
    "pipeline_definitions.update.config_source": ConfigSource(file_path="b.yml"),
    "triggers.update.event_source": TriggerSource(webhook=TriggerWebhook(sender="you")),
}
# An owner is given by its id or by its slug.
LEFT_OUT = {"contexts.create": {"owner_slug"}}
NEEDED = {"contexts.create": {"owner_slug"}}


def sample(call: str, name: str, hint: Any) -> Any:
    """Return an argument, by its name or else by its annotation."""
    for key in (f"{call}.{name}", name):
        if key in SAMPLES:
            return SAMPLES[key]
    text = str(hint)
    kinds: Mapping[str, Any] = {
        r"Sequence\[.*UUID": [ID, str(ID)],
        r"Sequence\[str": ["a b", "ü/&"],
        r"Mapping\[str, str\]": {"X-Header": "value"},
        r"Mapping\[": {"text": "a", "number": 1, "flag": False},
        r"datetime": MOMENT,
        r"UUID": ID,
        r"'int'|\bint\b": 7,
        r"'bool'|\bbool\b": True,
        r"'str'|\bstr\b": "text & more/ü",
    }
    return next(value for pattern, value in kinds.items() if re.search(pattern, text))


def arguments(call: str, method: Callable[..., Any], *, every: bool) -> tuple[list[Any], dict[str, Any]]:
    hints = get_type_hints(method)
    by_position: list[Any] = []
    by_name: dict[str, Any] = {}
    for parameter in inspect.signature(method).parameters.values():
        value = sample(call, parameter.name, hints[parameter.name])
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            by_position.append(value)
        elif parameter.default is inspect.Parameter.empty or parameter.name in NEEDED.get(call, ()) or every:
            by_name[parameter.name] = value
    if every:
        by_name = {name: value for name, value in by_name.items() if name not in LEFT_OUT.get(call, ())}
    return by_position, by_name


def method_of(client: Client, operation: Operation) -> Callable[..., Any]:
    resource, verb = operation.call.split(".")
    return getattr(getattr(client, resource), verb)  # type: ignore[no-any-return]


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
