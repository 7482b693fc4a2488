"""What a bucket's refusal means, and what to do about it, from what obstore says. Pure.

obstore's words may have an address with a signature in it, or what the server sent. So nothing of them is repeated but
a status, a code in letters, and the name of a region.

A refusal is *fatal* if every other file would meet it as well: the credentials, the bucket's name, the region, no
answer after all tries. It is *passing* if the server was there and asked for less, or failed by itself. Such a file has
failed after a minute of tries; when several have in a row, whoever writes to the bucket takes it for fatal as well.
"""

import re

from aiocircle.errors import StoreError

ALLOW_HTTP = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}
ENDPOINT = {"s3": "AWS_ENDPOINT_URL", "gs": "GOOGLE_BASE_URL", "az": "AZURE_STORAGE_ENDPOINT"}
CREDENTIALS = {
    "s3": "credentials and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL",
    "gs": "credentials come from GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS",
    "az": "credentials come from AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY (or a SAS token)",
}
AGAIN = "run the same command again: what is complete is kept"

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,80})</Code>")
_REGION = re.compile(r"<Region>([a-z0-9-]{1,40})</Region>")
# Where obstore asks for a machine's role when the environment has no credentials.
_ROLE = re.compile(r"/latest/(api/token|meta-data)|/computeMetadata/|/metadata/identity/|://169\.254\.")
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"})
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired"})


def refusal(what: str, scheme: str, said: str, *, is_missing: bool = False) -> StoreError:
    """Return the error for a refusal.

    Args:
        what: The object or the bucket, for a person.
        scheme: ``s3``, ``gs`` or ``az``.
        said: obstore's words.
        is_missing: obstore took it for an object that is not there.
    """
    status, code = (found and found[1] for found in (_STATUS.search(said), _CODE.search(said)))
    if is_missing:
        status = status or "404"
    if _ROLE.search(said):
        return _fatal(f"{what}: {scheme}: no credentials in the environment, and no role", CREDENTIALS[scheme])
    if status is None:
        return _unanswered(what, scheme, said)
    words = f"{what}: {scheme} answered {' '.join(filter(None, (status, code)))}"
    if is_passing(said):
        return StoreError(words, hint=AGAIN)
    if hint := _remedy(scheme, status, code or "", said):
        return _fatal(words, hint)
    return StoreError(words, hint=CREDENTIALS[scheme])


def is_passing(said: str) -> bool:
    """Tell whether the server asked for less, or failed by itself."""
    found = _STATUS.search(said)
    return found is not None and not _ROLE.search(said) and (found[1][0] == "5" or found[1] == "429")


def is_no_bucket(said: str) -> bool:
    """Tell whether it is the bucket itself that is not there."""
    found = _CODE.search(said)
    return found is not None and found[1] in _NO_BUCKET


def _fatal(words: str, hint: str) -> StoreError:
    return StoreError(words, fatal=True, hint=hint)


def _unanswered(what: str, scheme: str, said: str) -> StoreError:
    """Return the error where there is no status: no connection, no sense in the answer, or no way to ask."""
    endpoint = ENDPOINT[scheme]
    if "redirect without LOCATION" in said:
        return _fatal(f"{what}: {scheme} answered that the bucket is in another region", _region(scheme, said))
    if "builder error" in said:
        hint = f"{endpoint} begins with https://, or with http:// and {ALLOW_HTTP[scheme]}=true"
        return _fatal(f"{what}: the endpoint cannot be used as it is written", hint)
    if "Header missing from response" in said:
        hint = f"is {endpoint} right, and is there a portal or a proxy in between?"
        return _fatal(f"{what}: what answered is no {scheme}", hint)
    hint = f"is the network there, and {endpoint} right where it is set? {AGAIN}"
    return _fatal(f"{what}: {scheme} does not answer", hint)


def _remedy(scheme: str, status: str, code: str, said: str) -> str | None:
    """Return what to do about a refusal that every other file would meet as well; ``None`` if it may be this one's."""
    if code in _NO_BUCKET:
        return f"is its name right? a bucket has to be there before; {CREDENTIALS[scheme]}"
    if _REGION.search(said) or code == "PermanentRedirect":
        return _region(scheme, said)
    if code in _EXPIRED:
        return f"the credentials have expired: get new ones, and {AGAIN}"
    if code in _CLOCK:
        return f"this machine's clock is wrong: set it, and {AGAIN}"
    return CREDENTIALS[scheme] if status in {"401", "403"} else None


def _region(scheme: str, said: str) -> str:
    if scheme != "s3":
        return CREDENTIALS[scheme]
    found = _REGION.search(said)
    return f"set AWS_REGION={found[1]}" if found else "set AWS_REGION to the region of the bucket"
