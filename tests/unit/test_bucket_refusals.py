"""What a bucket's refusal is told as: one sentence, what to do, and none of what the server or an address said."""

import pytest

from aiocircle.download.bucket_refusals import is_no_bucket, is_passing, refusal

URL = "https://s3.eu-west-1.amazonaws.com/b?X-Amz-Credential=AKIA&X-Amz-Signature=5ec3e7"


def answered(status: int, body: str) -> str:
    """obstore's words for an answer."""
    return (
        f"Generic S3 error: Error performing PUT {URL} in 1.2ms - "
        f"Server returned non-2xx status code: {status} X: {body}"
        f'\n\nDebug source:\nGeneric {{ store: "S3", inner: Status {{ status: {status}, body: Some("{body}") }} }}'
    )


def code(name: str, more: str = "") -> str:
    return f"<Error><Code>{name}</Code><Message>of AKIA for {URL}</Message>{more}</Error>"


ALL_MEET_IT = [
    (answered(404, code("NoSuchBucket")), "s3 answered 404 NoSuchBucket", "is its name right?"),
    (answered(403, code("SignatureDoesNotMatch")), "s3 answered 403 SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
    (answered(403, code("AccessDenied")), "s3 answered 403 AccessDenied", "AWS_ACCESS_KEY_ID"),
    (answered(401, ""), "s3 answered 401", "AWS_ACCESS_KEY_ID"),
    (answered(400, code("ExpiredToken")), "s3 answered 400 ExpiredToken", "have expired: get new ones"),
    (answered(403, code("RequestTimeTooSkewed")), "s3 answered 403 RequestTimeTooSkewed", "clock is wrong"),
    (
        answered(400, code("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>")),
        "s3 answered 400 AuthorizationHeaderMalformed",
        "set AWS_REGION=eu-west-1",
    ),
    (answered(301, code("PermanentRedirect")), "s3 answered 301 PermanentRedirect", "set AWS_REGION to the region"),
    (
        f"Error performing GET {URL} in 1ms - Received redirect without LOCATION, this normally indicates ...",
        "s3 answered that the bucket is in another region",
        "set AWS_REGION to the region",
    ),
    (
        f"Error performing GET {URL} in 1.6s, after 6 retries - HTTP error: error sending request",
        "s3 does not answer",
        "is the network there, and AWS_ENDPOINT_URL right",
    ),
    (
        f"Error performing GET {URL} in 4µs - HTTP error: builder error",
        "the endpoint cannot be used as it is written",
        "AWS_ALLOW_HTTP=true",
    ),
    (
        "Unable to extract metadata from headers: ETag Header missing from response",
        "what answered is no s3",
        "a portal or a proxy",
    ),
    (
        "Error performing PUT http://169.254.169.254/latest/api/token in 1ms - status code: 403 X",
        "s3: no credentials in the environment, and no role",
        "AWS_ACCESS_KEY_ID",
    ),
]


@pytest.mark.parametrize(("said", "words", "hint"), ALL_MEET_IT, ids=[words for _, words, _ in ALL_MEET_IT])
def test_what_every_other_file_would_meet_ends_the_run_with_a_sentence_and_what_to_do(
    said: str, words: str, hint: str
) -> None:
    error = refusal("0/x", "s3", said)
    assert (str(error), error.fatal, is_passing(said)) == (f"0/x: {words}", True, False)
    assert hint in (error.hint or "")
    told = f"{error} {error.hint}"
    assert not [secret for secret in ("AKIA", "5ec3e7", "Signature=", "amazonaws") if secret in told]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_bucket_that_is_busy_or_not_well_costs_the_file_and_may_pass(status: int) -> None:
    said = answered(status, code("SlowDown"))
    error = refusal("0/x", "s3", said)
    assert (str(error), error.fatal, is_passing(said)) == (f"0/x: s3 answered {status} SlowDown", False, True)
    assert error.hint == "run the same command again: what is complete is kept"


@pytest.mark.parametrize(("status", "name"), [(400, "EntityTooLarge"), (404, "NoSuchUpload"), (409, "Conflict")])
def test_what_may_be_this_files_own_costs_this_file_only(status: int, name: str) -> None:
    said = answered(status, code(name))
    error = refusal("0/x", "s3", said)
    assert (str(error), error.fatal, is_passing(said)) == (f"0/x: s3 answered {status} {name}", False, False)


@pytest.mark.parametrize(
    ("scheme", "said", "words"),
    [
        ("gs", "GET http://169.254.169.254/computeMetadata/v1/instance - status code: 404", "gs: no credentials"),
        ("gs", "GET http://metadata.google.internal/computeMetadata/v1 - HTTP error: error", "gs: no credentials"),
        ("az", "GET http://169.254.169.254/metadata/identity/oauth2/token - status code: 403", "az: no credentials"),
        ("az", answered(404, code("ContainerNotFound")), "az answered 404 ContainerNotFound"),
        ("gs", "HTTP error: error sending request", "gs does not answer"),
    ],
)
def test_the_other_two_are_told_apart_as_well(scheme: str, said: str, words: str) -> None:
    error = refusal("0/x", scheme, said)
    assert words in str(error)
    assert error.fatal
    assert "AWS_" not in (error.hint or "AWS_")


def test_a_bucket_is_told_from_an_object_that_is_not_there() -> None:
    assert is_no_bucket(answered(404, code("NoSuchBucket")))
    assert not is_no_bucket(answered(404, code("NoSuchKey")))
    assert str(refusal("0/x", "s3", "Object at location x not found", is_missing=True)) == "0/x: s3 answered 404"
