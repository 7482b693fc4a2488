"""Webhooks: what passes as genuine, and what is read out of an event."""

import hashlib
import hmac
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocircle.crawl.selection import Selection
from aiocircle.errors import ConfigurationError, DecodeError, SignatureError
from aiocircle.slugs import ProjectSlug
from aiocircle.webhooks import (
    JobCompleted,
    Ping,
    WebhookEvent,
    WorkflowCompleted,
    parse_event,
    verify,
    webhook_handler,
)

SECRET = "a secret that is kept"
BODY = b'{"id": "8bd71c28-4969-3677-8940-3e3a61c46660", "type": "ping"}\n'

WORKFLOW = "fda08377-fe7e-46b1-8992-3a7aaecac9c3"
COMMON: dict[str, Any] = {
    "id": "8bd71c28-4969-3677-8940-3e3a61c46660",
    "happened_at": "2021-09-01T22:49:34.279Z",
    "webhook": {"id": "cf8c4fdd-0587-4da1-b4ca-4846e9640af9", "name": "Sample"},
    "project": {"id": "84996744-a854-4f5e-aea3-04e2851dc1d2", "name": "web", "slug": "gh/acme/web"},
    "organization": {"id": "f22b6566-597d-46d5-ba74-99ef5bb3d85c", "name": "acme"},
    "pipeline": {
        "id": "1285fe1d-d3a6-44fc-8886-8979558254c4",
        "number": 130,
        "created_at": "2021-09-01T22:49:03Z",
        "trigger": {"type": "webhook"},
        "vcs": {
            "provider_name": "github",
            "origin_repository_url": "https://github.com/acme/web",
            "target_repository_url": "https://github.com/acme/web",
            "revision": "1dc6aa69429bff4806ad6afe58d3d8f57e25973e",
            "commit": {"subject": "A change", "author": {"name": "Ada", "email": "ada@example.com"}},
            "branch": "main",
        },
    },
}
JOB_EVENT = {
    **COMMON,
    "type": "job-completed",
    "workflow": {"id": WORKFLOW, "name": "build", "created_at": "2021-09-01T22:49:03.616Z"},
    "job": {"id": "8b91f9a8-7975-4e60-916c-f0152ccbc937", "number": 136, "name": "test", "status": "success"},
}
WORKFLOW_EVENT = {
    **COMMON,
    "type": "workflow-completed",
    "workflow": {"id": WORKFLOW, "name": "build", "status": "failed", "stopped_at": "2021-09-01T22:49:34.170Z"},
}


def digest_of(body: bytes, secret: str = SECRET) -> str:
    """HMAC as RFC 2104 defines it, without the module that the package uses."""
    key = secret.encode()
    key = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + body).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).hexdigest()


def signed(body: bytes, secret: str = SECRET) -> str:
    return f"v1={digest_of(body, secret)}"


def parsed(value: object, **headers: str) -> WebhookEvent:
    return parse_event(json.dumps(value).encode(), {key.replace("_", "-"): text for key, text in headers.items()})


# --- signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "body", "digest"),
    [  # secret, body and signature worked out beforehand
        ("secret", b"hello world", "734cc62f32841568f45715aeb9f4d7891324e6d948e4c6c60c0621cdac48623a"),
        ("another-secret", b"lalala", "daa220016c8f29a8b214fbfc3671aeec2145cfb1e6790184ffb38b6d0425fa00"),
        (
            "hunter123",
            b"an-important-request-payload",
            "9be2242094a9a8c00c64306f382a7f9d691de910b4a266f67bd314ef18ac49fa",
        ),
    ],
)
def test_the_examples_that_circleci_publishes(secret: str, body: bytes, digest: str) -> None:
    assert digest_of(body, secret) == digest
    verify(body, f"v1={digest}", secret)


@given(st.binary(max_size=300), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100))
def test_what_is_signed_with_the_secret_passes(body: bytes, secret: str) -> None:
    verify(body, signed(body, secret), secret)
    assert hmac.new(secret.encode(), body, "sha256").hexdigest() == digest_of(body, secret)


def test_changing_any_byte_of_the_body_is_noticed() -> None:
    for place in range(len(BODY)):
        changed = bytearray(BODY)
        changed[place] ^= 1
        with pytest.raises(SignatureError, match="does not fit"):
            verify(bytes(changed), signed(BODY), SECRET)
    for other in (BODY[:-1], BODY + b"\n", b"", BODY.replace(b" ", b"")):
        with pytest.raises(SignatureError):
            verify(other, signed(BODY), SECRET)


def test_changing_any_digit_of_the_signature_is_noticed() -> None:
    header = signed(BODY)
    for place in range(len(header)):
        for digit in {"0", "f", "2", "V", ","} - {header[place]}:
            with pytest.raises(SignatureError):
                verify(BODY, header[:place] + digit + header[place + 1 :], SECRET)


def test_another_secret_does_not_pass() -> None:
    for other in (SECRET + "x", SECRET.upper(), SECRET[:-1]):
        with pytest.raises(SignatureError):
            verify(BODY, signed(BODY, other), SECRET)


@pytest.mark.parametrize(
    "template", ["{},v2=whatever/it+is==", "v2=abc,{}", "v9999=x, {}", "{}\t, v3=y", " {} ", "v2=a,v2=b,{}"]
)
def test_versions_not_known_are_passed_over(template: str) -> None:
    verify(BODY, template.format(signed(BODY)), SECRET)
    with pytest.raises(SignatureError):
        verify(BODY + b" ", template.format(signed(BODY)), SECRET)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "not signed"),
        ("", "not signed"),
        ("v2=abc", "no version known"),
        ("v1=", "not a list"),
        ("v1", "not a list"),
        ("=abc", "not a list"),
        ("v01=" + digest_of(BODY), "not a list"),
        ("V1=" + digest_of(BODY), "not a list"),
        ("v1 = " + digest_of(BODY), "not a list"),
        (digest_of(BODY), "not a list"),
        ("sha256=" + digest_of(BODY), "not a list"),
        ("v\u0661=" + digest_of(BODY), "not a list"),
        (signed(BODY) + ",", "not a list"),
        ("," + signed(BODY), "not a list"),
        (signed(BODY) + ";v2=a", "64 lower-case"),
        (signed(BODY) + "\n", "not a list"),
        (signed(BODY) + "\u00a0", "not a list"),
        (signed(BODY) + "," + signed(BODY), "twice"),
        (signed(BODY) + ",v1=" + "0" * 64, "twice"),
        ("v1=" + digest_of(BODY).upper(), "64 lower-case"),
        ("v1=" + digest_of(BODY)[:-1], "64 lower-case"),
        (signed(BODY) + "0", "64 lower-case"),
        ("v1=" + "\uff10" * 64, "not a list"),
        (signed(BODY) + ",v2=" + "x" * 1024, "longer than 1024"),
    ],
)
def test_an_absent_or_malformed_signature_is_refused(header: str | None, message: str) -> None:
    with pytest.raises(SignatureError, match=message) as caught:
        verify(BODY, header, SECRET)
    assert caught.value.hint
    assert not header or header not in str(caught.value)


def test_while_the_secret_is_changed_both_pass() -> None:
    for secret in ("old", "new"):
        verify(BODY, signed(BODY, secret), ["old", "new"])
        verify(BODY, signed(BODY, secret), ("new", "old"))
    with pytest.raises(SignatureError):
        verify(BODY, signed(BODY, "older"), ["old", "new"])


@pytest.mark.parametrize("secret", ["", [], (), [""], ["good", ""]])
def test_without_a_secret_nothing_passes_and_the_setting_is_to_blame(secret: str | list[str]) -> None:
    with pytest.raises(ConfigurationError, match="signing secret"):
        verify(BODY, signed(BODY, ""), secret)


async def nothing(_event: WebhookEvent) -> None:
    pass


def test_a_handler_without_a_secret_is_refused_before_it_is_asked() -> None:
    with pytest.raises(ConfigurationError, match="signing secret"):
        webhook_handler("", nothing)


def test_a_secret_is_in_no_error_and_no_repr() -> None:
    with pytest.raises(SignatureError) as refused:
        verify(BODY, "v1=" + "0" * 64, SECRET)
    with pytest.raises(ConfigurationError) as unusable:
        verify(BODY, signed(BODY), SECRET + "\ud800")
    assert unusable.value.__context__ is None
    for shown in (refused.value, unusable.value, webhook_handler(SECRET, nothing)):
        assert SECRET not in f"{shown!r} {shown} {getattr(shown, 'hint', '')}"


def test_a_secret_of_bytes_that_are_not_utf_8_is_taken_as_the_environment_gives_it() -> None:
    digest = hmac.new(b"\xff\xfe", BODY, "sha256").hexdigest()
    verify(BODY, f"v1={digest}", b"\xff\xfe".decode("utf-8", "surrogateescape"))


header_texts = st.one_of(
    st.none(),
    st.text(max_size=200),
    st.text(alphabet="v123=,abcf0 \t", max_size=200),
    st.from_regex(r"v[12]=[0-9a-fA-F]{63,65}(,v[12]=[0-9a-f]{64})?", fullmatch=True),
)


@given(st.binary(max_size=50), header_texts)
def test_whatever_the_header_is_only_one_error_comes_of_it(body: bytes, header: str | None) -> None:
    with pytest.raises(SignatureError):
        verify(body, header, SECRET)


# --- events ----------------------------------------------------------------------------------------------------------


def test_a_job_event_is_read_and_selects_its_job() -> None:
    event = parsed(JOB_EVENT)
    assert isinstance(event, JobCompleted)
    assert event.id == "8bd71c28-4969-3677-8940-3e3a61c46660"
    assert event.happened_at == datetime(2021, 9, 1, 22, 49, 34, 279000, tzinfo=UTC)
    assert (event.job.number, event.job.status) == (136, "success")
    assert event.workflow is not None
    assert event.workflow.status is None
    assert event.pipeline is not None
    assert event.pipeline.vcs is not None
    assert event.pipeline.vcs.branch == "main"
    assert event.pipeline.trigger_parameters is None
    assert event.webhook is not None
    assert event.webhook.name == "Sample"
    assert event.selection() == Selection(ProjectSlug("gh", "acme", "web"), job=136)
    assert event.extra == {}


def test_a_workflow_event_is_read_and_selects_its_workflow() -> None:
    event = parsed(WORKFLOW_EVENT)
    assert isinstance(event, WorkflowCompleted)
    assert event.workflow.status == "failed"
    assert event.selection() == Selection(ProjectSlug("gh", "acme", "web"), workflow=UUID(WORKFLOW))


def test_what_is_optional_may_be_absent_and_what_is_new_is_kept() -> None:
    pipeline = {"id": COMMON["pipeline"]["id"], "trigger_parameters": {"gitlab": {"x": [1]}}, "vcs": None, "new": 1}
    event = parsed({**JOB_EVENT, "pipeline": pipeline, "workflow": None, "weather": {"is": "fine"}})
    assert isinstance(event, JobCompleted)
    assert event.extra == {"weather": {"is": "fine"}}
    assert event.pipeline is not None
    assert event.pipeline.trigger_parameters == {"gitlab": {"x": [1]}}
    assert event.pipeline.extra == {"new": 1}
    assert event.pipeline.vcs is None


def test_a_ping_and_a_type_not_known_are_events_too() -> None:
    ping = parsed({"id": "1", "type": "ping", "webhook": COMMON["webhook"]})
    assert type(ping) is Ping
    other = parsed({**COMMON, "type": "deploy-completed", "deploy": {"id": 7}})
    assert type(other) is WebhookEvent
    assert other.type == "deploy-completed"
    assert other.extra["deploy"] == {"id": 7}
    assert other.extra["project"]["slug"] == "gh/acme/web"


def test_the_signed_type_counts_and_the_header_only_where_there_is_none() -> None:
    assert isinstance(parsed(JOB_EVENT, Circleci_Event_Type="ping"), JobCompleted)
    untyped = {key: value for key, value in JOB_EVENT.items() if key != "type"}
    event = parsed(untyped, CircleCI_Event_Type="job-completed")
    assert isinstance(event, JobCompleted)
    assert event.type == "job-completed"
    with pytest.raises(DecodeError, match="type"):
        parsed(untyped)


def test_a_job_that_never_ran_has_nothing_to_fetch() -> None:
    event = parsed({**JOB_EVENT, "job": {"name": "hold", "status": "canceled"}})
    assert isinstance(event, JobCompleted)
    with pytest.raises(ConfigurationError, match="no number"):
        event.selection()


def test_a_slug_that_leads_elsewhere_selects_nothing() -> None:
    event = parsed({**JOB_EVENT, "project": {"slug": "gh/../web"}})
    assert isinstance(event, JobCompleted)
    with pytest.raises(ConfigurationError):
        event.selection()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe{", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b"{}", "unexpected shape"),
        (b'{"id": 1, "type": "ping"}', "a string expected"),
        (b'{"id": "1", "type": ["ping"]}', "a string expected"),
        (b'{"id": "1", "type": "job-completed"}', "is missing"),
    ],
)
def test_a_body_that_is_no_event_is_refused_in_words_of_webhooks(body: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message) as caught:
        parse_event(body)
    assert "webhook" in str(caught.value)
    assert "answer" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
event_like = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just("1") | json_values,
        "type": st.sampled_from(["job-completed", "workflow-completed", "ping", "new"]) | json_values,
        **{
            name: st.just(JOB_EVENT[name]) | json_values
            for name in ("happened_at", "webhook", "project", "organization", "workflow", "pipeline", "job")
        },
    },
)


@given(st.binary(max_size=100) | event_like.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_body_is_it_is_an_event_or_one_error(body: bytes) -> None:
    try:
        event = parse_event(body, {"circleci-event-type": "ping"})
    except DecodeError:
        return
    assert isinstance(event, WebhookEvent)


def test_who_only_verifies_loads_no_server() -> None:
    script = "import sys, aiocircle.webhooks; print(*{'aiohttp.web', 'aiohttp.web_app'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
