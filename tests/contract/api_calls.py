"""How every operation is called: its arguments by name, or else by annotation."""

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, get_type_hints
from uuid import UUID

from aiocircle import Client
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
from aiocircle.operation import Operation

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
