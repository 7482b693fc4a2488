"""Redirects that lead nowhere, elsewhere or too late."""

import attrs

from aiocircle.testing.exchange import Answer, Exchange
from aiocircle.testing.faults.registry import fault


def _redirect(location: str) -> Answer:
    return Answer(302, {"Location": location, "Content-Type": "text/plain"})


@fault(
    "expired-signature", "the signed address is expired already: storage answers 403; asking again helps", "artifact"
)
def _expired_signature(exchange: Exchange) -> Answer:
    exchange.signature_ttl = -60
    return exchange.proceed()


@fault("redirect-status", "the redirect to storage has another status", "artifact", {"status": 308})
def _redirect_status(exchange: Exchange) -> Answer:
    return attrs.evolve(exchange.proceed(), status=int(exchange.settings["status"]))


@fault("redirect-loop", "the address redirects to itself", "artifact")
def _loop(exchange: Exchange) -> Answer:
    origin = exchange.origins["api" if exchange.place == "api" else exchange.place]
    return _redirect(origin + exchange.path)


@fault("redirect-http-downgrade", "a redirect to the same file over plain http", "artifact")
def _downgrade(exchange: Exchange) -> Answer:
    return _redirect(exchange.origins["foreign"] + exchange.path)


@fault("redirect-foreign", "a redirect to an origin that is nobody's storage", "artifact")
def _foreign(exchange: Exchange) -> Answer:
    return _redirect(exchange.origins["foreign"] + "/elsewhere")


@fault("redirect-there-and-back", "a redirect to a foreign origin that redirects back to the same address", "artifact")
def _there_and_back(exchange: Exchange) -> Answer:
    return _redirect(f"{exchange.origins['foreign']}/back/{exchange.place}{exchange.path}")


@fault("redirect-file", "a redirect to file:///etc/passwd", "artifact")
def _file(_exchange: Exchange) -> Answer:
    return _redirect("file:///etc/passwd")


@fault("redirect-login", "a redirect to the API's own sign-in page, which has status 200", "artifact")
def _login(exchange: Exchange) -> Answer:
    return _redirect(f"{exchange.origins['web']}/login?return-to={exchange.path}")


_METADATA = "/latest/meta-data/iam/security-credentials/"


@fault("redirect-link-local", "a redirect to a cloud's metadata service, 169.254.169.254", "artifact")
def _link_local(_exchange: Exchange) -> Answer:
    return _redirect(f"http://169.254.169.254{_METADATA}")


@fault("redirect-link-local-mapped", "the same, the address of IPv4 written as one of IPv6", "artifact")
def _link_local_mapped(_exchange: Exchange) -> Answer:
    return _redirect(f"http://[::ffff:a9fe:a9fe]{_METADATA}")


@fault("redirect-link-local-number", "the same, the address written as one number", "artifact")
def _link_local_number(_exchange: Exchange) -> Answer:
    return _redirect(f"http://2852039166{_METADATA}")


@fault("redirect-no-location", "a redirect without a Location", "artifact")
def _no_location(_exchange: Exchange) -> Answer:
    return Answer(302, {"Content-Type": "text/plain"})


@fault("redirect-relative", "the redirect's Location is relative to the address: //host:port/path?query", "artifact")
def _relative(exchange: Exchange) -> Answer:
    answer = exchange.proceed()
    return answer.with_headers(Location=answer.headers["Location"].partition(":")[2])
