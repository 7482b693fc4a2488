"""Answers that are refusals, throttling or breakdowns, and answers that never come."""

import socket
import struct

from aiocircle.testing.exchange import Answer, Exchange, message_answer
from aiocircle.testing.faults.registry import fault
from aiocircle.testing.kong import REJECTION_BODY, http_date

_HTML = b"<html><head><title>%b</title></head><body><h1>%b</h1><hr>nginx</body></html>"
_DAY = 86_400


def _throttled(**headers: str) -> Answer:
    return Answer(429, {"Content-Type": "application/json; charset=utf-8"}, REJECTION_BODY).with_headers(**headers)


def _page(status: int, title: str) -> Answer:
    text = title.encode()
    return Answer(status, {"Content-Type": "text/html"}, _HTML % (text, text))


@fault("429-retry-after-seconds", "429 with Retry-After in seconds", "api", {"seconds": 1})
def _retry_after_seconds(exchange: Exchange) -> Answer:
    return _throttled(Retry_After=f"{exchange.settings['seconds']:g}")


@fault("429-retry-after-date", "429 with Retry-After as an HTTP-date", "api", {"seconds": 2})
def _retry_after_date(exchange: Exchange) -> Answer:
    return _throttled(Retry_After=http_date(exchange.now + exchange.settings["seconds"]))


@fault("429-retry-after-day", "429 with Retry-After of a whole day", "api")
def _retry_after_day(_exchange: Exchange) -> Answer:
    return _throttled(Retry_After=str(_DAY))


@fault("429-retry-after-junk", "429 with a Retry-After that says nothing", "api")
def _retry_after_junk(_exchange: Exchange) -> Answer:
    return _throttled(Retry_After="soon")


@fault("429-retry-after-negative", "429 with a negative Retry-After", "api")
def _retry_after_negative(_exchange: Exchange) -> Answer:
    return _throttled(Retry_After="-5")


@fault("429-reset-only", "429 with RateLimit-Reset and no Retry-After", "api", {"seconds": 1})
def _reset_only(exchange: Exchange) -> Answer:
    reset = f"{exchange.settings['seconds']:g}"
    return _throttled(RateLimit_Limit="20", RateLimit_Remaining="0", RateLimit_Reset=reset)


@fault("429-reset-epoch", "429 with X-RateLimit-Reset as a point in time", "api", {"seconds": 1})
def _reset_epoch(exchange: Exchange) -> Answer:
    reset = int(exchange.now + exchange.settings["seconds"])
    return _throttled(X_RateLimit_Limit="20", X_RateLimit_Remaining="0", X_RateLimit_Reset=str(reset))


@fault("429-bare", "429 with no header and no body", "api")
def _bare(_exchange: Exchange) -> Answer:
    return Answer(429, {"Content-Type": "text/plain"})


@fault("500", "500 with the API's own message", "api")
def _internal_error(_exchange: Exchange) -> Answer:
    return message_answer(500, "Internal server error.")


@fault("502-html", "502 with a proxy's HTML page", "api")
def _bad_gateway(_exchange: Exchange) -> Answer:
    return _page(502, "502 Bad Gateway")


@fault("503-retry-after", "503 with Retry-After in seconds", "api", {"seconds": 1})
def _unavailable(exchange: Exchange) -> Answer:
    answer = message_answer(503, "Service unavailable.")
    return answer.with_headers(Retry_After=f"{exchange.settings['seconds']:g}")


@fault("503-bare", "503 with no header and no body", "api")
def _unavailable_bare(_exchange: Exchange) -> Answer:
    return Answer(503, {"Content-Type": "text/plain"})


@fault("504-html", "504 with a proxy's HTML page", "api")
def _gateway_timeout(_exchange: Exchange) -> Answer:
    return _page(504, "504 Gateway Time-out")


@fault(
    "token-revoked",
    "401: the token is no longer good (with after=N, from the request after the Nth on)",
    ("api", "artifact"),
)
def _revoked(_exchange: Exchange) -> Answer:
    return message_answer(401, "Invalid token provided.")


@fault("bad-request", "400, as public projects answer now and then", "api")
def _bad_request(_exchange: Exchange) -> Answer:
    return message_answer(400, "Bad request.")


@fault("forbidden-403", "403 from the file's address", "artifact")
def _forbidden(_exchange: Exchange) -> Answer:
    return message_answer(403, "Forbidden")


@fault("expired-404", "404 from the file's address: its retention is over", "artifact")
def _expired_not_found(_exchange: Exchange) -> Answer:
    return message_answer(404, "Artifact not found")


@fault("expired-410", "410 from the file's address: its retention is over", "artifact")
def _expired_gone(_exchange: Exchange) -> Answer:
    return message_answer(410, "Gone")


@fault("drop", "the connection is closed without an answer", "api")
def _drop(_exchange: Exchange) -> Answer:
    return Answer(deliver=_close)


@fault("reset", "the connection is reset without an answer", "api")
def _reset(_exchange: Exchange) -> Answer:
    return Answer(deliver=_abort)


@fault("silence", "no answer ever comes", "api")
def _silence(_exchange: Exchange) -> Answer:
    return Answer(deliver=_wait)


async def _close(exchange: Exchange, _answer: Answer) -> None:
    if exchange.request.transport is not None:
        exchange.request.transport.close()


async def _abort(exchange: Exchange, _answer: Answer) -> None:
    transport = exchange.request.transport
    if transport is None:
        return
    # Lingering for zero seconds makes closing a reset.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _wait(exchange: Exchange, answer: Answer) -> None:
    await exchange.hold()
    await _close(exchange, answer)
