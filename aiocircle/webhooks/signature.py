"""Whether a webhook's delivery is genuine.

``circleci-signature: v1=<hex>[,v2=...]`` holds one signature for each version of the scheme. Of those known here the
newest counts: if an older one were enough, whoever breaks that one could leave the newer away. A version not known here
is passed over. ``v1`` is the HMAC-SHA256 of the body's bytes, with the webhook's signing secret as the key.
"""

import hmac
import re
from collections.abc import Mapping, Sequence

from aiocircle.errors import ConfigurationError, SignatureError

SIGNATURE_HEADER = "circleci-signature"
LONGEST_HEADER = 1024  # characters; one signature takes 67

_SIGNATURE = re.compile(r"(v[1-9][0-9]{0,3})=([!-~]+)")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _v1(secret: bytes, body: bytes) -> str:
    return hmac.new(secret, body, "sha256").hexdigest()


_SCHEMES = {"v1": _v1}  # the newest first


def verify(body: bytes, header: str | None, secret: str | Sequence[str]) -> None:
    """Return if a delivery was signed with the secret, or with one of several while it is being changed.

    Args:
        body: The request's body, byte for byte as it came.
        header: The value of ``circleci-signature``: ``v1=<hex>[,v2=...]``; ``None`` where there is none.
        secret: The webhook's signing secret, or the old one and the new one.

    Raises:
        SignatureError: The signature is absent, malformed or wrong. It quotes neither header nor secret.
        ConfigurationError: There is no secret, or an empty one, with which anybody could sign.
    """
    keys = keys_of(secret)
    version, given = _newest(_signatures(header))
    # Every secret is tried, so that the time taken does not tell which one fits.
    fits = [hmac.compare_digest(_SCHEMES[version](key, body), given) for key in keys]
    if not any(fits):
        raise SignatureError(
            "the webhook's signature does not fit its body",
            hint="is it this webhook's signing secret, and are these the bytes as they came?",
        )


def keys_of(secret: str | Sequence[str]) -> list[bytes]:
    """Return secrets as the keys that they are.

    Raises:
        ConfigurationError: There is none, or an empty one.
    """
    secrets = [secret] if isinstance(secret, str) else list(secret or ())
    if not secrets or not all(secrets):
        raise ConfigurationError("a webhook needs a signing secret that is not empty", hint="set one in CircleCI")
    try:
        return [each.encode("utf-8", "surrogateescape") for each in secrets]  # as the environment hands out its bytes
    except UnicodeEncodeError:
        pass  # whose error would hold the secret
    raise ConfigurationError("the webhook's signing secret is not Unicode text")


def _signatures(header: str | None) -> dict[str, str]:
    """Return the signatures of the versions known here."""
    if not header:
        raise SignatureError("the webhook is not signed", hint="has it a signing secret in CircleCI?")
    if len(header) > LONGEST_HEADER:
        raise _malformed(f"longer than {LONGEST_HEADER} characters")
    found: dict[str, str] = {}
    for part in header.split(","):
        match = _SIGNATURE.fullmatch(part.strip(" \t"))
        if match is None:
            raise _malformed("not a list of version=signature")
        version, signature = match.groups()
        if version in found:
            raise _malformed("there twice for one version")
        if version in _SCHEMES:
            found[version] = signature
    return found


def _newest(signatures: Mapping[str, str]) -> tuple[str, str]:
    version = next((version for version in _SCHEMES if version in signatures), None)
    if version is None:
        raise SignatureError("the webhook has a signature of no version known here", hint="is there a newer aiocircle?")
    if not _DIGEST.fullmatch(signatures[version]):
        raise _malformed("not 64 lower-case hexadecimal digits")
    return version, signatures[version]


def _malformed(what: str) -> SignatureError:
    return SignatureError(f"the webhook's signature is {what}", hint="CircleCI sends no such header")
