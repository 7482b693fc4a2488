"""Headers of rate limits as tests write them."""

from aiocircle.ratelimit.facts import QuotaFact, RateFacts
from aiocircle.ratelimit.headers import read_rate_headers

WALL = 1795452290.0  # Mon, 23 Nov 2026 16:44:50 GMT
DATE = ("Date", "Mon, 23 Nov 2026 16:44:50 GMT")


def read(*headers: tuple[str, str], status: int = 200, wall: float = WALL) -> RateFacts:
    return read_rate_headers(status, headers, wall=wall)


def quotas(*headers: tuple[str, str]) -> list[QuotaFact]:
    return list(read(*headers).quotas)


def triple(limit: str = "100", remaining: str = "40", reset: str = "37") -> list[tuple[str, str]]:
    return [("RateLimit-Limit", limit), ("RateLimit-Remaining", remaining), ("RateLimit-Reset", reset)]


def pair(time: str, limit: str, remaining: str) -> list[tuple[str, str]]:
    return [(f"X-RateLimit-Limit-{time}", limit), (f"X-RateLimit-Remaining-{time}", remaining)]
