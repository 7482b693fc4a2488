"""What goes wrong in aiohttp, named in our words.

aiohttp's own exceptions carry the request's headers, the token among them, in ``repr`` and ``args``.
"""

import errno
import os
import re
import socket
import ssl

import aiohttp
from aiohttp.http import HttpProcessingError

from aiocircle.bulk.line import DripError, OverrunError
from aiocircle.errors import (
    AioCircleError,
    ConnectError,
    DeadlineError,
    InterruptedBodyError,
    TransportError,
    UnsafeAddressError,
)
from aiocircle.hosts import normal_host
from aiocircle.proxies import PROXY_HINT
from aiocircle.resolver import NearbyAddressError
from aiocircle.timeouts import Timeouts

NEARBY_HINT = "whoever wrote the address may want this machine to ask for what only it can have; look at the address"
TLS_HINT = "is there a proxy or a portal in between? a private authority is trusted by SSL_CERT_FILE"
PLAIN_HINT = "does it speak http without TLS? then its address begins with http://"
FIRST_SERVER_ERROR = 500
_TLS_WORDS = re.compile(r"([^] ][^]]*) \(_ssl\.c:\d+\)$")  # behind "[SSL: A_NAME] "
CONNECT_HINTS = {
    errno.EMFILE: "allow more open files (ulimit -n) or fewer at a time (--concurrency)",
    errno.ENFILE: "this machine has no open files left; end other programs, or use a lower --concurrency",
    errno.ECONNREFUSED: "nobody listens there: is the host's address right, and is it up?",
    errno.EHOSTUNREACH: "is this machine connected to the network that the host is in?",
    errno.ENETUNREACH: "is this machine connected to the network?",
    socket.EAI_NONAME: "is the host's name right, and can this machine resolve names?",
    socket.EAI_AGAIN: "can this machine resolve names at the moment?",
}


def named_failure(error: Exception, host: str, timeouts: Timeouts) -> AioCircleError:  # noqa: C901, PLR0911, PLR0912 -- a table
    """Name a failure of aiohttp in our words. The order is from the special to the general."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return DeadlineError(f"no connection to {host} within {timeouts.connect:g} s")
        case DripError():
            slow = f"{host} sent less than {timeouts.min_rate:g} bytes a second for {timeouts.stall:g} s"
            return DeadlineError(slow, hint="if the line is that slow, use a lower --concurrency or --min-rate")
        case aiohttp.SocketTimeoutError():
            return DeadlineError(f"{host} sent nothing for {timeouts.stall:g} s")
        case TimeoutError():
            return DeadlineError(f"{host} did not answer completely within {timeouts.total:g} s")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            words = _ssl_words(error)
            return ConnectError(
                f"no secure connection to {_whom(error, host)}: {words}",
                permanent=_is_verification(error),
                hint=PLAIN_HINT if words == "WRONG_VERSION_NUMBER" else TLS_HINT,
            )
        case aiohttp.ClientConnectorError(os_error=NearbyAddressError() as refused):
            return UnsafeAddressError(str(refused), hint=NEARBY_HINT)
        case aiohttp.ClientHttpProxyError():
            why = f"no connection to {host}: the proxy on the way there refuses it ({error.status})"
            return ConnectError(why, permanent=error.status < FIRST_SERVER_ERROR, hint=PROXY_HINT)
        case aiohttp.ClientConnectorError():
            whom = _whom(error, host)
            hint = CONNECT_HINTS.get(error.os_error.errno or 0) if whom == host else PROXY_HINT
            return ConnectError(f"no connection to {whom}: {_os_words(error.os_error)}", hint=hint)
        case OverrunError():
            return InterruptedBodyError(f"{host} sent more bytes than it had announced")
        case aiohttp.ClientPayloadError():
            return InterruptedBodyError(f"the body from {host} ended before its announced end")
        case aiohttp.ServerDisconnectedError():
            return TransportError(f"{host} closed the connection without an answer")
        case aiohttp.InvalidURL() | ValueError():
            return UnsafeAddressError("the address is not one that can be asked for")
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return TransportError(f"{host} answered something that is not HTTP")
        case OSError():
            return InterruptedBodyError(f"the connection to {host} broke: {_os_words(error)}")
        case _:
            return TransportError(f"the exchange with {host} failed ({type(error).__name__})")


def _whom(error: aiohttp.ClientConnectorError, host: str) -> str:
    """Return whom there is no connection to. That it is a proxy, only some of aiohttp's errors say by their class."""
    is_proxy = isinstance(error, aiohttp.ClientProxyConnectionError) or normal_host(error.host) != normal_host(host)
    return f"the proxy on the way to {host}" if is_proxy else host


def _os_words(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    if in_tls := _TLS_WORDS.search(error.strerror or ""):  # its number is OpenSSL's, and would be another error's
        return in_tls[1]
    # asyncio puts an address of its own making behind the system's words, and has none for a TLS that is cut short.
    number = errno.ECONNRESET if isinstance(error, ConnectionResetError) else error.errno
    return (os.strerror(number) if number else error.strerror or str(error) or type(error).__name__).lower()


def _ssl_words(error: Exception) -> str:
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return getattr(inner, "verify_message", None) or getattr(inner, "reason", None) or type(inner).__name__


def _is_verification(error: Exception) -> bool:
    inner = getattr(error, "certificate_error", None)
    return isinstance(inner, ssl.SSLCertVerificationError)
