"""``aiocircle limits``, and what a download says while it waits for the limit."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import attrs
import pytest

from aiocircle.cli.buckets import NOTHING_TOLD, Told
from aiocircle.cli.limits import EVERY, until_next
from aiocircle.cli.narrator import Narrator
from aiocircle.cli.output import Output
from aiocircle.cli.progress import Progress, line
from aiocircle.events import LimitWaited, LimitWaiting, RequestSent, Retried, TransferEnded
from aiocircle.ratelimit.bucket import QuotaState
from aiocircle.ratelimit.snapshot import BucketSnapshot, Sharer
from aiocircle.testing import KongLimits, Simulator, World

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]
Host = Callable[..., Simulator]
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def host(circleci_factory: Callable[..., Simulator]) -> Host:
    """Start a simulator with these limits."""

    def start(limits: dict[str, int] | None = None, **more: Any) -> Simulator:
        gateway = KongLimits(limits, clock=lambda: 1_000_020 + time.monotonic() % 1 / 10, **more) if limits else None
        return circleci_factory(World(pipelines=1), limits=gateway)

    return start


def buckets(result: Result) -> list[dict[str, Any]]:
    assert (result.returncode, result.stderr) == (0, "")
    return [json.loads(one) for one in result.stdout.splitlines()]


def state(**more: Any) -> QuotaState:
    usual = {"name": "x/60", "limit": 600, "remaining": 500, "window": 60.0, "resets_in": 41.0}
    return QuotaState(**{**usual, **more})


def bucket(*quotas: QuotaState, **more: Any) -> BucketSnapshot:
    quiet: dict[str, Any] = {"in_flight": 0, "waiting": 0, "waits_for": None, "ready_in": None, "sent": 1, "refused": 0}
    return BucketSnapshot(name="https://circleci.com", quotas=quotas, **{**quiet, **more})


def shown(told: Told) -> list[str]:
    return [text for text, _style in told.lines(wall=0.0)]


# --- the command ------------------------------------------------------------------------------------------------------


def test_once_is_a_table_of_two_windows_from_one_request(aiocircle: Run, host: Host) -> None:
    simulator = host({"second": 20, "hour": 5000})
    result = aiocircle("limits", "--host", simulator.url)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == simulator.url
    assert lines[1].split() == ["WINDOW", "LIMIT", "USED", "LEFT", "RESETS", "IN", "TOLD", "BY"]
    assert re.fullmatch(r"  per second +20 +1 +19  1 s +X-RateLimit-\*", lines[2])
    assert re.fullmatch(r"  per hour +5,000 +1 +4,999  < 1 h 00 min +X-RateLimit-\*", lines[3])
    assert lines[4:] == ["  requests   1 sent, 0 under way, 0 refusals", "  waiting    nobody"]
    assert max(map(len, lines)) <= 80
    assert simulator.stats.requests.total() == 1


def test_json_is_an_object_for_each_bucket(aiocircle: Run, host: Host) -> None:
    simulator = host({"second": 20, "minute": 600})
    (one,) = buckets(aiocircle("limits", "--json", "--host", simulator.url))
    assert (one["type"], one["name"], one["told_by"]) == ("bucket", simulator.url, ["X-RateLimit-*"])
    assert [(quota["name"], quota["limit"], quota["used"]) for quota in one["quotas"]] == [
        ("per second", 20, 1),
        ("per minute", 600, 1),
    ]
    assert (one["sent"], one["refused"], one["waiting"], one["processes"]) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("dialect", "family"),
    [("only_std", "RateLimit-*"), ("old_kong", "X-RateLimit-*"), ("epoch", "X-RateLimit-*"), ("draft8", "-Policy")],
)
def test_every_dialect_is_understood(aiocircle: Run, host: Host, dialect: str, family: str) -> None:
    simulator = host({"minute": 30}, headers=dialect)
    (one,) = buckets(aiocircle("limits", "--json", "--host", simulator.url))
    assert [(quota["limit"], quota["used"], quota["remaining"]) for quota in one["quotas"]] == [(30, 1, 29)]
    assert one["told_by"][0].endswith(family)


def test_a_window_of_which_only_the_length_is_known_is_shown(aiocircle: Run, host: Host) -> None:
    simulator = host({"second": 9, "minute": 30}, headers="draft8")
    lines = aiocircle("limits", "--host", simulator.url).stdout.splitlines()
    assert re.fullmatch(r"  per minute +30 +- +-  - +RateLimit-Policy", lines[3])


@pytest.mark.parametrize("limits", [None, {"second": 20}])
def test_a_host_that_says_nothing_is_felt_for(aiocircle: Run, host: Host, limits: dict[str, int] | None) -> None:
    simulator = host(limits, headers="hidden")
    result = aiocircle("limits", "--once", "--host", simulator.url)
    assert f"  host says  {NOTHING_TOLD}" in result.stdout.splitlines()


def test_the_budget_of_a_route_group_is_the_one_it_is_charged_to(aiocircle: Run, host: Host) -> None:
    simulator = host({"minute": 600}, groups={"me": {"minute": 7}})
    (one,) = buckets(aiocircle("limits", "--json", "--host", simulator.url))
    assert (one["groups"], [quota["limit"] for quota in one["quotas"]]) == (["/me"], [7])


def test_several_buckets_are_told_apart() -> None:
    lines = shown(Told(bucket(state(), groups=("/insights",)))) + shown(Told(bucket(state(limit=7, remaining=7))))
    assert len([text for text in lines if text.startswith("https://")]) == 2


def test_a_limit_that_is_used_up_is_shown_and_not_waited_for(aiocircle: Run, host: Host) -> None:
    simulator = host({"minute": 2})
    for _ in range(2):
        urlopen(Request(f"{simulator.url}/api/v2/me", headers={"Circle-Token": simulator.token})).close()
    began = time.monotonic()
    result = aiocircle("limits", "--host", simulator.url)
    assert time.monotonic() - began < 20
    assert result.returncode == 0
    assert re.search(r"per minute +2 +2 +0 ", result.stdout)
    assert "1 refusal" in result.stdout
    assert result.stdout.endswith("  the host refused: the limit is used up\n")


def test_a_shared_budget_shows_who_shares_it_and_its_last_request_is_left_to_them(
    aiocircle: Run, host: Host, tmp_path: Path
) -> None:
    flags = ("limits", "--host", host({"minute": 3}).url, "--limiter", f"sqlite:{tmp_path / 'budget.db'}")
    first = aiocircle(*flags)
    assert re.search(r"per minute +3 +1 +2 .*\n.*\n  waiting    nobody in this process\n", first.stdout)
    assert re.search(r"  shared by  1 process\n    \S.* 0 waiting  seen now\n", first.stdout)
    aiocircle(*flags)
    (one,) = buckets(aiocircle(*flags, "--json"))
    assert [(quota["used"], quota["remaining"]) for quota in one["quotas"]] == [(2, 1)]
    assert (one["sent"], one["problem"]) == (2, "not asked: what is left of a window is left to others")


def test_without_a_token_the_host_is_asked_anonymously(aiocircle: Run, host: Host) -> None:
    result = aiocircle("limits", "--host", host({"second": 5}).url, CIRCLE_TOKEN=None)
    assert (result.returncode, result.stderr) == (0, "")
    assert "there is no token: the host was asked anonymously" in result.stdout


def test_a_wrong_token_is_3_and_no_host_is_4(aiocircle: Run, host: Host) -> None:
    assert aiocircle("limits", "--host", host().url, CIRCLE_TOKEN="wrong").returncode == 3
    assert aiocircle("limits", "--host", "http://127.0.0.1:9", "--retries", "0").returncode == 4


@pytest.mark.parametrize(
    "flags", [["--once", "--watch"], ["--interval", "5"], ["--once", "--interval", "5"], ["--watch", "--interval", "0"]]
)
def test_flags_that_contradict_each_other_are_2(aiocircle: Run, flags: list[str]) -> None:
    assert aiocircle("limits", *flags).returncode == 2


def test_watching_in_a_pipe_writes_after_every_answer_and_ends_with_0(start: Callable[..., Any], host: Host) -> None:
    simulator = host({"minute": 30})
    process = start("limits", "--watch", "--json", "--interval", "1", "--host", simulator.url)
    used = [json.loads(process.stdout.readline())["quotas"][0]["used"] for _ in range(3)]
    process.send_signal(signal.SIGINT)
    assert used == [1, 2, 3]
    assert process.wait(timeout=20) == 0


def test_on_a_terminal_it_counts_down_in_place(on_terminal: Callable[..., str], host: Host) -> None:
    simulator = host({"minute": 4})
    written = on_terminal(80, "limits", "--host", simulator.url, "--interval", "1", interrupt_after=7.0)
    lines = [one.rstrip() for one in re.split(r"[\r\n]+", CONTROL.sub("", written)) if one.strip()]
    assert max(map(len, lines)) <= 80
    assert "\x1b[?25l" in written
    assert written.rstrip().endswith("\x1b[?25h")
    assert len({seconds for one in lines for seconds in re.findall(r"per minute.*  (\d+) s  ", one)}) >= 3
    assert any(re.search(r"per minute +4 +3 +1", one) for one in lines)
    assert not any(re.search(r"per minute +4 +4 +0", one) for one in lines)  # the last is left to others
    assert simulator.stats.requests.total() == 3


# --- the words --------------------------------------------------------------------------------------------------------


def test_who_waits_and_until_when_is_told() -> None:
    told = Told(bucket(state(remaining=0), in_flight=2, waiting=3, waits_for="budget", ready_in=41.0, refused=1))
    lines = shown(told)
    assert re.fullmatch(r"  per minute +600 +600 +0  41 s +X-RateLimit-\*", lines[2])
    assert lines[3] == "  requests   1 sent, 2 under way, 1 refusal"
    assert re.fullmatch(r"  waiting    3 requests, for the budget, until \d\d:\d\d:41 \(41 s\)", lines[4])
    waits = shown(Told(bucket(waiting=1, waits_for="answer")))[-1]
    assert waits == "  waiting    1 request, for an answer that tells more"


def test_what_was_used_in_a_window_is_gone_with_it() -> None:
    assert re.fullmatch(r"  per 10 s +600 +- +-  now +X.*", shown(Told(bucket(state(window=10.0, resets_in=0.0))))[2])
    unknown = state(name="std", limit=None, window=None, resets_in=0.4)
    assert re.fullmatch(r"  per window +- +- +500  1 s +RateLimit-\*", shown(Told(bucket(unknown)))[2])


def test_a_policy_keeps_its_name_and_large_numbers_fit() -> None:
    day = state(name="policy/86400/burst", window=86_400.0, limit=999_999, remaining=9, resets_in=86_399.0)
    row = shown(Told(bucket(day)))[2]
    assert row.startswith("  per day (burst)")
    assert len(row) <= 77


@pytest.mark.parametrize(
    ("quotas", "interval", "seconds"),
    [
        ([], None, EVERY),
        ([state(window=1.0, resets_in=1.0)], None, EVERY),
        ([state(), state(window=3600.0, resets_in=3000.0)], None, 41.0),
        ([state(resets_in=0.1)], None, 1.0),
        ([state()], 5.0, 5.0),
        ([state(remaining=1)], 5.0, 41.0),
        ([state(), state(window=3600.0, resets_in=3000.0, remaining=1)], None, 3000.0),
    ],
)
def test_the_host_is_asked_once_in_a_window_and_never_for_its_last_request(
    quotas: list[QuotaState], interval: float | None, seconds: float
) -> None:
    assert until_next(quotas, interval) == seconds


def test_where_a_table_would_be_cut_it_is_sentences() -> None:
    day = state(name="std/86400", limit=50_000, remaining=49_998, window=86_400.0, resets_in=72_000.0)
    told = Told(bucket(day, state(name="x/1", window=1.0, resets_in=0.0), state(remaining=0)))
    assert [line for line, _style in told.lines(0.0, columns=37)] == [
        "https://circleci.com",
        "  per second limit 600, resets now",
        "  per minute 0 of 600 left, resets in",
        "             41 s",
        "  per day    49,998 of 50,000 left,",
        "             resets in 20 h 00 min",
        "  requests   1 sent, 0 under way, 0",
        "             refusals",
        "  waiting    nobody",
    ]
    assert list(told.lines(0.0, columns=-1))


@pytest.mark.parametrize("watching", ["--once", "--watch"])
def test_of_a_narrow_terminal_nothing_is_cut(on_terminal: Callable[..., str], host: Host, watching: str) -> None:
    simulator = host({"second": 20, "hour": 5000})
    end = {"interrupt_after": 7.0} if watching == "--watch" else {}
    written = CONTROL.sub("", on_terminal(40, "limits", watching, "--host", simulator.url, **end))
    assert "…" not in written
    assert max(map(len, written.splitlines())) <= 40
    assert "4,999 of 5,000 left, resets in < 1 h 00 min" in " ".join(written.split())


def test_the_longest_lines_of_a_shared_budget_come_first() -> None:
    sharers = [Sharer(f"host {number:02}", number, number / 4) for number in range(12)]
    lines = shown(Told(bucket(waiting=0, processes=12, sharers=tuple(sharers))))
    assert lines[-12:-10] == ["  shared by  12 processes", f"    {'host 11':32}       11 waiting  seen 3 s ago"]
    assert lines[-1] == "    and 2 more"


# --- what a download says ---------------------------------------------------------------------------------------------


def waiting(**more: Any) -> LimitWaiting:
    usual: dict[str, Any] = {"bucket": "api", "seconds": 41.0, "until": 141.0, "reason": "budget"}
    return LimitWaiting(**{**usual, **more})


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (waiting(limit=1000, remaining=188), "budget 812/1,000, resets in 41 s"),
        (waiting(limit=1000, remaining=0, until=100.2), "budget 1,000/1,000, resets in 1 s"),
        (waiting(limit=1000, remaining=0, reason="pause"), "paused by the host, 41 s left"),
        (waiting(), "waiting for the rate limit, 41 s left"),
    ],
)
def test_a_download_says_what_it_waits_for(event: LimitWaiting, words: str) -> None:
    progress = Progress(began=100.0)
    progress(event)
    assert progress.waiting(100.0) == words
    assert line(progress, 100.0).endswith(f", {words}")
    progress(LimitWaited(bucket="api", seconds=41.0))
    assert progress.waiting(100.0) is None


def test_a_plain_line_leaves_out_the_rates_where_it_would_be_too_long() -> None:
    progress = Progress(began=100.0, found=1_234_567, failed=12)
    progress(TransferEnded(target="a", status="stored", size=987_654_321, reason=None))
    assert line(progress, 101.0) == "1 of 1,234,567+ files, 941.9 MiB, 1 files/s, 941.9 MiB/s, 12 failed"
    progress(waiting(limit=1000, remaining=0))
    told = line(progress, 101.0)
    assert told == "1 of 1,234,567+ files, 941.9 MiB, 12 failed, budget 1,000/1,000, resets in 40 s"
    assert len(told) <= 80


def test_verbose_tells_the_budget(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator(Output(), 1)
    narrator(waiting(limit=1000, remaining=0))
    narrator(waiting())
    narrator(waiting(reason="pause", limit=5, remaining=5))
    assert capsys.readouterr().err.splitlines() == [
        "waiting for the rate limit of api, 41.0 s: budget 1,000/1,000 used",
        "waiting for the rate limit of api, 41.0 s: its budget is used up",
        "waiting for the rate limit of api, 41.0 s: paused by the host",
    ]


def test_who_watches_is_told_of_long_waits_and_failed_tries(capsys: pytest.CaptureFixture[str]) -> None:
    for narrator in (Narrator(Output(), 0), Narrator(Output(), 0, watched=True)):
        narrator(waiting(limit=1000, remaining=0))
        narrator(attrs.evolve(waiting(), seconds=0.4))
        narrator(Retried(operation="get job", attempt=1, after=0.5, reason="get job: 500 oh"))
        narrator(RequestSent(method="GET", url="https://x/", status=200, seconds=0.1))
    assert capsys.readouterr().err.splitlines() == [
        "waiting for the rate limit of api, 41.0 s: budget 1,000/1,000 used",
        "get job: try 1 failed (500 oh), again in 0.5 s",
    ]


def test_on_a_terminal_no_wait_is_silent(on_terminal: Callable[..., str], aiocircle: Run) -> None:
    nobody = ("me", "--host", "http://127.0.0.1:1", "--retries", "1")
    assert "get current user: try 1 failed (no connection" in on_terminal(80, *nobody)
    assert "try 1" not in on_terminal(80, *nobody, "--quiet")
    assert "try 1" not in aiocircle(*nobody).stderr
